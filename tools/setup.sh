#!/usr/bin/env bash
# Installs what is missing on this machine, and nothing that is there. Quick when nothing is missing.
#
#   tools/setup.sh [build] [lab] [browser] [lint] [cross] [kernel] [firmware] [fuzz] [packages]     (none: build and lab)
#   tools/setup.sh check       whether all the Debian packages that it may ask for can be on one machine; installs nothing
#
#   build   what compiles Lango          lab     what the demo and the end-to-end tests run: real DHCP, DNS, MQTT, RADIUS, nftables
#   browser what walks through the portal: Chromium, and axe-core (in no product)
#   lint    formatter, clippy, deny      cross   what builds for the routers' processors (tools/cross.sh)
#   kernel  what emulates a router (tools/test-kernel.sh)          fuzz   libFuzzer's compiler (tools/fuzz.sh)
#   firmware  what an emulated router's flash is made with (tools/firmware.sh)
#   packages  what the tests read OpenWrt packages back with, and run their scripts by (tools/uci.sh)
#
# System packages come by apt-get on Debian and its kin, as root or through sudo. Elsewhere it says what is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

MINIMUM_RUST=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
CARGO_DENY_VERSION=0.20.2
AXE_VERSION=4.14.1
AXE_SHA256=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c # of its axe.min.js
# shellcheck source=tools/paths.sh
. tools/paths.sh

say() { printf '  %s\n' "$*" >&2; }
die() { printf '\nset-up: %s\n' "$*" >&2; exit 1; }

PARTS=(build lab browser lint cross kernel firmware fuzz packages)
missing=()   # Debian packages
wanted=()    # the same, and those that are there
root=()      # what makes a command run as root
want() { # PACKAGE PROGRAM: the package is wanted where the program is not found
  want_unless "$1" command -v "$2"
}
want_unless() { # 'PACKAGE…' COMMAND…: they are wanted where the command fails
  local packages
  read -ra packages <<<"$1"
  shift
  wanted+=("${packages[@]}")
  "$@" >/dev/null 2>&1 || missing+=("${packages[@]}")
}
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

find_build() {
  want make make
  # The crate ring brings C code. A compiler without the C library's headers is no use.
  want_unless 'gcc libc6-dev' compiles c cc '#include <stdio.h>'
  # Debian's own Rust where there is none. Where there is one, it is left alone: see check_rust.
  want_unless 'rustc-web cargo-web' command -v cargo
}
compiles() { # LANGUAGE COMPILER LINE
  printf '%s\nint main(void) { return 0; }\n' "$3" | "$2" -x "$1" - -o /dev/null
}

find_lab() {
  want iproute2 ip
  want nftables nft
  want conntrack conntrack
  want dnsmasq-base dnsmasq
  want mosquitto mosquitto
  want mosquitto-clients mosquitto_pub
  want udhcpc udhcpc
  want iputils-ping ping
  want openssl openssl
  want curl curl
  want e2fsprogs mkfs.ext4
  want faketime faketime
  want sqlite3 sqlite3
  want signify-openbsd signify-openbsd
  want_busybox
  want strace strace
  want binutils strip
  want freeradius freeradius
  want freeradius-utils radclient
  want_unless freeradius-postgresql test -e /usr/lib/freeradius/rlm_sql_postgresql.so
  # Debian keeps the server's programs off everybody's PATH.
  want_unless postgresql compgen -G '/usr/lib/postgresql/*/bin/initdb'
}

# Static, because the router's scripts are tried in a root folder of its own. Debian's package `busybox` is not, and takes the static one's place:
# there is one of the two on a machine.
want_busybox() { want_unless busybox-static busybox_is_static; }
busybox_is_static() { command -v busybox && ! ldd "$(command -v busybox)"; }

