"""Placing replicas with everybody's scheduler plugins, those of others kept on a leash.

The built-in plugins are asked by columns. One in the documents' form (``filter`` and ``score`` for
one node) is asked last, node by node, and only about nodes that all others let pass. One in the
batch form is asked like a built-in, and what it answers is checked.

A call that fails is answered for by the plugin's *failure policy*:

=========  ============================================  =====================================
policy     the filter failed                             the score failed
=========  ============================================  =====================================
closed     the node is ruled out (what holds by itself)  the node is ruled out
open       the node passes                               0
neutral    the node passes                               50
=========  ============================================  =====================================

Who fails `FAILURES_MAX` times in one pass is not asked any more in it; the policy speaks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, cast

import numpy as np
from msgspec import Struct

from navarch.core.model.resources import AgentPool
from navarch.core.serving.scheduling import BUILT_IN as COLUMNS
from navarch.core.serving.scheduling import Batch, Planner, Running, Snapshot, bind
from navarch.core.serving.scheduling.batch import Floats
from navarch.core.serving.scheduling.snapshot import Ints, Rows
from navarch.core.serving.views import Node, Placement, Pod
from navarch.errors import PluginError
from navarch.plugins.calls import About, Caller, Direct, Failed
from navarch.plugins.protocols import PluginKind, SchedulerPlugin
from navarch.plugins.registry import get_global_registry
from navarch.plugins.verdicts import Said

BUILT_IN: Final = COLUMNS
"""The scheduler plugins of this package."""
FAILURES_MAX: Final = 8
"""Failed calls of one plugin in one pass, after which it is not asked any more."""

FailurePolicy = Literal["closed", "open", "neutral"]
_WHEN_FAILED: Final[Mapping[str, float]] = {"closed": math.nan, "open": 0.0, "neutral": 50.0}

_REFUSED, _FAILED = 1, 2


class Schedulers(Protocol):
    """Who knows the scheduler plugins: a registry."""

    @property
    def schedulers(self) -> Sequence[Any]:
        """Those that are to be asked."""
        ...


class _State(Struct):
    """What one plugin is asked about in one shape of pod."""

    pod: Pod
    pool: AgentPool
    inner: Any = None
    """What a batch plugin prepared."""
    failure: str = ""
    """How a call failed first; empty: none did."""


class _Kept(Batch):
    """A plugin of others, in the host's hands."""

    filters = True
    scores = True
    dynamic = True

    def __init__(self, plugin: Any, caller: Caller, policy: FailurePolicy) -> None:  # noqa: ANN401
        self.name = plugin.name
        self.priority = plugin.priority
        self.weight = float(getattr(plugin, "weight", 1.0))
        self._plugin = plugin
        self._caller = caller
        self._policy = policy
        self._failures = 0

    def texts(self, state: _State, snapshot: Snapshot) -> Sequence[str]:
        """Name the reasons."""
        return (f"refused by {self.name}", f"{self.name} failed: {state.failure}")

    def _ask(
        self,
        state: _State,
        point: str,
        subject: str,
        function: Callable[[], Any],
        expected: Callable[[Any], str],
    ) -> Any | Failed:  # noqa: ANN401
        """Call the plugin, and refuse an answer that is none."""
        if self._failures >= FAILURES_MAX:
            return Failed(self.name, point, state.failure)
        about = About(PluginKind.SCHEDULER, self.name, point, state.pod.agent_pool, subject)

        def checked() -> Any:  # noqa: ANN401
            answer = function()
            if fault := expected(answer):
                raise TypeError(f"{point} answered {answer!r:.80}: expected {fault}")
            return answer

        answer = self._caller.call(about, checked)
        if isinstance(answer, Failed):
            self._failures += 1
            state.failure = state.failure or answer.text
        return answer

    @property
    def _code(self) -> int:
        return _FAILED if self._policy == "closed" else 0


