#!/bin/sh
# shellcheck shell=dash disable=SC1090,SC2013,SC2034,SC2086,SC2119,SC2120,SC2154,SC2016
# In OpenWrt's place on the emulated router: as much of procd, rc.common, netifd, fw4, ubus and the package managers' functions as Lango's
# package meets. Debian has none of them; `uci` is OpenWrt's own. One file under several names: the name by which it is called says
# what it is (at the end). It is on no router and in no package. It was held against OpenWrt 25.12 (58aa1b7f16), procd (2c1834a) and firewall4
# (b6e5157): docs/decisions/0054-stand-ins.md says where it differs.

# busybox has programs of the same name, and prefers its own.
ip() { /sbin/ip "$@"; }
option() { uci -q get "$1" || echo "${2-}"; }

# --- procd: runs a service's program, again and again, and hands its words to the log

running() { # SERVICE
	kill -0 "$(cat "/var/run/procd/$1.pid" 2>/dev/null)" 2>/dev/null
}
procd_open_instance() { command='' watched='' hangup='' respawn='' patience=5; }
procd_set_param() {
	local name=$1
	shift
	case $name in
	command) command=$* ;;
	file) watched=$* ;;
	reload_signal) hangup=$1 ;;
	# THRESHOLD PAUSE TIMES; 0 times is for ever, and all that is stood in for.
	respawn) [ "$3" = 0 ] && respawn=$2 ;;
	term_timeout) patience=$1 ;;
	esac
}
procd_close_instance() {
	local at=/var/run/procd/$service now
	mkdir -p /var/run/procd
	now=$(cat $watched /dev/null | md5sum)
	if running "$service" && [ "$(cat "$at.command" 2>/dev/null)" = "$command" ]; then
		[ "$(cat "$at.watched")" = "$now" ] || kill -s "$hangup" "$(cat "$at.pid")"
	else
		procd_kill
		echo "$command" >"$at.command"
		echo "$patience" >"$at.patience"
		# Nothing that its programs are called with has a blank in it.
		setsid /lib/openwrt-stand-in.sh supervise "$service" "$respawn" $command </dev/null >/dev/null 2>&1 &
	fi
	echo "$now" >"$at.watched"
}
procd_add_reload_trigger() { :; }
procd_running() { running "$1"; } # SERVICE
procd_send_signal() { running "$1" && kill -s "$3" "$(cat "/var/run/procd/$1.pid")"; } # SERVICE INSTANCE SIGNAL
procd_kill() {
	local at=/var/run/procd/$service waited=0
	[ -e "$at.supervisor" ] || return 0
	kill "$(cat "$at.supervisor")" 2>/dev/null
	kill "$(cat "$at.pid" 2>/dev/null)" 2>/dev/null
	while running "$service" && [ $waited -lt "$(cat "$at.patience")" ]; do
		sleep 1
		waited=$((waited + 1))
	done
	kill -9 "$(cat "$at.pid" 2>/dev/null)" 2>/dev/null
	rm -f "$at".*
}
supervise() { # SERVICE PAUSE PROGRAM…
	local at=/var/run/procd/$1 name=$1 pause=$2
	shift 2
	echo $$ >"$at.supervisor"
	mkfifo "$at.words"
	logger -t "$name" <"$at.words" &
	exec >"$at.words" 2>&1
	while :; do
		"$@" &
		echo $! >"$at.pid"
		wait $!
		echo "it ended with status $?"
		[ -n "$pause" ] || break
		sleep "$pause"
	done
}

# --- /etc/rc.common: the first line of each service's script

