#!/usr/bin/env bash
# Builds the router's program for each target named, as one static file: out/router/TARGET/lango.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
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
  install -D "$program" "out/router/$target/lango"
  echo "  $((SECONDS - started)) s"
done
