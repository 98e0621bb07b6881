#!/usr/bin/env bash
# Runs a command with the servers of other Debian releases: pair.sh RABBITMQ-SUITE REDIS-SUITE REDIS-PROGRAM COMMAND...
# A suite is a release's name, or "here" for what is installed.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# In mounts of its own: what is mounted here is gone with the command, however that ends.
if [ "${MATRIX_OWN_MOUNTS:-}" != 1 ]; then
  MATRIX_OWN_MOUNTS=1 exec unshare --mount --propagation private "$0" "$@"
fi
unset MATRIX_OWN_MOUNTS
rabbitmq=${1:?a suite}; redis=${2:?a suite}; program=${3:?redis-server or valkey-server}; shift 3
temporary=${TMPDIR:-/tmp}
enter() {
  local root; root=$("$here/root.sh" "$1")
  mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
  mountpoint -q "$root/dev" || mount --rbind /dev "$root/dev"
  # Servers write where the tests look.
  mkdir -p "$root$temporary"; mountpoint -q "$root$temporary" || mount --bind "$temporary" "$root$temporary"
  echo "$root"
}
version() { chroot "$1" dpkg-query -W -f '${Version}' "$2" | sed -E 's/^[0-9]+://; s/[-+~].*//'; }
described=""
if [ "$rabbitmq" != here ]; then
  root=$(enter "$rabbitmq"); export MATRIX_RABBITMQ_ROOT=$root
  # It is linked to the system's basic libraries alone, and runs outside of its root.
  export MATRIX_PROMTOOL=$root/usr/bin/promtool
  described="RabbitMQ $(version "$root" rabbitmq-server), promtool $(version "$root" prometheus)"
fi
if [ "$redis" != here ]; then
  root=$(enter "$redis"); export MATRIX_REDIS_ROOT=$root MATRIX_REDIS_SERVER=$program
  described="$described, $program $(version "$root" "$program")"
fi
echo "pair: ${described:-what is installed here}"
"$@"