rc_common() { # SCRIPT ACTION ARGUMENTS…
	initscript=$1
	local action=$2
	shift 2
	service=$(readlink -f "$initscript")
	service=${service##*/}
	start() { :; }
	stop() { :; }
	reload() { restart; }
	restart() {
		stop
		start "$@"
	}
	boot() { start "$@"; }
	shutdown() { stop; }
	enabled() {
		[ -L "$IPKG_INSTROOT/etc/rc.d/S$START$service" ] && { [ -z "$STOP" ] || [ -L "$IPKG_INSTROOT/etc/rc.d/K$STOP$service" ]; }
	}
	enable() {
		ln -sf "../init.d/$service" "$IPKG_INSTROOT/etc/rc.d/S$START$service"
		[ -z "$STOP" ] || ln -sf "../init.d/$service" "$IPKG_INSTROOT/etc/rc.d/K$STOP$service"
	}
	disable() { rm -f "$IPKG_INSTROOT"/etc/rc.d/[SK][0-9][0-9]"$service"; }
	. "$initscript"
	if [ -n "$USE_PROCD" ]; then
		start() {
			start_service "$@"
			service_triggers
			! type service_started >/dev/null 2>&1 || service_started
		}
		stop() { procd_kill; }
		reload() {
			if type reload_service >/dev/null 2>&1; then reload_service "$@"; else start "$@"; fi
		}
	fi
	"$action" "$@"
}

# --- /lib/functions.sh: what the package's scripts call

default_postinst() { # SCRIPT…
	local script
	for script in $(grep -h '^/etc/init.d/' "$root/usr/lib/opkg/info/$pkgname.list" "$root/lib/apk/packages/$pkgname.list" 2>/dev/null); do
		# An image is made on another machine: nothing is started, and the first boot's scripts wait for the first boot.
		sh "$root/etc/rc.common" "$root$script" enable || return 1
		[ -n "$root" ] || "$script" start
	done
}

# --- the services of OpenWrt's that this one has

service_boot() {
	# OpenWrt names them by the board; here by the addresses that the emulator gave them.
	local file module script applied
	mount -t tmpfs -o nosuid,nodev,noatime tmpfs /tmp
	mkdir -p /tmp/run /tmp/log /tmp/lock /tmp/sysinfo
	# As OpenWrt's preinit does: what the device tree calls it first.
	tr '\0' '\n' </proc/device-tree/compatible | head -n 1 >/tmp/sysinfo/board_name
	while read -r module; do
		modprobe "$module" || echo "modprobe $module failed" >/dev/console
	done </etc/modules.d/router
	for file in /sys/class/net/*/address; do
		case $(cat "$file") in
		52:54:00:00:00:01) rename "$file" lan-port ;;
		52:54:00:00:00:02) rename "$file" wan-port ;;
		esac
	done
	ip link set lan-port name eth0
	ip link set wan-port name eth1
	ip link set lo up
	hostname "$(option 'system.@system[0].hostname' OpenWrt)"
	syslogd -C64
	! grep -qw log=console /proc/cmdline || logread -f >/dev/console &
	# The first boot's scripts: in their order, once each. They go when all have run, and what they did not commit is committed.
	cd /etc/uci-defaults || return 0
	applied=
	for script in *; do
		[ -f "$script" ] || continue
		(. "./$script") && applied="$applied $script"
	done
	uci commit
	rm -f $applied
	cd /
}
rename() { # FILE NAME
	local device=${1%/address}
	ip link set "${device##*/}" name "$2"
}

service_network() {
	local bridge port
	bridge=$(option 'network.@device[0].name')
	ip link add "$bridge" type bridge forward_delay 0
	for port in $(option 'network.@device[0].ports'); do
		ip link set "$port" master "$bridge" up
	done
	echo 1 >/proc/sys/net/ipv4/ip_forward
	echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
	interface_up lan
	interface_up wan
}
interface_up() { # INTERFACE
	local device address
	device=$(option "network.$1.device")
	ip link set "$device" up
	case $(option "network.$1.proto") in
	static)
		ip addr add "$(option "network.$1.ipaddr")/$(option "network.$1.netmask")" dev "$device"
		address=$(option "network.$1.ip6addr")
		[ -z "$address" ] || ip addr add "$address" dev "$device" nodad
		address=$(option "network.$1.gateway")
		[ -z "$address" ] || ip route add default via "$address"
		address=$(option "network.$1.ip6gw")
		[ -z "$address" ] || ip -6 route add default via "$address"
		;;
	dhcp) udhcpc -b -S -i "$device" -s /lib/openwrt-udhcpc.sh >/dev/null ;;
	esac
	hotplug iface "ACTION=ifup INTERFACE=$1 DEVICE=$device"
}
dhcp_answer() { # EVENT; the answer is in the environment
	case $1 in
	bound | renew)
		ip addr replace "$ip/$mask" dev "$interface"
		ip route replace default via "${router%% *}"
		printf 'nameserver %s\n' $dns >/tmp/resolv.conf
		;;
	esac
}
hotplug() { # SUBSYSTEM VARIABLES
	local script
	for script in "/etc/hotplug.d/$1"/*; do
		[ ! -f "$script" ] || env $2 sh -c '. "$0"' "$script"
	done
}

# What fw4 does with OpenWrt's own configuration: the LAN out, nobody in, established traffic first; and who is let in to the router by a rule.
service_firewall() {
	local lan wan
	lan=$(option network.lan.device) wan=$(option network.wan.device)
	nft -f - <<-RULES
		table inet fw4 {
			chain input {
				type filter hook input priority filter; policy drop;
				iifname { "lo", "$lan" } accept
				ct state established,related accept
				meta l4proto { icmp, ipv6-icmp } accept
				udp sport 67 udp dport 68 accept
			}
			chain forward {
				type filter hook forward priority filter; policy drop;
				ct state established,related accept
				iifname "$lan" oifname "$wan" accept
			}
			chain srcnat {
				type nat hook postrouting priority srcnat;
				meta nfproto ipv4 oifname "$wan" masquerade
			}
		}
	RULES
	# One by one: of a rule that is none, nothing else is lost.
	firewall_rules "$lan" "$wan" | while read -r rule; do
		nft "add rule inet fw4 input $rule" || echo "the firewall does not take: $rule" >/dev/console
	done
}
firewall_rules() { # LAN WAN: for nft, each rule of /etc/config/firewall that lets somebody in to the router, by address and port
	local number=0 rule device address family
	while rule="firewall.@rule[$number]" && [ "$(option "$rule")" = rule ]; do
		number=$((number + 1))
		case $(option "$rule.src") in
		lan) device=$1 ;;
		wan) device=$2 ;;
		*) device='' ;;
		esac
		if [ -z "$device" ] || [ "$(option "$rule.target")" != ACCEPT ] || [ -n "$(option "$rule.dest")" ] ||
			[ -z "$(option "$rule.src_ip")" ] || [ -z "$(option "$rule.dest_port")" ]; then
			echo "$rule is nothing that is stood in for" >/dev/console
			continue
		fi
		for address in $(option "$rule.src_ip"); do
			case $address in
			*:*) family=ip6 ;;
			*) family=ip ;;
			esac
			echo "iifname $device $family saddr $address $(option "$rule.proto") dport $(option "$rule.dest_port") accept"
		done
	done
}

service_dnsmasq() {
	local lan network value config=/var/etc/dnsmasq.conf
	service=dnsmasq
	lan=$(option network.lan.device) network=$(option network.lan.ipaddr)
	network=${network%.*}
	mkdir -p /var/etc /tmp/dnsmasq.d
	{
		echo "user=root
			domain-needed
			localise-queries
			dhcp-authoritative
			bind-dynamic
			interface=$lan
			except-interface=lo
			resolv-file=/tmp/resolv.conf
			dhcp-leasefile=$(option 'dhcp.@dnsmasq[0].leasefile')
			conf-dir=/tmp/dnsmasq.d
			dhcp-range=$network.$(option dhcp.lan.start),$network.$(($(option dhcp.lan.start) + $(option dhcp.lan.limit) - 1)),$(option network.lan.netmask),$(option dhcp.lan.leasetime)"
		for value in $(option dhcp.lan.dhcp_option); do echo "dhcp-option=$value"; done
		for value in $(option 'dhcp.@dnsmasq[0].address'); do echo "address=$value"; done
		# odhcpd's work on OpenWrt.
		[ -z "$(option network.lan.ip6addr)" ] || printf 'enable-ra\ndhcp-range=::,constructor:%s,ra-only,64,12h\n' "$lan"
	} | sed 's/^[[:space:]]*//' >$config
	touch /tmp/resolv.conf
	procd_open_instance
	procd_set_param command dnsmasq -k -C $config
	procd_set_param respawn 3600 5 0
	procd_close_instance
}

