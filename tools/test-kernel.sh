#!/usr/bin/env bash
# Runs the gate's tests on the kernel of a router, as far as one can without one: Linux 6.1 for ARM, emulated by QEMU.
#
#   tools/test-kernel.sh [ARGUMENTS OF THE TEST PROGRAMS]
#
#   ARCH=aarch64 or armv7   the router's processor           TESTS='gate speeds'   which test programs
#   MEMORY=128              its memory, in MB                DEADLINE, PROCESSOR   the longest that it may take, see below
#   QUICK=1                 some tests of each kind, those named below, and no arguments
#
# The test programs are built static for the processor, packed into a RAM file system with Debian's kernel, its modules and the
# tools that the tests call, and run there as root. What came of each comes back through a port of its own, beside the console: its
# exit status, and how many of its tests passed and failed by its own count. It passes only if every program said so, and the
# machine then switched itself off. A panic, an oops, memory that ran out, a test that hangs, a machine that stands still, a test
# that was left out or a missing word is a failure, and the reason is told.
#
# The machine's clock counts instructions, four nanoseconds each: what it measures does not depend on how busy this machine
# is, and what it waits for takes no time here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Test programs of the package lango, each run by itself.
read -ra TESTS <<<"${TESTS:-gate speeds}"
# With QUICK=1: what depends on the kernel most, of each kind, in some minutes.
QUICK_TESTS=(
  limits::the_data_limit_is_one_for_all_devices_and_both_ways_and_never_passed
  limits::the_kernel_says_when_the_data_is_used_up
  limits::time_ends_by_itself_with_nobody_running
  captive::a_captive_device_reaches_nothing_outside_by_any_protocol
  captive::port_80_and_dns_of_captive_devices_go_to_the_router
  conntrack::both_ends_of_open_connections_are_reset_and_the_portal_s_goes_on
  copies::what_a_copy_sends_outward_ends_on_nobody_s_account
  filling::from_its_first_part_on_nobody_passes_who_is_not_known
  installing::nft_prints_the_table_as_documented
  offload::with_it_on_all_that_a_paid_device_sends_is_counted_and_cut
  offload::without_the_two_rules_of_the_gate_it_would_pass_uncounted
  neighbours::who_comes_while_events_are_being_lost_is_told_as_well
  takeover::a_new_daemon_takes_over_without_losing_a_packet_or_a_byte
  takeover::rules_of_another_config_are_replaced_and_accounts_stay
  # Of the program speeds.
  two_customers_have_a_speed_each
  speeds_change_on_a_live_connection_and_go
)
quick=
case ${QUICK:-0} in
  0 | '') ;;
  *)
    [ $# = 0 ] || { printf 'tools/test-kernel.sh: QUICK=1 takes no arguments\n' >&2; exit 1; }
    quick=yes
    set -- --exact "${QUICK_TESTS[@]}"
    ;;
esac
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
MEMORY=${MEMORY:-128}
# Seconds of this machine, and of its processor. It takes a tenth of the first, but other work may leave little of the processor to
# the emulator; the second says that it spins, whatever else is done here.
DEADLINE=${DEADLINE:-3600}
PROCESSOR=${PROCESSOR:-1200}

say() { printf '  %s\n' "$*" >&2; }
die() { printf 'tools/test-kernel.sh: %s\n' "$*" >&2; exit 1; }

# shellcheck source=tools/emulated.sh
. tools/emulated.sh

arch=${ARCH:-aarch64}
console=ttyAMA0
target='' machine=() fetched='' release=''
# 32-bit: with a second processor, and a clock that counts instructions, this kernel stands still where it changes its clock source.
emulated_router "$arch" "$([ "$arch" = armv7 ] && echo 1 || echo 2)"
# Programs for the administrator are not on every user's PATH.
PATH=$PATH:/usr/sbin:/sbin
work=${CARGO_TARGET_DIR:-$PWD/target}/kernel/$arch
rm -rf "$work"
mkdir -p "$work"

started=$SECONDS
selection=()
for test in "${TESTS[@]}"; do selection+=(--test "$test"); done
# Optimised as on the router, but not across crates: that takes minutes for each program, and shows nothing of the kernel.
CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
  tools/cross.sh build "$target" --package lango "${selection[@]}" --message-format=json-render-diagnostics >"$work/built"
fetch_debian "${PACKAGES[@]}"
say "built in $((SECONDS - started)) s"

# --- what the machine starts with
root=$work/root
mkdir -p "$root"/{bin,sbin,lib,usr/bin,usr/sbin,etc,tests}
cp "$fetched/root/bin/busybox" "$root/bin/"
for program in "${PROGRAMS[@]}"; do add_program "$root" "$program" usr/sbin; done
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

printf '%s\n' "${MODULES[@]}" >"$root/tests/modules"
add_modules "$root" "$work/modules" "${MODULES[@]}"
install -m 755 tools/kernel-init.sh "$root/init"
pack_initrd "$root" >"$work/initrd"

# --- the machine
say "starting Linux $release on an emulated $arch with $MEMORY MB"
: >"$work/result"
begun=$SECONDS
(
  ulimit -t "$PROCESSOR"
  exec timeout --kill-after=10 "$DEADLINE" "${machine[@]}" -icount shift=2,sleep=off -m "$MEMORY" -nodefaults -display none -monitor none -no-reboot \
    -chardev "stdio,id=console,signal=off,logfile=$work/console" -serial chardev:console \
    -kernel "$fetched/kernel/boot/vmlinuz-$release" -initrd "$work/initrd" \
    -append "console=$console quiet oops=panic panic=-1" \
    -device virtio-serial-device -chardev "file,id=result,path=$work/result" -device virtserialport,chardev=result,name=result \
    </dev/null
) &
emulator=$!
trap 'kill "$emulator" 2>/dev/null || true' EXIT
status=0
wait "$emulator" || status=$?
trap - EXIT

# --- what came of it, as the machine itself told it
failed() {
  printf '\n%s\n' "${summary[@]:-The machine told nothing of its tests.}" >&2
  if [ -n "$names" ]; then printf 'failed: %s\n' "$names" >&2; fi
  die "$*. The console is in $work/console"
}
mapfile -t summary < <(sed -n 's/^\([a-z]*\) result /\1: /p' "$work/result")
# A test program's last words are the names of those that failed.
names=$(tr -d '\r' <"$work/console" | awk '/^failures:$/ { told = 1; next } /^test result:/ { told = 0 } told && /^    [a-z_0-9:]+$/ { print $1 }' | paste -sd' ')
died=$(tr -d '\r' <"$work/console" | grep -m 1 -E 'Kernel panic|Out of memory|Oops|could not start its tests' || true)

[ -z "$died" ] || failed "the machine died: $died"
case $status in
  0) ;;
  124 | 137) failed "the machine did not end within $DEADLINE s" ;;
  *) failed "the emulator ended with status $status (152: it took more than $PROCESSOR s of the processor)" ;;
esac
[ "$(tail -n 1 "$work/result")" = end ] || failed "the machine switched itself off before its tests were done"
passed=0
for test in "${TESTS[@]}"; do
  said=$(sed -n "s/^$test status //p" "$work/result")
  [ "$said" = 0 ] || failed "the test program $test ended with status ${said:-unknown}"
  counted=$(sed -n "s/^$test result \([0-9]*\) passed; 0 failed; 0 ignored; .*/\1/p" "$work/result")
  [[ $counted =~ ^[0-9]+$ ]] || failed "the test program $test did not say that all its tests passed"
  passed=$((passed + counted))
done
[ $passed -gt 0 ] || failed "no test ran: none is named like that"
# A name that no test has any more would be left out without a word.
[ -z "$quick" ] || [ $passed = ${#QUICK_TESTS[@]} ] || failed "$passed tests ran, and QUICK_TESTS names ${#QUICK_TESTS[@]}"
rm -rf "$root" "$work/initrd"
printf '%s\n' "${summary[@]}"
printf '%d tests passed, 0 failed, on Linux %s for %s with %s MB (%d s, %d s in all)\n' \
  $passed "$release" "$arch" "$MEMORY" $((SECONDS - begun)) $((SECONDS - started))
