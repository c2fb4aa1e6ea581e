"""Tables of resources and replicas, as kubectl has them, with bars of what is loading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from msgspec import Struct

from navarch.cli import output, views
from navarch.cli.session import Json

BAR = 10
"""Characters of a bar."""
UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
"""Decimal ones, as the makers of disks and links count."""


class Row(Struct, frozen=True):
    """One line of a table."""

    cells: tuple[str, ...]
    age: str
    more: tuple[str, ...] = ()
    """What only a wide table has."""

    @property
    def lasting(self) -> tuple[str, ...]:
        """All but the age: what tells whether something changed."""
        return (*self.cells, *self.more)


class Table(Struct, frozen=True):
    """All lines, and what their columns are called."""

    headers: tuple[str, ...]
    wide: tuple[str, ...]
    rows: tuple[Row, ...]

    def shown(self, *, wide: bool) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """The headers and the cells of a table."""
        headers = (*self.headers, "AGE", *(self.wide if wide else ()))
        rows = [(*row.cells, row.age, *(row.more if wide else ())) for row in self.rows]
        return headers, rows


class LoadingView(Struct, rename="camel", frozen=True):
    """How far weights are on a node."""

    model: str = ""
    bytes_done: int = 0
    bytes_total: int = 0
    problem: str = ""
    bytes_per_second: int = 0

    @property
    def bar(self) -> str:
        """Draw it: ``[####------] 42% 1.2 GB/s``."""
        if self.problem:
            return self.problem
        speed = f" {amount(self.bytes_per_second)}/s" if self.bytes_per_second else ""
        return f"{bar(self.bytes_done, self.bytes_total)}{speed}"


class ReplicaView(Struct, rename="camel", frozen=True):
    """One replica."""

    replica_id: str = ""
    agent_pool: str = ""
    state: str = "REPLICA_STATE_UNKNOWN"
    node_id: str = ""
    gpus: tuple[int, ...] = ()
    gpu_share: float = 0.0
    endpoint: str = ""
    restarts: int = 0
    because: str = ""
    cure: str = ""
    loading: LoadingView | None = None
    created_at: datetime | None = None

    @property
    def reason(self) -> str:
        """Why it is as it is, and what would help."""
        return f"{self.because}; {self.cure}" if self.cure else self.because

    @property
    def gpus_word(self) -> str:
        """Which GPUs it has, and how much of them where it shares."""
        share = f" x {self.gpu_share:g}" if 0 < self.gpu_share < 1 else ""
        return ",".join(map(str, self.gpus)) + share


def bar(done: int, total: int) -> str:
    """Draw how much of something there is; without a total only how much."""
    if total <= 0:
        return amount(done)
    part = min(max(done / total, 0.0), 1.0)
    full = int(part * BAR)
    return f"[{'#' * full}{'-' * (BAR - full)}] {int(part * 100)}%"


def amount(size: int) -> str:
    """Write bytes for people, in decimal units.

    >>> amount(140_000_000_000)
    '140 GB'
    """
    power = min(max(len(str(size)) - 1, 0) // 3, len(UNITS) - 1)
    number = size / 1000**power
    return f"{number:.0f} {UNITS[power]}" if number >= 100 else f"{number:.3g} {UNITS[power]}"


def table(kind: str, documents: Sequence[Json], replicas: Iterable[Json], now: datetime) -> Table:
    """Make the table of one kind; `replicas` tell of models how far their weights are."""
    if kind == "Replica":
        return _replicas([views.read(each, ReplicaView) for each in documents], now)
    headers, wide, make = _MAKERS[kind]
    rows = [make(document) for document in documents]
    if kind == "Model":
        seen = [views.read(each, ReplicaView) for each in replicas]
        rows = [
            _with_bar(row, document, seen) for row, document in zip(rows, documents, strict=True)
        ]
    ages = [_age(document, now) for document in documents]
    return Table(
        headers,
        wide,
        tuple(Row(cells, age, more) for (cells, more), age in zip(rows, ages, strict=True)),
    )


def _replicas(found: Sequence[ReplicaView], now: datetime) -> Table:
    rows = []
    for one in found:
        loading = one.loading.bar if one.loading is not None else ""
        state = one.state.removeprefix("REPLICA_STATE_")
        place = (one.node_id, one.gpus_word, one.endpoint, loading)
        cells = (one.replica_id, _short(one.agent_pool), state, *place)
        age = _brief(one.created_at, now)
        rows.append(Row(cells, age, (str(one.restarts), one.reason)))
    headers = ("NAME", "POOL", "STATE", "NODE", "GPUS", "ENDPOINT", "LOADING")
    return Table(headers, ("RESTARTS", "REASON"), tuple(rows))


# --- resources -------------------------------------------------------------------------------

_Cells = tuple[tuple[str, ...], tuple[str, ...]]


def _pool(one: Json) -> _Cells:
    status, spec = _part(one, "status"), _part(one, "spec")
    counts = [status.get(key, 0) for key in ("readyReplicas", "replicas", "pending")]
    more = (
        str(status.get("prewarmedReplicas", 0)),
        str(spec.get("minReplicas", 0)),
        str(spec.get("maxReplicas", 1)),
        str(_part(spec, "agentClassRef").get("name", "")),
        _trouble(status),
    )
    return (_name(one), *map(str, counts)), more


def _class(one: Json) -> _Cells:
    spec = _part(one, "spec")
    guardrails = [str(each.get("type", "")) for each in spec.get("guardrails", ())]
    model = str(_part(spec, "modelRef").get("name", ""))
    more = (str(_part(spec, "slo").get("ttft", "")), _trouble(_part(one, "status")))
    return (_name(one), model, ",".join(guardrails)), more


def _model(one: Json) -> _Cells:
    status, spec = _part(one, "status"), _part(one, "spec")
    nodes = [str(len(status.get(key, ()))) for key in ("cachedNodes", "loadingNodes")]
    cells = (_name(one), str(spec.get("size", "")), *nodes)
    return cells, (str(spec.get("weightsURI", "")), _trouble(status))


def _with_bar(cells: _Cells, document: Json, replicas: Sequence[ReplicaView]) -> _Cells:
    """Add how far the weights are that somebody waits for: those that are the furthest."""
    meta = _part(document, "metadata")
    name = f"{meta.get('namespace', 'default')}/{meta.get('name', '')}"
    waiting = [each.loading for each in replicas if each.loading and each.loading.model == name]
    waiting.sort(key=lambda each: each.bytes_done, reverse=True)
    return (*cells[0], waiting[0].bar if waiting else ""), cells[1]


def _binding(one: Json) -> _Cells:
    spec = _part(one, "spec")
    pool = str(_part(spec, "agentPoolRef").get("name", ""))
    config = _part(spec, "httpConfig") or _part(spec, "queueConfig")
    more = (str(config.get("url", "")), _trouble(_part(one, "status")))
    return (_name(one), str(spec.get("type", "")), pool), more


_Make = Callable[[Json], _Cells]
_MAKERS: dict[str, tuple[tuple[str, ...], tuple[str, ...], _Make]] = {
    "AgentPool": (
        ("NAME", "READY", "DESIRED", "PENDING"),
        ("PREWARMED", "MIN", "MAX", "CLASS", "REASON"),
        _pool,
    ),
    "AgentClass": (("NAME", "MODEL", "GUARDRAILS"), ("TTFT", "REASON"), _class),
    "Model": (("NAME", "SIZE", "CACHED", "LOADING", "PROGRESS"), ("URI", "REASON"), _model),
    "ToolBinding": (("NAME", "TYPE", "POOL"), ("URL", "REASON"), _binding),
}


def _part(one: Json, key: str) -> Json:
    part = one.get(key)
    return part if isinstance(part, dict) else {}


def _name(one: Json) -> str:
    meta = _part(one, "metadata")
    return _short(f"{meta.get('namespace', 'default')}/{meta.get('name', '')}")


def _short(name: str) -> str:
    return name.removeprefix("default/")


def _trouble(status: Json) -> str:
    """What stands against a resource: the messages of what is not true and should be."""
    conditions = [each for each in status.get("conditions", ()) if isinstance(each, dict)]
    bad = [
        str(each.get("message", ""))
        for each in conditions
        if each.get("status") != ("False" if each.get("type") == "ScalingLimited" else "True")
    ]
    return "; ".join(bad)


def _age(one: Json, now: datetime) -> str:
    created = _part(one, "metadata").get("creationTimestamp")
    try:
        moment = datetime.fromisoformat(str(created))
    except ValueError:
        return ""
    return _brief(moment if moment.tzinfo else None, now)


def _brief(moment: datetime | None, now: datetime) -> str:
    return "" if moment is None else output.age(moment, now).removesuffix(" ago")
