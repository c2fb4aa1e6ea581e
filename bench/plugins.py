"""What it costs that plugins are called through a caller that remembers.

    python bench/plugins.py [--runs 7] [--json FILE]

CPU time, medians of 7 runs, one process. *Plain*: one call of a method that does nothing, by
itself, through `Direct`, which remembers nothing, and through `Traced`. *Awaited*: the same of a
coroutine, with a deadline; our own coroutines run where they are, those of others in a task each.
*In a thread*: in the plugin's own thread, there and back. *A placement*: one pod and 1,000 nodes,
by the schedulers that are built in and one of somebody else in the plain form, which looks at one
node at a time; both in turn, the medians of 60.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from figures import Figure, options, write

from navarch.plugins import AgentPool, Node, Pod, builtin
from navarch.plugins.calls import About, Caller, Direct
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Registry
from navarch.plugins.scheduling import Scheduler
from navarch.plugins.traces import Traced

RUNS = 7
CALLS = 20_000
PLACEMENTS = 60
ABOUT = About(PluginKind.SCHEDULER, "prefer-ssd", "score", "default/chat", "pod-1 on 1000 nodes")
DEADLINE = timedelta(seconds=5)
PODS = [Pod("pod-1", gpu_request=1, agent_pool="default/chat")]
NODES = [
    Node(
        f"node-{number}",
        labels={"ssd": "true"} if number % 3 else {},
        capacity={"nvidia.com/gpu": 8},
        gpu_type="NVIDIA H100",
    )
    for number in range(1_000)
]


class PreferSsd:
    """Prefers nodes with a fast disk, as a first plugin does."""

    name = "prefer-ssd"
    priority = 150

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        """Let all pass."""
        return True

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        """Look for the label."""
        return 70 if "ssd" in node.labels else 20


def nothing() -> bool:
    """Stands for a plugin that answers at once."""
    return True


async def nothing_awaited() -> bool:
    """Do the same, awaited."""
    return True


def placing(caller: Caller) -> Callable[[], object]:
    """Place one pod, with everything that is asked about it."""
    registry = Registry(filler=builtin.candidates)
    registry.register(PluginKind.SCHEDULER, PreferSsd())
    scheduler = Scheduler(registry, caller=caller)
    return lambda: scheduler.place(PODS, NODES, AgentPool())


def seconds_each(function: Callable[[], object], calls: int, times: int) -> list[float]:
    """Measure one call, on average, in each run."""
    runs = []
    for _ in range(times):
        started = time.process_time()
        for _ in range(calls):
            function()
        runs.append((time.process_time() - started) / calls)
    return runs


def seconds_once(function: Callable[[], object]) -> float:
    """Measure one call."""
    started = time.process_time()
    function()
    return time.process_time() - started


async def seconds_awaited(
    function: Callable[[], Awaitable[object]], calls: int, times: int
) -> list[float]:
    """Measure one call that is awaited, on average, in each run."""
    runs = []
    for _ in range(times):
        started = time.process_time()
        for _ in range(calls):
            await function()
        runs.append((time.process_time() - started) / calls)
    return runs


def traced(*, trusts: bool) -> Traced:
    """Make a caller as a control plane has it."""
    return Traced(lambda: datetime.now(UTC), time.perf_counter, trusts=lambda _kind, _name: trusts)


async def measured(times: int) -> list[Figure]:
    """Measure each way of calling."""
    ours, others, direct = traced(trusts=True), traced(trusts=False), Direct()
    figures = [shown("plain, by itself", seconds_each(nothing, CALLS * 10, times))]
    plain: tuple[tuple[str, Caller], ...] = (("direct", direct), ("traced", ours))
    for name, caller in plain:
        costs = seconds_each(partial(caller.call, ABOUT, nothing), CALLS, times)
        figures.append(shown(f"plain, {name}", costs))
    figures.append(
        shown("awaited, by itself", await seconds_awaited(nothing_awaited, CALLS, times))
    )
    awaited: tuple[tuple[str, Caller], ...] = (
        ("direct", direct),
        ("traced, our own", ours),
        ("traced, others'", others),
    )
    for name, caller in awaited:
        call = partial(caller.call_async, ABOUT, nothing_awaited, DEADLINE)
        figures.append(shown(f"awaited, {name}", await seconds_awaited(call, CALLS, times)))
    costs = await seconds_awaited(
        lambda: ours.call_in_thread(ABOUT, nothing, DEADLINE), 2_000, times
    )
    figures.append(shown("in a thread, traced", costs))
    untraced, remembered = placing(direct), placing(ours)
    pairs = [(seconds_once(untraced), seconds_once(remembered)) for _ in range(PLACEMENTS)]
    bare, with_trace = (list(each) for each in zip(*pairs, strict=True))
    figures += [shown("a placement, direct", bare), shown("a placement, traced", with_trace)]
    return figures


def shown(what: str, seconds: list[float]) -> Figure:
    """Print one line."""
    figure = Figure(what, "µs", [each * 1e6 for each in seconds])
    print(f"  {what:<26} {figure.value:9.2f}")
    return figure


def main() -> None:
    """Measure, and print."""
    asked = options("what it costs that plugins are called through a caller that remembers")
    asked.set_defaults(runs=RUNS)
    given = asked.parse_args()
    figures = asyncio.run(measured(given.runs))
    *_, bare, with_trace = (each.value for each in figures)
    print(f"tracing adds {100 * (with_trace - bare) / bare:.1f} % to a placement")
    write(figures, given.json)


if __name__ == "__main__":
    main()