class PerNode(_Kept):
    """A plugin in the documents' form: one pod, one node."""

    costly = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> _State:
        """Remember whom it is asked about."""
        return _State(pod, pool)

    def mask(self, state: _State, snapshot: Snapshot, rows: Rows) -> Ints:
        """Ask its filter about each row."""
        plugin = cast("SchedulerPlugin", self._plugin)
        nodes = [snapshot.node(row) for row in _listed(rows, snapshot)]
        answers = self._each(state, "filter", plugin.filter, nodes, _no_bool)
        codes = [
            self._code if isinstance(each, Failed) else 0 if each else _REFUSED for each in answers
        ]
        return np.array(codes, dtype=np.int64)

    def score(self, state: _State, snapshot: Snapshot, rows: Rows) -> Floats:
        """Ask for the score of each row."""
        plugin = cast("SchedulerPlugin", self._plugin)
        nodes = [snapshot.node(row) for row in _listed(rows, snapshot)]
        answers = self._each(state, "score", plugin.score, nodes, _no_number)
        failed = _WHEN_FAILED[self._policy]
        scores = [
            failed if isinstance(each, Failed) else min(max(float(each), 0.0), 100.0)
            for each in answers
        ]
        return np.array(scores, dtype=np.float64)

    def _each(
        self,
        state: _State,
        point: str,
        function: Callable[[Pod, Node, AgentPool], Any],
        nodes: Sequence[Node],
        expected: Callable[[Any], str],
    ) -> Sequence[Any | Failed]:
        """Ask about many nodes in one call, which costs the caller as much as about one.

        A call that fails has failed for one node; another one goes on behind that.
        """
        answers: list[Any | Failed] = []

        def ask() -> int:
            for node in nodes[len(answers) :]:
                answer = function(state.pod, node, state.pool)
                if fault := expected(answer):
                    raise TypeError(f"{point} answered {answer!r:.80}: expected {fault}")
                answers.append(answer)
            return len(answers)

        while len(answers) < len(nodes):
            subject = f"{state.pod.name} on {len(nodes) - len(answers)} nodes"
            outcome = self._ask(state, point, subject, ask, _anything)
            if isinstance(outcome, Failed):
                left = len(nodes) - len(answers) if self._failures >= FAILURES_MAX else 1
                answers += [outcome] * left
        return answers


class Kept(_Kept):
    """A plugin of others in the batch form."""

    def __init__(self, plugin: Any, caller: Caller, policy: FailurePolicy) -> None:  # noqa: ANN401
        """Take its flags over; what it does not say is taken to be the careful answer."""
        super().__init__(plugin, caller, policy)
        self.filters = bool(getattr(plugin, "filters", True))
        self.scores = bool(getattr(plugin, "scores", hasattr(plugin, "score")))
        self.dynamic = bool(getattr(plugin, "dynamic", True))
        self.costly = bool(getattr(plugin, "costly", False))

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> _State | None:
        """Let it prepare; None when it has nothing to say."""
        state = _State(pod, pool)
        subject = f"{len(snapshot)} nodes"
        inner = self._ask(
            state, "prepare", subject, lambda: self._plugin.prepare(pod, pool, snapshot), _anything
        )
        if inner is None:
            return None
        state.inner = inner
        return state

    def is_wide(self, state: _State) -> bool:
        """Whether it says so."""
        asked = getattr(self._plugin, "is_wide", None)
        if asked is None or isinstance(state.inner, Failed):
            return False
        return bool(self._ask(state, "is_wide", "", lambda: asked(state.inner), _no_bool) is True)

    def mask(self, state: _State, snapshot: Snapshot, rows: Rows) -> Ints:
        """Ask it about all rows at once."""
        count = len(_listed(rows, snapshot))
        answer = self._rows(state, "mask", snapshot, rows, _no_codes(count))
        if isinstance(answer, Failed):
            return np.full(count, self._code, dtype=np.int64)
        codes = np.asarray(answer, dtype=np.int64)
        return np.where(codes > 0, codes + _FAILED, 0)

    def texts(self, state: _State, snapshot: Snapshot) -> Sequence[str]:
        """Name its own reasons after ours."""
        ours = super().texts(state, snapshot)
        named = getattr(self._plugin, "texts", None)
        if named is None or isinstance(state.inner, Failed):
            return (*ours, ours[0])
        theirs = self._ask(
            state, "texts", "", lambda: tuple(map(str, named(state.inner, snapshot))), _anything
        )
        return (*ours, *(ours[:1] if isinstance(theirs, Failed) else theirs or ours[:1]))

    def score(self, state: _State, snapshot: Snapshot, rows: Rows) -> Floats:
        """Ask it about all rows at once."""
        count = len(_listed(rows, snapshot))
        answer = self._rows(state, "score", snapshot, rows, _no_scores(count))
        if isinstance(answer, Failed):
            return np.full(count, _WHEN_FAILED[self._policy])
        return np.clip(np.asarray(answer, dtype=np.float64), 0.0, 100.0)

    def _rows(
        self,
        state: _State,
        point: str,
        snapshot: Snapshot,
        rows: Rows,
        expected: Callable[[Any], str],
    ) -> Any | Failed:  # noqa: ANN401
        if isinstance(state.inner, Failed):
            return state.inner
        function = getattr(self._plugin, point)
        subject = f"{len(_listed(rows, snapshot))} nodes"
        return self._ask(
            state, point, subject, lambda: function(state.inner, snapshot, rows), expected
        )


