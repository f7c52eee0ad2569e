#!/usr/bin/env bash
# Tries the Debian package in a clean Debian: installs it, follows docs/install.md through (database, settings, all four
# passes as systemd and as cron start them), upgrades, removes and purges it, and looks at what is left each time.
#
#   test-deb.sh PROGRAMS OUT    PROGRAMS as for make-deb.sh; packages go to OUT
#
# Wants root, debootstrap and a Debian mirror. The clean Debian is kept in the cache folder, so only the first run is slow.
# systemd does not run there: its units are read by systemd-analyze here, and what they start is started by hand.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

step() { printf -- '-- %s\n' "$*"; }

# Fails unless the command does what is expected of its exit code.
expect() { # CODE COMMAND…
    local wanted="$1" code=0
    shift
    "$@" >/tmp/said 2>&1 || code=$?
    [ "$code" -eq "$wanted" ] || fail "exit code $code, not $wanted: $* said: $(cat /tmp/said)"
}

said() { grep -qF -- "$1" /tmp/said || fail "not said: $1, but: $(cat /tmp/said)"; }

mode_of() { stat -c '%A %U:%G' "$1"; }

has_mode() { [ "$(mode_of "$2")" = "$1" ] || fail "$2 is $(mode_of "$2"), not $1"; }

as_perennial() { runuser -u perennial -- "$@"; }

# What systemd would run, as it would: the unit's own line, its user, its credentials, its environment.
run_unit() { # PASS [FLAG…]
    local unit="/usr/lib/systemd/system/perennial-$1.service" credentials command environment
    credentials="$(mktemp -d)"
    sed -n 's/^LoadCredential=\([^:]*\):\(.*\)$/\1 \2/p' "$unit" | while read -r name file; do
        cp "$file" "$credentials/$name"
    done
    chown -R perennial "$credentials"
    command="$(sed -n 's/^ExecStart=//p' "$unit")"
    environment="$(sed -n 's/^Environment=//p' "$unit")"
    shift
    as_perennial env CREDENTIALS_DIRECTORY="$credentials" "$environment" "$command" "$@"
}

# Below: inside the clean Debian.

# Where Xray's API is seen from there.
readonly API=/run/xray/api.sock

check_installed() {
    step "installed"
    has_mode '-rw-r----- root:perennial' /etc/perennial/perennial.toml
    has_mode '-rw-r----- root:perennial' /etc/perennial/database-url
    has_mode '-rw-r----- root:perennial' /etc/perennial/telegram-token
    has_mode '-rwxr-xr-x root:root' /etc/perennial/hooks/alert
    has_mode 'drwxr-xr-x perennial:perennial' /var/lib/perennial/metrics
    has_mode 'drwxr-x--- perennial:adm' /var/log/perennial
    [ -z "$(find /etc/systemd/system -name '*perennial*')" ] || fail "a unit was enabled"
    expect 0 perennial --version
    for file in /usr/share/man/man8/perennial-renew.8.gz /usr/share/bash-completion/completions/perennial \
        /usr/share/doc/perennial/install.md /usr/share/doc/perennial/examples/prometheus/perennial.rules.yml; do
        [ -s "$file" ] || fail "$file is missing"
    done
    # With nothing set up yet each says what is missing.
    for pass in renew notify-trials expire-fast reconcile-xray; do
        expect 78 as_perennial "/usr/lib/perennial/$pass"
        said '/etc/perennial/database-url'
    done
}

set_up() {
    step "database, settings, one customer"
    local cluster
    cluster="$(pg_lsclusters -h | awk '{ print $1, $2; exit }')"
    # Over its socket alone: the ports are the host's.
    # shellcheck disable=SC2086
    pg_ctlcluster $cluster start -o '-c listen_addresses='
    runuser -u postgres -- createuser perennial
    runuser -u postgres -- createdb --owner perennial perennial
    echo 'postgresql://perennial@/perennial?host=/run/postgresql' >/etc/perennial/database-url
    expect 78 as_perennial /usr/lib/perennial/renew
    said 'migrate'
    expect 0 as_perennial perennial migrate
    expect 0 runuser -u postgres -- psql -v ON_ERROR_STOP=1 -d perennial -f /usr/share/perennial/roles.sql
    expect 0 as_perennial perennial tariff set basic_1m --price-kopecks 19900 --months 1 --group basic
    expect 0 as_perennial perennial ensure-user 1001 --language ru --time-zone Europe/Moscow
    expect 0 as_perennial perennial top-up 1001 --kopecks 50000 --key payment-1
    expect 0 as_perennial perennial buy 1001 --tariff basic_1m --auto-renew on --key order-1
    # So that what was just bought is due for renewal.
    sed -i 's/^#window = "6h"$/window = "40d"/' /etc/perennial/perennial.toml
}

