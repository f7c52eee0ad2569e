#!/usr/bin/env bash
# Makes sure that promtool is there, which checks metrics, alert rules and the dashboard's queries; does nothing where it
# is; safe to run again.
#
#   install-promtool.sh          install it if it is missing
#   install-promtool.sh --can    exit 0 if it could, without installing anything
#
# It is taken out of Debian's package prometheus, whose service nobody asked for, into the cache folder, tools/bin. apt
# checks the package's signature and hash; no root is needed.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

readonly EXIT_MISSING=69

tools="$(cache_dir)/tools/bin"
export PATH="$tools:$PATH"

could_install() { have apt-get && have dpkg-deb && have tar; }

install() {
    local folder
    folder="$(mktemp -d)"
    # The path is known now, and gone when the trap runs.
    # shellcheck disable=SC2064
    trap "rm -rf '$folder'" EXIT
    say "installing promtool into $tools"
    if can_apt; then
        as_root apt-get update -qq
    fi
    # As root apt would download as a user who may not enter the folder, and say so.
    (cd "$folder" && apt-get -o APT::Sandbox::User=root download -qq prometheus >&2)
    dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -x -C "$folder" ./usr/bin/promtool
    mkdir -p "$tools"
    # Moved over: another run at the same time sees all of it or nothing.
    mv "$folder/usr/bin/promtool" "$tools/promtool.$$"
    mv "$tools/promtool.$$" "$tools/promtool"
}

case "${1:-}" in
    --can)
        could_install
        exit
        ;;
    '') ;;
    *)
        say "usage: install-promtool.sh [--can]"
        exit 2
        ;;
esac
if have promtool; then
    exit 0
fi
if ! could_install; then
    say "no promtool: install Prometheus, or put promtool into the PATH"
    exit "$EXIT_MISSING"
fi
install
if ! promtool --version >/dev/null 2>&1; then
    say "installed, but it does not work"
    exit "$EXIT_MISSING"
fi