def _listed(rows: Rows, snapshot: Snapshot) -> range | list[int]:
    return range(len(snapshot))[rows] if isinstance(rows, slice) else rows.tolist()


def _anything(_answer: object) -> str:
    return ""


def _no_bool(answer: object) -> str:
    return "" if isinstance(answer, bool) else "True or False"


def _no_number(answer: object) -> str:
    good = isinstance(answer, int | float) and not isinstance(answer, bool)
    return "" if good and math.isfinite(cast("float", answer)) else "a number from 0 to 100"


def _no_codes(count: int) -> Callable[[Any], str]:
    def expected(answer: Any) -> str:  # noqa: ANN401
        codes = np.asarray(answer)
        good = codes.shape == (count,) and codes.dtype.kind in "bui" and not (codes < 0).any()
        return "" if good else f"{count} whole numbers of at least 0"

    return expected


def _no_scores(count: int) -> Callable[[Any], str]:
    def expected(answer: Any) -> str:  # noqa: ANN401
        scores = np.asarray(answer)
        good = scores.shape == (count,) and scores.dtype.kind in "uif"
        return "" if good else f"{count} numbers"

    return expected


class Traces:
    """Has each call of a built-in plugin about all nodes go through a caller, for its trace.

    What is asked again about a few rows, after a reservation, is not seen.
    """

    def __init__(self, caller: Caller) -> None:
        """Call through this one."""
        self._caller = caller

    def see(
        self,
        plugin: str,
        point: str,
        pod: Pod,
        snapshot: Snapshot,
        ask: Callable[[], Any],
    ) -> Any:  # noqa: ANN401
        """Call a plugin. Raises `PluginError` where it fails: without it nothing can be placed."""

        def told() -> Said:
            answer = ask()
            return Said(answer, _told(point, answer))

        subject = pod.name or pod.agent_pool
        said = self._caller.call(
            About(PluginKind.SCHEDULER, plugin, point, pod.agent_pool, subject), told
        )
        if isinstance(said, Failed):
            raise PluginError(f"scheduler plugin {plugin} failed in {point}: {said.text}")
        return said.answer


def _told(point: str, answer: Any) -> str:  # noqa: ANN401
    """Say what columns come to."""
    if point == "prepare":
        return "it has nothing to say" if answer is None else "it has a say"
    count = len(answer)
    if point == "mask":
        return f"{count:,} nodes, {count - np.count_nonzero(answer):,} fit"
    if not count:
        return "0 nodes"
    return f"{count:,} nodes, {np.min(answer):.0f} to {np.max(answer):.0f}"


