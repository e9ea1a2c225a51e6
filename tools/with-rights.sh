#!/usr/bin/env bash
# Runs a test program with the rights that network namespaces need: as it is for root, in a user namespace of its own for
# others, where the kernel lets them. A clear sentence otherwise: a test that needs rights must not be left out silently.
set -euo pipefail

[ "$(id -u)" != 0 ] || exec "$@"
if ! unshare -Urnm true 2>/dev/null; then
  cat >&2 <<'TEXT'
These tests make network namespaces, and this kernel does not let an ordinary user make them. Run them as root
(sudo -E make test), or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 (Debian),
sysctl kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu).
TEXT
  exit 77
fi
# A private /run, because `ip netns` keeps its names there.
exec unshare -Urnm sh -c 'mount -t tmpfs tmpfs /run && mkdir /run/netns && exec "$@"' with-rights "$@"
