#!/usr/bin/env bash
# Runs the gate's tests on the kernel of a router, as far as one can without one: Linux 6.1 for ARM, emulated by QEMU.
#
#   tools/test-kernel.sh [ARGUMENTS OF THE TEST PROGRAMS]
#
# The test programs are built static for the processor, packed into a RAM file system with Debian's kernel, its modules and the
# tools that the tests call, and run there as root. Each one's exit status comes back through a port of its own, beside
# the console: it passes only if every program said so, and the machine then switched itself off. A panic, an oops, a test that
# hangs, a machine that stands still (deadline) or a missing word is a failure.
#
# The machine's clock counts instructions, four nanoseconds each: what it measures does not depend on how busy this machine
# is, and what it waits for takes no time here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

KERNEL=6.1
# Test programs of the package lango, each run by itself.
read -ra TESTS <<<"${TESTS:-gate speeds}"
# What the tests call. Their libraries come along.
PACKAGES=(busybox-static iproute2 nftables iputils-ping conntrack netbase)
PROGRAMS=(bin/ip sbin/tc usr/sbin/nft bin/ping usr/sbin/conntrack)
# Names that these programs print.
FILES=(etc/protocols etc/services)
# What OpenWrt has built in or in its own packages, and what the tests' hosts are made of. Those that a module needs come along.
MODULES=(
  virtio_mmio virtio_pci virtio_console
  nf_tables nft_ct nft_quota nft_objref nft_limit nft_log nft_redir nft_masq nft_chain_nat nft_reject_inet nft_fib_inet nft_numgen nft_hash
  nfnetlink_log nf_conntrack_netlink nf_flow_table nf_flow_table_inet nft_flow_offload
  sch_htb sch_fq_codel sch_ingress act_mirred cls_matchall
  veth bridge 8021q dummy ifb tun
)
# A cheap router has no more.
MEMORY=${MEMORY:-256}
# Seconds of this machine. It takes a tenth of that, but other work may leave little of the processor to the emulator.
DEADLINE=${DEADLINE:-3600}

say() { printf '  %s\n' "$*" >&2; }
die() { printf 'tools/test-kernel.sh: %s\n' "$*" >&2; exit 1; }

arch=aarch64
target=aarch64-unknown-linux-musl debian=arm64 package=linux-image-cloud-arm64 console=ttyAMA0
machine=(qemu-system-aarch64 -M virt -cpu cortex-a53 -device virtio-serial-device)
# Programs for the administrator are not on every user's PATH.
PATH=$PATH:/usr/sbin:/sbin
work=${CARGO_TARGET_DIR:-$PWD/target}/kernel/$arch
rm -rf "$work"
mkdir -p "$work"

started=$SECONDS
selection=()
for test in "${TESTS[@]}"; do selection+=(--test "$test"); done
tools/cross.sh build "$target" --package lango "${selection[@]}" --message-format=json-render-diagnostics >"$work/built"
fetched=$(tools/debian.sh "$debian" "$package" "${PACKAGES[@]}")
say "built in $((SECONDS - started)) s"

