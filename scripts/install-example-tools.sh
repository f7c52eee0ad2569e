#!/usr/bin/env bash
# Makes sure that what the examples of docs/examples need is there: psycopg in a Python environment of its own, pg and
# tsx (runs TypeScript) in a folder of their own. Does nothing where they are; safe to run again.
#
# They go into the cache folder and nowhere else. Python and Node.js themselves are installed only for CI.
#
# Exit codes: 69 when Python or Node.js is missing, so that it cannot be installed; anything else but 0 is a failure.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

readonly PSYCOPG=3.3.9 PG=8.16.3 TSX=4.20.6
readonly EXIT_CANNOT=69

python_folder="$(cache_dir)/example-python-$PSYCOPG"
node_folder="$(cache_dir)/example-node-$PG-$TSX"
new="$(cache_dir)/example.$$"
trap 'rm -rf "$new"' EXIT

# Complete or not there: a folder is put in place by one rename; whoever else was quicker wins.
put() { mv -T "$new" "$1" 2>/dev/null || [ -d "$1" ]; }

if [ "${CI:-}" = true ] && can_apt && ! { have python3 && have npm; }; then
    apt_install python3-pip nodejs npm
fi
missing=
if [ ! -d "$python_folder" ]; then
    if have python3 && python3 -m pip --version >/dev/null 2>&1; then
        say "installing psycopg $PSYCOPG into $python_folder"
        python3 -m pip install --quiet --disable-pip-version-check --target "$new" "psycopg[binary]==$PSYCOPG" >&2
        put "$python_folder"
    else
        missing="python3 with pip"
    fi
fi
if [ ! -d "$node_folder" ]; then
    if have node && have npm; then
        say "installing pg $PG and tsx $TSX into $node_folder"
        mkdir -p "$new"
        npm install --prefix "$new" --no-save --no-audit --no-fund --no-update-notifier --loglevel=error \
            "pg@$PG" "tsx@$TSX" >&2
        put "$node_folder"
    else
        missing="${missing:+$missing, }node with npm"
    fi
fi
if [ -n "$missing" ]; then
    say "missing: $missing"
    exit "$EXIT_CANNOT"
fi
