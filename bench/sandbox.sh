#!/usr/bin/env bash
# Whether the sandbox costs throughput: the subjects of switch.sh and tunnel.sh, the same program without (old) and with
# its sandbox (new) in pairs (ABBA), by compare.sh: the median of the ratios and its 95 % interval.
#
#   bench/sandbox.sh [ADIT] [--pairs 15]
#
# ADIT is a release build, target/release/adit without it. Exits with 1 if the whole interval of a figure lies below 0.99.
# Needs what compare.sh needs.
set -euo pipefail

adit=$(dirname "$0")/../target/release/adit
if [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; then adit=$1; shift; fi
adit=$(realpath "$adit")
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
# The option goes to the commands that keep running.
cat >"$folder/adit" <<SCRIPT
#!/bin/sh
case " \$* " in
  *" tunnel up "* | *" switch --"*) exec $adit "\$@" --sandbox off ;;
  *) exec $adit "\$@" ;;
esac
SCRIPT
chmod +x "$folder/adit"
"$(dirname "$0")/compare.sh" "$folder/adit" "$adit" --only switch,tunnel --bar 0.99 "$@"
