#!/usr/bin/env bash
# Shows that the same sources make the same programs, byte by byte: builds the router's program for each target named as tools/router.sh
# does, and a second time elsewhere. Other in the second time are: the folder of the sources, that of what is built, cargo's home, the
# standard library and zig's own (both made anew), the time zone and the language. The same are the compiler, zig and the crates' sources.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/paths.sh
. tools/paths.sh

# Of another length than any that people build in, for a length shows as well.
elsewhere=$(mktemp -d "${TMPDIR:-/tmp}/lango-reproduced-somewhere-else.XXXXXX")
trap 'rm -rf "$elsewhere"' EXIT

# What is not ignored, as it is now: a change need not be committed to be examined. Sources that did not come by git are taken whole.
copy_sources() {
  mkdir "$elsewhere/sources"
  if git rev-parse --git-dir >/dev/null 2>&1; then
    # A file that was removed, and is still known to git, is no file.
    git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
      [ ! -e "$file" ] || printf '%s\0' "$file"
    done | tar --null --files-from=- -cf - | tar -C "$elsewhere/sources" -xf -
  else
    tar --exclude=./target --exclude=./out -cf - . | tar -C "$elsewhere/sources" -xf -
  fi
}

# The crates' sources are not fetched again, and are found under another name all the same.
copy_cargo_home() {
  mkdir "$elsewhere/cargo"
  find "${CARGO_HOME:-$HOME/.cargo}" -mindepth 1 -maxdepth 1 -exec ln -s {} "$elsewhere/cargo/" \;
}

# Compiler and linker come from Debian and PyPI; what is made with them is made again.
copy_tools() {
  mkdir -p "$elsewhere/cache/cross"
  find "$LANGO_CROSS" -mindepth 1 -maxdepth 1 -name 'venv-*' -exec ln -s {} "$elsewhere/cache/cross/" \;
}

# sections PROGRAM: a line for each that is in the file: its name, where it begins, and how long it is (hexadecimal).
sections() { LC_ALL=C readelf --wide --sections "$1" | grep -v ' NOBITS ' | sed -nE 's/^ *\[ *[0-9]+\] (\.\S+) +[A-Z_]+ +[0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+) .*/\1 \2 \3/p'; }
part() { tail -c +$((0x$2 + 1)) "$1" | head -c $((0x$3)); } # PROGRAM BEGIN LENGTH

# Says in which sections two programs differ, and from which byte on.
differences() {
  local one=$1 other=$2 name begin length begin_of_other length_of_other
  while read -r name begin length; do
    read -r begin_of_other length_of_other < <(sections "$other" | awk -v name="$name" '$1 == name { print $2, $3 }') ||
      { echo "  $name is in the first alone"; continue; }
    if ! cmp --silent <(part "$one" "$begin" "$length") <(part "$other" "$begin_of_other" "$length_of_other"); then
      printf '  %s: %d bytes and %d; %s\n' "$name" $((0x$length)) $((0x$length_of_other)) \
        "$(cmp <(part "$one" "$begin" "$length") <(part "$other" "$begin_of_other" "$length_of_other") 2>&1 | sed 's/.*differ: //; s/.*EOF on.*/one is longer/' || true)"
    fi
  done < <(sections "$one")
  echo '  texts that only one of them has:'
  LC_ALL=C diff <(strings -n 12 "$one" | LC_ALL=C sort) <(strings -n 12 "$other" | LC_ALL=C sort) | grep '^[<>]' | head -n 20 | cut -c1-200 || true
}

[ $# -gt 0 ] || { echo 'usage: tools/reproduce.sh TARGET…' >&2; exit 64; }
tools/router.sh "$@"
copy_sources
copy_cargo_home
copy_tools
echo 'And again, elsewhere: the standard library first'
env CARGO_HOME="$elsewhere/cargo" CARGO_TARGET_DIR="$elsewhere/built" LANGO_CACHE="$elsewhere/cache" \
  TZ=Pacific/Auckland LC_ALL=C "$elsewhere/sources/tools/router.sh" "$@"

failed=no
for target in "$@"; do
  one=out/router/$target/lango
  other=$elsewhere/sources/$one
  if cmp --silent "$one" "$other"; then
    printf '%s: the same %d bytes both times, SHA-256 %s\n' "$target" "$(stat -c %s "$one")" "$(sha256sum <"$one" | cut -d' ' -f1)"
  else
    echo "$target: NOT the same both times:"
    differences "$one" "$other"
    failed=yes
  fi
done
[ $failed = no ]
