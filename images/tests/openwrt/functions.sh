# In place of OpenWrt's /lib/functions.sh: what the package's scripts use of it, in the two forms that there are. Where /older lies, the
# package is known by the script's name alone, as to 24.10; else a name that the caller has set comes first. It was held against OpenWrt's
# own of 23.05 (33063b4ccf), 24.10 (a1ea57bd05) and 25.12 (58aa1b7f16).
package_of() { # SCRIPT
	if [ ! -e /older ] && [ -n "$pkgname" ]; then
		echo "$pkgname"
	else
		basename "${1%.*}"
	fi
}
listed() { # PACKAGE FOLDER: its files in there, by what the package manager wrote down
	for list in "$IPKG_INSTROOT/usr/lib/opkg/info/$1.list" "$IPKG_INSTROOT/lib/apk/packages/$1.list"; do
		[ ! -f "$list" ] || break
	done
	grep -s "^$2" "$list"
}
default_postinst() {
	package="$(package_of "$1")"
	told "default_postinst $package"
	# Of an image that is being made these wait for its first boot.
	if [ -z "$IPKG_INSTROOT" ]; then
		mkdir -p /tmp/.uci
		for script in $(listed "$package" /etc/uci-defaults/); do
			( [ -f "$script" ] && cd "$(dirname "$script")" && . "$script" ) && rm -f "$script"
		done
		uci commit
	fi
	for script in $(listed "$package" /etc/init.d/); do
		if [ -n "$IPKG_INSTROOT" ]; then
			/bin/sh "$IPKG_INSTROOT/etc/rc.common" "$IPKG_INSTROOT$script" enable
		else
			[ "$PKG_UPGRADE" = 1 ] || "$script" enable
			"$script" start
		fi
	done
	return 0
}
default_prerm() {
	package="$(package_of "$1")"
	told "default_prerm $package"
	for script in $(listed "$package" /etc/init.d/); do
		if [ -n "$IPKG_INSTROOT" ]; then
			/bin/sh "$IPKG_INSTROOT/etc/rc.common" "$IPKG_INSTROOT$script" disable
		else
			[ "$PKG_UPGRADE" = 1 ] || "$script" disable
			"$script" stop
		fi
	done
	return 0
}
# What /etc/init.d/boot does with the first boot's scripts: one that fails stays, and is run again at the next boot.
uci_apply_defaults() {
	cd /etc/uci-defaults || return 0
	applied=
	for script in $(ls); do
		( . "./$script" ) && applied="$applied $script"
	done
	uci commit
	rm -f $applied
}
told() { [ -n "$IPKG_INSTROOT" ] || echo "$*" >>/calls; }
