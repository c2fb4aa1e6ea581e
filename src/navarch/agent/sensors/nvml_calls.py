"""Calls into NVIDIA's management library that may never return, made so that nobody hangs.

A driver in trouble can hold any call for ever, and a thread inside it cannot be stopped. So each
GPU has a lane of its own, a daemon thread that makes its calls: one that hangs costs the answers of
that GPU and no other. Lanes are asked together, in rounds; who has not answered when a round ends
is hung and is not asked again before the call has returned. There are never more threads than
lanes.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any, Final, Protocol

from msgspec import Struct

from navarch.agent.sensors.base import SensorError

UNINITIALIZED: Final = 1
NOT_SUPPORTED: Final = 3
NO_PERMISSION: Final = 4
INSUFFICIENT_POWER: Final = 8
DRIVER_NOT_LOADED: Final = 9
TIMEOUT: Final = 10
IRQ_ISSUE: Final = 11
LIBRARY_NOT_FOUND: Final = 12
FUNCTION_NOT_FOUND: Final = 13
CORRUPTED_INFOROM: Final = 14
GPU_IS_LOST: Final = 15
RESET_REQUIRED: Final = 16
VERSION_MISMATCH: Final = 18
GPU_NOT_FOUND: Final = 28
"""The library's codes that mean something here: nvmlReturn_t, nvidia-ml-py 13.615, 2026-11."""

PACKAGE_MISSING: Final = -1
UNREADABLE: Final = -2
"""Codes of our own, for what fails before the library is asked, or after."""

DRIVER_CODES: Final = frozenset({UNINITIALIZED, DRIVER_NOT_LOADED, VERSION_MISMATCH})
"""No GPU can be asked while the driver answers this."""

GPU_CODES: Final = frozenset({GPU_IS_LOST, RESET_REQUIRED, GPU_NOT_FOUND})
"""A GPU that answers this to one question answers it to all."""

_TEXTS: Final = {
    UNINITIALIZED: "the driver was reloaded",
    NO_PERMISSION: "the agent may not use the driver: run it as root, or give it the devices",
    INSUFFICIENT_POWER: "the power cables of the GPU are not properly attached",
    DRIVER_NOT_LOADED: "the driver is not loaded: modprobe nvidia",
    IRQ_ISSUE: "the kernel gives the GPU no interrupts",
    LIBRARY_NOT_FOUND: "libnvidia-ml.so.1 is not installed: it comes with NVIDIA's driver",
    CORRUPTED_INFOROM: "the infoROM of the GPU is corrupted",
    GPU_IS_LOST: "the GPU is lost: it has fallen off the bus",
    RESET_REQUIRED: "the GPU must be reset before it can be used",
    VERSION_MISMATCH: "the driver and its library have different versions: load the driver that"
    " was installed, or reboot, then restart the agent",
    GPU_NOT_FOUND: "the GPU is not found",
    PACKAGE_MISSING: "the Python package nvidia-ml-py is not installed: install navarch[nvml]",
    UNREADABLE: "the library gave an answer that cannot be read",
}


class Refused(SensorError):
    """The library answered with an error, or is not there to be asked."""

    def __init__(self, code: int, function: str) -> None:
        """Say which function answered which code."""
        self.code = code
        self.function = function
        super().__init__(_TEXTS.get(code, f"{function} answers error {code}"))


class Hung(SensorError):
    """A call has not returned in time, or an earlier one has not returned yet."""

    def __init__(self) -> None:
        """There is nothing more to say."""
        super().__init__("the driver does not answer: a call into it hangs")


class Ask(Protocol):
    """What a job asks the library with, from its lane."""

    def __call__(self, function: str, *values: object) -> Any:  # noqa: ANN401 - each has its own
        """Call a function of nvidia-ml-py by its name. Raises `Refused`."""
        ...


Job = Callable[[Ask], object]
"""Several calls about one GPU, or about the driver; whatever it returns is the answer."""

Answer = object
"""What a job returned, or the `Refused` or `Hung` that kept it from it."""


