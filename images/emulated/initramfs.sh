#!/bin/busybox sh
# shellcheck shell=dash
# The first process of the emulated router (packed as /init): puts the root together as OpenWrt does, a squashfs that nobody changes and over it
# what was written, on a disk of its own that outlives the power. Then it gives way to init.
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /rom /overlay /root
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

failed() {
	echo "the emulated router has no root: $*"
	poweroff -f
	# Until it is off: the end of the first process would be a panic.
	sleep 60
}

while read -r module; do
	modprobe "$module" || failed "modprobe $module"
done </modules

disk() { # SERIAL: the device; they come in no certain order
	local file
	for file in /sys/block/vd*/serial; do
		if [ "$(cat "$file")" = "$1" ]; then
			file=${file%/serial}
			echo "/dev/${file##*/}"
			return
		fi
	done
	return 1
}

rom=$(disk rom) || failed 'its first disk is missing'
overlay=$(disk overlay) || failed 'its second disk is missing'
mount -t squashfs -o ro "$rom" /rom || failed 'rom'
# As OpenWrt mounts it. The journal comes back by itself after a power cut.
mount -t ext4 -o rw,noatime "$overlay" /overlay || failed 'overlay'
mkdir -p /overlay/upper /overlay/work
mount -t overlay -o noatime,lowerdir=/rom,upperdir=/overlay/upper,workdir=/overlay/work overlayfs:/overlay /root || failed 'the two together'
for folder in proc sys dev rom overlay; do
	mount --move /$folder /root/$folder || failed "/$folder"
done
exec /bin/busybox switch_root /root /sbin/init
