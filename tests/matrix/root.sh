#!/usr/bin/env bash
# Makes a root of another Debian release with its servers, and prints its folder: root.sh SUITE. As root, on a Debian.
set -euo pipefail
suite=${1:?a suite: trixie, sid, ...}
# Outside of what a clean removes: while tests run, a root sees the folder for temporary files.
root=${MATRIX_ROOTS:-/var/tmp/hookyard-roots}/$suite
packages=rabbitmq-server,redis-server,valkey-server,prometheus
[ "$(id -u)" = 0 ] || { echo "roots of other releases are made as root" >&2; exit 3; }
if ! [ -e "$root/.made" ]; then
  command -v debootstrap >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null; } >&2
  # Where this system's own packages come from.
  mirror=$(grep -hm1 -E '^URIs:' /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '{print $2}' | grep . \
    || awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^http/) { print $i; exit } }' /etc/apt/sources.list)
  rm -rf "$root"; mkdir -p "$root"
  debootstrap --variant=minbase --include="$packages" "$suite" "$root" "$mirror" >"$root.log" 2>&1 || { tail -n 5 "$root.log" >&2; exit 1; }
  # A node calls itself by this name.
  printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
  touch "$root/.made"
fi
echo "$root"
