#!/usr/bin/env bash
# Fetches Debian packages of any architecture and unpacks them into a folder. Nothing is installed, and this machine's own
# apt and dpkg know nothing of it.
#
#   tools/debian.sh ARCHITECTURE KERNEL PACKAGE…     prints the folder: root/ holds the packages and all that they need,
#                                                    kernel/ the kernel that the package KERNEL depends on (without its tools)
#
# Packages come from where this machine's own apt has them from, checked against the same keys. What was fetched once is kept
# outside the repository (tools/paths.sh says where): throw that away to get today's versions.
set -euo pipefail

# Raise it when what lies in the folder changes below: it is then fetched again.
RECIPE=1

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tools/paths.sh
. "$here/tools/paths.sh"

say() { printf '  %s\n' "$*" >&2; }
die() { printf 'tools/debian.sh: %s\n' "$*" >&2; exit 1; }

[ $# -ge 3 ] || die 'usage: tools/debian.sh ARCHITECTURE KERNEL PACKAGE…'
architecture=$1 kernel=$2
shift 2
command -v apt-get >/dev/null || die 'this takes the apt-get of a Debian machine'

folder=$LANGO_DEBIAN/$architecture-$(echo "$RECIPE $kernel $*" | sha256sum | cut -c1-16)
mkdir -p "$LANGO_DEBIAN"
# Two at once would fetch the same things: the second waits here.
exec 9>"$LANGO_DEBIAN/lock"
flock 9
if [ -d "$folder" ]; then
  echo "$folder"
  exit
fi

work=$(mktemp -d "$LANGO_DEBIAN/fetching.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists,archives}/partial "$work/done"/{root,kernel}
: >"$work/status"
# Read after this machine's own settings: its hooks would clear its own caches. Sources, keys and proxies stay as they are.
cat >"$work/apt.conf" <<CONF
#clear APT::Architectures;
#clear APT::Update;
#clear DPkg;
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Dir::State "$work";
Dir::State::status "$work/status";
Dir::Cache "$work";
CONF

say "fetching $kernel and ${*} for $architecture from Debian (once)"
# An index that cannot be fetched need not be the one that is wanted: what follows decides.
apt-get -q -c "$work/apt.conf" update >"$work/log" 2>&1 || true
fetch() {
  "$@" >>"$work/log" 2>&1 && return
  tail -n 20 "$work/log" >&2
  die "could not be fetched from this machine's Debian sources: ${*:4}"
}
fetch apt-get -c "$work/apt.conf" -q --download-only --yes install "$@"
# The image alone: it depends on what would install it.
image=$(apt-cache -c "$work/apt.conf" depends "$kernel" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p')
[ -n "$image" ] || die "this machine's Debian sources have no package $kernel for $architecture"
(cd "$work" && fetch apt-get -c apt.conf -q download "$image")

for package in "$work"/archives/*.deb; do dpkg-deb -x "$package" "$work/done/root"; done
dpkg-deb -x "$work"/linux-image-*.deb "$work/done/kernel"
# In one step: an interrupted run leaves no half folder behind.
mv -T "$work/done" "$folder"
echo "$folder"
