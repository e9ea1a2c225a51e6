# Lango on OpenWrt: what the service, the first boot, hotplug and the removal have in common. Sourced, never run.
# shellcheck shell=dash

LANGO_CONFIG=/etc/config/lango
# Lies there once the first boot has set up what it does; each line names something that was changed, for the removal.
LANGO_FIRST_BOOT=/etc/lango/first-boot
# In an image: the radios that were looked at, one a line, each once in the router's life.
LANGO_RADIOS=/etc/lango/radios
# In an image: the country that they are in.
LANGO_COUNTRY=/etc/lango/country

lango_option() { # NAME DEFAULT: an option of the gateway; the values of a list, with blanks between
	uci -q get "lango.@gateway[0].$1" || echo "$2"
}

# Where OpenWrt cannot write to its flash yet (the first boot from NOR), it works in RAM and copies that once. A program that runs
# meanwhile goes on writing into the RAM: a store that is open then loses all that is sold until the next boot.
lango_flash_is_ready() {
	! grep -q 'upperdir=/tmp/root' /proc/mounts
}

lango_device() { # INTERFACE: the device by which its packets go, if it can be known
	local device proto
	# What netifd says, where it runs: it knows what modems and tunnels are called.
	device="$(ubus -S call "network.interface.$1" status 2>/dev/null | jsonfilter -e '@.l3_device' 2>/dev/null)"
	# At the first boot it does not run yet.
	if [ -z "$device" ]; then
		proto="$(uci -q get "network.$1.proto")"
		case "$proto" in
		dhcp | static | dhcpv6) device="$(uci -q get "network.$1.device")" ;;
		pppoe | pppoa | ppp | pptp | l2tp | 3g) device="$proto-$1" ;;
		esac
	fi
	case "$device" in
	'' | *[!A-Za-z0-9._-]* | ????????????????*) return 1 ;;
	esac
	echo "$device"
}

# The devices that customers come by: nothing, and an error, where they are not known for certain.
lango_customers() {
	local devices device
	# A file that cannot be read has no say: what OpenWrt calls the LAN is what it is about nearly everywhere.
	devices="$(uci -q get 'lango.@gateway[0].lan')" || devices="$(lango_device lan)" || return 1
	for device in $devices; do
		case "$device" in
		*[!A-Za-z0-9._-]* | ????????????????*) return 1 ;;
		esac
	done
	echo "$devices"
}

