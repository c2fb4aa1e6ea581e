"""The fixed parts of the scripts, in the shell language of POSIX.

Three scripts run on a node: the start-up script; ``remove``, which it leaves beside its record and
which undoes it; and ``supervise``, which keeps the agent running where there is no systemd. What
differs from node to node stands above these parts, as variables (`navarch.bootstrap.script`).

Rules that hold:

- Whatever the script makes is written to the record *before* it is made, so a crash leaves a line
  too many, never a file that nobody knows of. What is there already, and is not in the record,
  belongs to somebody else: no file of theirs is overwritten and none is removed.
- A file changes as a whole. The agent is started anew only when one has changed.
- No secret is ever an argument of a program: ``printf`` and ``read`` are parts of the shell.
"""

from __future__ import annotations

from typing import Final

SUPERVISOR: Final = r"""
# Tell the process id of our supervisor, if it lives. A number alone is used again by others.
supervisor() {
  [ -f "$RECORD/supervisor.pid" ] || return 0
  read -r pid <"$RECORD/supervisor.pid" || return 0
  if { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "$FOLDER/supervise"; then
    echo "$pid"
  fi
}

stop_supervisor() {
  found=$(supervisor)
  [ -n "$found" ] || return 0
  kill -TERM "$found"
  count=0
  while [ -n "$(supervisor)" ]; do
    count=$((count + 1))
    if [ "$count" -eq 150 ]; then
      kill -s KILL -- "-$found"
    elif [ "$count" -gt 200 ]; then
      echo "the supervisor $found cannot be ended" >&2
      return 1
    fi
    sleep 0.1
  done
}
"""

PRELUDE: Final = (
    r"""
say() {
  line="$(date -u +%Y-%m-%dT%H:%M:%SZ) navarch-bootstrap: $*"
  printf '%s\n' "$line" >>"$LOG"
  printf '%s\n' "$line"
}

made() { is_made "$1" || printf '%s\n' "$1" >>"$RECORD/made"; }
is_made() { [ -f "$RECORD/made" ] && grep -qxF -e "$1" "$RECORD/made"; }

# Make a folder and those above it.
folder() {
  [ ! -d "$1" ] || return 0
  folder "$(dirname "$1")"
  made "folder $1"
  mkdir "$1"
}

# Make a folder that is removed with all it holds.
tree() {
  [ ! -d "$1" ] || return 0
  folder "$(dirname "$1")"
  made "tree $1"
  mkdir "$1"
}

# Give a file its content, from standard input, with mode $2, owned by $3 if that is given.
put() {
  if [ -e "$1" ] && ! is_made "file $1"; then
    echo "$1 is there already and is not ours: remove it, or have the agent elsewhere" >&2
    return 1
  fi
  folder "$(dirname "$1")"
  made "file $1"
  rm -f "$1.new"
  ( umask 077; cat >"$1.new" )
  chmod "$2" "$1.new"
  [ -z "${3-}" ] || chown "$3" "$1.new"
  if cmp -s "$1.new" "$1"; then
    rm -f "$1.new"
  else
    : >"$RECORD/changed"
    mv -f "$1.new" "$1"
  fi
}

step() {
  label=$1
  shift
  say "begin $label"
  ( set -e; "$@" ) </dev/null >>"$LOG" 2>&1
  code=$?
  if [ "$code" -ne 0 ]; then
    tail -n 20 "$LOG"
    say "FAILED step=$label code=$code node=$NODE"
    exit 1
  fi
  say "ok $label"
}

# Run the file $1 of the record, unless it was run before. $2 names what is in it, $3 its shell.
once() {
  if [ -e "$RECORD/done-$2" ]; then
    say "skip $1: done before"
    return 0
  fi
  if [ -n "${3-}" ]; then
    step "$1" "$3" -e "$RECORD/$1"
  else
    step "$1" "$RECORD/$1"
  fi
  : >"$RECORD/done-$2"
}
"""
    + SUPERVISOR
)

