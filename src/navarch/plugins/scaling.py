"""Autoscalers of replicas: which are asked about a pool, how, and what becomes of wrong answers.

An autoscaler has the documents' form, ``calculate_replicas(pool, current_metrics)``, or the rich
one, ``propose(demand)``, which sees how good each value is and how it came about. One that raises,
answers something that is no number of replicas, or is not there, holds the pool where it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar, runtime_checkable

from msgspec import Struct
from msgspec.structs import replace

from navarch.core.model.resources import AgentClass, AgentPool
from navarch.core.scaling.base import Quality, Reading
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.autoscalers import BUILT_IN, SLOAutoscaler
from navarch.core.serving.scaling.proposal import REPLICAS_MAX, Demand, Proposal, hold
from navarch.core.serving.scaling.series import Series
from navarch.plugins.calls import About, Caller, Failed
from navarch.plugins.protocols import AutoscalerPlugin, PluginKind
from navarch.plugins.terms import TermsOf, unsaid

__all__ = [
    "BUILT_IN",
    "Panel",
    "SignalBook",
    "applicable",
    "ask",
    "ask_in_time",
    "wanted_signals",
]

DEADLINE: Final = timedelta(seconds=5)
"""How long an autoscaler that is not built in may take where nothing is said of it."""

POOLS_MAX: Final = 10_000
"""Pools whose samples are kept; the one that was looked at longest ago is forgotten first."""

SIGNALS_MAX: Final = 64
"""Signals of a pool that are read; more are left out, the pool's own metrics last."""

_T = TypeVar("_T")


@runtime_checkable
class _InThreads(Protocol):
    """A caller that can give each plugin a thread of its own."""

    async def call_in_thread(
        self, about: About, function: Callable[[], _T], deadline: timedelta
    ) -> _T | Failed: ...


class Panel(Struct, frozen=True):
    """Whom to ask about pools of agents, and how."""

    autoscalers: Sequence[object]
    caller: Caller
    terms: TermsOf = unsaid
    """How long each may take, and whether its failure holds or counts for nothing."""


class _Question(Struct, frozen=True):
    """One call that is to be made."""

    about: About
    function: Callable[[], Proposal]
    is_ours: bool
    is_neutral: bool
    """Whether a failure is as though it were not asked; otherwise it holds."""
    deadline: timedelta


def applicable(
    autoscalers: Iterable[object], pool: AgentPool, agent_class: AgentClass | None
) -> list[AutoscalerPlugin]:
    """Return those that are asked about a pool, in their order.

    Those that the pool names; or else the built-in ones that know one of its metrics, and all that
    are not built in.
    """
    named = pool.spec.autoscaling.autoscalers
    plugins = [one for one in autoscalers if hasattr(one, "name")]
    if named:
        return [one for one in plugins if one.name in named]  # type: ignore[misc]
    return [
        one  # type: ignore[misc]
        for one in plugins
        if not isinstance(one, BUILT_IN) or one.applies(pool, agent_class)
    ]


def wanted_signals(
    autoscalers: Iterable[object], pool: AgentPool, agent_class: AgentClass | None
) -> tuple[str, ...]:
    """Return the signals that have to be read for a pool, by their names in the catalogue.

    Those that say whether somebody waits are always among them: without them no pool would leave
    zero by a signal that only serving replicas give.
    """
    wanted = [metric.type for metric in pool.spec.autoscaling.metrics]
    asked = applicable(autoscalers, pool, agent_class)
    for plugin in asked:
        if not isinstance(plugin, BUILT_IN) or isinstance(plugin, SLOAutoscaler):
            wanted.extend(_metric_names(plugin))
    if asked:
        wanted.extend(signals.WAITING)
    return signals.names(wanted)[:SIGNALS_MAX]


