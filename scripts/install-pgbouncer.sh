#!/usr/bin/env bash
# Makes sure that tests find PgBouncer; does nothing where it is there; safe to run again.
#
# Debian's package starts a pooler with the machine, which nobody asked for: it is kept from that while it installs, and
# what is running already is left alone.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

readonly EXIT_NO_POOLER=69

# A daemon's folder need not be in a user's PATH.
PATH="$PATH:/usr/sbin"
if have pgbouncer; then
    exit 0
fi
if ! can_apt; then
    say "no pgbouncer is here and none could be installed: apt-get install pgbouncer, as root"
    exit "$EXIT_NO_POOLER"
fi
# What invoke-rc.d asks before it starts anything; where somebody has a policy of their own, theirs is followed.
readonly POLICY=/usr/sbin/policy-rc.d
if [ ! -e "$POLICY" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
    trap 'as_root rm -f "$POLICY"' EXIT
fi
apt_install pgbouncer
