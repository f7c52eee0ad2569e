#!/usr/bin/env bash
# Makes sure that the independent Telegram emulator (npm's telegram-test-api) is there, for the test that lets our
# client talk to somebody else's idea of Telegram. Does nothing where it is; safe to run again. Prints its folder.
#
# It goes into the cache folder and nowhere else. Node.js and npm are installed only for CI: a test is no reason to put
# them on somebody's machine.
#
# Exit codes: 69 when there is no Node.js or npm, so that it cannot be installed; anything else but 0 is a failure.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

readonly PACKAGE=telegram-test-api
readonly VERSION=4.2.1
readonly EXIT_CANNOT=69

folder="$(cache_dir)/telegram-emulator-$VERSION"
new="$folder.$$"
trap 'rm -rf "$new"' EXIT

have_emulator() { [ -f "$folder/node_modules/$PACKAGE/package.json" ]; }

have_node() { have node && have npm; }

# Complete or not there: it is put in place by one rename, so a stop half-way leaves nothing that looks installed.
install() {
    say "installing $PACKAGE $VERSION into $folder"
    mkdir -p "$new"
    npm install --prefix "$new" --no-save --ignore-scripts --no-audit --no-fund --no-update-notifier \
        --loglevel=error "$PACKAGE@$VERSION" >&2
    if ! have_emulator; then
        rm -rf "$folder"
        # Somebody else may have been quicker: then theirs stays.
        mv -T "$new" "$folder" 2>/dev/null || have_emulator
    fi
}

if ! have_node && [ "${CI:-}" = true ] && can_apt; then
    apt_install nodejs npm
fi
if ! have_node; then
    say "Node.js and npm are missing: install them (Debian: apt-get install nodejs npm)"
    exit "$EXIT_CANNOT"
fi
if ! have_emulator; then
    install
fi
printf '%s\n' "$folder"