# --- what the machine starts with
root=$work/root
mkdir -p "$root"/{bin,sbin,lib,usr/bin,usr/sbin,etc,tests}
release=$(basename "$fetched"/kernel/lib/modules/*)
[[ $release == "$KERNEL".* ]] || die "Debian's $package is Linux $release, and $KERNEL is wanted: this takes the sources of Debian 12 in apt"

# Libraries are asked for by name in each program, their loader by its path.
libraries_of() { readelf --wide --dynamic "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p'; }
add_libraries() { # FILE
  local name found
  for name in $(libraries_of "$1"); do
    # The loader comes by its path, below.
    if [ -e "$root/lib/$name" ] || [[ $name == ld-linux* ]]; then continue; fi
    found=$(find -L "$fetched/root/lib" "$fetched/root/usr/lib" -name "$name" -print -quit)
    [ -n "$found" ] || die "$1 needs $name, which none of the packages has"
    cp -L "$found" "$root/lib/$name"
    add_libraries "$found"
  done
}
cp "$fetched/root/bin/busybox" "$root/bin/"
for program in "${PROGRAMS[@]}"; do
  cp -L "$fetched/root/$program" "$root/usr/sbin/"
  add_libraries "$fetched/root/$program"
  interpreter=$(readelf --wide --program-headers "$fetched/root/$program" | sed -n 's/.*program interpreter: \(.*\)\]/\1/p')
  # Its path may be a link that would lead to this machine's own.
  [ -e "$root$interpreter" ] || install -D "$(find "$fetched/root" -type f -name "$(basename "$interpreter")" -print -quit)" "$root$interpreter"
done

for file in "${FILES[@]}"; do cp "$fetched/root/$file" "$root/$file"; done
for test in "${TESTS[@]}"; do
  program=$(sed -n 's/.*"name":"'"$test"'".*"test":true.*"executable":"\([^"]*\)".*/\1/p' "$work/built")
  [ -x "$program" ] || die "cargo did not say where the test program $test is"
  cp "$program" "$root/tests/$test"
  echo "$test $*"
done >"$root/tests/list"
# A test reads this page where it was when the test was built.
install -D -m 644 docs/gate.md "$root$PWD/docs/gate.md"
mkdir -p "$root$PWD/src/router"

# modprobe says what belongs to a module, in the order in which it is loaded.
modules=$work/modules
mkdir -p "$modules/lib/modules"
cp -rs "$fetched/kernel/lib/modules/$release" "$modules/lib/modules/"
depmod -b "$modules" "$release"
printf '%s\n' "${MODULES[@]}" >"$root/tests/modules"
for module in "${MODULES[@]}"; do
  modprobe --dirname "$modules" --set-version "$release" --show-depends "$module" || die "Linux $release has no module $module"
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u | while read -r file; do
  install -D -m 644 "$file" "$root/${file#"$modules/"}"
done
cp "$fetched/kernel/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} "$root/lib/modules/$release/"
depmod -b "$root" "$release"

install -m 755 tools/kernel-init.sh "$root/init"
(cd "$root" && find . -print0 | LC_ALL=C sort --zero-terminated | cpio --null --create --format=newc --owner=0:0 --quiet) >"$work/initrd"

# --- the machine
say "starting Linux $release on an emulated $arch with $MEMORY MB"
: >"$work/result"
timeout --kill-after=10 "$DEADLINE" "${machine[@]}" -icount shift=2,sleep=off -smp 2 -m "$MEMORY" -nodefaults -display none -monitor none -no-reboot \
  -chardev "stdio,id=console,signal=off,logfile=$work/console" -serial chardev:console \
  -kernel "$fetched/kernel/boot/vmlinuz-$release" -initrd "$work/initrd" \
  -append "console=$console quiet oops=panic panic=-1" \
  -chardev "file,id=result,path=$work/result" -device virtserialport,chardev=result,name=result \
  </dev/null &
emulator=$!
trap 'kill "$emulator" 2>/dev/null || true' EXIT
status=0
wait "$emulator" || status=$?
trap - EXIT

# --- what came of it
expected=$(printf '%s 0\n' "${TESTS[@]}"; echo end)
if [ "$status" = 124 ]; then
  die "the machine did not end within $DEADLINE s: the console is in $work/console"
elif [ "$status" != 0 ]; then
  die "the emulator ended with status $status: the console is in $work/console"
elif [ "$(cat "$work/result")" != "$expected" ]; then
  die "not passed: the programs' statuses are '$(paste -sd, "$work/result")', not '$(paste -sd, <<<"$expected")'. The console is in $work/console"
fi
rm -rf "$root" "$modules" "$work/initrd"
printf 'The tests %s pass on Linux %s for %s (%d s in all)\n' "$(IFS=,; echo "${TESTS[*]}")" "$release" "$arch" $((SECONDS - started))
