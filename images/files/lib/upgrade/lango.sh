# sysupgrade sources this. It packs what is kept while everything runs: a store that is written to meanwhile would be torn, and what is
# sold between that and the reboot would be gone. So the daemon ends first. The gate in the kernel stays.
# shellcheck shell=dash disable=SC2154

lango_before_sysupgrade() {
	# A list or a backup is no end: nothing is sold for nothing meanwhile (docs/openwrt.md says what that means for a backup).
	[ "$CONF_BACKUP_LIST" != 1 ] && [ -z "$CONF_BACKUP" ] || return 0
	/etc/init.d/lango stop
	local waited=0
	while pidof lango >/dev/null && [ $waited -lt 15 ]; do
		sleep 1
		waited=$((waited + 1))
	done
	# An upgrade ends all processes, this one too. One that gave up goes on selling.
	(sleep 120 && /etc/init.d/lango start) >/dev/null 2>&1 &
}

sysupgrade_init_conffiles="lango_before_sysupgrade $sysupgrade_init_conffiles"