BEGIN: Final = r"""
umask 022
cd /
mkdir -p "$(dirname "$LOG")" || exit 1
if [ -f "$LOG" ] && [ "$(wc -c <"$LOG")" -gt 4194304 ]; then
  mv -f "$LOG" "$LOG.old"
fi
( umask 077; : >>"$LOG" ) || exit 1
if [ ! -d "$RECORD" ]; then
  mkdir -p -m 700 "$RECORD" || exit 1
  made "folder $RECORD"
fi
say "start node=$NODE version=$VERSION"
"""

STEPS: Final = r"""
make_user() {
  if id -u "$OWNER" >/dev/null 2>&1; then
    return 0
  fi
  if [ "$(id -u)" -ne 0 ]; then
    echo "only root can make the user $OWNER" >&2
    return 1
  fi
  made "user $OWNER"
  useradd --system --user-group --no-create-home --home-dir "$STATE" \
    --shell /usr/sbin/nologin "$OWNER"
}

make_folders() {
  folder "$FOLDER"
  folder "$CONFIG"
  tree "$STATE"
  if is_made "tree $STATE"; then
    chmod 700 "$STATE"
    [ -z "$OWNER" ] || chown "$OWNER" "$STATE"
  fi
}

# Say which host keys this machine has, each with what only the holder of the token can work out.
tell_host_keys() {
  for found in "$HOST_KEYS"/ssh_host_*_key.pub; do
    line=$(ssh-keygen -E sha256 -lf "$found" 2>/dev/null | cut -d ' ' -f 2) || line=
    [ -n "$line" ] || continue
    count=$(printf 'navarch host key 1\n%s\n%s\n%s\n' "$TOKEN" "$line" "$TOKEN" | sha256sum) ||
      continue
    printf 'navarch-bootstrap: host_key %s proof=%s\n' "$line" "${count%% *}"
  done
}

write_token() { printf '%s\n' "$TOKEN" | put "$CONFIG/node.token" 600 "$OWNER"; }
write_tls_ca() { printf '%s\n' "$TLS_CA" | put "$CONFIG/ca.pem" 644; }
write_remove() {
  printf '%s' "$REMOVE" >"$RECORD/remove.new"
  chmod 700 "$RECORD/remove.new"
  mv -f "$RECORD/remove.new" "$RECORD/remove"
}

check_executable() {
  [ -x "$EXECUTABLE" ] || { echo "$EXECUTABLE is no program" >&2; return 1; }
  "$EXECUTABLE" --version
}

install_agent() {
  if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "$PYTHON is not there, or is older than Python 3.11" >&2
    return 1
  fi
  if [ -f "$RECORD/installed" ] && [ "$(cat "$RECORD/installed")" = "$WANTED" ] &&
    "$EXECUTABLE" --version; then
    return 0
  fi
  venv=$FOLDER/venv
  if [ -e "$venv" ] && ! is_made "tree $venv"; then
    echo "$venv is there already and is not ours: name what is in it as the executable" >&2
    return 1
  fi
  tree "$venv"
  : >"$RECORD/changed"
  install_into "$venv"
  "$EXECUTABLE" --version
  printf '%s' "$WANTED" >"$RECORD/installed"
}

start_by_systemd() {
  printf '%s' "$UNIT_TEXT" | put "$UNITS/$UNIT.service" 644
  made "unit $UNITS/$UNIT.service"
  systemctl daemon-reload
  systemctl enable "$UNIT.service"
  if [ -e "$RECORD/changed" ]; then
    systemctl restart "$UNIT.service"
  else
    systemctl start "$UNIT.service"
  fi
  systemctl is-active "$UNIT.service"
  rm -f "$RECORD/changed"
}

start_in_background() {
  printf '%s' "$SUPERVISE" | put "$FOLDER/supervise" 700
  made "supervisor $FOLDER"
  if [ -n "$(supervisor)" ] && [ ! -e "$RECORD/changed" ]; then
    echo "it runs"
    return 0
  fi
  stop_supervisor
  rm -f "$RECORD/supervisor.pid"
  setsid "$FOLDER/supervise" </dev/null >/dev/null 2>&1 &
  count=0
  while [ -z "$(supervisor)" ]; do
    count=$((count + 1))
    [ "$count" -le 100 ] || { echo "the supervisor does not run" >&2; return 1; }
    sleep 0.1
  done
  rm -f "$RECORD/changed"
}

start_agent() {
  if [ "$SERVICE" = systemd ] || { [ "$SERVICE" = auto ] && [ -d /run/systemd/system ]; }; then
    start_by_systemd
  else
    start_in_background
  fi
}
"""

