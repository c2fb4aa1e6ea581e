"""The shell that runs on a machine.

::

    FOLDER/             .mutex        held (flock) while anything is looked at or changed
                        .incoming.PID what is being sent
    ├── lease           the lease: a line "NAME NONCE", then JSON. Its link is the claim
    ├── leases/NAME/    lease         the same file
    │                   lent          the claim has been confirmed; it is listed from here on
    │                   returning     its end was asked for
    │                   start         the start-up script; it may hold a secret
    │                   start.pid     its process
    │                   output        what it printed
    │                   bootstrap.log what it told, if it is ours
    │                   made, remove  what it made, and how that is undone, if it is ours
    │                   release       the script that returns the machine, with its pid and log
    └── ended/NAME/     what is left of a lease that has ended; the newest ones are kept

Rules that hold:

- A claim is one `ln` of a complete file: it succeeds for one, and nobody sees half of it.
- Whoever acts on a claim names its nonce, so that no late word meets a later claim.
- What arrives on standard input has its length announced: what was cut short is not used. It is
  read before the mutex is taken, so that a connection that hangs holds up nobody else.
- Nothing is waited for but the mutex: starting and returning go on by themselves, in sessions of
  their own, without the mutex and without the connection.
- A start-up script finds in its environment where its record and its log belong:
  ``NAVARCH_BOOTSTRAP_RECORD`` and ``NAVARCH_BOOTSTRAP_LOG``. The program ``remove`` that it leaves
  beside its record is run when the machine is returned. Nothing else is removed from the machine.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from navarch.providers.ssh.lease import LEASE_BYTES_MAX, Unreadable

DONE: Final = 0
TAKEN: Final = 71
"""Somebody else has the machine."""
GONE: Final = 72
"""No such claim or lease is here, or not any more."""
ENDED: Final = 73
"""A lease of this name has ended here, or is ending: names are used once."""
LENT: Final = 74
"""The claim has been confirmed, so it is too late to withdraw it."""
SAME: Final = 76
"""Somebody else has claimed the machine for the same name."""

MUTEX_SECONDS: Final = 10
CLAIM_MINUTES_MAX: Final = 10
"""How long a claim may go unconfirmed before others may have the machine: a launch gives up much
earlier, and is asked again within minutes."""

ENDED_KEPT: Final = 100
"""How many leases that ended are kept on a machine: to read their logs and refuse their names."""

LOG_BYTES_MAX: Final = 64 * 1024

PRELUDE: Final = r"""
set -u
umask 077
PATH="${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
case $1 in /*) folder=$1 ;; *) folder=$PWD/$1 ;; esac
name=$2
work=$folder/leases/$name
shift 2
fail() { code=$1; shift; echo "$*" >&2; exit "$code"; }
folders() { mkdir -p "$folder/leases" "$folder/ended" || fail 70 "$folder cannot be made"; }
mutex() {
  folders
  exec 9>"$folder/.mutex"
  flock -w MUTEX 9 || fail 75 "the mutex is held by others"
}
# Read who holds the machine, and drop what is left of a lease that has ended.
holder() {
  holder= nonce=
  [ -f "$folder/lease" ] || return 0
  read -r holder nonce <"$folder/lease" || fail 70 "$folder/lease is damaged"
  if [ -d "$folder/ended/$holder" ]; then
    rm -f "$folder/lease"
    holder= nonce=
  fi
}
is_stale() {
  [ ! -e "$folder/leases/$holder/lent" ] && [ -n "$(find "$folder/lease" -mmin +CLAIM)" ]
}
# Take standard input, of length $1, before the mutex: who sends slowly must not hold others up.
take() {
  folders
  find "$folder" -maxdepth 1 -name '.incoming.*' -mmin +60 -exec rm -f {} +
  incoming=$folder/.incoming.$$
  trap 'rm -f "$incoming"' EXIT
  cat >"$incoming"
  [ "$(wc -c <"$incoming")" -eq "$1" ] || fail 70 "cut short on its way"
}
# Tell whether the process whose number is in $1 lives and runs the file $2.
runs() {
  [ -f "$1" ] && read -r pid <"$1" && { tr '\0' '\n' <"/proc/$pid/cmdline"; } 2>/dev/null |
    grep -qxF -e "$2"
}
""".replace("MUTEX", str(MUTEX_SECONDS)).replace("CLAIM", str(CLAIM_MINUTES_MAX))

LOOK: Final = r"""
for needed in flock setsid timeout find sync tail; do
  command -v "$needed" >/dev/null || fail 70 "$needed is missing (util-linux, coreutils, findutils)"
done
state=free
if [ -d "$folder" ]; then
  mutex
  holder
  if [ -n "$holder" ]; then
    state=claimed
    if [ -e "$folder/leases/$holder/returning" ]; then
      state=returning
    elif [ -e "$folder/leases/$holder/lent" ]; then
      state=lent
    elif is_stale; then
      state=stale
    fi
  fi
fi
ended=-
[ -z "$name" ] || [ ! -d "$folder/ended/$name" ] || ended=ended
echo "navarch-lease $state $ended"
[ "$state" = free ] || cat "$folder/lease"
"""

EXAMINE: Final = (
    LOOK
    + r"""
# After the sight: what leases take that a look does not. Nothing is changed.
probe=$folder
while [ ! -e "$probe" ] && [ "$probe" != / ]; do probe=${probe%/*}; probe=${probe:-/}; done
echo
echo "navarch-user $(id -u)"
[ -d "$probe" ] && [ -w "$probe" ] && echo "navarch-folder yes" || echo "navarch-folder no"
version=$(python3 -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)
echo "navarch-python ${version:--}"
"""
)

CLAIM: Final = r"""
take "$1"
mutex
[ ! -d "$folder/ended/$name" ] || fail 73 "$name has ended here"
holder
if [ -n "$holder" ]; then
  if ! is_stale; then
    [ "$holder" != "$name" ] || fail 76 "it is claimed already"
    fail 71 "$holder has it"
  fi
  rm -rf "$folder/leases/$holder" "$folder/lease"
fi
rm -rf "$work"
mkdir "$work" || fail 70 "$work cannot be made"
mv "$incoming" "$work/lease"
sync "$work/lease" "$work" || fail 70 "$work/lease cannot be made durable"
ln "$work/lease" "$folder/lease" || fail 71 "somebody was faster"
sync "$folder"
"""

WITHDRAW: Final = r"""
mutex
holder
[ "$holder $nonce" = "$name $1" ] || fail 72 "no such claim"
[ ! -e "$work/lent" ] || fail 74 "it is lent"
rm -rf "$folder/lease" "$work"
"""

START: Final = r"""
take "$2"
mutex
holder
[ "$holder $nonce" = "$name $1" ] || fail 72 "no such claim"
[ ! -e "$work/returning" ] || fail 73 "$name is ending"
[ ! -e "$work/started" ] || exit 0
mv "$incoming" "$work/start"
chmod 700 "$work/start"
: >"$work/lent"
sync "$work/start" "$work/lent" "$work" || fail 70 "$work cannot be made durable"
if [ "$2" -gt 0 ]; then
  umask 022
  NAVARCH_BOOTSTRAP_RECORD=$work NAVARCH_BOOTSTRAP_LOG=$work/bootstrap.log \
    setsid sh -c 'echo $$ >"$1.pid"; cd /; exec "$1"' sh "$work/start" \
    </dev/null >>"$work/output" 2>&1 9>&- &
fi
: >"$work/started"
"""

RELEASE: Final = r"""
take "$1"
mutex
holder
[ "$holder" = "$name" ] || fail 72 "no such lease"
: >"$work/returning"
! runs "$work/release.pid" "$work/release" || exit 0
mv "$incoming" "$work/release"
setsid sh -c 'echo $$ >"$1.pid"; cd /; exec sh "$@"' sh "$work/release" "$folder" "$name" \
  </dev/null >>"$work/release.log" 2>&1 9>&- &
"""

LOG: Final = r"""
[ -d "$work" ] || work=$folder/ended/$name
[ -d "$work" ] || fail 72 "no such lease"
for log in bootstrap.log release.log; do
  [ "$log" != bootstrap.log ] || [ -e "$work/$log" ] || log=output
  [ ! -e "$work/$log" ] || tail -c "$1" "$work/$log"
done
"""

RETURN: Final = r"""
say() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) navarch-release: $*"; }
say "begin $name"
if runs "$work/start.pid" "$work/start"; then
  say "the start-up script runs still and is ended"
  kill -s TERM -- "-$pid"
  count=0
  while runs "$work/start.pid" "$work/start" && [ "$count" -lt 20 ]; do
    count=$((count + 1))
    sleep 0.1
  done
  kill -s KILL -- "-$pid" 2>/dev/null
fi
if [ -x "$work/remove" ]; then
  "$work/remove" || { say "FAILED step=remove code=$?"; exit 1; }
fi
number=0
while [ -e "$work/cleanup-$((number + 1))" ]; do
  number=$((number + 1))
  timeout -k 10 "$seconds" sh -e "$work/cleanup-$number" ||
    { say "FAILED step=cleanup-$number code=$?"; exit 1; }
done
mutex
say "COMPLETE $name"
rm -rf "$work"/start "$work"/start.* "$work"/cleanup-* "$work"/release "$work"/release.pid
mv "$work" "$folder/ended/$name" && rm -f "$folder/lease" && sync "$folder" "$folder/ended"
ls -1t "$folder/ended" | tail -n +KEPT | while read -r old; do
  rm -rf "$folder/ended/$old"
done
""".replace("KEPT", str(ENDED_KEPT + 1))


class Told(NamedTuple):
    """What an examination told beyond the sight of a lease."""

    uid: int
    """As whom commands run there."""
    is_writable: bool
    """Whether leases can be written there."""
    python: tuple[int, ...]
    """The version of ``python3``; empty where there is none."""


TOLD: Final = re.compile(
    rb"navarch-user ([0-9]{1,10})\nnavarch-folder (yes|no)\n"
    rb"navarch-python (?:-|([0-9]{1,4}(?:\.[0-9]{1,4}){1,3}))\n"
)


def told_apart(printed: bytes) -> tuple[bytes, Told]:
    """Tell the sight of a lease from what an examination adds.

    :raises Unreadable: it is nothing that an examination prints
    """
    sight, mark, rest = printed.rpartition(b"\nnavarch-user ")
    found = TOLD.fullmatch(mark[1:] + rest)
    if found is None:
        raise Unreadable(f"expected the words of an examination, found {printed[-60:]!r}")
    version = tuple(map(int, (found[3] or b"").split(b"."))) if found[3] else ()
    return sight, Told(int(found[1]), found[2] == b"yes", version)


def command(body: str, folder: str, name: str, *words: str, sudo: bool = False) -> str:
    """Write a command of the login's shell, whichever that is, which runs a body here."""
    argv = ["sh", "-c", PRELUDE + body, "navarch", folder, name, *words]
    return shlex.join(["sudo", "-n", *argv] if sudo else argv)


def release_script(cleanup: Sequence[str], time_max: timedelta) -> bytes:
    """Write the script that returns a machine, run as ``sh release FOLDER NAME``."""
    seconds = max(1, round(time_max.total_seconds()))
    parts = [PRELUDE, f"seconds={seconds}", 'rm -f "$work"/cleanup-*']
    for number, text in enumerate(cleanup, start=1):
        parts.append(f'printf "%s\\n" {shlex.quote(text)} >"$work/cleanup-{number}"')
    return "\n".join([*parts, RETURN]).encode()


OUTPUT_BYTES_MAX: Final = LEASE_BYTES_MAX + 3 * LOG_BYTES_MAX
"""How much of an answer is read: more than any body here prints."""
