"""The serving plane: pools of agents, their replicas and why they wait, weights, and plugins.

What comes first is what is wrong. What changes without a fact, such as load and the calls of
plugins, is asked for again with ``part=live``; the calls of one plugin with ``traces=KIND/NAME``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from navarch.controlplane.plugin_host import PluginHost, Shown
from navarch.core.serving.scaling.series import Series
from navarch.dashboard.agent_pools import (
    AgentPoolRow,
    ModelRow,
    NodeCache,
    ReplicaRow,
    caches_of,
    count_of_pools,
    models_of,
    pools_of,
    replicas_of,
)
from navarch.dashboard.seen import Seen
from navarch.errors import WireError
from navarch.plugins.kinds import KINDS, SERVING, word_of
from navarch.plugins.protocols import PluginKind

TRACES: Final = 50
"""Calls of one plugin that are shown, the newest."""
TRACES_READ: Final = 1_000
"""Calls of its kind among which they are looked for."""
PROBLEMS_MAX: Final = 20
"""Things that are wrong and are named at the top."""
KEYS: Final = frozenset({"part", "pool", "traces"})


class Problem(Struct, frozen=True):
    """Something that is wrong."""

    subject: str
    text: str
    tone: str
    """``bad``: it does not work. ``warn``: it works, and somebody should look."""


class KindRow(Struct, frozen=True):
    """The plugins of one kind, in the order in which they are asked."""

    kind: str
    about: str
    switchable: bool
    """Whether operators may change them at run time."""
    plugins: list[Shown]


class TraceRow(Struct, frozen=True):
    """One call of a plugin."""

    at: datetime
    point: str
    pool: str
    asked: str
    """What it was asked about."""
    said: str
    """What it answered, or what went wrong."""
    outcome: str
    seconds: float
    shadow: bool


class TracesView(Struct, frozen=True):
    """The newest calls of one plugin, the newest first."""

    now: datetime
    kind: str
    name: str
    traces: list[TraceRow]


class LiveView(Struct, frozen=True):
    """What changes without a fact."""

    seq: int
    now: datetime
    problems: list[Problem]
    agent_pools: list[AgentPoolRow]
    kinds: list[KindRow]


class ServingView(Struct, frozen=True):
    """The whole serving plane."""

    seq: int
    now: datetime
    problems: list[Problem]
    problems_left_out: int
    agent_pools: list[AgentPoolRow]
    agent_pools_left_out: int
    replicas: list[ReplicaRow]
    replicas_left_out: int
    models: list[ModelRow]
    models_left_out: int
    caches: list[NodeCache]
    caches_left_out: int
    kinds: list[KindRow]


async def view(
    seen: Seen, below: str, query: Mapping[str, str]
) -> ServingView | LiveView | TracesView:
    """Show the serving plane; `query` may want a part of it, or the replicas of one pool."""
    unknown = query.keys() - KEYS
    if below or unknown:
        what = below or min(unknown)
        raise WireError("invalid_argument", f"{what[:40]!r}: not among {sorted(KEYS)}")
    if "traces" in query:
        return _traces(seen, query["traces"])
    pools = pools_of(seen, _read(seen))
    kinds = _kinds(seen.plugins)
    problems = _problems(seen, pools)
    match query.get("part", ""):
        case "live":
            return LiveView(seen.seq, seen.now, problems[:PROBLEMS_MAX], pools, kinds)
        case "":
            return _whole(seen, pools, kinds, problems, query.get("pool", ""))
        case other:
            raise WireError("invalid_argument", f"part: {other[:40]!r} is none; there is: live")


def _whole(
    seen: Seen,
    pools: list[AgentPoolRow],
    kinds: list[KindRow],
    problems: list[Problem],
    agent_pool: str,
) -> ServingView:
    if agent_pool and agent_pool not in {each.name for each in pools}:
        raise WireError("not_found", f"no pool of agents is called {agent_pool[:253]!r}")
    replicas, replicas_left_out = replicas_of(seen, agent_pool)
    models, models_left_out = models_of(seen)
    caches, caches_left_out = caches_of(seen)
    return ServingView(
        seen.seq,
        seen.now,
        problems[:PROBLEMS_MAX],
        max(len(problems) - PROBLEMS_MAX, 0),
        pools,
        count_of_pools(seen.fleet) - len(pools),
        replicas,
        replicas_left_out,
        models,
        models_left_out,
        caches,
        caches_left_out,
        kinds,
    )


def _read(seen: Seen) -> Mapping[str, Mapping[str, Series]]:
    """What was read of every pool's load; nothing where no control plane runs."""
    if seen.control_plane is None:
        return {}
    turns = seen.control_plane.serving.turns
    return {name: turns.signals_read(name) for name in seen.fleet.replicas_of | _named(seen)}


