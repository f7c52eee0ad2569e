#!/usr/bin/env bash
# Makes sure that a headless Chromium is there, for the test that renders the page of `perennial status --html`. Does nothing
# where it is; safe to run again. Prints its path.
#
# Exit codes: 69 when it cannot be installed; anything else but 0 is a failure.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

readonly EXIT_CANNOT=69

if ! have chromium && can_apt; then
    apt_install chromium
fi
if ! have chromium; then
    say "there is no chromium and no apt-get to install it with"
    exit "$EXIT_CANNOT"
fi
command -v chromium
