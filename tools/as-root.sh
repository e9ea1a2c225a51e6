#!/usr/bin/env bash
# Runs a test program as root: the tests make network namespaces and mount file systems of their own (nothing of this machine's
# is touched). cargo calls it for each test program; what cannot be run is told, never left out.
set -euo pipefail

[ "$(id -u)" != 0 ] || exec "$@"
# Without a terminal sudo cannot ask for a password.
if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
  exec sudo --preserve-env "$@"
fi
echo 'This makes network namespaces and mounts file systems: run it as root (there is no sudo to do it with).' >&2
exit 77