# A real Xray, where the machine has one: a customer gets there and away by the passes alone.
try_server() {
    [ -S "$API" ] || return 0
    step "a customer on a real Xray"
    printf '[[node]]\nname = "ams-1"\napi = "unix:%s"\n[[node.inbound]]\ntag = "vless-in"\n' "$API" >>/etc/perennial/perennial.toml
    expect 0 as_perennial perennial nodes check
    expect 0 run_unit reconcile-xray
    expect 0 as_perennial perennial nodes check --output json
    said '"entitled":1'
    said '"missing":0'
    expect 0 as_perennial perennial cancel 1 --key stop-1
    expect 0 run_unit expire-fast
    expect 0 as_perennial perennial explain 1001
    said 'proven gone from ams-1'
    expect 0 as_perennial perennial nodes check --output json
    said '"listed":0'
}

run_passes() {
    step "the passes, as systemd starts them"
    local pass
    for pass in renew notify-trials expire-fast reconcile-xray; do
        expect 0 run_unit "$pass" --check-config
        said '(credential database-url)'
        expect 0 run_unit "$pass"
        grep -q "perennial_pass_exit_code{pass=\"$pass\"} 0" "/var/lib/perennial/metrics/$pass.prom" ||
            fail "no metrics of $pass"
        has_mode '-rw-r--r-- perennial:perennial' "/var/lib/perennial/metrics/$pass.prom"
    done
    grep -q 'outcome="renewed"} 1' /var/lib/perennial/metrics/renew.prom || fail "nobody was renewed"
    grep -q 'perennial_revenue_kopecks_total 39800' /var/lib/perennial/metrics/renew.prom || fail "no ledger totals"
    expect 0 as_perennial perennial verify

    step "the passes, as cron starts them"
    local line
    sed -n 's/^[0-9*].* perennial  *\(\/usr.*\)$/\1/p' /usr/share/doc/perennial/examples/crontab >/tmp/lines
    [ "$(wc -l </tmp/lines)" -eq 5 ] || fail "no five lines for cron"
    while read -r line; do
        expect 0 as_perennial sh -c "$line" </dev/null
    done </tmp/lines
    grep -q renewed /var/log/perennial/renew.log || fail "no log of renew"
    logrotate --force /etc/logrotate.d/perennial
    [ -e /var/log/perennial/renew.log.1 ] || fail "logs are not rotated"
    expect 0 as_perennial sh -c "$(head -n 1 /tmp/lines)"
}

check_upgraded() {
    step "upgraded"
    grep -q 'our own words' /etc/perennial/perennial.toml || fail "settings were overwritten"
    has_mode '-rw-r----- root:perennial' /etc/perennial/perennial.toml
    grep -q 'of another version' /etc/perennial/perennial.toml.dpkg-dist || fail "the new sample is nowhere"
    grep -q '^postgresql:' /etc/perennial/database-url || fail "the connection string is gone"
    expect 0 run_unit renew
}

check_removed() {
    step "removed"
    for gone in /usr/bin/perennial /usr/lib/perennial /usr/lib/systemd/system/perennial-renew.service; do
        [ ! -e "$gone" ] || fail "$gone is still there"
    done
    grep -q 'our own words' /etc/perennial/perennial.toml || fail "settings are gone"
    [ -s /etc/perennial/database-url ] || fail "the connection string is gone"
}

check_purged() {
    step "purged"
    local left
    left="$({ find /etc/perennial /var/lib/perennial /var/log/perennial /etc/logrotate.d/perennial 2>/dev/null || true; } | sort | tr '\n' ' ')"
    [ "$left" = '/etc/perennial /etc/perennial/texts /etc/perennial/texts/ru.ftl ' ] || fail "left: $left"
    getent passwd perennial >/dev/null || fail "the user is gone, and its number free"
}

stop_server() {
    local version name
    pg_lsclusters -h 2>/dev/null | while read -r version name _; do
        pg_ctlcluster "$version" "$name" stop -m fast || true
    done
}

inside() {
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
    trap stop_server EXIT
    dpkg --install /packages/first.deb >/dev/null
    check_installed
    set_up
    run_passes
    try_server
    echo '# our own words' >>/etc/perennial/perennial.toml
    mkdir /etc/perennial/texts
    touch /etc/perennial/texts/ru.ftl
    dpkg --force-confdef --force-confold --install /packages/second.deb >/dev/null
    check_upgraded
    dpkg --remove perennial >/dev/null
    check_removed
    dpkg --install /packages/second.deb >/dev/null
    expect 0 run_unit renew
    dpkg --purge perennial >/dev/null
    check_purged
    # Purged twice, or without its user's files: nothing to complain of.
    dpkg --install /packages/first.deb >/dev/null
    rm -rf /var/lib/perennial
    dpkg --purge perennial >/dev/null
}

