#!/usr/bin/env bash
# Prints how large the routers' programs are that lie in out/router, as they are and compressed, beside what they may be and what they
# were at the last commit that recorded it.
#
#   tools/sizes.sh [TARGET…]  of all, or of these; over the budget is told; over the ceiling, or more than a board's flash has for it, is a
#                             failure: then something grew that nobody meant to grow, or somebody means it, and raises the ceiling in
#                             tools/sizes.txt in the same commit. tools/router.sh calls it for what it built
#   tools/sizes.sh --record   writes what they are into tools/sizes.txt, to be committed with what made them so
#
# Compressed in three ways: "xz" is what the budget is about; "package" is gzip, as in an .ipk (an .apk's deflate is the same method);
# "image" is xz in pieces of 256 KiB with the settings of OpenWrt's squashfs (its include/image.mk), where a piece is read by itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

record=no
if [ "${1:-}" = --record ]; then
  record=yes
  shift
fi
shopt -s nullglob
programs=(out/router/*/lango)
if [ $# -gt 0 ]; then
  programs=("$@")
  programs=("${programs[@]/#/out/router/}")
  programs=("${programs[@]/%//lango}")
fi
[ ${#programs[@]} -gt 0 ] || { echo "nothing is built yet: make router" >&2; exit 1; }

failed=no
# judge WHAT BYTES BUDGET CEILING
judge() {
  if [ "$2" -gt "$4" ]; then
    printf '  %s is %d bytes over its ceiling of %d (tools/sizes.txt, board)\n' "$1" $(($2 - $4)) "$4" >&2
    failed=yes
  elif [ "$2" -gt "$3" ]; then
    printf '  %s is %d bytes over the budget of %d\n' "$1" $(($2 - $3)) "$3"
  fi
}

printf '%-34s %12s %12s %12s %12s %12s %12s\n' target bytes budget xz budget package image
for program in "${programs[@]}"; do
  [ -f "$program" ] || { echo "$program is not built: make router" >&2; exit 1; }
  target=$(basename "$(dirname "$program")")
  sizes=("$(stat -c %s "$program")" "$(xz -9e --stdout "$program" | wc -c)" "$(gzip -9 --no-name --stdout "$program" | wc -c)"
    "$(xz --lzma2=preset=9e,lc=0,lp=2,pb=2 --block-size=262144 --threads=1 --stdout "$program" | wc -c)")
  read -r budget ceiling budget_xz ceiling_xz < <(awk -v target="$target" '$1 == target { print $2, $3, $4, $5 }' tools/sizes.txt) ||
    { echo "tools/sizes.txt has no line for $target" >&2; exit 1; }
  printf '%-34s %12d %12d %12d %12d %12d %12d\n' "$target" "${sizes[0]}" "$budget" "${sizes[1]}" "$budget_xz" "${sizes[2]}" "${sizes[3]}"
  # What is committed, not what lies here: a record that was just made is no news of itself.
  before=()
  # Sources that did not come by git have no commit, and are judged all the same.
  read -r -a before < <(git show HEAD:tools/sizes.txt 2>/dev/null | awk -v target="$target" '$1 == target && NF == 9 { print $6, $7, $8, $9 }') || true
  if [ ${#before[@]} -eq 4 ]; then
    printf '%-34s %+12d %12s %+12d %12s %+12d %+12d\n' '  since the last record' $((sizes[0] - before[0])) '' $((sizes[1] - before[1])) '' \
      $((sizes[2] - before[2])) $((sizes[3] - before[3]))
  else
    echo '  no commit has recorded any size of it: make sizes RECORD=1, and commit tools/sizes.txt'
  fi
  judge 'the program' "${sizes[0]}" "$budget" "$ceiling"
  judge 'what xz makes of it' "${sizes[1]}" "$budget_xz" "$ceiling_xz"
  while IFS= read -r board; do
    # As images/src/board.rs reckons; there it says why.
    room=$(sed -n 's/^program_kb = //p' "$board")000
    judge "what an image makes of it, for $board," "${sizes[3]}" "$room" "$room"
    # Of what is installed later, NOR's jffs2 compresses 4 KiB at a time: an eighth more than gzip makes of the whole.
    if grep -q '^kind = "nor"' "$board"; then
      judge "what an installed package makes of it, for $board," $((sizes[2] + sizes[2] / 8)) "$room" "$room"
    fi
    # The new one and the old one uncompressed, and half a megabyte: what the router asks for before it fetches one.
    if grep -q '^updates = "program"' "$board"; then
      judge "an image with two of it, for an update of $board," $((sizes[3] + 2 * sizes[0] + 524288)) "$room" "$room"
    fi
  done < <(grep -l "^rust_target = \"$target\"" board/*.toml)
  if [ $record = yes ]; then
    new=$(awk -v target="$target" -v sizes="${sizes[*]}" '$1 == target { split(sizes, s, " ")
      $0 = sprintf("%-30s %7d %8d %12d %13d %8d %8d %8d %8d", $1, $2, $3, $4, $5, s[1], s[2], s[3], s[4]) } { print }' tools/sizes.txt)
    # In its place only when it is whole.
    printf '%s\n' "$new" >tools/sizes.txt.new
    mv tools/sizes.txt.new tools/sizes.txt
  fi
done
[ $failed = no ]
