# sysupgrade sources this. It packs what is kept while everything runs: a store that is written to meanwhile would be torn, and what is
# sold between that and the reboot would be gone. So the daemon ends first. The gate in the kernel stays.
# shellcheck shell=dash disable=SC2154

lango_before_sysupgrade() {
	# A list or a backup is no end: nothing is sold for nothing meanwhile (docs/openwrt.md says what that means for a backup).
	[ "$CONF_BACKUP_LIST" != 1 ] && [ -z "$CONF_BACKUP" ] || return 0
	local ran
	pidof lango >/dev/null && ran=1
	# shellcheck source=images/files/lib/functions/lango.sh
	. /lib/functions/lango.sh
	lango_stop_and_wait
	# An upgrade ends all processes, this one too. One that gave up goes on selling; what somebody has stopped before stays so.
	[ -z "$ran" ] || (sleep 120 && /etc/init.d/lango start) >/dev/null 2>&1 &
}

# A trial is of the program that lies here: what is packed is another's, and nobody could put anything back there.
lango_pack_no_trial() { # LIST
	sed -i '/\/etc\/lango\/update\/\(trial\|start\.[123]\|overdue\)$/d' "$1"
}

sysupgrade_init_conffiles="lango_before_sysupgrade $sysupgrade_init_conffiles lango_pack_no_trial"
