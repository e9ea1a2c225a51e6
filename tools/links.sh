#!/usr/bin/env bash
# Checks that what the documents point to is there, and that every decision is in the index.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bad=0
while IFS= read -r page; do
  while IFS= read -r target; do
    case $target in
      http://* | https://* | \#*) continue ;;
    esac
    [ -e "$(dirname "$page")/${target%%#*}" ] && continue
    echo "$page points to $target, which is not there" >&2
    bad=1
  done < <(grep -oP '\]\(\K[^)\s]+' "$page" || true)
done < <(git ls-files '*.md')

for decision in docs/decisions/[0-9]*.md; do
  grep -qF "($(basename "$decision"))" docs/decisions/README.md && continue
  echo "docs/decisions/README.md does not name $decision" >&2
  bad=1
done
exit $bad