SUPERVISE: Final = r"""
set -u
LOG=$STATE/agent.log
stopping=
agent=
cutter=
end() {
  stopping=1
  [ -z "$agent" ] || kill -TERM "$agent" 2>/dev/null
}
trap end TERM INT HUP
echo $$ >"$RECORD/supervisor.pid"

# Keep what is old in one further file, and begin anew. The agent's descriptor appends.
cut_log() {
  if [ -f "$LOG" ] && [ "$(wc -c <"$LOG")" -gt 8388608 ]; then
    cp "$LOG" "$LOG.old" && : >"$LOG"
  fi
}

(
  nap=
  trap 'kill "$nap"; exit' TERM INT HUP
  while :; do
    sleep 60 &
    nap=$!
    wait "$nap"
    cut_log
  done
) &
cutter=$!
cd /
while [ -z "$stopping" ]; do
  if [ -n "$OWNER" ] && [ "$(id -u)" -eq 0 ]; then
    setpriv --reuid="$OWNER" --regid="$(id -g "$OWNER")" --init-groups "$FOLDER/run-agent" \
      </dev/null >>"$LOG" 2>&1 &
  else
    "$FOLDER/run-agent" </dev/null >>"$LOG" 2>&1 &
  fi
  agent=$!
  # A signal ends the wait before the agent has ended.
  while :; do
    wait "$agent"
    code=$?
    kill -0 "$agent" 2>/dev/null || break
  done
  agent=
  [ -z "$stopping" ] || break
  echo "the agent has ended with $code and is started again" >>"$LOG"
  sleep 2 &
  wait $!
done
kill "$cutter" 2>/dev/null
wait
rm -f "$RECORD/supervisor.pid"
"""

REMOVE: Final = (
    r"""
set -u
RECORD=$(cd "$(dirname "$0")" && pwd) || exit 1
[ -f "$RECORD/made" ] || { echo "nothing is recorded in $RECORD"; exit 0; }
FOLDER=
"""
    + SUPERVISOR
    + r"""
failed() { echo "not removed: $*" >&2; exit 1; }

sed '1!G;h;$!d' "$RECORD/made" >"$RECORD/made.newest-first" || exit 1
reload=
while read -r kind what; do
  case $kind in
  supervisor)
    FOLDER=$what
    stop_supervisor || failed "the supervisor in $what"
    ;;
  unit)
    if [ -e "$what" ]; then
      systemctl disable --now "$(basename "$what")" || failed "$what"
      reload=1
    fi
    ;;
  file) rm -f -- "$what" "$what.new" || failed "$what" ;;
  tree) rm -rf -- "$what" || failed "$what" ;;
  user)
    if id -u "$what" >/dev/null 2>&1; then
      userdel "$what" || failed "the user $what"
    fi
    ;;
  folder)
    if [ -d "$what" ] && [ "$what" != "$RECORD" ] && ! rmdir -- "$what" 2>/dev/null; then
      echo "left: $what holds what others made"
    fi
    ;;
  *) failed "$kind $what: unknown" ;;
  esac
done <"$RECORD/made.newest-first"
[ -z "$reload" ] || systemctl daemon-reload || failed "the units"
own=$(grep -qxF "folder $RECORD" "$RECORD/made" && echo yes)
rm -f "$RECORD"/done-* "$RECORD"/command-* "$RECORD"/prepare-* "$RECORD/user_data" \
  "$RECORD/installed" "$RECORD/changed" "$RECORD/supervisor.pid" "$RECORD/made.newest-first" \
  "$RECORD/made" "$RECORD/remove"
[ -z "$own" ] || rmdir -- "$RECORD" || failed "$RECORD"
echo "removed what the start-up script made"
"""
)
