#!/usr/bin/env bash
# Reads back what `make packages` wrote, by programs that share nothing with its writer: gzip, GNU tar, sha256sum, signify where it is
# installed, and a reader of apk's format in Python (images/tests/read_apk.py). What is in each package must be the repository's files and the
# program that lies in out/router, byte for byte.
#
#   tools/read-packages.sh [FOLDER]     out/packages
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
packages=${1:-out/packages}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() { echo "tools/read-packages.sh: $*" >&2; exit 1; }
same() { diff -r "$1" "$2" || die "$3 holds other bytes than it was made of"; } # EXPECTED FOUND WHAT
# Which of its files may be run, and which are for root alone: said here once more, for what the writer was told is what is read. Folders are
# for all to look into. No other kind of file is there, and nothing that runs as another user than who starts it.
wanted_modes() { # FOLDER
  (cd "$1" && find . -mindepth 1 -printf '%y %P\n' | LC_ALL=C sort -k 2) | while read -r kind path; do
    case $kind/$path in
      d/*) echo "d 755 $path" ;;
      f/etc/config/lango) echo "f 600 $path" ;;
      f/etc/init.d/* | f/etc/uci-defaults/* | f/usr/sbin/lango | f/usr/libexec/lango/*) echo "f 755 $path" ;;
      f/*) echo "f 644 $path" ;;
    esac
  done
}
modes() { (cd "$1" && find . -mindepth 1 -printf '%y %m %P\n' | LC_ALL=C sort -k 3); }
same_modes() { diff <(wanted_modes "$1") <(modes "$2") || die "$3 has files of other modes, or of another kind"; } # EXPECTED FOUND WHAT
# Of all that a tar has: root's, by number and by name.
of_root() { # WHAT TAR
  if tar --numeric-owner -tvzf "$2" | grep -v '^[^ ]* 0/0 ' >&2 || tar -tvzf "$2" | grep -v '^[^ ]* root/root ' >&2; then
    die "$1 holds what is not root's"
  fi
}

shopt -s nullglob
feeds=("$packages"/*/Packages)
[ ${#feeds[@]} -gt 0 ] || die "there is no feed in $packages: make packages"
read_back=no
ids=("$packages"/keys/????????????????)
for feed in "${feeds[@]}"; do
  feed=${feed%/Packages}
  architecture=${feed##*/}
  board=$(grep -l "^architecture = \"$architecture\"" board/*.toml | head -n 1) || die "no board has the package architecture $architecture"
  target=$(sed -n 's/^rust_target = "\(.*\)"/\1/p' "$board")
  program=out/router/$target/lango
  # What an earlier run left there, of another program: that is told, and not what this is about.
  if [ ! "$feed/Packages" -nt "$program" ]; then
    echo "  $architecture: $feed is older than $program, and not read: make packages" >&2
    continue
  fi
  read_back=yes
  ipk=("$feed"/lango_*_"$architecture".ipk)
  apk=("$feed"/lango-*.apk)
  [ "${#ipk[@]} ${#apk[@]}" = '1 1' ] || die "$feed has not one package of each form"

  rm -rf "${work:?}"/*
  mkdir -p "$work"/{ipk,data,control,apk}
  cp -R images/files "$work/expected"
  install -D "$program" "$work/expected/usr/sbin/lango"

  # The .ipk: a gzipped GNU tar of the same.
  gzip --test "${ipk[0]}"
  tar -xzf "${ipk[0]}" -C "$work/ipk"
  diff <(tar -tzf "${ipk[0]}") <(printf '%s\n' ./debian-binary ./data.tar.gz ./control.tar.gz) || die "${ipk[0]} holds other parts"
  tar --same-permissions -xzf "$work/ipk/data.tar.gz" -C "$work/data"
  tar --same-permissions -xzf "$work/ipk/control.tar.gz" -C "$work/control"
  for part in "${ipk[0]}" "$work/ipk/data.tar.gz" "$work/ipk/control.tar.gz"; do of_root "${ipk[0]}" "$part"; done
  same "$work/expected" "$work/data" "${ipk[0]}"
  same_modes "$work/expected" "$work/data" "${ipk[0]}"
  for script in postinst prerm postrm; do cmp "images/scripts/$script" "$work/control/$script"; done
  diff <(printf '%s\n' '644 conffiles' '644 control' '755 postinst' '755 postrm' '755 prerm') \
    <(cd "$work/control" && find . -mindepth 1 -printf '%m %P\n' | LC_ALL=C sort -k 2) || die "${ipk[0]} says other things of itself, or in other modes"
  grep -qx "Architecture: $architecture" "$work/control/control" || die "${ipk[0]} is for another architecture"

  # Its index.
  digest=$(sha256sum <"${ipk[0]}")
  grep -qx "SHA256sum: ${digest%% *}" "$feed/Packages" || die "$feed/Packages is of another package"
  grep -qx "Filename: ${ipk[0]##*/}" "$feed/Packages" || die "$feed/Packages names another file"
  cmp "$feed/Packages" <(gzip --decompress --stdout "$feed/Packages.gz")
  if command -v signify-openbsd >/dev/null; then
    signed=no
    # Those of earlier keys may lie there, too.
    for id in "${ids[@]}"; do
      if signify-openbsd -V -q -p "$id" -x "$feed/Packages.sig" -m "$feed/Packages" 2>/dev/null; then signed=yes; fi
    done
    [ $signed = yes ] || die "$feed/Packages is signed with a key that is not in $packages/keys"
  else
    echo "  $architecture: no signify-openbsd is here, and nobody looked at the signature of Packages" >&2
  fi

  # The .apk and its index: the reader looks at signatures and digests itself.
  python3 images/tests/read_apk.py "${apk[0]}" "$packages/keys/lango-feed.pub.pem" "$work/apk" >"$work/told"
  grep -q "\"arch\": \"$architecture\"" "$work/told" || die "${apk[0]} is for another architecture"
  rm -r "$work/apk/lib/apk"
  same "$work/expected" "$work/apk" "${apk[0]}"
  same_modes "$work/expected" "$work/apk" "${apk[0]}"
  python3 images/tests/read_apk.py "$feed/packages.adb" "$packages/keys/lango-feed.pub.pem" >"$work/index"
  identity=$(sed -n 's/.*"identity": "\([0-9a-f]*\)".*/\1/p' "$work/told")
  grep -q "\"hashes\": \"$identity\"" "$work/index" || die "$feed/packages.adb is of another package"
  echo "  $architecture: both packages read back, byte for byte"
done
[ $read_back = yes ] || die "no feed in $packages is of the programs in out/router"