if [ "${1:-}" = --inside ]; then
    inside
    exit
fi

# Below: on this machine.

# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

readonly EXIT_IMPOSSIBLE=69
# What the test uses beside what every Debian has.
readonly PACKAGES=postgresql,postgresql-client,logrotate,jq,passwd

programs="${1:?usage: test-deb.sh PROGRAMS OUT}"
out="${2:?usage: test-deb.sh PROGRAMS OUT}"

# shellcheck source=/dev/null
suite="$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")"
if [ "$(id -u)" -ne 0 ] || ! have apt-get || [ -z "$suite" ]; then
    say "SKIPPED: a clean Debian takes root and a Debian to start from"
    exit "$EXIT_IMPOSSIBLE"
fi
if ! have debootstrap; then
    apt_install debootstrap
fi

clean="$(cache_dir)/debian-$suite.tar"
if [ ! -s "$clean" ]; then
    say "making a clean Debian ($suite): some minutes, once"
    base="$(mktemp -d)"
    trap 'rm -rf "$base"' EXIT
    mkdir -p "$(dirname "$clean")"
    debootstrap --variant=minbase --include="$PACKAGES" "$suite" "$base/root" >"$base/log" 2>&1 ||
        { tail -n 20 "$base/log" >&2; fail "debootstrap"; }
    chroot "$base/root" apt-get clean
    tar -C "$base/root" --one-file-system --exclude=./proc/* --exclude=./sys/* -cf "$clean.new" .
    mv "$clean.new" "$clean"
    rm -rf "$base"
fi

# Starts the real Xray that install-xray.sh leaves in the cache, its API on a socket within the clean Debian.
start_xray() {
    local python sockets="$root${API%/*}"
    python="$(find "$(cache_dir)/xray" -path '*/bin/python' 2>/dev/null | sort -V | tail -n 1)"
    if [ -z "$python" ]; then
        say "SKIPPED: no real Xray here to be worked on; scripts/install-xray.sh installs it"
        return
    fi
    install -d -m 0755 "$sockets"
    cat >"$sockets/config.json" <<CONFIG
{ "log": { "loglevel": "none" }, "stats": {},
  "api": { "tag": "api", "listen": "$root$API,0666", "services": ["HandlerService", "StatsService"] },
  "policy": { "levels": { "0": { "statsUserOnline": true } } },
  "inbounds": [{ "tag": "vless-in", "listen": "$sockets/vless.sock", "protocol": "vless",
      "settings": { "clients": [], "decryption": "none" } }],
  "outbounds": [{ "protocol": "freedom" }] }
CONFIG
    "$python" -c 'import sys, time, xray; xray.startFromJSON(open(sys.argv[1]).read()); time.sleep(3600)' \
        "$sockets/config.json" &
    xray=$!
    for _ in $(seq 100); do
        [ ! -S "$root$API" ] || return 0
        sleep 0.1
    done
    fail "the real Xray does not start"
}

xray=
root="$(mktemp -d)"
trap '[ -z "$xray" ] || kill -KILL "$xray" || true; umount -q "$root/proc" "$root/dev/shm" "$root/dev" || true; rm -rf --one-file-system "$root"' EXIT
tar -C "$root" -xf "$clean"
chmod 0755 "$root"

# Two packages: what is built here, and the same as another version with another sample of the settings.
mkdir -p "$root/packages" "$out"
export DEB_COMPRESSION=1
first="$("$here/make-deb.sh" "$programs" "$out" 1.0.0 2>/dev/null)"
other="$(mktemp -d)"
dpkg-deb --raw-extract "$first" "$other/root"
sed -i 's/^Version: .*/Version: 1.0.1/' "$other/root/DEBIAN/control"
echo '# of another version' >>"$other/root/etc/perennial/perennial.toml"
dpkg-deb --root-owner-group -Zxz -z1 --build "$other/root" "$root/packages/second.deb" >/dev/null
rm -rf "$other"
cp "$first" "$root/packages/first.deb"
cp "${BASH_SOURCE[0]}" "$root/packages/test-deb.sh"

mount --bind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
start_xray
chroot "$root" /bin/bash /packages/test-deb.sh --inside

# The units as they lie in the package, read by systemd itself.
if have systemd-analyze; then
    step "units, as installed"
    dpkg-deb --extract "$first" "$root"
    for unit in "$root"/usr/lib/systemd/system/perennial-*.service "$root"/usr/lib/systemd/system/perennial-*.timer; do
        systemd-analyze --root="$root" --recursive-errors=no --man=no verify "$unit"
    done
else
    say "SKIPPED: systemd-analyze is not here to read the units"
fi
printf 'the package is as it should be: %s\n' "$(basename "$first")"
