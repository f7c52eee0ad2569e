#!/usr/bin/env bash
# Makes sure that tests find libfaketime, which gives a program a clock that is wrong; does nothing where it is there.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

readonly EXIT_NO_FAKETIME=69

if have faketime; then
    exit 0
fi
if ! can_apt; then
    say "no faketime is here and none could be installed: apt-get install faketime, as root"
    exit "$EXIT_NO_FAKETIME"
fi
apt_install faketime
