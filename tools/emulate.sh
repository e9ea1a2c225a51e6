#!/usr/bin/env bash
# Boots the emulated router for people: its console here, its portal on this machine's own port. Nothing of it needs root, and nothing
# but that port is seen of it.
#
#   tools/emulate.sh FOLDER     as tools/firmware.sh made it
#
# Its disk is FOLDER/emulate.disk: what was sold and set is there the next time, too. Remove it for a router fresh from its box.
set -euo pipefail
folder=$1
port=${PORT:-8080}
disk=$folder/emulate.disk
# As large as its board's file says: memory, and what OpenWrt's image leaves of the flash.
board=board/emulated-${folder##*/}.toml
ram=$(sed -n 's/^ram_mb = //p' "$board")
free=$(sed -n 's/^free_mb = //p' "$board")
if [ -z "$ram" ] || [ -z "$free" ]; then
  echo "tools/emulate.sh: $board has no ram_mb, or no free_mb" >&2
  exit 1
fi
PATH=$PATH:/usr/sbin:/sbin
mapfile -t machine <"$folder/command"

if [ ! -e "$disk" ]; then
  # The portal's pages lead to its own name, which this machine's browser does not know: here it is this machine's address.
  files=$(mktemp -d)
  trap 'rm -rf "$files"' EXIT
  mkdir -p "$files/upper/etc/config"
  sed "s/^config gateway .*/&\n\toption portal_host '127.0.0.1'\n\toption portal_port '$port'/" images/files/etc/config/lango >"$files/upper/etc/config/lango"
  chmod 600 "$files/upper/etc/config/lango"
  truncate -s "${free}M" "$disk.new"
  mkfs.ext4 -q -F -m 0 -E root_owner=0:0 -d "$files" "$disk.new"
  mv "$disk.new" "$disk"
  rm -rf "$files"
  trap - EXIT
fi

cat <<NOTICE

A router with Lango, emulated. When it says that it is up (some 20 s):
  http://127.0.0.1:$port   its portal, as a customer sees it; this machine is a device on its Wi-Fi that has not paid
  lango status            here, on its console (Enter, then: lango sessions, lango check, vi /etc/config/lango, reboot …)
It has no M-Pesa: that takes a relay (make demo shows the whole way). Let this machine's device in with
  lango grant 52:55:c0:a8:01:02 hour
What it writes is kept in ${disk#"$PWD/"}. Ctrl-C ends it, as a power cut would.

NOTICE
exec "${machine[@]}" -m "$ram" -nodefaults -display none -monitor none \
  -chardev stdio,id=console,signal=on -serial chardev:console \
  -kernel "$folder/kernel" -initrd "$folder/initrd" -append 'console=ttyAMA0 quiet panic=10' \
  -drive "file=$folder/rom,if=none,id=rom,format=raw,readonly=on" -device virtio-blk-device,drive=rom,serial=rom \
  -drive "file=$disk,if=none,id=overlay,format=raw" -device virtio-blk-device,drive=overlay,serial=overlay \
  -netdev "user,id=lan,restrict=on,net=192.168.1.0/24,host=192.168.1.2,hostfwd=tcp:127.0.0.1:$port-192.168.1.1:$port" \
  -device virtio-net-device,netdev=lan,mac=52:54:00:00:00:01 \
  -netdev user,id=wan -device virtio-net-device,netdev=wan,mac=52:54:00:00:00:02
