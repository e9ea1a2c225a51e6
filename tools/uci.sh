#!/usr/bin/env bash
# Builds OpenWrt's own `uci`, which the tests of the router's scripts run, into the tools' folder. Its sources come with a crate (which
# brings them for a binding that nothing here uses), held to the digest that was examined. Nothing of it is in a product.
#
#   tools/uci.sh [TARGET]     with one of the routers' targets: for an emulated router, as uci-TARGET beside the other (tools/cross.sh)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/paths.sh
. tools/paths.sh
CRATE=libuci-sys
VERSION=1.0.5
SHA256=544c17966d9131e80b3616783974a31b526197ca5b56948bb130eeb6c04fbaf1 # of the crate, as the registry's index says it
target=${1:-}
program=$LANGO_UCI${target:+-$target}
compiler=(cc -static)
[ -z "$target" ] || compiler=("$PWD/tools/cross.sh" cc "$target")

# Which sources it was built of is beside it.
if [ -x "$program" ] && [ "$(cat "$program.sources" 2>/dev/null)" = "$SHA256" ]; then exit 0; fi
echo "  building uci (of the crate $CRATE $VERSION) into $LANGO_TOOLS" >&2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
touch "$work/src/lib.rs"
printf '[package]\nname = "sources"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n%s = "=%s"\n[workspace]\n' "$CRATE" "$VERSION" >"$work/Cargo.toml"
# Out of this folder: the project's toolchain and target directory are not its business.
(cd "$work" && env -u CARGO_TARGET_DIR cargo vendor --quiet vendor >/dev/null)
sources=$work/vendor/$CRATE
grep -qF "\"package\":\"$SHA256\"" "$sources/.cargo-checksum.json" ||
  { echo "tools/uci.sh: what came as $CRATE $VERSION is not what was examined: its SHA-256 is another one" >&2; exit 1; }
# Its headers are found as <libubox/…>; its debugging stays off.
mkdir "$work/include"
ln -s "$sources/libubox" "$work/include/libubox"
touch "$work/include/uci_config.h"
# Static: it runs in the tests' own root folders, where there are no libraries. It is as old as it is: its warnings are nobody's.
"${compiler[@]}" -Os -w -std=gnu99 -D_GNU_SOURCE -DUCI_PREFIX='"/usr"' -I"$work/include" -I"$sources/uci" -o "$work/uci" \
  "$sources"/uci/{libuci,file,util,delta,parse,blob,cli}.c "$sources"/libubox/{blob,blobmsg,utils,md5}.c
install -D "$work/uci" "$program"
echo "$SHA256" >"$program.sources"