find_browser() {
  want chromium chromium
  want libnss3-tools certutil
  # Without a font there is nothing to read on a picture, and nothing to measure.
  want fontconfig fc-list
  want_unless fonts-dejavu-core has_fonts
  want_unless npm axe_or_npm
}
has_fonts() { [ -n "$(fc-list)" ]; }
axe_or_npm() { axe_is_right || command -v npm; }
axe_is_right() { # [FILE]: it is what was examined; without one: what is installed is
  local file=${1:-$LANGO_AXE}
  [ -f "$file" ] && sha256sum --status -c <<<"$AXE_SHA256  $file"
}

find_lint() {
  want shellcheck shellcheck
  # rustup brings them to its own toolchain (check_lint).
  want_unless rustfmt-web rustup_or rustfmt
  want_unless rust-web-clippy rustup_or cargo-clippy
}
rustup_or() { command -v rustup || command -v "$1"; }

find_cross() {
  want_unless python3-venv python3 -c 'import ensurepip, venv'
  want xz-utils xz
  want_unless 'rustc-web rust-web-src' tools/cross.sh check
}

find_kernel() {
  want qemu-system-arm qemu-system-aarch64
  want binutils readelf
  want cpio cpio
  want kmod depmod
}

find_firmware() {
  find_kernel
  want python3 python3
  want openssl openssl
  want e2fsprogs mkfs.ext4
  want squashfs-tools mksquashfs
}

find_fuzz() {
  # LLVM's fuzzer comes as C++ source.
  want_unless g++ compiles c++ c++ '#include <vector>'
}

find_packages() {
  want python3 python3
  want openssl openssl
  want signify-openbsd signify-openbsd
  want binutils ar
  want_busybox
  want dash dash
  want shellcheck shellcheck
  want dnsmasq-base dnsmasq
  # What the start script closes, between networks.
  want nftables nft
  want iproute2 ip
  want iputils-ping ping
  want procps sysctl
}

install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  local packages
  mapfile -t packages < <(printf '%s\n' "${missing[@]}" | sort -u)
  command -v apt-get >/dev/null ||
    die "this machine has no apt-get. Install what these Debian packages hold, by your system's own means: ${packages[*]}"
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "as root, run: apt-get install ${packages[*]}"
    root=(sudo)
  fi
  say "installing: ${packages[*]}"
  local log; log=$(mktemp)
  local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)
  # Debian starts the broker, the database and the RADIUS server at once, and at each boot. The tests start their own; nobody asked for one on
  # this machine.
  local service services=()
  for service in mosquitto postgresql freeradius; do
    case " ${packages[*]} " in *" $service "*) services+=("$service") ;; esac
  done
  [ ${#services[@]} -eq 0 ] || hold_services
  case " ${services[*]} " in *" postgresql "*) hold_cluster ;; esac
  # An index that cannot be fetched need not be the one that is wanted: the installation decides.
  if ! { "${apt[@]}" update || true; "${apt[@]}" install -y --no-install-recommends "${packages[@]}"; } 2>&1 </dev/null | tee "$log" | sed -un 's/^Setting up/  set up:/p' >&2; then
    release_cluster
    release_services
    tail -n 20 "$log" >&2
    die "apt-get could not install: ${packages[*]} (its last lines are above, all of them in $log)"
  fi
  rm -f "$log"
  release_cluster
  release_services
  [ -d /run/systemd/system ] || return 0
  for service in "${services[@]}"; do
    "${root[@]}" systemctl disable --quiet "$service.service" || say "$service.service could not be disabled: it will start at the next boot"
  done
}

# policy-rc.d is Debian's way to let packages be installed without starting their services. An operator's own stays.
policy=/usr/sbin/policy-rc.d
held=no
hold_services() {
  [ -e $policy ] && return
  held=yes
  trap 'release_cluster; release_services' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee $policy >/dev/null
  "${root[@]}" chmod 755 $policy
}
release_services() {
  [ $held = yes ] || return 0
  held=no
  "${root[@]}" rm -f $policy
}

