#!/bin/sh
# What a phone does with a DHCP answer: udhcpc calls this with the event's name and the answer in the environment.
set -eu
case "$1" in
deconfig)
	ip -4 addr flush dev "$interface"
	;;
bound | renew)
	ip -4 addr replace "$ip/$mask" dev "$interface"
	ip -4 route replace default via "$router"
	printf '%s\n' "$ip" "$router" "$dns" "$lease" "$serverid" "${opt114:-}" >"$LEASE_FILE.new"
	mv "$LEASE_FILE.new" "$LEASE_FILE"
	;;
esac
