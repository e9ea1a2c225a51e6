#!/usr/bin/env bash
# Builds the router's program for each target named, as one static file: out/router/TARGET/lango. Then says how large they are, and fails where
# one is larger than it may be (tools/sizes.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/paths.sh
. tools/paths.sh
target_folder=${CARGO_TARGET_DIR:-target}

for target in "$@"; do
  started=$SECONDS
  echo "lango for $target"
  tools/cross.sh build "$target" --package lango --bin lango
  program=$target_folder/cross/$target/release/lango
  # What needs a library of the system's would not start on a router that has another one, or none.
  if LC_ALL=C readelf --wide --program-headers --dynamic "$program" | grep -qE 'INTERP|\(NEEDED\)'; then
    echo "tools/router.sh: $program is not static" >&2
    exit 1
  fi
  # The same sources make the same program everywhere (tools/reproduce.sh): nothing in it says where it was made.
  for folder in "$PWD/src/" "${CARGO_HOME:-$HOME/.cargo}/registry/" "$LANGO_CROSS/" /usr/lib/rustlib/; do
    if grep --quiet --text --fixed-strings "$folder" "$program"; then
      echo "tools/router.sh: $program names a folder of this machine, $folder: tools/cross.sh takes such ones out (remapped)" >&2
      exit 1
    fi
  done
  install -D "$program" "out/router/$target/lango"
  echo "  $((SECONDS - started)) s"
done

# Whatever they were built for: nothing too large for its boards goes any further.
if [ $# -gt 0 ]; then tools/sizes.sh "$@"; fi
