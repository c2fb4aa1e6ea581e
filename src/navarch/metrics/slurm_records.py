"""What ``squeue --json`` and ``sinfo --json`` print, in the shapes of every Slurm from 22.05 on.

Slurm changes its JSON between releases. This file knows the differences, so that nobody else has
to:

========================  ====================  ===================================
what                      22.05                 newer (from 23.02, 23.11 at latest)
========================  ====================  ===================================
state of a job            ``"RUNNING"``         ``["RUNNING"]``
state of a node           ``"mixed"`` + flags   ``["MIXED", "DRAIN"]``
numbers                   ``5`` or ``null``     ``{set, infinite, number}``
GPUs asked for            ``gres:gpu:h100:8``   ``gres/gpu:h100:8``, or ``=8``
nodes                     ``nodes: […]``        ``sinfo: […]``, a group of alike nodes
========================  ====================  ===================================

The left column was seen with 22.05.8; the right one is from descriptions of 23.02 to 24.11, read
in November 2026. Only the fields that we use are decoded, so that the others may change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, TypeAlias, TypeVar

import msgspec
from msgspec import Struct, field

from navarch.peers.unanswered import Unanswered

T = TypeVar("T")

DETAIL: Final = re.compile(r"\([^)]*\)")
"""What Slurm adds to a count of GPUs: sockets ``(S:0-1)``, indexes ``(IDX:0,3)``, ``(null)``."""

ENDED: Final = frozenset(
    [
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "COMPLETING", "DEADLINE", "FAILED", "NODE_FAIL"),
        *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    ]
)
"""Job states in which a job needs no machine any more (squeue(1), JOB STATE CODES)."""

PATIENT: Final = frozenset(
    [
        *("AccountNotAllowed", "BadConstraints", "BeginTime", "Dependency"),
        *("DependencyNeverSatisfied", "InvalidAccount", "InvalidQOS", "JobArrayTaskLimit"),
        *("JobHeldAdmin", "JobHeldUser", "Licenses", "PartitionDown", "PartitionInactive"),
        *("PartitionNodeLimit", "PartitionTimeLimit", "QOSNotAllowed", "Reservation"),
    ]
)
"""Reasons to wait that more nodes do not cure (squeue(1), JOB REASON CODES)."""

PATIENT_PREFIXES: Final = ("Assoc", "BurstBuffer", "Max", "QOS")
"""The same for families of reasons: limits of an account, of a quality of service, of storage."""

WORKING: Final = frozenset(["IDLE", "MIXED", "ALLOCATED"])
"""Node states that are capacity (sinfo(1), NODE STATE CODES)."""

AWAY: Final = frozenset(
    [
        *("BLOCKED", "DOWN", "DRAIN", "DRAINED", "DRAINING", "DYNAMIC_FUTURE", "ERROR", "FAIL"),
        *("FUTURE", "INVALID", "INVALID_REG", "MAINTENANCE", "NOT_RESPONDING", "NO_RESPOND"),
        *("POWERED_DOWN", "POWERING_DOWN", "POWERING_UP", "POWER_DOWN", "POWER_UP"),
        *("REBOOT_ISSUED", "REBOOT_REQUESTED", "UNKNOWN"),
    ]
)
"""Node states and flags with which a node takes no work now."""


class _Wrapped(Struct):
    """A number as newer Slurm writes it."""

    set: bool = False
    infinite: bool = False
    number: float = 0


Number: TypeAlias = int | float | _Wrapped | None


class Job(Struct):
    """One record of squeue: a job, one task of an array, or the tasks of an array that wait."""

    job_id: int = 0
    job_state: str | list[str] = ""
    state_reason: str | None = None
    partition: str | None = None
    array_job_id: Number = None
    array_task_string: str | None = None
    array_max_tasks: Number = None
    node_count: Number = None
    tasks: Number = None
    gres_detail: list[str] | None = None
    tres_req_str: str | None = None
    tres_per_job: str | None = None
    tres_per_node: str | None = None
    tres_per_task: str | None = None
    tres_per_socket: str | None = None

    @property
    def partitions(self) -> list[str]:
        """Where it runs, or each place where it may run."""
        return [name for name in (self.partition or "").split(",") if name]

    @property
    def is_pending(self) -> bool:
        """Whether it has not started."""
        return "PENDING" in _words(self.job_state)

    @property
    def is_running(self) -> bool:
        """Whether it holds machines: it runs, is about to, or is suspended."""
        states = _words(self.job_state)
        return bool(states) and "PENDING" not in states and not states & ENDED

    @property
    def is_patient(self) -> bool:
        """Whether it waits for something that more nodes would not give it."""
        reason = self.state_reason or ""
        return reason in PATIENT or reason.startswith(PATIENT_PREFIXES)

    @property
    def array(self) -> int:
        """The job array it belongs to; 0 when to none."""
        return _whole(self.array_job_id)

    @property
    def tasks_at_once(self) -> int:
        """How many tasks of its array may run at one time; 0 when all."""
        return _whole(self.array_max_tasks)

    @property
    def waiting_tasks(self) -> int:
        """How many jobs this pending record stands for, at least 1."""
        return max(sum(_tasks(self.array_task_string or "")), 1)

    def startable(self, running: int) -> int:
        """How many of the waiting tasks the array's own limit lets start, when `running` run."""
        if not self.tasks_at_once:
            return self.waiting_tasks
        return min(self.waiting_tasks, max(self.tasks_at_once - running, 0))

    @property
    def gpus(self) -> int:
        """GPUs that one job of this record holds or asks for, over all its nodes."""
        if self.gres_detail:
            return sum(gpus(text) for text in self.gres_detail)
        nodes = max(_whole(self.node_count), 1)
        tasks = max(_whole(self.tasks), 1)
        return (
            gpus(self.tres_per_job)
            or gpus(self.tres_req_str)
            or gpus(self.tres_per_node) * nodes
            or gpus(self.tres_per_task) * tasks
            or gpus(self.tres_per_socket) * nodes
        )


