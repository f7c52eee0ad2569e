# shellcheck shell=bash
# What the scripts share. Sourced, never run.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

have() { command -v "$1" >/dev/null 2>&1; }

# Where private copies of tools and of the server live.
cache_dir() { printf '%s/perennial' "${XDG_CACHE_HOME:-${HOME:?neither XDG_CACHE_HOME nor HOME is set}/.cache}"; }

# Prints the words that make a command run as root: none for root itself. Fails when there is no way.
# sudo that would ask for a password is used only where somebody can type one.
root_prefix() {
    if [ "$(id -u)" -eq 0 ]; then
        return 0
    fi
    have sudo || return 1
    if sudo -n true 2>/dev/null || [ -t 0 ]; then
        printf 'sudo'
    else
        return 1
    fi
}

can_apt() { have apt-get && root_prefix >/dev/null; }

# Runs a command as root; call only where can_apt says yes.
as_root() {
    local prefix
    prefix="$(root_prefix)"
    if [ -n "$prefix" ]; then
        sudo "$@"
    else
        "$@"
    fi
}

apt_install() {
    say "installing by apt-get: $*"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}
