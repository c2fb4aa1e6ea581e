"""Variants × seeds: each run a task of its own, in this process, in others, or on Ray.

A task is values only, so that it can be sent anywhere, and its result depends on nothing else:
where and in which order tasks run changes no number.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from msgspec import Struct

from navarch.config.schema import Config
from navarch.errors import NavarchError, PluginError
from navarch.simulator.report import Recorder, report_json
from navarch.simulator.twin.twin import Twin, TwinFailed
from navarch.simulator.whatif.measures import Measures, measures_of
from navarch.simulator.whatif.preparing import World, blueprint_of

LOCAL = "local"
"""The address of a Ray that is started for these runs and ended after them."""

SEEDS_MAX = 1000
"""Runs of one variant."""

JOBS_MAX = 256
"""Processes at once on one machine."""

Done = Callable[[], None]
"""Hears that one more run is over."""


class Task(Struct, frozen=True):
    """One run."""

    name: str
    """The variant, for messages."""
    config: Config
    world: World
    seed: int
    reported: bool = False
    """Whether the run's whole report is wanted."""


class Ran(Struct, frozen=True):
    """What came of one run."""

    measures: Measures
    report: bytes = b""
    """The report as JSON, where it was wanted: bytes go anywhere."""


def run(task: Task) -> Ran:
    """Live through one run.

    Raises `NavarchError` when the configuration cannot be used, or when the run breaks what always
    has to hold.
    """
    prepared = blueprint_of(task.config, task.world)
    twin = Twin(prepared.blueprint, task.seed)
    recorder = Recorder(twin, demands=prepared.demands)
    try:
        twin.run()
    except TwinFailed as failed:
        raise NavarchError(f"{task.name}, seed {task.seed}: {failed}") from failed
    report = recorder.report()
    found = measures_of(report, tuple(twin.clouds))
    return Ran(found, report_json(report) if task.reported else b"")


def run_all(
    tasks: Sequence[Task], *, jobs: int = 1, ray: str = "", on_done: Done = lambda: None
) -> list[Ran]:
    """Live through all runs; the results are in the order of the tasks.

    `ray` is the address of a Ray cluster, or `LOCAL`; empty: `jobs` processes of this machine, and
    this process itself for one. The first failure ends all, and so does Ctrl-C.
    """
    if ray:
        return _on_ray(tasks, ray, jobs, on_done)
    if min(jobs, len(tasks)) <= 1:
        return list(_here(tasks, on_done))
    return _in_processes(tasks, min(jobs, len(tasks), JOBS_MAX), on_done)


def _here(tasks: Sequence[Task], on_done: Done) -> Iterator[Ran]:
    for task in tasks:
        yield run(task)
        on_done()


def _in_processes(tasks: Sequence[Task], jobs: int, on_done: Done) -> list[Ran]:
    before = {child.pid for child in multiprocessing.active_children()}
    executor = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_deaf_to_ctrl_c
    )
    results: dict[int, Ran] = {}
    try:
        places = {executor.submit(run, task): place for place, task in enumerate(tasks)}
        for future in as_completed(places):
            results[places[future]] = future.result()
            on_done()
    except BrokenProcessPool as error:
        message = "a process that ran variants was ended from outside: is there enough memory?"
        raise NavarchError(message) from error
    except BaseException:  # whatever it is, nobody waits for what is still running
        for child in multiprocessing.active_children():
            if child.pid not in before:
                child.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
    return [results[place] for place in range(len(tasks))]


def _deaf_to_ctrl_c() -> None:
    """Leave Ctrl-C, which the terminal sends to all, to the process that asked for the runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


# --- Ray -------------------------------------------------------------------------------------


def _on_ray(tasks: Sequence[Task], address: str, jobs: int, on_done: Done) -> list[Ran]:
    ray = _imported()
    with _connected(ray, address, jobs):
        remote = ray.remote(num_cpus=1, max_retries=2)(run)
        places = {remote.remote(task): place for place, task in enumerate(tasks)}
        results: dict[int, Ran] = {}
        waiting = list(places)
        while waiting:
            done, waiting = ray.wait(waiting, num_returns=1)
            for each in done:
                results[places[each]] = _got(ray, each)
                on_done()
    return [results[place] for place in range(len(tasks))]


def _got(ray: Any, reference: Any) -> Ran:  # noqa: ANN401 - Ray has no types for these
    """Take a result. Raises `NavarchError`, with Ray's own as its cause."""
    try:
        ran: Ran = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, NavarchError) else error
        raise NavarchError(str(cause)) from error
    except ray.exceptions.RayError as error:
        raise NavarchError(f"Ray lost a run: {error}") from error
    return ran


def _imported() -> Any:  # noqa: ANN401 - the module is not always there
    """Import Ray. Raises `PluginError` that says what to install."""
    try:
        return importlib.import_module("ray")  # it takes a second, and most runs do without
    except ModuleNotFoundError as error:
        message = "--ray needs Ray, which is not installed: pip install 'navarch[ray]'"
        raise PluginError(message) from error


@contextlib.contextmanager
def _connected(ray: Any, address: str, jobs: int) -> Iterator[None]:  # noqa: ANN401
    """Be connected to a cluster, and disconnected afterwards; a local one ends.

    Raises `NavarchError` when there is no cluster at the address.
    """
    said: dict[str, object] = {"log_to_driver": False, "logging_level": "error"}
    if address == LOCAL:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        said |= {"num_cpus": jobs, "include_dashboard": False, "address": LOCAL}
    else:
        said["address"] = address
    try:
        ray.init(**said)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise NavarchError(f"there is no Ray at {address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()