class Library:
    """The package nvidia-ml-py, loaded when it is first needed.

    An agent on a machine without it, or without the driver, is told so by `Refused`.
    """

    def __init__(self) -> None:
        """Nothing is loaded yet."""
        self._absent: set[str] = set()

    @property
    def absent(self) -> tuple[str, ...]:
        """The functions that this driver lacks, of those that were asked for, by name."""
        return tuple(sorted(self._absent.copy()))

    def forget(self) -> None:
        """Ask for absent functions again: another driver may be loaded."""
        self._absent.clear()

    def call(self, function: str, *values: object) -> Any:  # noqa: ANN401 - each has its own
        """Call one function. Blocks for as long as the driver does. Raises `Refused`."""
        if function in self._absent:
            raise Refused(FUNCTION_NOT_FOUND, function)
        module = _package()
        try:
            implementation = getattr(module, function)
        except AttributeError as error:
            self._absent.add(function)
            raise Refused(FUNCTION_NOT_FOUND, function) from error
        try:
            return implementation(*values)
        except module.NVMLError as error:
            refused = Refused(int(getattr(error, "value", UNREADABLE)), function)
            if refused.code == FUNCTION_NOT_FOUND:
                self._absent.add(function)
            raise refused from error
        except UnicodeDecodeError as error:
            raise Refused(UNREADABLE, function) from error


def _package() -> ModuleType:
    try:
        return importlib.import_module("pynvml")
    except ImportError as error:
        raise Refused(PACKAGE_MISSING, "import pynvml") from error


class _Abandoned(Exception):
    """Nobody waits for this job any more: the rest of its calls are not made."""


class _Answered(Struct, frozen=True):
    owner: str
    answer: object
    """An exception if the job raised one."""


class _Lane:
    """One thread that does one job at a time, and is left alone while the job hangs."""

    def __init__(self, owner: str, library: Library) -> None:
        self._owner = owner
        self._library = library
        self._jobs: SimpleQueue[tuple[Job, SimpleQueue[_Answered]] | None] = SimpleQueue()
        self._abandoned = False
        self.busy = False
        threading.Thread(target=self._work, name=f"nvml {owner}", daemon=True).start()

    def begin(self, job: Job, answers: SimpleQueue[_Answered]) -> None:
        self._abandoned = False
        self.busy = True
        self._jobs.put((job, answers))

    def abandon(self) -> None:
        self._abandoned = True

    def end(self) -> None:
        self._jobs.put(None)

    def _work(self) -> None:
        while (order := self._jobs.get()) is not None:
            job, answers = order
            try:
                answer = job(self._ask)
            except Exception as error:  # noqa: BLE001 - it travels to whoever waits
                answer = error
            self.busy = False
            answers.put(_Answered(self._owner, answer))

    def _ask(self, function: str, *values: object) -> Any:  # noqa: ANN401 - see `Ask`
        if self._abandoned:
            raise _Abandoned
        return self._library.call(function, *values)


class Lanes:
    """All lanes to one driver, to be asked from one thread at a time."""

    def __init__(self, library: Library, *, call_time_max: timedelta) -> None:
        """A round ends when nobody has answered for `call_time_max`."""
        self._library = library
        self._seconds_max = call_time_max.total_seconds()
        self._lanes: dict[str, _Lane] = {}

    @property
    def hung(self) -> tuple[str, ...]:
        """The lanes whose last call has not returned, in the order of their first use."""
        return tuple(owner for owner, lane in self._lanes.items() if lane.busy)

    def ask(self, jobs: Mapping[str, Job]) -> dict[str, Answer]:
        """Do all jobs at once, each in the lane of its owner; give an answer for every owner.

        Lanes that still hang in an earlier call answer `Hung` at once. An error that is not
        the library's is a fault of ours: it is raised.
        """
        answers: SimpleQueue[_Answered] = SimpleQueue()
        found: dict[str, Answer] = {owner: Hung() for owner in jobs}
        waiting = set()
        for owner, job in jobs.items():
            lane = self._lanes.get(owner) or _Lane(owner, self._library)
            self._lanes[owner] = lane
            if not lane.busy:
                lane.begin(job, answers)
                waiting.add(owner)
        while waiting:
            try:
                answered = answers.get(timeout=self._seconds_max)
            except Empty:
                break
            waiting.remove(answered.owner)
            found[answered.owner] = answered.answer
        for owner in waiting:
            self._lanes[owner].abandon()
        for answer in found.values():
            if isinstance(answer, Exception) and not isinstance(answer, SensorError):
                raise answer
        return found

    def end(self) -> None:
        """Let every thread end that does not hang; one that does may be asked again later."""
        hung = self.hung
        for owner in [owner for owner in self._lanes if owner not in hung]:
            self._lanes.pop(owner).end()
