#!/usr/bin/env bash
# Prints how large the routers' programs are that lie in out/router, as they are and as a package or image compresses them, beside
# what they may be. Over the budget is told; over the ceiling is a failure: then something grew that nobody meant to grow, or
# somebody means it, and raises the ceiling in tools/sizes.txt in the same commit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

shopt -s nullglob
programs=(out/router/*/lango)
[ ${#programs[@]} -gt 0 ] || { echo "nothing is built yet: make router" >&2; exit 1; }

failed=no
# judge WHAT BYTES BUDGET CEILING
judge() {
  if [ "$2" -gt "$4" ]; then
    printf '  %s is %d bytes over its ceiling of %d (tools/sizes.txt)\n' "$1" $(($2 - $4)) "$4" >&2
    failed=yes
  elif [ "$2" -gt "$3" ]; then
    printf '  %s is %d bytes over the budget of %d\n' "$1" $(($2 - $3)) "$3"
  fi
}

printf '%-34s %12s %12s %12s %12s\n' target bytes budget 'bytes (xz)' budget
for program in "${programs[@]}"; do
  target=$(basename "$(dirname "$program")")
  bytes=$(stat -c %s "$program")
  packed=$(xz -9e --stdout "$program" | wc -c)
  read -r budget ceiling budget_xz ceiling_xz < <(awk -v target="$target" '$1 == target { print $2, $3, $4, $5 }' tools/sizes.txt) ||
    { echo "tools/sizes.txt has no line for $target" >&2; exit 1; }
  printf '%-34s %12d %12d %12d %12d\n' "$target" "$bytes" "$budget" "$packed" "$budget_xz"
  judge 'the program' "$bytes" "$budget" "$ceiling"
  judge 'what xz makes of it' "$packed" "$budget_xz" "$ceiling_xz"
  while IFS= read -r board; do
    room=$(sed -n 's/^program_kb = //p' "$board")000
    judge "what xz makes of it, for $board," "$packed" "$room" "$room"
  done < <(grep -l "^rust_target = \"$target\"" board/*.toml)
done
[ $failed = no ]