def ask(
    panel: Panel,
    pool: AgentPool,
    agent_class: AgentClass | None,
    series: Mapping[str, Series],
    *,
    current: int,
    ready: int,
    now: datetime,
) -> list[Proposal]:
    """Ask every autoscaler that applies here and now, without a limit of time.

    `series` are by the signal's name in the catalogue, `current` replicas are wanted and `ready`
    of them serve. Metrics that nobody understands, and autoscalers that are named and are not
    there, hold.
    """
    demand = _demand(pool, agent_class, series, current, ready, now)
    plugins = applicable(panel.autoscalers, pool, agent_class)
    questions = [_question(plugin, demand, panel.terms) for plugin in plugins]
    answers = [(each, panel.caller.call(each.about, each.function)) for each in questions]
    return [*_taken(demand, answers), *_missing(demand, plugins)]


async def ask_in_time(
    panel: Panel,
    pool: AgentPool,
    agent_class: AgentClass | None,
    series: Mapping[str, Series],
    *,
    current: int,
    ready: int,
    now: datetime,
) -> list[Proposal]:
    """Do as `ask` does, those that are not built in each in a thread and within its deadline.

    That is `DEADLINE` where its terms have none. One that hangs has failed; the others are heard.
    A caller without threads calls here and now.
    """
    demand = _demand(pool, agent_class, series, current, ready, now)
    plugins = applicable(panel.autoscalers, pool, agent_class)
    caller = panel.caller
    answers: list[tuple[_Question, Proposal | Failed]] = []
    for plugin in plugins:
        question = _question(plugin, demand, panel.terms)
        if question.is_ours or not isinstance(caller, _InThreads):
            said = caller.call(question.about, question.function)
        else:
            about, deadline = question.about, question.deadline
            said = await caller.call_in_thread(about, question.function, deadline)
        answers.append((question, said))
    return [*_taken(demand, answers), *_missing(demand, plugins)]


def _demand(
    pool: AgentPool,
    agent_class: AgentClass | None,
    series: Mapping[str, Series],
    current: int,
    ready: int,
    now: datetime,
) -> Demand:
    status = replace(pool.status, replicas=current, ready_replicas=ready)
    return Demand(replace(pool, status=status), agent_class, current, ready, series, now)


def _question(plugin: AutoscalerPlugin, demand: Demand, terms: TermsOf) -> _Question:
    propose = getattr(plugin, "propose", None)
    point = "propose" if callable(propose) else "calculate_replicas"
    about = About(PluginKind.REPLICA_AUTOSCALER, plugin.name, point, pool=demand.pool.full_name)

    def function() -> Proposal:
        if callable(propose):
            return _checked(propose(demand))
        return _by_document(plugin, demand)

    said = terms(plugin.name)
    deadline = DEADLINE if said.deadline is None else said.deadline
    ours, neutral = isinstance(plugin, BUILT_IN), said.on_error == "neutral"
    return _Question(about, function, ours, neutral, deadline)


def _taken(
    demand: Demand, answers: Sequence[tuple[_Question, Proposal | Failed]]
) -> list[Proposal]:
    """Take what was said; failures hold, but those that are neutral where others have a say."""
    alone = all(isinstance(said, Failed) and question.is_neutral for question, said in answers)
    taken = []
    for question, said in answers:
        if not isinstance(said, Failed):
            taken.append(replace(said, by=question.about.plugin))
        elif alone or not question.is_neutral:
            taken.append(hold(demand, f"{said.plugin} failed ({said.text})", by=said.plugin))
    return taken


def _checked(answer: object) -> Proposal:
    """Refuse what is no proposal.

    :raises TypeError: it is something else
    :raises ValueError: it has numbers that cannot be
    """
    if not isinstance(answer, Proposal):
        _dispose(answer)
        raise TypeError(f"propose gave a {type(answer).__name__}, expected a Proposal")
    high = answer.high
    limits = (answer.low, answer.low if high is None else high)
    for number in (answer.replicas, *limits):
        _number(number, "propose")
    return answer


