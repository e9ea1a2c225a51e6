#!/usr/bin/env bash
# Prints how large the routers' programs are that lie in out/router: as they are, and as a package or image compresses them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

shopt -s nullglob
programs=(out/router/*/lango)
[ ${#programs[@]} -gt 0 ] || { echo "nothing is built yet: make router" >&2; exit 1; }
printf '%-34s %12s %12s\n' target bytes 'bytes (xz)'
for program in "${programs[@]}"; do
  printf '%-34s %12d %12d\n' "$(basename "$(dirname "$program")")" "$(stat -c %s "$program")" "$(xz -9e --stdout "$program" | wc -c)"
done