class Scheduler:
    """Places pods on nodes. It keeps nothing between two calls."""

    def __init__(
        self,
        registry: Schedulers | None = None,
        weights: Mapping[str, float] | None = None,
        *,
        caller: Caller | None = None,
        policies: Mapping[str, FailurePolicy] | None = None,
    ) -> None:
        """Place with the plugins of a registry; None: with those of the process's own.

        The built-in plugins that filter take part even if the registry lacks them: without them
        more would be placed than there is. `weights` says by name how much a plugin's score counts
        instead of its own ``weight``, `policies` what becomes of its failures instead of its
        ``on_error``. A weight for a plugin that does not take part raises `ValueError` when
        something is placed.
        """
        self._registry: Schedulers = get_global_registry() if registry is None else registry
        self._weights = dict(weights or {})
        self._caller = caller or Direct()
        self._policies = dict(policies or {})

    def place(
        self,
        pods: Sequence[Pod],
        nodes: Iterable[Node] | Snapshot,
        pool: AgentPool | Mapping[str, AgentPool] | None = None,
        *,
        running: Sequence[Running] = (),
    ) -> list[Placement]:
        """Find a node for each pod, or say why there is none; answers come in the pods' order.

        `pool` is the pool of all pods, or the pools by ``namespace/name``. Replicas that are
        `running` may have to make room for pods of higher priority, where the pool lets them. A
        `Snapshot` is used and changed: what was placed is reserved in it.
        """
        snapshot = nodes if isinstance(nodes, Snapshot) else Snapshot(nodes)
        return self.planner(snapshot, pool, running).place(pods)

    def planner(
        self,
        snapshot: Snapshot,
        pool: AgentPool | Mapping[str, AgentPool] | None = None,
        running: Sequence[Running] = (),
    ) -> Planner:
        """Make what places pods on one snapshot, and can be asked more about it."""
        priorities, policies = self._bindings()
        plugins = [
            self._kept(each, policies.get(each.name, "")) for each in self._registry.schedulers
        ]
        named = {each.name for each in plugins}
        plugins += [each for each in BUILT_IN_MADE if each.essential and each.name not in named]
        return Planner(
            bind(plugins, self._weights, priorities, self._watches(plugins)),
            snapshot,
            pool,
            running,
        )

    def _watches(self, plugins: Iterable[Batch]) -> dict[str, Traces]:
        """Have the built-in plugins seen, unless the caller remembers nothing anyway."""
        if isinstance(self._caller, Direct):
            return {}
        traces = Traces(self._caller)
        return {each.name: traces for each in plugins if isinstance(each, COLUMNS)}

    def _bindings(self) -> tuple[dict[str, int], dict[str, str]]:
        """Read what the registry says of its plugins: their priorities and failure policies."""
        entries = getattr(self._registry, "entries", None)
        if entries is None:
            return {}, {}
        found = [each for each in entries(PluginKind.SCHEDULER) if each.plugin is not None]
        # The configuration says ``fail_open`` and ``fail_closed``, for all kinds alike.
        words = {each.name: getattr(each, "on_error", "") for each in found}
        policies = {name: word.removeprefix("fail_") for name, word in words.items()}
        return {each.name: each.priority for each in found}, policies

    def _kept(self, plugin: Any, bound: str) -> Batch:  # noqa: ANN401
        if isinstance(plugin, COLUMNS):
            return plugin
        policy = self._policies.get(plugin.name) or bound or getattr(plugin, "on_error", "closed")
        if policy not in _WHEN_FAILED:
            known = ", ".join(_WHEN_FAILED)
            raise ValueError(f"scheduler plugin {plugin.name}: on_error {policy!r}: one of {known}")
        kind = Kept if hasattr(plugin, "mask") else PerNode
        return kind(plugin, self._caller, cast("FailurePolicy", policy))


BUILT_IN_MADE: Final[tuple[Batch, ...]] = tuple(each() for each in BUILT_IN)
"""One of each; they keep nothing."""