def _named(seen: Seen) -> dict[str, dict[str, None]]:
    prefix = "AgentPool/"
    return {key.removeprefix(prefix): {} for key in seen.fleet.resources if key.startswith(prefix)}


# --- what is wrong ---------------------------------------------------------------------------


def _problems(seen: Seen, pools: Sequence[AgentPoolRow]) -> list[Problem]:
    """Everything that is wrong, what does not work first."""
    found: list[Problem] = []
    for pool in pools:
        if pool.problem:
            tone = "bad" if pool.ready < pool.wanted else "warn"
            found.append(Problem(pool.name, pool.problem, tone))
        found += [
            Problem(pool.name, f"signal {each.name} is {each.quality}: {each.detail}", "warn")
            for each in pool.signals
            if each.quality != "ok" and each.target is not None
        ]
    found += _plugin_problems(seen.plugins)
    for model in models_of(seen)[0]:
        stuck = next((each for each in model.loading if each.problem), None)
        if stuck is not None:
            text = f"its weights do not come to {stuck.node}: {stuck.problem}"
            found.append(Problem(model.name, text, "bad"))
    return sorted(found, key=lambda each: each.tone != "bad")


def _plugin_problems(host: PluginHost | None) -> Iterator[Problem]:
    """Plugins that should be asked and are not; those that nobody has configured need not be."""
    if host is None:
        return
    for kind in PluginKind:
        for entry in host.registry.entries(kind):
            subject = f"{word_of(kind)}/{entry.name}"
            tone = "warn" if entry.shadow else "bad"
            isolated = host.summary(entry).isolated
            if entry.enabled and isolated:
                yield Problem(subject, f"is left alone {isolated}", tone)
            elif entry.enabled and entry.broken and entry.configured:
                yield Problem(subject, f"cannot be asked: {entry.broken}", tone)


# --- plugins ---------------------------------------------------------------------------------


def _kinds(host: PluginHost | None) -> list[KindRow]:
    """Every plugin by kind; those of the serving plane, which can be changed, come first."""
    if host is None:
        return []
    ordered = [*SERVING, *(kind for kind in PluginKind if kind not in SERVING)]
    rows = [
        KindRow(
            word_of(kind),
            KINDS[kind].summary,
            kind in SERVING,
            [host.shown(entry) for entry in host.registry.entries(kind)],
        )
        for kind in ordered
    ]
    return [row for row in rows if row.plugins]


def _traces(seen: Seen, wanted: str) -> TracesView:
    """Show the calls of one plugin, named as ``kind/name``."""
    if seen.plugins is None:
        raise WireError("not_found", "there are no plugins: no control plane runs")
    word, _, name = wanted.partition("/")
    entry = seen.plugins.find(word, name)
    found = seen.plugins.calls.traces(entry.kind, limit=TRACES_READ)
    mine = [each for each in found if each.plugin == name][-TRACES:]
    return TracesView(
        seen.now,
        word_of(entry.kind),
        name,
        [
            TraceRow(
                each.at,
                each.point,
                each.pool,
                each.subject,
                each.verdict,
                each.outcome,
                each.seconds,
                each.shadow,
            )
            for each in reversed(mine)
        ],
    )