service_done() {
	# The clock is the emulator's, and right: OpenWrt's NTP client would say so.
	hotplug ntp 'ACTION=stratum stratum=2'
	echo "the emulated router is up after $(cut -d ' ' -f 1 /proc/uptime) s" >/dev/console
}

# --- everything else

ubus_call() {
	# Of all that is asked of it: a signal to a service. It knows no interface's status; scripts then ask uci.
	case $* in
	*'call service signal {"name":"lango","signal":1}') kill -HUP "$(cat /var/run/procd/lango.pid)" ;;
	*) return 4 ;;
	esac
}

run_all() { # S|K ACTION
	local script
	for script in /etc/rc.d/"$1"*; do
		echo "- ${script##*/} -" >/dev/console
		"$script" "$2"
	done
}

# A line of shell comes, status and length and all that it said go back: for the tests, by a port beside the console.
answer_tests() {
	local name port line status
	for name in /sys/class/virtio-ports/*/name; do
		[ "$(cat "$name" 2>/dev/null)" != shell ] || port=$(basename "${name%/name}")
	done
	[ -n "$port" ] || return 0
	exec 3<>"/dev/$port"
	while :; do
		# Nothing comes where nobody is at the other end.
		read -r line <&3 || { sleep 1; continue; }
		sh -c "$line" >/tmp/answer 2>&1 </dev/null
		status=$?
		{ echo "$status $(wc -c </tmp/answer)"; cat /tmp/answer; } >&3
	done
}

case ${0##*/} in
rc.common) rc_common "$@" ;;
boot | network | firewall | dnsmasq | done | [SK][0-9][0-9]*)
	service=${0##*/}
	service=${service#[SK][0-9][0-9]}
	case $1 in
	boot | start) "service_$service" ;;
	stop) procd_kill ;;
	restart) procd_kill; "service_$service" ;;
	esac
	;;
rcS) run_all "$@" ;;
service) script=$1 && shift && "/etc/init.d/$script" "$@" ;;
ubus) ubus_call "$@" ;;
# No interface's status was told that it could read.
jsonfilter) exit 1 ;;
openwrt-udhcpc.sh) dhcp_answer "$@" ;;
openwrt-tests) answer_tests ;;
openwrt-stand-in.sh) "$@" ;;
# Sourced by another script, as /lib/functions.sh.
*) ;;
esac