def _by_document(plugin: AutoscalerPlugin, demand: Demand) -> Proposal:
    """Ask in the documents' form, with the fresh values under the names that the plugin uses.

    Whoever misses a value may take it for zero. So if one of the plugin's signals is not fresh, its
    answer takes nothing away.
    """
    values: dict[str, float] = {}
    missing: list[str] = []
    for name in _metric_names(plugin):
        reading = _newest(demand, name)
        if reading.quality is Quality.OK:
            values[name] = values[signals.canonical(name)] = reading.value
        else:
            missing.append(f"{name} is {reading.quality}")
    for plain in demand.series:
        if (value := demand.fresh(plain)) is not None:
            values.setdefault(plain, value)
    answer: object = plugin.calculate_replicas(demand.pool, values)
    _dispose(answer)
    number = _number(answer, "calculate_replicas")
    text = f"{plugin.name} says {number}"
    if missing and number < demand.current:
        return hold(demand, f"{text}, but {', '.join(missing)}", by=plugin.name)
    return Proposal(number, text, plugin.name)


def _newest(demand: Demand, name: str) -> Reading:
    """Return a signal averaged over the window that the pool gives it."""
    plain = signals.canonical(name)
    metrics = demand.pool.spec.autoscaling.metrics
    windows = [one.averaging_window for one in metrics if signals.canonical(one.type) == plain]
    return demand.reading(plain, windows[0] if windows else timedelta())


def _number(answer: object, method: str) -> int:
    expected = "expected a whole number of at least 0"
    if not isinstance(answer, int) or isinstance(answer, bool):
        raise TypeError(f"{method} gave {_shown(answer)} ({type(answer).__name__}), {expected}")
    if answer < 0:
        raise ValueError(f"{method} gave {answer}, {expected}")
    return min(answer, REPLICAS_MAX)


def _shown(answer: object) -> str:
    text = repr(answer)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _dispose(answer: object) -> None:
    """End a coroutine that nobody will await."""
    if inspect.iscoroutine(answer):
        answer.close()


def _metric_names(plugin: AutoscalerPlugin) -> list[str]:
    names: Sequence[object] = getattr(plugin, "metric_names", ())
    return [name for name in names[:SIGNALS_MAX] if isinstance(name, str)]


def _missing(demand: Demand, plugins: Sequence[AutoscalerPlugin]) -> list[Proposal]:
    """Hold for each autoscaler that is named and not there, and each metric nobody understands."""
    scaling = demand.pool.spec.autoscaling
    there = {plugin.name for plugin in plugins}
    absent = [name for name in scaling.autoscalers if name not in there]
    known = {signals.canonical(name) for plugin in plugins for name in _metric_names(plugin)}
    lost = [] if absent else [m for m in scaling.metrics if signals.canonical(m.type) not in known]
    return [
        *(hold(demand, f"autoscaler {name} is not there, or not enabled") for name in absent),
        *(
            hold(demand, f"no autoscaler that is asked knows {one.type}", signal=one.type)
            for one in lost
        ),
    ]


class SignalBook:
    """The samples of all pools, as far back as their windows reach."""

    def __init__(self) -> None:
        """Begin with none."""
        self._pools: dict[str, dict[str, Series]] = {}

    def take(
        self, pool: AgentPool, samples: Mapping[str, Reading], now: datetime
    ) -> Mapping[str, Series]:
        """Add what was read of a pool just now, and return all that is known of it.

        Signals that were not read are forgotten. Cost: O(samples kept).
        """
        before = self._pools.pop(pool.full_name, {})
        windows = {
            signals.canonical(metric.type): metric.averaging_window
            for metric in pool.spec.autoscaling.metrics
        }
        after: dict[str, Series] = {}
        for name, sample in samples.items():
            plain = signals.canonical(name)
            series = before.get(plain) or Series(plain)
            after[plain] = series.extended(sample, now, windows.get(plain, timedelta()))
        self._pools[pool.full_name] = after
        while len(self._pools) > POOLS_MAX:
            del self._pools[next(iter(self._pools))]
        return after

    def known(self, pool: str) -> Mapping[str, Series]:
        """All that is known of a pool, ``namespace/name``, by signal; empty: nothing was read."""
        return self._pools.get(pool, {})

    def forget(self, pool: str) -> None:
        """Forget a pool, ``namespace/name``, that is no more."""
        self._pools.pop(pool, None)
