#!/usr/bin/env bash
# Checks with cargo-deny what comes in from outside. The rules, and why they are so: deny.toml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/paths.sh
PATH=$LANGO_TOOLS/bin:$PATH

# Two versions of a crate warn only, each with a page of its tree: here the count, with `cargo deny check bans` the rest.
report=$(mktemp)
trap 'rm -f "$report"' EXIT
checks=(bans licenses sources)
# The advisories' database comes from a git host, which not every build machine reaches: asked for by name.
[ -z "${LANGO_ADVISORIES:-}" ] || checks+=(advisories)
if ! cargo deny --color never check "${checks[@]}" >"$report" 2>&1; then
  cat "$report" >&2
  exit 1
fi
duplicates=$(grep -c '^warning\[duplicate\]' "$report" || true)
tail -n 1 "$report"
[ "$duplicates" = 0 ] || echo "$duplicates crates come in two versions (cargo deny check bans tells them)"
