# Where the tools' own things are kept: outside the repository, so that a fresh clone finds them again. Sourced, not run.
# shellcheck shell=bash disable=SC2034
LANGO_CACHE=${LANGO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lango}
# Programs built for this project, in bin/.
LANGO_TOOLS=$LANGO_CACHE/tools
# axe-core, which examines the portal's pages.
LANGO_AXE=$LANGO_TOOLS/axe-core/axe.min.js
# Compiler, linker and libraries for the routers' processors.
LANGO_CROSS=$LANGO_CACHE/cross
# Debian packages of the emulated routers, unpacked.
LANGO_DEBIAN=$LANGO_CACHE/debian
# OpenWrt's uci, with which the router's scripts are tested (tools/uci.sh).
LANGO_UCI=$LANGO_TOOLS/bin/uci
