#!/usr/bin/env bash
# Makes the Debian package from programs that are built already, and prints its path.
#
#   make-deb.sh PROGRAMS OUT [VERSION]
#
# PROGRAMS is cargo's folder with the programs and `write-pages` (target/release), OUT where the package goes. What is in it
# stands below, line by line; the files come from deploy/.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
cd "$here/.."

readonly PASSES=(renew notify-trials expire-fast reconcile-xray)

if [ "$#" -lt 2 ]; then
    say "usage: make-deb.sh PROGRAMS OUT [VERSION]"
    exit 2
fi
programs="$1"
out="$2"
version="${3:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}"
architecture="$(dpkg --print-architecture)"
# The same sources give the same package: files are as old as the last commit.
SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH

if ! have dpkg-shlibdeps; then
    apt_install dpkg-dev
fi

mkdir -p "$out"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
root="$work/root"
chmod 0755 "$work"

put() { # MODE SOURCE DESTINATION
    install -D -m "$1" "$2" "$root/$3"
}

put_zipped() {
    put 0644 "$1" "$2"
    gzip -9n "$root/$2"
}

# Programs
for pass in "${PASSES[@]}"; do
    put 0755 "$programs/$pass" "usr/lib/perennial/$pass"
done
put 0755 "$programs/admin" usr/bin/perennial
strip --strip-unneeded --remove-section=.comment "$root"/usr/lib/perennial/* "$root/usr/bin/perennial"
put 0755 deploy/hooks/run-pass usr/lib/perennial/run-pass

# systemd
for unit in deploy/systemd/*.service deploy/systemd/*.timer; do
    put 0644 "$unit" "usr/lib/systemd/system/${unit##*/}"
done
put 0644 deploy/systemd/perennial-.service.d/50-common.conf usr/lib/systemd/system/perennial-.service.d/50-common.conf
put 0644 deploy/systemd/perennial.sysusers.conf usr/lib/sysusers.d/perennial.conf

# Settings, hooks, logs
put 0644 deploy/perennial.toml etc/perennial/perennial.toml
put 0755 deploy/hooks/alert etc/perennial/hooks/alert
put 0644 deploy/logrotate etc/logrotate.d/perennial

# Database
put 0644 sql/roles.sql usr/share/perennial/roles.sql

# Manual and completions
"$programs/write-pages" "$work/pages"
for page in "$work"/pages/man/*.8; do
    put_zipped "$page" "usr/share/man/man8/${page##*/}"
done
for script in "$work"/pages/completions/bash/*; do
    put 0644 "$script" "usr/share/bash-completion/completions/${script##*/}"
done
for script in "$work"/pages/completions/zsh/*; do
    put 0644 "$script" "usr/share/zsh/vendor-completions/${script##*/}"
done
for script in "$work"/pages/completions/fish/*; do
    put 0644 "$script" "usr/share/fish/vendor_completions.d/${script##*/}"
done

# Documents and examples
doc=usr/share/doc/perennial
for document in README.md docs/*.md; do
    put 0644 "$document" "$doc/${document##*/}"
done
sed -e '/^@MIT@$/{' -e 'r /dev/stdin' -e 'd' -e '}' deploy/debian/copyright \
    < <(sed -e 's/^$/./' -e 's/^/ /' LICENSE-MIT) >"$work/copyright"
put 0644 "$work/copyright" "$doc/copyright"
put_zipped CHANGELOG.md "$doc/CHANGELOG.md"
printf 'perennial (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n -- %s  %s\n' "$version" \
    "${DEB_MAINTAINER:-Perennial contributors <perennial@example.org>}" "$(date -uR -d "@$SOURCE_DATE_EPOCH")" \
    >"$work/changelog"
put_zipped "$work/changelog" "$doc/changelog"
put 0644 deploy/perennial.toml "$doc/examples/perennial.toml"
put 0644 deploy/crontab "$doc/examples/crontab"
put 0755 deploy/hooks/on-removed "$doc/examples/hooks/on-removed"
for example in deploy/prometheus/*.yml; do
    put 0644 "$example" "$doc/examples/prometheus/${example##*/}"
done
put 0644 deploy/grafana/perennial.json "$doc/examples/grafana/perennial.json"

# What the programs need of the system.
mkdir -p "$work/shlibs/debian"
printf 'Source: perennial\n\nPackage: perennial\nArchitecture: any\n' >"$work/shlibs/debian/control"
depends="$(cd "$work/shlibs" && dpkg-shlibdeps -O "$root"/usr/lib/perennial/renew "$root"/usr/bin/perennial 2>/dev/null)"
depends="${depends#shlibs:Depends=}"

# The package itself.
mkdir "$root/DEBIAN"
sed -e "s|@VERSION@|$version|" -e "s|@ARCHITECTURE@|$architecture|" -e "s|@DEPENDS@|$depends|" \
    -e "s|@MAINTAINER@|${DEB_MAINTAINER:-Perennial contributors <perennial@example.org>}|" \
    -e "s|@INSTALLED_SIZE@|$(du -sk --apparent-size "$root" | cut -f1)|" deploy/debian/control.in >"$root/DEBIAN/control"
install -m 0644 deploy/debian/conffiles "$root/DEBIAN/conffiles"
install -m 0755 deploy/debian/postinst deploy/debian/prerm deploy/debian/postrm "$root/DEBIAN"
(cd "$root" && find usr etc -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
find "$root" -type d -exec chmod 0755 {} +

package="$out/perennial_${version}_${architecture}.deb"
dpkg-deb --root-owner-group -Zxz -z"${DEB_COMPRESSION:-6}" --build "$root" "$package" >&2
printf '%s\n' "$package"