class Node(Struct, frozen=True):
    """A node, or several that are alike, in one partition."""

    partition: str
    count: int
    states: frozenset[str]
    gpus: int
    """GPUs of all of them."""
    gpus_used: int
    """Those that jobs hold."""

    @property
    def is_working(self) -> bool:
        """Whether it takes work: up, answering, and not being emptied."""
        return bool(self.states & WORKING) and not self.states & AWAY


class _Error(Struct):
    description: str | None = None
    error: str | None = None


class _OldNode(Struct):
    """22.05: a node."""

    state: str | list[str] = ""
    state_flags: list[str] = []
    partitions: list[str] = []
    gres: str | None = None
    gres_used: str | None = None


class _State(Struct):
    state: str | list[str] = ""


class _Count(Struct):
    total: int = 0


class _Gres(Struct):
    total: str | None = None
    used: str | None = None


class _Partition(Struct):
    name: str = ""


class _Group(Struct):
    """Newer: nodes of one partition that are alike, a single one with ``--Node``."""

    node: _State = field(default_factory=_State)
    nodes: _Count = field(default_factory=_Count)
    gres: _Gres = field(default_factory=_Gres)
    partition: _Partition = field(default_factory=_Partition)


class _Jobs(Struct):
    jobs: list[Job]
    errors: list[_Error] = []


class _Nodes(Struct):
    nodes: list[_OldNode] | None = None
    sinfo: list[_Group] | None = None
    errors: list[_Error] = []


def jobs(printed: bytes) -> list[Job]:
    """Read what squeue printed.

    :raises Unanswered: it is no such thing, or squeue reports an error in it. With its controller
        away squeue 22.05 prints an error, no jobs, and ends with success
    """
    answer = _decode(printed, _Jobs, "squeue")
    _demand_none(answer.errors, "squeue")
    return answer.jobs


def nodes(printed: bytes) -> list[Node]:
    """Read what sinfo printed: each node once for each of its partitions.

    :raises Unanswered: as for `jobs`
    """
    answer = _decode(printed, _Nodes, "sinfo")
    _demand_none(answer.errors, "sinfo")
    if answer.nodes is not None:
        return [node for one in answer.nodes for node in _old_nodes(one)]
    if answer.sinfo is not None:
        return [_group(one) for one in answer.sinfo]
    raise Unanswered("sinfo printed neither nodes nor sinfo: this Slurm is not known here")


@lru_cache(maxsize=4096)
def gpus(text: str | None) -> int:
    """Count the GPUs in Slurm's own words; 0 when it speaks of none.

    >>> gpus("gpu:h100:8(IDX:0-3,5)"), gpus("gres:gpu"), gpus("cpu=2,gres/gpu=16,gres/gpu:h100=16")
    (8, 1, 16)
    """
    untyped = typed = 0
    for part in DETAIL.sub("", text or "").split(","):
        words = re.split("[:=/]", part.strip())
        if words[0] == "gres":
            del words[0]
        if not words or words[0] != "gpu":
            continue
        count = int(words[-1]) if words[-1].isdigit() else 1
        if len(words) > 2 and words[1]:
            typed += count
        else:
            untyped += count
    # A list of TRES names the total, and then the same GPUs again by type.
    return max(typed, untyped) if "=" in (text or "") else typed + untyped


def _old_nodes(node: _OldNode) -> Iterator[Node]:
    states = _words(node.state) | _words(node.state_flags)
    for partition in node.partitions:
        yield Node(partition, 1, states, gpus(node.gres), _used(states, node.gres_used))


def _group(group: _Group) -> Node:
    states = _words(group.node.state)
    count = group.nodes.total
    used = _used(states, group.gres.used)
    return Node(group.partition.name, count, states, gpus(group.gres.total) * count, used * count)


def _used(states: frozenset[str], gres_used: str | None) -> int:
    """Count used GPUs: none on an idle node, of which 22.05 says otherwise after a requeue."""
    return 0 if "IDLE" in states else gpus(gres_used)


def _words(states: str | list[str]) -> frozenset[str]:
    """Make one set of a state or several, in capitals; ``idle*`` and ``MIXED+DRAIN`` included."""
    text = states if isinstance(states, str) else "+".join(states)
    return frozenset(word.strip("*~#!%$@^-").upper() for word in text.split("+") if word)


def _whole(number: Number) -> int:
    """Read a number of either shape; 0 when it is unset or infinite."""
    if isinstance(number, _Wrapped):
        return int(number.number) if number.set and not number.infinite else 0
    return int(number or 0)


def _tasks(text: str) -> Iterator[int]:
    """Count the tasks of ``1-5,8,10-20:2%3``, part by part. A cut list ends in ``...``."""
    for part in text.partition("%")[0].split(","):
        matched = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part.strip())
        if matched:
            first, last, step = matched.groups()
            yield 1 if last is None else (int(last) - int(first)) // int(step or 1) + 1


def _decode(printed: bytes, kind: type[T], program: str) -> T:
    try:
        return msgspec.json.decode(printed, type=kind)
    except msgspec.MsgspecError as cause:
        raise Unanswered(f"{program} printed something else than expected: {cause}") from cause


def _demand_none(errors: list[_Error], program: str) -> None:
    if errors:
        said = errors[0].description or errors[0].error or "an error without a word"
        raise Unanswered(f"{program}: {said}; is slurmctld running?")
