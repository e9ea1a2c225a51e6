#!/bin/busybox sh
# shellcheck shell=dash
# The first process of the emulated router (tools/test-kernel.sh packs it as /init): loads the modules, runs the tests one after the
# other, and tells what came of them through the port "result". Whatever goes wrong here ends without the last line there.
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

# The kernel measures its table of connections by the memory: with 128 MB it has room for 1,024 of them. Nobody runs a hotspot on that,
# and one of the tests wants twenty thousand; they take 8 MB.
{ echo 8192 >/sys/module/nf_conntrack/parameters/hashsize && echo 32768 >/proc/sys/net/netfilter/nf_conntrack_max; } ||
  failed 'the table of connections cannot be made larger'
# One test at a time: each has the machine for itself, as a gate has its router. Waiting costs nothing here (the clock of an idle machine
# jumps), so that two at a time would not be quicker.
export RUST_TEST_THREADS=1
# Its kernel has flowtables, and the modules are loaded: a test that finds none fails, where on other kernels it does without.
export LANGO_FLOWTABLES=1
# An oops is a panic, and so is memory that ran out: what follows either would say nothing of the tests.
echo 1 >/proc/sys/vm/panic_on_oom

ip link set lo up
echo "Linux $(uname -r) on $(uname -m), $(nproc) processors, $(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo) MB, up for $(cut -d' ' -f1 /proc/uptime) s"
while read -r test arguments; do
  echo "--- $test $arguments"
  # In this machine's seconds, and many times what it takes: a test that hangs ends here.
  # shellcheck disable=SC2086 # several arguments
  { timeout -s KILL 900 "/tests/$test" $arguments 2>&1; echo "$test status $?" >&3; } | tee /run/said
  # What the test program counted itself.
  sed -n "s/^test result: .* \([0-9]* passed; [0-9]* failed; [0-9]* ignored\);.*finished in \([0-9.]*\)s.*/$test result \1; \2 s/p" /run/said >&3
  rm /run/said
  awk '/MemAvailable/ { print "--- free memory: " int($2 / 1024) " MB; up for '"$(cut -d' ' -f1 /proc/uptime)"' s" }' /proc/meminfo
done </tests/list
echo "end" >&3
exec 3>&-
poweroff -f
sleep 60