# With its first server Debian makes a database cluster, unless this file says otherwise. An operator's own file stays.
cluster=/etc/postgresql-common/createcluster.conf
cluster_held=no
hold_cluster() {
  [ -e $cluster ] && return
  cluster_held=yes
  "${root[@]}" mkdir -p "${cluster%/*}"
  printf 'create_main_cluster = false\n' | "${root[@]}" tee $cluster >/dev/null
}
release_cluster() {
  [ $cluster_held = yes ] || return 0
  cluster_held=no
  # As Debian ships it, for who wants a server here one day.
  local shipped=/usr/share/postgresql-common/createcluster.conf
  if [ -e $shipped ]; then "${root[@]}" cp $shipped $cluster; else "${root[@]}" rm -f $cluster; fi
}

check_rust() {
  local version
  version=$(cargo --version 2>/dev/null | cut -d' ' -f2) || true
  [ -n "$version" ] || die "Rust is missing: install $MINIMUM_RUST or newer as https://rustup.rs says (as the same user), and try again"
  at_least "$MINIMUM_RUST" "${version%%-*}" ||
    die "Rust $MINIMUM_RUST or newer is wanted and this is $version. With rustup: rustup update stable"
}

check_lint() {
  if ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
    say "adding rustfmt and clippy to the toolchain"
    rustup component add rustfmt clippy || die "cargo fmt or cargo clippy is missing, and rustup could not add them"
  fi
  [ -x "$LANGO_TOOLS/bin/cargo-deny" ] || command -v cargo-deny >/dev/null || install_deny
}

install_axe() {
  axe_is_right && return
  say "getting axe-core $AXE_VERSION into $LANGO_TOOLS"
  local folder; folder=$(mktemp -d)
  (cd "$folder" && npm pack --silent "axe-core@$AXE_VERSION" >/dev/null && tar -xzf axe-core-*.tgz package/axe.min.js) ||
    die "npm could not get axe-core $AXE_VERSION"
  # Only what was examined gets to where it is used.
  if ! axe_is_right "$folder/package/axe.min.js"; then
    rm -rf "$folder"
    die "what came as axe-core $AXE_VERSION is not what was examined: its SHA-256 is another one"
  fi
  mkdir -p "${LANGO_AXE%/*}"
  mv "$folder/package/axe.min.js" "$LANGO_AXE"
  rm -rf "$folder"
}

install_deny() {
  say "building cargo-deny $CARGO_DENY_VERSION into $LANGO_TOOLS (once; some minutes)"
  # Out of this folder: the project's toolchain and target directory are not its business.
  (cd / && env -u CARGO_TARGET_DIR cargo install --quiet --locked --root "$LANGO_TOOLS" "cargo-deny@$CARGO_DENY_VERSION")
}

# Two packages that exclude each other are found on a machine that has neither, which is nobody's who changes this.
check_packages() {
  local part packages
  for part in "${PARTS[@]}"; do "find_$part"; done
  mapfile -t packages < <(printf '%s\n' "${wanted[@]}" | sort -u)
  if ! command -v apt-get >/dev/null; then
    say "not checked, for lack of apt-get: whether these can be on one machine: ${packages[*]}"
    return
  fi
  # As on a machine that has nothing yet: what this one has would answer for itself.
  local problem
  problem=$(apt-get install --simulate --no-install-recommends -o Dir::State::status=/dev/null "${packages[@]}" 2>&1) ||
    die "these Debian packages cannot be on one machine (or apt-get update was never run): ${packages[*]}
$(tail -n 8 <<<"$problem")"
}

[ $# -gt 0 ] || set -- build lab
# Programs for the administrator are not on every user's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
if [ "$*" = check ]; then
  check_packages
  exit
fi
for part in "$@"; do
  case " ${PARTS[*]} " in
    *" $part "*) "find_$part" ;;
    *) die "there is no part '$part'; these are known: ${PARTS[*]}" ;;
  esac
done
install_missing
hash -r
check_rust
for part in "$@"; do
  case $part in
    browser) install_axe ;;
    lint) check_lint ;;
    cross) tools/cross.sh check ;;
    packages) tools/uci.sh ;;
  esac
done
