#!/usr/bin/env bash
# Fuzzes every parser of bytes from outside, each for some seconds, and ends with 0 only where nothing was found.
#
#   tools/fuzz.sh [TARGET…]            (none: all of tests/fuzz/src/lib.rs)
#   SECONDS_EACH=60   how long each one
#   JOBS=…            how many at once; the machine's processors, where nothing is said
#
# It starts from tests/fuzz/corpus. What it finds worth keeping stays in target/fuzz/corpus for the next run; an input that breaks
# something is left in target/fuzz/found, with the command that repeats it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${SECONDS_EACH:-60}
jobs=${JOBS:-$(nproc)}
folder=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
mkdir -p "$folder/found" "$folder/log"

# What libFuzzer wants of the compiler: counters at each edge, and the operands of comparisons. Stable options, all of them;
# overflows and the crates' own assertions count as finds.
flags=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1
  -Coverflow-checks=on -Cdebug-assertions=on)
# The host is named as a target so that build scripts and macros are compiled without all this.
host=$(rustc -vV | sed -n 's/^host: //p')
echo "Building the fuzz targets (the first time takes some minutes)" >&2
RUSTFLAGS="${flags[*]}" CARGO_TARGET_DIR=$folder CARGO_PROFILE_DEV_OPT_LEVEL=2 CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 \
  cargo build --quiet --target "$host" -p lango-fuzz --features fuzzer
program=$folder/$host/debug/lango-fuzz

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  mapfile -t targets < <(ls tests/fuzz/corpus)
fi

fuzz() { # TARGET
  local target=$1 log=$folder/log/$1 seen
  mkdir -p "$folder/corpus/$target"
  # Every example of the project's own is read first. 4 KiB: more than any example has; long inputs only make it slow.
  if LANGO_FUZZ_TARGET=$target "$program" "$folder/corpus/$target" "tests/fuzz/corpus/$target" -max_total_time="$seconds" -max_len=4096 \
    -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$folder/found/$target-" -print_final_stats=1 >"$log" 2>&1 </dev/null; then
    seen=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    # A fuzzer that tried next to nothing has shown nothing.
    if [ "${seen:-0}" -lt 1000 ]; then
      printf '%-14s only %s inputs were tried; see %s\n' "$target" "${seen:-0}" "$log"
      return 1
    fi
    printf '%-14s %10s inputs, %5s edges, nothing found\n' "$target" "$seen" "$(sed -n 's/.*cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)"
  else
    printf '%-14s FOUND something:\n' "$target"
    grep -E 'panicked at|SUMMARY|ERROR|Test unit written' -A 1 "$log" | head -n 20
    printf '  again: LANGO_FUZZ_TARGET=%s %s FILE\n' "$target" "$program"
    return 1
  fi
}

failed=0
running=0
for target in "${targets[@]}"; do
  if [ $running -ge "$jobs" ]; then
    wait -n || failed=1
    running=$((running - 1))
  fi
  fuzz "$target" &
  running=$((running + 1))
done
while [ $running -gt 0 ]; do
  wait -n || failed=1
  running=$((running - 1))
done
exit $failed
