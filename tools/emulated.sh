# What the emulated routers are made of: Debian's kernel for ARM with the modules that are wanted, and programs with their libraries. Sourced
# by tools/test-kernel.sh and tools/firmware.sh, not run.
# shellcheck shell=bash disable=SC2034

KERNEL=6.1

# Sets target, debian, package and machine for a processor: rustc's name, Debian's, its kernel's package, and the emulator with its machine.
emulated_router() { # ARCH PROCESSORS
  case $1 in
    aarch64)
      target=aarch64-unknown-linux-musl debian=arm64 package=linux-image-cloud-arm64
      machine=(qemu-system-aarch64 -M virt -cpu cortex-a53 -smp "$2")
      ;;
    armv7)
      target=armv7-unknown-linux-musleabihf debian=armhf package=linux-image-armmp
      machine=(qemu-system-arm -M virt -cpu cortex-a7 -smp "$2")
      ;;
    *) die "there is no emulated router '$1': ARCH is aarch64 or armv7" ;;
  esac
}

# Fetches kernel and packages; sets fetched, the folder, and release, the kernel's.
fetch_debian() { # PACKAGE…
  fetched=$(tools/debian.sh "$debian" "$package" "$@")
  release=$(basename "$fetched"/kernel/lib/modules/*)
  [[ $release == "$KERNEL".* ]] || die "Debian's $package is Linux $release, and $KERNEL is wanted: this takes the sources of Debian 12 in apt"
}

# Libraries are asked for by name in each program, their loader by its path.
libraries_of() { readelf --wide --dynamic "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p'; }
add_libraries() { # ROOT FILE
  local name found
  for name in $(libraries_of "$2"); do
    # The loader comes by its path, below.
    if [ -e "$1/lib/$name" ] || [[ $name == ld-linux* ]]; then continue; fi
    found=$(find -L "$fetched/root/lib" "$fetched/root/usr/lib" -name "$name" -print -quit)
    [ -n "$found" ] || die "$2 needs $name, which none of the packages has"
    cp -L "$found" "$1/lib/$name"
    add_libraries "$1" "$found"
  done
}
add_program() { # ROOT PROGRAM FOLDER
  local interpreter
  cp -L "$fetched/root/$2" "$1/$3/"
  add_libraries "$1" "$fetched/root/$2"
  interpreter=$(readelf --wide --program-headers "$fetched/root/$2" | sed -n 's/.*program interpreter: \(.*\)\]/\1/p')
  # Its path may be a link that would lead to this machine's own.
  [ -z "$interpreter" ] || [ -e "$1$interpreter" ] ||
    install -D "$(find "$fetched/root" -type f -name "$(basename "$interpreter")" -print -quit)" "$1$interpreter"
}

# Modules with all that belongs to them. modprobe says what that is; what is built in, it says nothing of.
add_modules() { # ROOT FOLDER-TO-WORK-IN MODULE…
  local root=$1 modules=$2 module
  shift 2
  mkdir -p "$modules/lib/modules"
  cp -rs "$fetched/kernel/lib/modules/$release" "$modules/lib/modules/"
  depmod -b "$modules" "$release"
  for module in "$@"; do
    modprobe --dirname "$modules" --set-version "$release" --show-depends "$module" || die "Linux $release has no module $module"
  done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u | while read -r file; do
    install -D -m 644 "$file" "$root/${file#"$modules/"}"
  done
  mkdir -p "$root/lib/modules/$release"
  cp "$fetched/kernel/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} "$root/lib/modules/$release/"
  depmod -b "$root" "$release"
  rm -rf "$modules"
}

pack_initrd() { # ROOT: onto the standard output
  (cd "$1" && find . -print0 | LC_ALL=C sort --zero-terminated | cpio --null --create --format=newc --owner=0:0 --quiet)
}
