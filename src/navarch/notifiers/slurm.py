"""Tells Slurm, through its own commands ``scontrol`` and ``squeue``.

The commands, and not slurmrestd, because every cluster has them, with their authentication already
solved; where Slurm is elsewhere, a `prefix` such as ``ssh login --`` leads there.

Slurm has one state for both wishes: ``DRAIN``. A draining node takes no new job, and those that
run go on to their end; nothing is cancelled or requeued. So cordon and drain do the same here, and
a deadline has no counterpart.

Rules that hold:

- What is ours begins with ``navarch:`` in the node's reason. A node that is drained for any other
  reason, by an operator or by Slurm itself, is left as it is: it takes no new jobs, which is what
  was asked for, and is not given back by us.
- It is given back with ``UNDRAIN``, not ``RESUME``: the latter would also raise a node that
  somebody has put down (scontrol(1) of 22.05, read November 2026).
- One node, and only one, is named in each command: a name that Slurm would read as several is
  refused.
- Between reading the reason and changing the state somebody else can change it; Slurm has no way
  to make the two one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from navarch.errors import ConfigError
from navarch.notifiers import base
from navarch.notifiers.base import (
    DrainStatus,
    NotifierRefused,
    NotifierUnavailable,
    NotifierUnknownNode,
    Workload,
)
from navarch.peers import program
from navarch.peers.program import Run

NODE_LABEL: Final = "navarch.dev/slurm-node"
"""The label that names a node in Slurm, where that is not the first part of its hostname."""

OURS: Final = "navarch:"
"""How the reason of a drain of ours begins."""

REASON_MAX: Final = 200
"""How much of a reason is written: ``sinfo -R`` shows one line a node."""

BYTES_MAX: Final = 1024 * 1024
"""The longest answer that is read: a node's record has 2 KB, a line of squeue 20 bytes."""

NODE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
"""Names of one node. Brackets and commas would name several (slurm.conf(5), NodeName)."""

UNWRITABLE: Final = re.compile(r"[^A-Za-z0-9 .,:_/+@%-]")
"""What is not written into a reason, so that neither scontrol nor a shell on the way reads it."""

STATE: Final = re.compile(r"^ +State=(\S+)", re.MULTILINE)
REASON: Final = re.compile(r"^ +Reason=(.*?)(?: \[[^][]*\])?$", re.MULTILINE)
"""The reason, without who wrote it and when."""

CLOSED: Final = frozenset(["DRAIN", "DOWN", "FAIL"])
"""States and flags with which a node takes no new job (sinfo(1), NODE STATE CODES)."""

UNKNOWN: Final = re.compile(r"\bNode \S+ not found|Invalid node name")
"""What scontrol and squeue say of a node that they do not know; a shell's ``not found`` is not."""

REFUSED: Final = re.compile(r"Invalid user id|Access/permission denied|Invalid node state")
"""What they say when they will not, however often asked. ``Invalid user id`` is that of 22.05."""


class SlurmSettings(Struct, frozen=True, kw_only=True):
    """Which Slurm is spoken to, and how."""

    scontrol: str = "scontrol"
    """The program, by name or path."""
    squeue: str = "squeue"
    prefix: tuple[str, ...] = ()
    """What stands before each command, such as ``ssh``, ``login``, ``--``."""
    prefix_is_shell: bool = False
    """Whether `prefix` hands the command to a shell, as ``ssh`` does: then it is quoted."""
    timeout: timedelta = base.TIMEOUT
    """For a whole call, which is up to three commands. One takes 9 s to miss its controller."""

    def __post_init__(self) -> None:
        """Refuse what can never work.

        :raises ConfigError: a program without a name, or a timeout of nothing
        """
        if not self.scontrol or not self.squeue or "" in self.prefix:
            raise ConfigError("slurm: scontrol, squeue and the words of prefix cannot be empty")
        base.demand_positive(self.timeout)


class _Verb(StrEnum):
    DRAIN = "DRAIN"
    UNDRAIN = "UNDRAIN"


class _Node(Struct, frozen=True):
    """What Slurm says of a node."""

    states: frozenset[str]
    reason: str

    @property
    def is_draining(self) -> bool:
        return "DRAIN" in self.states

    @property
    def is_ours(self) -> bool:
        return self.is_draining and self.reason.startswith(OURS)


