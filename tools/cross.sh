#!/usr/bin/env bash
# Builds static musl programs for the routers' ARM processors, on a machine that needs no cross toolchain from anywhere but
# Debian and PyPI, and no container engine.
#
#   tools/cross.sh check                     says whether this machine has the compiler
#   tools/cross.sh prepare TARGET…           compiler, linker and standard library for these targets
#   tools/cross.sh build TARGET [CARGO ARGS] cargo build --release for it; the programs land in target/cross/TARGET/release. A panic
#                                            ends them (docs/decisions/0055-panics.md); with --test among the arguments it unwinds
#   tools/cross.sh cc TARGET [ARGS]          the C compiler for it, as `cc`: what it makes is static
#
# How it fits together:
#   compiler   Debian's rustc-web: it comes with its own source (rust-web-src), so that the standard library can be built for
#              any target. rustup's toolchains carry it ready-made, but only for those who can download it.
#   library    built once a target and kept, keyed by the compiler and this recipe. Only that one step uses unstable flags;
#              the program itself is built by the ordinary, stable rules, but for the kind of instructions on 32-bit ARM.
#   C and link zig brings musl for every target and a linker in one PyPI package; cargo-zigbuild puts it in cargo's way.
# All of it is kept outside the repository (tools/paths.sh says where): throw that away to start afresh.
set -euo pipefail

# Not 0.17: it puts an allocator of its own in musl's place, which writes all memory that is asked for as zeros: 6 MB more
# on the router, and more for each session (docs/decisions/0014-memory.md).
ZIG_VERSION=0.15.2
ZIGBUILD_VERSION=0.24.0
# Raise it when the way the library is built changes below: old ones are then built again.
RECIPE=4
MINIMUM_RUST=1.95

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tools/paths.sh
. "$here/tools/paths.sh"
cache=$LANGO_CROSS
# Not the rustc on the PATH: that is rustup's, whose library exists for this machine only.
compiler=${LANGO_CROSS_RUSTC:-/usr/bin/rustc}
jobs=${LANGO_JOBS:-$(nproc)}
target_folder=${CARGO_TARGET_DIR:-$here/target}/cross
# As rustc will name it.
case $target_folder in /*) ;; *) target_folder=$PWD/$target_folder ;; esac

say() { printf '  %s\n' "$*" >&2; }
die() { printf 'tools/cross.sh: %s\n' "$*" >&2; exit 1; }
usage() { die "usage: tools/cross.sh check | tools/cross.sh prepare TARGET… | tools/cross.sh build TARGET [CARGO ARGS] | tools/cross.sh cc TARGET [ARGS]"; }

# cargo reads a target's flags from a variable that carries the target's name in capitals.
flags_variable() { printf 'CARGO_TARGET_%s_RUSTFLAGS' "$(tr 'a-z-' 'A-Z_' <<<"$1")"; }

# Thumb-2, which every ARMv7-A has: shorter instructions. rustc warns that the feature's name may change one day; then it will not
# know it, and say so.
flags_of_target() {
  case $1 in
    armv7-*) printf '%s' '-Ctarget-feature=+thumb-mode' ;;
  esac
}

# A panic unwinds in tests, which catch their own. It ends a program, which then starts itself again: so there is nothing in it that
# unwinds, not in its library either.
panic=unwind
flags_of_panic() {
  case $panic in
    abort) printf '%s' '-Cforce-unwind-tables=no' ;;
  esac
}

# Of the program alone, for its link-time optimisation makes the library's instructions anew. It is linked to a fixed place on every target;
# code that could lie anywhere takes, on 32-bit ARM, an instruction more and a constant of its own wherever it names a thing
# (docs/decisions/0043-bytes.md).
place_of_target() {
  case $1 in
    armv7-* | aarch64-*) printf '%s' '-Crelocation-model=static' ;;
  esac
}

# A panic says in which file it was: by the file's path within these folders or the registry's, wherever they lie on the machine that
# builds. So the same sources make the same program everywhere.
remapped() {
  local folder
  # Of two that fit the last one counts.
  for folder in "$@" "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do printf -- '--remap-path-prefix=%s/= ' "$folder"; done
}

# Before the folder is looked for that they are unpacked in.
unpack_crates() { cargo fetch --quiet --locked --manifest-path "$here/Cargo.toml" --target "$1"; }

check_compiler() {
  [ -x "$compiler" ] || die "$compiler is missing: run tools/setup.sh cross (Debian: apt-get install rustc-web rust-web-src)"
  local version; version=$("$compiler" -vV | sed -n 's/^release: //p')
  [ "$(printf '%s\n%s\n' "$MINIMUM_RUST" "$version" | sort -V | head -n 1)" = "$MINIMUM_RUST" ] ||
    die "$compiler is Rust $version, and $MINIMUM_RUST or newer is wanted: on Debian the packages rustc-web and rust-web-src of the security archive have it"
  [ -d "$("$compiler" --print sysroot)/lib/rustlib/src/rust/library/std" ] ||
    die "the standard library's source is missing: run tools/setup.sh cross (Debian: apt-get install rust-web-src)"
}

prepare_linker() {
  local venv=$cache/venv-$ZIG_VERSION-$ZIGBUILD_VERSION
  if ! [ -f "$venv/complete" ]; then
    say "fetching zig $ZIG_VERSION and cargo-zigbuild $ZIGBUILD_VERSION from PyPI (once)"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "ziglang==$ZIG_VERSION" "cargo-zigbuild==$ZIGBUILD_VERSION"
    touch "$venv/complete"
  fi
  zigbuild=$venv/bin/cargo-zigbuild
  zig=$(echo "$venv"/lib/python3*/site-packages/ziglang/zig)
  [ -x "$zig" ] || die "zig is not where its package should have put it ($zig): remove $venv and try again"
}

