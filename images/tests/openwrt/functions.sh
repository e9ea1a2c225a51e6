# In place of OpenWrt's /lib/functions.sh: what the package's scripts use of it, in the two forms that there are. Where /older lies, the
# package is known by the script's name alone, as to 24.10; else a name that the caller has set comes first.
package_of() { # SCRIPT
	if [ ! -e /older ] && [ -n "$pkgname" ]; then
		echo "$pkgname"
	else
		basename "${1%.*}"
	fi
}
listed() { # PACKAGE FOLDER: its files in there, by what the package manager wrote down
	for list in "/lib/apk/packages/$1.list" "/usr/lib/opkg/info/$1.list"; do
		[ ! -f "$list" ] || break
	done
	grep -s "^$2" "$list"
}
default_postinst() {
	package="$(package_of "$1")"
	told "default_postinst $package"
	for script in $(listed "$package" /etc/uci-defaults/); do
		( [ -f "$script" ] && cd "$(dirname "$script")" && . "$script" ) && rm -f "$script"
	done
	for script in $(listed "$package" /etc/init.d/); do
		[ "$PKG_UPGRADE" = 1 ] || "$script" enable
		"$script" start
	done
}
default_prerm() {
	package="$(package_of "$1")"
	told "default_prerm $package"
	for script in $(listed "$package" /etc/init.d/); do
		[ "$PKG_UPGRADE" = 1 ] || "$script" disable
		"$script" stop
	done
}
told() { echo "$*" >>/calls; }