class SlurmNotifier:
    """Drains nodes in the Slurm that the environment, ``SLURM_CONF`` above all, leads to.

    The user that runs this must be Slurm's own, or an operator or administrator in its accounting.
    """

    def __init__(self, settings: SlurmSettings | None = None, *, name: str = "slurm") -> None:
        """Speak to the Slurm of `settings`."""
        self.name = name
        self._settings = settings or SlurmSettings()

    async def cordon(self, node: Workload, reason: str, *, intent: int | None = None) -> None:
        """Set the node to DRAIN, unless somebody else has."""
        await self._hold(node, reason)

    async def uncordon(self, node: Workload, reason: str, *, intent: int | None = None) -> None:
        """Undrain the node if the drain is ours. It takes jobs again within seconds."""
        async with base.speaking(self.name, self._settings.timeout):
            which = self._named(node)
            try:
                if (await self._show(which)).is_ours:
                    await self._update(which, _Verb.UNDRAIN)
            except NotifierUnknownNode:
                return  # nothing of ours is held there

    async def drain(
        self,
        node: Workload,
        reason: str,
        deadline: datetime | None,
        *,
        intent: int | None = None,
    ) -> None:
        """Set the node to DRAIN, unless somebody else has; jobs run to their own end."""
        await self._hold(node, reason)

    async def drained(self, node: Workload) -> DrainStatus:
        """Count the jobs that still hold the node."""
        async with base.speaking(self.name, self._settings.timeout):
            which = self._named(node)
            try:
                shown = await self._show(which)
                jobs = await self._jobs(which)
            except NotifierUnknownNode as unknown:
                return DrainStatus(done=True, remaining=0, text=str(unknown))
        state = "+".join(sorted(shown.states))
        if jobs:
            text = f"{which} is {state}, with jobs {base.one_line(' '.join(jobs))}"
            return DrainStatus(done=False, remaining=len(jobs), text=text)
        if not shown.states & CLOSED or "COMPLETING" in shown.states:
            text = f"{which} is {state}, without jobs, but not drained"
            return DrainStatus(done=False, remaining=0, text=text)
        return DrainStatus(done=True, remaining=0, text=f"{which} is {state}, without jobs")

    async def close(self) -> None:
        """Have nothing to give up: each command has ended with its call."""

    async def _hold(self, node: Workload, reason: str) -> None:
        async with base.speaking(self.name, self._settings.timeout):
            which = self._named(node)
            shown = await self._show(which)
            if shown.is_draining and not shown.is_ours:
                return  # somebody else's, and stays so
            wanted = _written(reason)
            if shown.is_ours and shown.reason.startswith(wanted):
                return
            if shown.reason and not shown.reason.startswith(OURS):
                # A node that is down keeps the reason why, which DRAIN would write over.
                wanted = _written(f"{reason}, before: {shown.reason}")
            await self._update(which, _Verb.DRAIN, f"Reason={wanted}")

    def _named(self, node: Workload) -> str:
        """Return the node's name in Slurm.

        :raises NotifierRefused: it has none, or one that is not of one node
        """
        which = node.labels.get(NODE_LABEL) or node.hostname.partition(".")[0]
        if not which:
            raise NotifierRefused(
                f"{self.name}: {node.node_id} has neither a hostname nor the label {NODE_LABEL}"
            )
        if not NODE_NAME.fullmatch(which) or which.upper() == "ALL":
            raise NotifierRefused(
                f"{self.name}: {node.node_id}: {base.one_line(which)!r} does not name one node"
            )
        return which

    async def _show(self, which: str) -> _Node:
        run = await self._run(self._settings.scontrol, "show", "node", which)
        printed = run.printed.decode(errors="replace")
        state, reason = STATE.search(printed), REASON.search(printed)
        if state is None or not printed.startswith(f"NodeName={which} "):
            raise NotifierUnavailable(
                f"{self.name}: scontrol show node {which} printed something else than a node: "
                f"{base.one_line(printed) or 'nothing'}"
            )
        # 22.05 writes NOT_RESPONDING as a flag; others write a sign behind the state.
        words = (word.strip("*~#!%$@^-").upper() for word in state[1].split("+"))
        return _Node(frozenset(filter(None, words)), reason[1].strip() if reason else "")

    async def _update(self, which: str, verb: _Verb, *more: str) -> None:
        words = (f"NodeName={which}", f"State={verb}", *more)
        await self._run(self._settings.scontrol, "update", *words)

    async def _jobs(self, which: str) -> list[str]:
        """List the jobs that hold the node; pending ones that ask for it do not."""
        options = ("--noheader", "--all", f"--nodelist={which}", "--format=%A %T")
        run = await self._run(self._settings.squeue, *options)
        lines = [line.split() for line in run.printed.decode(errors="replace").splitlines()]
        return sorted({line[0] for line in lines if line and line[-1] != "PENDING"})

    async def _run(self, *command: str) -> Run:
        """Run one of Slurm's commands, and make our errors of its complaints."""
        words: Sequence[str] = command
        if self._settings.prefix_is_shell:
            words = [shlex.quote(word) for word in command]
        run = await program.run(
            [*self._settings.prefix, *words],
            deadline=self._settings.timeout,
            bytes_max=BYTES_MAX,
        )
        if run.status == 0:
            return run
        # That a node is not found is printed, not complained of.
        printed = run.printed.decode(errors="replace")
        complaint = base.one_line(f"{run.complained} {printed}") or f"ended with {run.status}"
        text = f"{self.name}: {base.one_line(' '.join(command[:3]))}: {complaint}"
        if UNKNOWN.search(complaint):
            raise NotifierUnknownNode(text)
        if REFUSED.search(complaint):
            raise NotifierRefused(text)
        raise NotifierUnavailable(text)


def _written(reason: str) -> str:
    """Make a reason of ours that can be written into Slurm, and is read back the same."""
    plain = " ".join(UNWRITABLE.sub(" ", base.one_line(reason, REASON_MAX)).split())
    return f"{OURS} {plain}".strip()
