"""The driver of one node, entered again whenever it went away, and the GPUs that it knows.

A GPU is known by its UUID and keeps the index under which it was first seen, for as long as the
process lives: when one is gone the library counts the others anew, and nobody who was told "GPU 3"
should now read of another. The library sees neither a GPU that was reset nor one that is gone
before it is left and entered again; that is done at times while something is wrong, but never while
a call hangs, for leaving under such a call may end the process.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from msgspec import Struct, structs

from navarch.agent.sensors.nvml_calls import (
    DRIVER_CODES,
    TIMEOUT,
    UNINITIALIZED,
    UNREADABLE,
    Ask,
    Hung,
    Job,
    Lanes,
    Library,
    Refused,
)
from navarch.agent.sensors.nvml_readings import (
    GPUS_MAX,
    Device,
    open_device,
    version_texts,
)
from navarch.core.model.gpu import GPU

REENTER_AFTER: Final = timedelta(minutes=5)
"""How often the library is left and entered again while a GPU is lost or missing: entering a
driver that keeps nothing loaded wakes every GPU, which takes seconds."""

XIDS_MAX: Final = 256
"""XIDs taken from the library at one look, and kept at most; more are a flood."""

XID_WAIT_MS: Final = 1
XID_CODE_MAX: Final = 999
"""The library gives 999 for an XID that it does not know."""

XID_CRITICAL_ERROR: Final = 0x8
"""nvmlEventTypeXidCriticalError of nvidia-ml-py 13.615, read 2026-11."""

ENTRIES_MAX: Final = 8
"""The library counts how often it was entered. It is once, but for calls that came back late."""

DRIVER_LANE: Final = "driver"
EVENTS_LANE: Final = "events"

Read = Callable[[Ask, Device], object]
"""What is wanted of every GPU; called in its lane."""


class Found(Struct, frozen=True):
    """What one GPU answered."""

    index: int
    gpu: GPU | None
    """None: it never told what it is."""
    device: Device | None
    """None: it could not be opened since the driver was entered."""
    answer: object
    """What was read, or the `Refused` or `Hung` that kept it from being read."""


class View(Struct, frozen=True):
    """One look at all GPUs."""

    fault: Refused | Hung | None = None
    """Why no GPU could be asked."""
    found: tuple[Found, ...] = ()
    """By index; all GPUs that the library counts."""
    driver_version: str = ""
    cuda_version: str = ""


class Xid(Struct, frozen=True):
    """An XID that the library gave."""

    code: int
    index: int | None
    """The GPU; None when it is none of those that are open."""


class _Entered(Struct, frozen=True):
    driver_version: str
    cuda_version: str
    count: int


class Driver:
    """The library and all that is held in it. To be used from one thread at a time."""

    def __init__(self, *, call_time_max: timedelta) -> None:
        """Nothing is asked yet."""
        self._library = Library()
        self._lanes = Lanes(self._library, call_time_max=call_time_max)
        self._versions: tuple[str, str] | None = None
        self._entered_at: datetime | None = None
        self._troubled = False
        self._devices: dict[int, Device] = {}
        self._known: dict[str, int] = {}
        self._gpus: dict[int, GPU] = {}
        self._event_set: Any = None
        self._registered: frozenset[int] = frozenset()
        self._given: deque[tuple[int | None, int]] = deque(maxlen=XIDS_MAX)
        self._xids: deque[Xid] = deque(maxlen=XIDS_MAX)

    @property
    def absent(self) -> tuple[str, ...]:
        """The functions that this driver lacks, of those that were asked for."""
        return self._library.absent

    @property
    def hung(self) -> tuple[str, ...]:
        """Where a call has not returned yet: ``GPU 3`` by the library's index, ``driver``, ..."""
        return self._lanes.hung

    @property
    def gpus(self) -> dict[int, GPU]:
        """Every GPU that was ever seen, by index; one that was replaced is not kept."""
        return dict(self._gpus)

    def look(self, read: Read, *, at: datetime, wanted: int) -> View:
        """Read every GPU, and enter the driver first if need be; never raises.

        `wanted` is how many GPUs should answer. Takes as long as two rounds of calls, more when
        the driver was reloaded.
        """
        due = self._entered_at is not None and at - self._entered_at >= REENTER_AFTER
        if self._troubled and due and not self._lanes.hung:
            self._collect_xids()
            self._forget()
        view = self._view(read, at)
        if isinstance(view.fault, Refused) and view.fault.code == UNINITIALIZED:
            view = self._view(read, at)
        answering = sum(not isinstance(one.answer, Refused | Hung) for one in view.found)
        self._troubled = view.fault is None and answering < max(wanted, len(view.found))
        return view

    def take_xids(self) -> list[Xid]:
        """Take the XIDs that the driver has for us; to be called after a look, never raises.

        What a driver that is not there, or hangs, has to say is taken later.
        """
        self._collect_xids()
        return [self._xids.popleft() for _ in range(len(self._xids))]

    def close(self) -> None:
        """Leave the driver and end the threads; it is entered again by the next look.

        A GPU cannot be reset while a process holds it open, so close before a reset. A call that
        hangs keeps its thread, and the driver open.
        """
        self._leave()
        self._forget()
        self._lanes.end()

    # --- entering and leaving ----------------------------------------------------------------

    def _leave(self) -> None:
        """Shut the library down, as often as it was entered, unless a call is in it."""
        if self._entered_at is not None and not self._lanes.hung:
            self._lanes.ask({DRIVER_LANE: _leave_job})

    def _forget(self) -> None:
        """The handles of this driver mean nothing any more."""
        self._versions = None
        self._devices.clear()
        self._event_set = None
        self._registered = frozenset()
        self._library.forget()

    def _view(self, read: Read, at: datetime) -> View:
        if self._versions is None:
            self._leave()
        entered = self._lanes.ask({DRIVER_LANE: partial(_enter, self._versions)})[DRIVER_LANE]
        if isinstance(entered, Refused | Hung):
            if isinstance(entered, Refused) and entered.code in DRIVER_CODES:
                self._forget()
            return View(fault=entered)
        assert isinstance(entered, _Entered)
        if self._versions is None:
            self._versions = (entered.driver_version, entered.cuda_version)
            self._entered_at = at
        jobs = {
            f"GPU {index}": partial(
                _read_device, index, self._devices.get(index), read, self._versions
            )
            for index in range(entered.count)
        }
        answers = list(self._lanes.ask(jobs).values())
        for answer in answers:
            if isinstance(answer, Refused) and answer.code in DRIVER_CODES:
                self._forget()
                return View(fault=answer)
        if len(answers) > 1 and all(isinstance(answer, Hung) for answer in answers):
            return View(fault=Hung())
        for gone in [index for index in self._devices if index >= entered.count]:
            del self._devices[gone]
        return View(None, self._found(answers), *self._versions)

    # --- which GPU is which ------------------------------------------------------------------

    def _found(self, answers: list[object]) -> tuple[Found, ...]:
        opened = {
            index: answer
            for index, answer in enumerate(answers)
            if isinstance(answer, tuple) and index not in self._devices
        }
        # Those that are known keep their index; newcomers take what is left.
        for known in (True, False):
            for index, (device, _) in opened.items():
                if (_identity(device.gpu) in self._known) is known:
                    self._adopt(index, device)
        found = []
        unnamed = [index for index in range(len(answers)) if index not in self._devices]
        for index, answer in enumerate(answers):
            if index in unnamed:
                continue
            gpu = self._devices[index].gpu
            found.append(Found(gpu.index, gpu, self._devices[index], _reading(answer)))
        taken = {one.index for one in found}
        for index in unnamed:
            # A GPU that does not answer after the driver was entered anew is most likely the one
            # that is known and does not answer.
            free = [index, *self._gpus, *range(GPUS_MAX)]
            at = next(number for number in free if number not in taken)
            taken.add(at)
            found.append(Found(at, self._gpus.get(at), None, answers[index]))
        return tuple(sorted(found, key=lambda one: one.index))

    def _adopt(self, index: int, device: Device) -> None:
        taken = {other.gpu.index for other in self._devices.values()}
        identity = _identity(device.gpu)
        wanted = [self._known.get(identity, index), index, *range(GPUS_MAX)]
        at = next(number for number in wanted if number not in taken)
        self._known = {name: place for name, place in self._known.items() if place != at}
        self._known[identity] = at
        self._gpus[at] = structs.replace(device.gpu, index=at)
        self._devices[index] = structs.replace(device, gpu=self._gpus[at])

    # --- XIDs --------------------------------------------------------------------------------

    def _collect_xids(self) -> None:
        if self._versions is None or DRIVER_LANE in self._lanes.hung:
            return
        handles = {index: device.handle for index, device in self._devices.items()}
        indexes = {_address(device.handle): device.gpu.index for device in self._devices.values()}
        job = _events_job(self._event_set, self._registered, handles, self._given)
        answer = self._lanes.ask({EVENTS_LANE: job})[EVENTS_LANE]
        if isinstance(answer, tuple):
            self._event_set, self._registered = answer
        elif isinstance(answer, Refused):
            self._event_set, self._registered = None, frozenset()
        while self._given:
            address, code = self._given.popleft()
            self._xids.append(Xid(code, indexes.get(address)))