# Sets `sysroot`. Different compilers, even of one version, have different libraries: rustc refuses a mixture.
sysroot_of_compiler() {
  local recipe=$RECIPE
  [ "$panic" = unwind ] || recipe="$RECIPE $panic"
  sysroot=$cache/sysroot-$( (echo "$recipe"; "$compiler" -vV; sha256sum <"$(readlink -f "$compiler")") | sha256sum | cut -c1-16)
}

prepare_library() {
  local target=$1 home=$sysroot/lib/rustlib/$1 work features=optimize_for_size started=$SECONDS
  [ -d "$home/lib" ] && return
  [ "$panic" = abort ] || features=panic-unwind,$features
  say "building Rust's standard library for $target (once; some minutes)"
  unpack_crates "$target"
  work=$(mktemp -d "$cache/library.XXXXXX")
  mkdir "$work/src"
  : >"$work/src/lib.rs"
  cat >"$work/Cargo.toml" <<TOML
[package]
name = "library"
version = "0.0.0"
edition = "2024"
[profile.release]
opt-level = "z"
panic = "$panic"
[workspace]
TOML
  # The crate panic_abort must itself be compiled to abort, or programs that unwind do not link. build-std cannot say that
  # of one crate alone.
  cat >"$work/rustc-wrapper" <<'SH'
#!/bin/sh
case " $* " in
  *" --crate-name panic_abort "*) exec "$@" -Cpanic=abort ;;
  *) exec "$@" ;;
esac
SH
  chmod +x "$work/rustc-wrapper"
  # Bitcode, so that the program's link-time optimisation reaches into the library. Of its features: not what names the
  # functions of a backtrace, for a stripped program has no names to be found; and its own smaller algorithms.
  (cd "$work" && env RUSTC="$compiler" RUSTC_WRAPPER="$work/rustc-wrapper" RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$work/target" \
    "$(flags_variable "$target")=-Cembed-bitcode=yes $(remapped "$("$compiler" --print sysroot)/lib/rustlib/src/rust" "$work") $(flags_of_target "$target") $(flags_of_panic)" \
    cargo build --jobs "$jobs" --release --target "$target" -Zbuild-std=std,panic_abort,proc_macro,test -Zbuild-std-features="$features")
  mkdir -p "$work/done/lib" "$(dirname "$home")"
  rm -f "$work/target/$target/release/deps/"liblibrary*
  cp "$work/target/$target/release/deps/"*.rlib "$work/done/lib/"
  # In one step: an interrupted build leaves no half library behind.
  mv -T "$work/done" "$home"
  rm -rf "$work"
  say "library for $target: $((SECONDS - started)) s"
}

prepare() {
  mkdir -p "$cache"
  check_compiler
  sysroot_of_compiler
  # Two builds at once would make the same things: the second waits here.
  exec 9>"$cache/lock"
  flock 9
  prepare_linker
  local target; for target in "$@"; do prepare_library "$target"; done
  exec 9>&-
}

build() {
  local target=$1; shift
  case " $* " in
    *' --test'* | *' --all-targets '* | *' --bench'*) ;;
    *) panic=abort ;;
  esac
  prepare "$target"
  unpack_crates "$target"
  # zig, not rustc's own copy, brings musl's start files and libc: hence link-self-contained=no. A function's name says of which
  # crate it is in the newer form of names alone: src/router/rare.rs goes by it.
  env RUSTC="$compiler" CARGO_ZIGBUILD_ZIG_PATH="$zig" ZIG_GLOBAL_CACHE_DIR="$cache/zig" \
    CARGO_TARGET_DIR="$target_folder" CARGO_PROFILE_RELEASE_PANIC="$panic" \
    "$(flags_variable "$target")=--sysroot $sysroot -Clink-self-contained=no -Csymbol-mangling-version=v0 $(remapped "$here" "$target_folder") $(flags_of_target "$target") $(flags_of_panic) $(place_of_target "$target")" \
    "$zigbuild" zigbuild --jobs "$jobs" --manifest-path "$here/Cargo.toml" --release --target "$target" "$@"
}

# zig's name for a target has no vendor in it, and no version of the processor.
cc_of_target() {
  local target=$1; shift
  prepare
  case $target in
    armv7-*) set -- -target "arm-linux-${target##*-}" -mcpu=cortex_a7 "$@" ;;
    *) set -- -target "${target%%-*}-linux-${target##*-}" "$@" ;;
  esac
  env ZIG_GLOBAL_CACHE_DIR="$cache/zig" ZIG_LOCAL_CACHE_DIR="$cache/zig" "$zig" cc -static "$@"
}

case ${1:-} in
  check) check_compiler ;;
  prepare) shift; [ $# -ge 1 ] || usage; panic=abort; prepare "$@" ;;
  build) shift; [ $# -ge 1 ] || usage; build "$@" ;;
  cc) shift; [ $# -ge 1 ] || usage; cc_of_target "$@" ;;
  *) usage ;;
esac
