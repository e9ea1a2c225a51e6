#!/usr/bin/env bash
# Makes the emulated router's image: what a router with Lango's package has in its flash, on Debian's kernel.
#
#   tools/firmware.sh ARCH      aarch64 or armv7; prints the folder: kernel, initrd, rom (a squashfs), command (the emulator and its
#                               machine, a word a line), program (the router's own) and target (what that was built for)
#
# The package is the one that routers get, unpacked by its installer's rules: of the .ipk its data, its lists and what its postinst does in
# an image (opkg, armv7); of the .apk the same (aarch64). What it finds there is OpenWrt's own configuration and `uci`, and a
# stand-in for the rest (images/emulated).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PACKAGES=(busybox-static iproute2 nftables dnsmasq-base conntrack netbase)
PROGRAMS=(sbin/tc usr/sbin/nft usr/sbin/dnsmasq usr/sbin/conntrack)
# For the disks, before there is a root.
FIRST_MODULES=(virtio_mmio virtio_blk squashfs overlay crc32c_generic ext4)
# What OpenWrt has built in, or the package asks for.
MODULES=(
  virtio_mmio virtio_net virtio_console bridge
  nf_tables nft_ct nft_quota nft_objref nft_limit nft_log nft_redir nft_masq nft_chain_nat nft_reject_inet nft_fib_inet nft_numgen nft_hash
  nfnetlink_log nf_conntrack_netlink
  sch_htb sch_fq_codel sch_ingress act_mirred cls_matchall ifb tun
)

say() { printf '  %s\n' "$*" >&2; }
die() { printf 'tools/firmware.sh: %s\n' "$*" >&2; exit 1; }
# shellcheck source=tools/emulated.sh
. tools/emulated.sh
# shellcheck source=tools/paths.sh
. tools/paths.sh

[ $# = 1 ] || die 'usage: tools/firmware.sh ARCH'
arch=$1
target='' debian='' package='' machine=() fetched='' release=''
# One processor: slower than any router that is sold.
emulated_router "$arch" 1
# Programs for the administrator are not on every user's PATH.
PATH=$PATH:/usr/sbin:/sbin
programs=${CARGO_TARGET_DIR:-$PWD/target}
out=$programs/firmware/$arch
work=$out/work
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
exec 3>&1 >&2

fetch_debian "${PACKAGES[@]}"
tools/uci.sh "$target"

# --- the package, from the file that a router would fetch
architecture=$(sed -n 's/^architecture = "\(.*\)"/\1/p' "board/emulated-$arch.toml")
[ -d "$work/keys" ] || "$programs/lab/lango-images" keys "$work/keys" >/dev/null
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} \
  "$programs/lab/lango-images" packages "$architecture" --out "$work/packages" --keys "$work/keys" >/dev/null
feed=$work/packages/$architecture

root=$work/root
mkdir -p "$root"/{bin,sbin,lib,usr/bin,usr/sbin,usr/lib,etc/config,etc/init.d,etc/rc.d,etc/modules.d,etc/uci-defaults,etc/hotplug.d,proc,sys,dev,rom,overlay,tmp,root}
ln -s tmp "$root/var"
ln -s tmp/run "$root/run"
ln -s /tmp/resolv.conf "$root/etc/resolv.conf"

# --- OpenWrt, or what stands for it
cp "$fetched/root/bin/busybox" "$root/bin/"
# Its shell finds the others without links.
for name in bin/sh sbin/{init,modprobe,poweroff,reboot} usr/bin/env; do ln -s /bin/busybox "$root/$name"; done
for program in "${PROGRAMS[@]}"; do add_program "$root" "$program" usr/sbin; done
add_program "$root" bin/ip sbin
install -m 755 "$LANGO_UCI-$target" "$root/sbin/uci"
install -m 755 images/emulated/openwrt-stand-in.sh "$root/lib/"
for name in etc/rc.common lib/functions.sh sbin/{openwrt-tests,service} lib/openwrt-udhcpc.sh bin/ubus bin/jsonfilter etc/init.d/{rcS,boot,dnsmasq,firewall,network,done}; do
  ln -s "$(realpath --no-symlinks --relative-to="$root/${name%/*}" "$root/lib/openwrt-stand-in.sh")" "$root/$name"
done
# In the order of OpenWrt's own.
for name in S10boot S19dnsmasq S19firewall S20network S95done; do ln -s "../init.d/${name#S??}" "$root/etc/rc.d/$name"; done
cp images/emulated/inittab "$root/etc/"
cp images/emulated/network images/tests/openwrt/{dhcp,firewall,system} "$root/etc/config/"
cp "$fetched"/root/etc/{protocols,services} "$root/etc/"
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:*:65534:65534:nobody:/var:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
printf '%s\n' "${MODULES[@]}" >"$root/etc/modules.d/router"
add_modules "$root" "$work/modules" "${MODULES[@]}"

# --- the package onto it
info=$work/info
mkdir -p "$info"
case $arch in
  armv7)
    # opkg: a gzipped tar of the two others.
    mkdir "$work/ipk"
    tar -xzf "$feed"/lango_*.ipk -C "$work/ipk"
    tar -xzf "$work/ipk/data.tar.gz" -C "$root"
    tar -xzf "$work/ipk/control.tar.gz" -C "$info"
    mkdir -p "$root/usr/lib/opkg/info"
    tar -tzf "$work/ipk/data.tar.gz" | sed -n 's|^\./\(.*[^/]\)$|/\1|p' >"$root/usr/lib/opkg/info/lango.list"
    cp "$info/control" "$root/usr/lib/opkg/info/lango.control"
    cp "$info/conffiles" "$root/usr/lib/opkg/info/lango.conffiles"
    ;;
  aarch64)
    # apk: read by the same reader as in the packages' tests; it checks signature and digests as apk does.
    python3 images/tests/read_apk.py "$feed"/lango-*.apk "$work/packages/keys/lango-feed.pub.pem" "$root" >"$info/told"
    python3 -c 'import json, sys; sys.stdout.write(json.load(sys.stdin)["scripts"]["post-install"])' <"$info/told" >"$info/postinst"
    ;;
esac
# As in an image that is made on another machine.
IPKG_INSTROOT=$root sh "$info/postinst" || die "the package's postinst failed"
[ -L "$root/etc/rc.d/S18lango" ] || die "the package's postinst enabled nothing"
mksquashfs "$root" "$work/rom" -comp xz -b 256K -all-root -noappend -quiet -no-progress >/dev/null

# --- what the machine starts with
first=$work/first
mkdir -p "$first"/{bin,lib}
cp "$fetched/root/bin/busybox" "$first/bin/"
add_modules "$first" "$work/modules" "${FIRST_MODULES[@]}"
printf '%s\n' "${FIRST_MODULES[@]}" >"$first/modules"
install -m 755 images/emulated/initramfs.sh "$first/init"
pack_initrd "$first" >"$work/initrd"

cp "$fetched/kernel/boot/vmlinuz-$release" "$out/kernel"
mv "$work/rom" "$work/initrd" "$out/"
printf '%s\n' "${machine[@]}" >"$out/command"
# What updates of it are made from.
cp "$root/usr/sbin/lango" "$out/program"
echo "$target" >"$out/target"
say "emulated $arch: Linux $release, a root of $(($(stat -c %s "$out/rom") / 1024)) KiB with $(basename "$feed"/lango[_-]*."$([ "$arch" = armv7 ] && echo ipk || echo apk)")"
echo "$out" >&3