def _events_job(
    event_set: object,
    registered: frozenset[int],
    handles: dict[int, object],
    given: deque[tuple[int | None, int]],
) -> Job:
    """Make a job that puts each XID among those given, and answers the event set and its GPUs."""

    def job(ask: Ask) -> tuple[object, frozenset[int]]:
        made = ask("nvmlEventSetCreate") if event_set is None else event_set
        try:
            for index, handle in handles.items():
                if index not in registered:
                    _register(ask, handle, made)
            for _ in range(XIDS_MAX):
                data = ask("nvmlEventSetWait", made, XID_WAIT_MS)
                # Kept at once: should the next call hang, what was given is not lost.
                if data.eventType == XID_CRITICAL_ERROR and 0 < data.eventData <= XID_CODE_MAX:
                    given.append((_address(data.device), int(data.eventData)))
        except Refused as error:
            if error.code != TIMEOUT:
                ask("nvmlEventSetFree", made)
                raise
        return made, frozenset(handles)

    return job


def _enter(versions: tuple[str, str] | None, ask: Ask) -> _Entered:
    if versions is None:
        ask("nvmlInit")
        versions = version_texts(ask)
    count = ask("nvmlDeviceGetCount")
    if count > GPUS_MAX:
        raise Refused(UNREADABLE, "nvmlDeviceGetCount")
    return _Entered(*versions, count)


def _leave_job(ask: Ask) -> object:
    """Shut down until the library says that it is: an entry that came late counts too."""
    try:
        for _ in range(ENTRIES_MAX):
            ask("nvmlShutdown")
    except Refused as error:
        return error
    return None


def _read_device(
    index: int, device: Device | None, read: Read, versions: tuple[str, str], ask: Ask
) -> tuple[Device, object]:
    if device is None:
        device = open_device(ask, index, driver_version=versions[0], cuda_version=versions[1])
    return device, read(ask, device)


def _register(ask: Ask, handle: object, event_set: object) -> None:
    """Ask for the XIDs of one GPU; boards that give none are left alone."""
    try:
        ask("nvmlDeviceRegisterEvents", handle, XID_CRITICAL_ERROR, event_set)
    except Refused as error:
        if error.code in DRIVER_CODES:
            raise


def _reading(answer: object) -> object:
    return answer[1] if isinstance(answer, tuple) else answer


def _identity(gpu: GPU) -> str:
    return gpu.uuid or gpu.pci_bus_id or f"index {gpu.index}"


def _address(handle: Any) -> int | None:  # noqa: ANN401 - a pointer of the library's
    return ctypes.cast(handle, ctypes.c_void_p).value