# For nft: nobody is forwarded from or to these devices, or nobody at all where none is named. What is for the router itself gets there,
# so that somebody can log in and mend what is wrong. `create`, for a table that is there by now is in force: nothing is added to it.
lango_closed_table() { # DEVICE…
	local way devices
	echo 'create table inet lango'
	# Where the program's own chain stands, ahead of fw4's.
	echo 'add chain inet lango closed { type filter hook forward priority -10; }'
	if [ $# = 0 ]; then
		echo 'add rule inet lango closed drop'
		return 0
	fi
	devices="$(printf '"%s", ' "$@")"
	for way in iifname oifname; do
		echo "add rule inet lango closed $way { ${devices%, } } drop"
	done
}

lango_has_table() {
	nft list tables inet 2>/dev/null | grep -qx 'table inet lango'
}

# Before the program, which may be late, or end over a mistake in its configuration, or be gone: where there is no gate, a closed one. The
# program puts its own in its place. What is in force stays as it is.
lango_close() {
	lango_has_table && return 0
	# shellcheck disable=SC2046
	lango_closed_table $(lango_customers) | nft -f - || lango_has_table ||
		logger -s -t lango -p daemon.err 'the gate cannot be closed before lango runs: customers may pass until then. Is nft there?'
}

# procd tells it to end, and does not wait until it has.
lango_stop_and_wait() {
	local waited=0
	/etc/init.d/lango stop
	while pidof lango >/dev/null && [ $waited -lt 15 ]; do
		sleep 1
		waited=$((waited + 1))
	done
}

lango_name() { # a name for this router: its host name, or its address where that is everybody's
	local host file mac
	host="$(uci -q get 'system.@system[0].hostname')"
	case "$host" in
	'' | OpenWrt | *[!A-Za-z0-9_-]*) ;;
	*)
		echo "$host" | cut -c 1-63
		return 0
		;;
	esac
	for file in /sys/class/net/eth0/address /sys/class/net/*/address; do
		mac="$(tr -d : <"$file" 2>/dev/null)"
		case "$mac" in
		'' | 000000000000 | *[!0-9a-f]*) ;;
		*)
			echo "lango-$(echo "$mac" | cut -c 7-12)"
			return 0
			;;
		esac
	done
	return 1
}

# Only where the line is still the package's own: what somebody wrote there stays.
lango_fill_in() { # OPTION THE-PACKAGE'S-VALUE VALUE
	[ -z "$3" ] || sed -i "s/^\([[:space:]]*option $1 \)'$2'\$/\1'$3'/" "$LANGO_CONFIG"
}

lango_new_radios() { # those that nobody has looked at here
	local radio
	for radio in $(uci -q -X show wireless | sed -n 's/^wireless\.\([A-Za-z0-9_]*\)=wifi-device$/\1/p'); do
		grep -qx "$radio" "$LANGO_RADIOS" && continue
		# Of one that OpenWrt is just writing down the network may still be missing. Hotplug comes once it is there.
		uci -q changes wireless | grep -qx "wireless\.$radio='*wifi-device'*" || echo "$radio"
	done
}

lango_untouched_wifi() { # RADIO: its open networks, where it is as OpenWrt makes it: switched off
	local wifi of_radio
	of_radio="$(uci -q get "wireless.$1.disabled")"
	for wifi in $(uci -q -X show wireless | sed -n 's/^wireless\.\([A-Za-z0-9_]*\)=wifi-iface$/\1/p'); do
		if [ "$(uci -q get "wireless.$wifi.device")" = "$1" ] && [ "$(uci -q get "wireless.$wifi.ssid")" = OpenWrt ] &&
			[ "$(uci -q get "wireless.$wifi.encryption")" = none ] && [ "$(uci -q get "wireless.$wifi.network")" = lan ]; then
			# To 24.10 it is the radio that is off; from 25.12 on the network alone, and of the radio nothing is said.
			case "$of_radio,$(uci -q get "wireless.$wifi.disabled")" in
			1, | 1,0 | ,1) echo "$wifi" ;;
			esac
		fi
	done
}

# What customers connect to: an open network, with the portal's name, in which they do not get at each other. Of each radio that is new;
# succeeds where one was opened.
lango_open_wifi() { # FILE: where it is written down for the removal
	local wifi name radio gated='' opened=1
	# Only where the gate stands: what else is in OpenWrt's `lan` is no customers'.
	case " $(lango_option lan br-lan) " in
	*" $(lango_device lan) "*) gated=1 ;;
	esac
	name="$(uci -q get 'lango.@portal[0].name')"
	# A network's name has 32 bytes at most; a router's is of ASCII.
	[ -n "$name" ] && [ "$(printf %s "$name" | wc -c)" -le 32 ] || name="$(lango_option name lango | cut -c 1-32)"
	for radio in $(lango_new_radios); do
		# What it may send; without a country one of 5 GHz sends nothing.
		if [ -s "$LANGO_COUNTRY" ] && [ -z "$(uci -q get "wireless.$radio.country")" ]; then
			uci set "wireless.$radio.country=$(cat "$LANGO_COUNTRY")"
		fi
		for wifi in $([ -z "$gated" ] || lango_untouched_wifi "$radio"); do
			echo "wifi $wifi" >>"$1"
			uci set "wireless.$wifi.ssid=$name"
			uci set "wireless.$wifi.isolate=1"
			if [ "$(uci -q get "wireless.$radio.disabled")" = 1 ]; then
				uci set "wireless.$radio.disabled=0"
			else
				uci set "wireless.$wifi.disabled=0"
			fi
			opened=0
		done
		uci commit wireless
		# Last: where the power goes before, it is looked at again.
		echo "$radio" >>"$LANGO_RADIOS"
	done
	return $opened
}

# Drivers that wait for their firmware bring their radios after the first boot's script: an image opens them then. Succeeds where one was
# opened.
lango_late_radios() {
	# Not before that script is through, and not where lango was installed by hand.
	[ -e "$LANGO_FIRST_BOOT" ] && [ -e "$LANGO_RADIOS" ] || return 1
	# Nor where no gate is put up at the boot. It is not looked at then either: once lango is enabled, the next boot does that.
	/etc/init.d/lango enabled || return 1
	lango_open_wifi "$LANGO_FIRST_BOOT"
}

# Behind it there is no gate any more: it goes off, unless somebody has closed it by a password.
lango_close_wifi() { # SECTION
	local radio
	radio="$(uci -q get "wireless.$1.device")" && [ "$(uci -q get "wireless.$1.encryption")" = none ] || return 0
	# Off in the place where it was: what else the radio carries is somebody's. To 24.10 that is the radio, which says 0 once it is opened; from
	# 25.12 on nothing is said of it. What is said of the network decides nothing: it may be off by now, or stand here twice.
	if [ -z "$(uci -q get "wireless.$radio.disabled")" ]; then
		uci set "wireless.$1.disabled=1"
	else
		uci set "wireless.$radio.disabled=1"
	fi
	uci set "wireless.$1.ssid=OpenWrt"
	uci -q delete "wireless.$1.isolate"
	uci commit wireless
	/sbin/wifi reload
}

# What makes a router a hotspot, once in its life: what is changed afterwards is the operator's, and stays.
lango_first_boot() {
	local offload
	[ ! -e "$LANGO_FIRST_BOOT" ] || return 0
	mkdir -p /etc/lango && chmod 700 /etc/lango || return 1
	# Each line before its change: where the power goes in between, it is done again, and nothing is forgotten.
	[ -e "$LANGO_FIRST_BOOT.new" ] || rm -f "$LANGO_RADIOS"
	: >>"$LANGO_FIRST_BOOT.new" || return 1

	lango_fill_in name lango "$(lango_name)"
	lango_fill_in lan br-lan "$(lango_device lan)"
	lango_fill_in wan wan "$(lango_device wan || logger -s -t lango "there is no way out that is called wan: name it in $LANGO_CONFIG, option wan")"

	# Phones learn the time from the router, whose clock the gate lets them ask. dnsmasq puts its own address for 0.0.0.0.
	if [ "$(uci -q get dhcp.lan)" = dhcp ]; then
		case " $(uci -q get dhcp.lan.dhcp_option) " in
		*' 42,'* | *ntp-server*) ;;
		*) echo ntp_option >>"$LANGO_FIRST_BOOT.new" && uci add_list dhcp.lan.dhcp_option='42,0.0.0.0' && uci commit dhcp ;;
		esac
	fi
	if [ "$(uci -q get system.ntp)" = timeserver ] && [ "$(uci -q get system.ntp.enable_server)" != 1 ]; then
		echo ntp_server >>"$LANGO_FIRST_BOOT.new" && uci set system.ntp.enable_server=1 && uci commit system
	fi
	# Offloaded packets pass the gate by: nothing is counted, nothing ends.
	for offload in flow_offloading flow_offloading_hw; do
		[ "$(uci -q get "firewall.@defaults[0].$offload")" = 1 ] || continue
		echo "$offload" >>"$LANGO_FIRST_BOOT.new" && uci set "firewall.@defaults[0].$offload=0" && uci commit firewall
	done
	# Not where it is installed by hand: that network would be open until lango runs.
	# Nor where no gate is put up at the boot.
	if [ -z "$LANGO_INSTALLING" ]; then
		: >>"$LANGO_RADIOS"
		! /etc/init.d/lango enabled || lango_open_wifi "$LANGO_FIRST_BOOT.new"
	fi
	mv "$LANGO_FIRST_BOOT.new" "$LANGO_FIRST_BOOT" || return 1
	# One that appeared meanwhile was left by hotplug to this script, and perhaps seen by neither. Nothing is reloaded: the network comes later.
	[ -n "$LANGO_INSTALLING" ] || lango_late_radios || :
}

# For the removal: as it was before, as far as it is still as the first boot left it.
lango_undo_first_boot() {
	local what
	[ -e "$LANGO_FIRST_BOOT" ] || return 0
	while read -r what; do
		case "$what" in
		ntp_option) uci -q del_list dhcp.lan.dhcp_option='42,0.0.0.0' && uci commit dhcp ;;
		ntp_server) uci -q set system.ntp.enable_server=0 && uci commit system ;;
		wifi\ *) lango_close_wifi "${what#wifi }" ;;
		flow_offloading | flow_offloading_hw) uci -q set "firewall.@defaults[0].$what=1" && uci commit firewall ;;
		esac
	done <"$LANGO_FIRST_BOOT"
	rm -f "$LANGO_FIRST_BOOT" "$LANGO_RADIOS"
}

# dnsmasq's folder for files of others has the name of its section in it on newer versions of OpenWrt. Nobody reads the other one.
lango_dnsmasq_folders() {
	local folder
	if folder="$(uci -q get 'dhcp.@dnsmasq[0].confdir')"; then
		echo "${folder%%,*}"
		return 0
	fi
	echo /tmp/dnsmasq.d
	uci -q -X show 'dhcp.@dnsmasq[0]' | sed -n 's|^dhcp\.\([A-Za-z0-9_]*\)=dnsmasq$|/tmp/dnsmasq.\1.d|p'
}

# Where to ask over HTTPS (RFC 8910), and the router's own address for that name. Only with a certificate: phones show nobody a portal where
# it does not answer.
lango_dnsmasq_https() {
	local name port lan
	name="$(uci -q get 'lango.@https[0].name')" || return 0
	port="$(uci -q get 'lango.@https[0].port' || echo 8443)"
	[ -s "$(uci -q get 'lango.@https[0].cert' || echo /etc/lango/https.pem)" ] || return 0
	for lan in $(lango_option lan br-lan); do
		echo "interface-name=$name,$lan/4"
		# dnsmasq tags who asks with the interface.
		echo "dhcp-option=tag:$lan,114,https://$name:$port/captive-portal/api"
	done
	echo "local=/$name/"
}

lango_dnsmasq_lines() {
	local host lan garden
	# A configuration with mistakes changes nothing, here as in the daemon.
	garden="$(lango garden)" || return 1
	host="$(lango_option portal_host portal.lan)"
	case "$host" in
	*[!0-9.]*)
		# The portal's name is the address of the interface that is asked on, also after that was changed, and nobody else is asked.
		for lan in $(lango_option lan br-lan); do
			echo "interface-name=$host,$lan/4"
		done
		echo "local=/$host/"
		;;
	esac
	lango_dnsmasq_https
	# The small dnsmasq does not start with lines that it does not know.
	if [ -n "$garden" ] && dnsmasq --version | grep -q ' nftset'; then
		echo "$garden"
	fi
}

# Tells dnsmasq the portal's name and the walled garden; it reads such files only when it starts.
lango_dnsmasq_sync() {
	local folder changed new=/tmp/lango.dnsmasq.$$
	if ! lango_dnsmasq_lines >"$new"; then
		rm -f "$new"
		logger -s -t lango -p daemon.err "$LANGO_CONFIG is not in order, or lango does not run at all: the gate stays as it is, and who has" \
			'not paid is kept out. What is wrong is said by: lango check'
		return 1
	fi
	for folder in $(lango_dnsmasq_folders); do
		cmp -s "$new" "$folder/lango.conf" && continue
		mkdir -p "$folder" && cp "$new" "$folder/lango.conf" && changed=1
	done
	rm -f "$new"
	lango_dnsmasq_restart "$changed"
}

lango_dnsmasq_forget() {
	local folder changed
	for folder in $(lango_dnsmasq_folders); do
		[ ! -e "$folder/lango.conf" ] || changed=1
		rm -f "$folder/lango.conf"
	done
	lango_dnsmasq_restart "$changed"
}

lango_dnsmasq_restart() { # CHANGED: not empty where a file changed
	[ -n "$1" ] || return 0
	# At the boot it comes later, and finds the file.
	pidof dnsmasq >/dev/null || return 0
	/etc/init.d/dnsmasq restart
}
