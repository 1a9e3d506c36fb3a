#!/bin/sh
# Records a punch from a shell: for a button, a barrier, or a program that cannot use sockets.
#
#   examples/punch.sh PIN [STATUS]        STATUS: 0 in (default), 1 out
#
# PUNCHD: the program, PUNCHD_CONFIG: its configuration, if they are not in the usual place.
set -u

pin=${1:?a PIN is missing}
status=${2:-0}

"${PUNCHD:-punchd}" -c "${PUNCHD_CONFIG:-/etc/punchd.toml}" punch --pin "$pin" --status "$status"
case $? in
0) echo "green: it is on the disk" ;;
69) echo "red: nothing was recorded; punchd refused it, or does not run" && exit 69 ;;
*) echo "red: nothing was recorded; see above" && exit 1 ;;
esac
