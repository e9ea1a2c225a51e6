# In place of OpenWrt's /lib/functions.sh: what the package's scripts use of it.
default_postinst() {
	told "default_postinst $pkgname $root"
	for script in /etc/uci-defaults/*; do
		( . "$script" ) && rm -f "$script"
	done
	for script in /etc/init.d/lango /etc/init.d/lango-late; do
		[ "$PKG_UPGRADE" = 1 ] || "$script" enable
		"$script" start
	done
}
default_prerm() {
	told "default_prerm $pkgname $root"
	for script in /etc/init.d/lango /etc/init.d/lango-late; do
		[ "$PKG_UPGRADE" = 1 ] || "$script" disable
		"$script" stop
	done
}
told() { echo "$*" >>/calls; }
