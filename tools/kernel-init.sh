#!/bin/busybox sh
# shellcheck shell=dash
# The first process of the emulated router (tools/test-kernel.sh packs it as /init): loads the modules, runs the tests one after the
# other, and tells each one's exit status through the port "result". Whatever goes wrong here ends without the last line there.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

/bin/busybox mkdir -p /proc /sys /dev /run /tmp /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s
stty -onlcr
mount -t tmpfs run /run

failed() {
  echo "the emulated router could not start its tests: $*"
  poweroff -f
  # Until it is off: the end of the first process would be a panic.
  sleep 60
}

# As a router does at its start: the tests see a kernel that has all, not one that fetches what it lacks in the middle of them.
while read -r module; do
  modprobe "$module" || failed "modprobe $module"
done </tests/modules

port=
for name in /sys/class/virtio-ports/*/name; do
  if [ "$(cat "$name")" = result ]; then port=$(basename "$(dirname "$name")"); fi
done
[ -n "$port" ] || failed 'there is no port for the result'
exec 3>"/dev/$port"

ip link set lo up
echo "Linux $(uname -r) on $(uname -m), $(nproc) processors, $(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo) MB, up for $(cut -d' ' -f1 /proc/uptime) s"
while read -r test arguments; do
  echo "--- $test $arguments"
  # In this machine's seconds, and many times what it takes: a test that hangs ends here.
  # shellcheck disable=SC2086 # several arguments
  timeout -s KILL 900 "/tests/$test" $arguments
  echo "$test $?" >&3
done </tests/list
echo "end" >&3
awk '/MemAvailable/ { print "--- free memory at the end: " int($2 / 1024) " MB" }' /proc/meminfo
exec 3>&-
poweroff -f
sleep 60
