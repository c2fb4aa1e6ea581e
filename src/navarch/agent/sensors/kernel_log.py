"""What the kernel says about GPUs: XIDs above all, as they are logged.

The sensor ``kernel_log`` reads the kernel's log, by default /dev/kmsg, and gives each fault once as
an event. Which events there are, and what their metrics are called, is the table in
`navarch.agent.sensors.kernel_lines`. It never judges: its only check, ``xid``, says whether the log
can be read, so that silence can be told from health.

A first start leaves out what was logged before. From then on the file ``kernel_log.json`` in the
state folder holds where reading stopped, so that a restart of the agent loses nothing and repeats
nothing: the number of the record and the kernel's boot id, or the place in a plain file. After a
reboot the log is read from its beginning, for whoever rebooted to cure a GPU wants to know whether
it did. Only a process that dies between reading and reporting takes events with it.

Floods: events of one shape are given as one with a count; of shapes too many, only the kind is
kept; of kinds too many, only the number. A turn ends after `TURN` or `TURN_BYTES_MAX`, and the next
one goes on where it ended. What the kernel overwrites meanwhile is counted by its record numbers
and said in the check.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, structs

from navarch.agent.sensors import kernel_lines, kernel_records
from navarch.agent.sensors.base import SensorError
from navarch.agent.sensors.kernel_fold import EchoMemory, Fold
from navarch.agent.sensors.kernel_lines import GpuName, KernelFault
from navarch.agent.sensors.kernel_tail import KernelTail, Place
from navarch.agent.state import replace_file
from navarch.core.model.gpu import GPU, NodeSample
from navarch.core.model.report import CheckResult, Health, HealthEvent

KMSG: Final = Path("/dev/kmsg")
FILE_NAME: Final = "kernel_log.json"
FILE_BYTES_MAX: Final = 4096

TURN: Final = timedelta(milliseconds=80)
"""How long one call reads, by the given clock: a heartbeat must not wait for a log."""

TURN_BYTES_MAX: Final = 8 * 1024 * 1024
"""How much one call reads at most."""

LOOK_BYTES: Final = 8 * 1024
"""How much is read between two looks at the clock: some milliseconds, even if all are XIDs."""

HISTORY_RECORDS_MAX: Final = 100_000
"""Records that a first start counts its way through; behind more, it jumps to the end."""

KEPT_EVERY: Final = timedelta(minutes=1)
"""How often the place is written down while nothing happens: reading the same lines twice costs
little, and a disk that is flushed at each heartbeat more."""

LOST_LATELY: Final = timedelta(minutes=10)
"""How long lost records are spoken of."""

ADDRESSES_MAX: Final = 256
"""GPUs that are remembered by address; the wire allows 64 a node."""


NONE_YET: Final = -1
"""The number before the first record's."""

UNKNOWN: Final = -2
"""Stands for the number of the last record after a jump to the end."""


class _Lost(Struct):
    """What was overwritten, or too much to be read."""

    records: int = 0
    bytes: int = 0
    at: datetime | None = None
    """When something was last found lost; the numbers are of the time up to it."""


class _Kept(Struct, omit_defaults=True):
    """What the state folder holds."""

    path: str
    pid: int
    boot_id: str = ""
    sequence: int = UNKNOWN
    place: Place | None = None


def boot_id(proc: Path = Path("/proc")) -> str:
    """Read the text that differs after each boot; empty when there is none."""
    try:
        return (proc / "sys/kernel/random/boot_id").read_text().strip()[:64]
    except (OSError, UnicodeDecodeError):
        return ""


def booted_at(now: datetime, proc: Path = Path("/proc")) -> datetime | None:
    """Tell when the machine was booted, to a hundredth of a second; None when it does not say."""
    try:
        uptime = (proc / "uptime").read_text().split()[0]
        return now - timedelta(seconds=float(uptime))
    except (OSError, ValueError, IndexError, OverflowError):
        return None


class KernelLogSensor:
    """Reads a kernel log. It sees no GPU, takes no sample, and gives events and the check xid."""

    name = "kernel_log"
    injected = False

    def __init__(
        self,
        path: Path = KMSG,
        *,
        now: Callable[[], datetime],
        state_folder: Path | None = None,
        known_gpus: Callable[[], tuple[GPU, ...]] = tuple,
        boot_id: str = "",
        booted: Callable[[datetime], datetime | None] = booted_at,
        agent_pid: int = 0,
        read: Callable[[int, int], bytes] = os.read,
    ) -> None:
        """Open the log; one that cannot be opened is tried again at each call.

        `now` is the time, aware. `known_gpus` says which GPU is at which PCI address: it is asked
        when an event names one, must answer from memory, and may raise `SensorError`; an address
        that it named once stays known, for a GPU that fell off the bus is in no list. `booted`
        turns the time since boot that records have into the time of day. `agent_pid` is the
        process that is called the agent when the kernel kills it; 0 for none. Without
        `state_folder`, or without `boot_id` for /dev/kmsg, each start is a first start.
        """
        self._path = path
        self._now = now
        self._booted = booted
        self._known_gpus = known_gpus
        self._gpus: dict[str, tuple[int, str]] = {}
        self._asked = False
        self._echoes = EchoMemory()
        self._fold = Fold()
        self._xids = 0
        self._newest_xid: tuple[KernelFault, int] | None = None
        self._lost = _Lost()
        self._file = state_folder / FILE_NAME if state_folder else None
        self._boot_id = boot_id
        self._place_trouble = ""
        self._kept_at: datetime | None = None
        kept = self._read_kept()
        self._agent_pids = {agent_pid, kept.pid if kept else 0} - {0}
        self._agent_pid = agent_pid
        self._sequence = NONE_YET
        # What was logged before a first start is no news. After a reboot all of it is.
        self._skip_history = True
        if kept and boot_id and kept.boot_id:
            self._sequence = kept.sequence if kept.boot_id == boot_id else NONE_YET
            self._skip_history = self._sequence == UNKNOWN
        self._tail = KernelTail(path, kept=kept.place if kept else None, read=read)
        self._pass_history()
        self._keep()

    # --- the protocol ------------------------------------------------------------------------

    def gpus(self) -> tuple[GPU, ...]:
        """See no GPU: a log describes none."""
        return ()

    def sample(self) -> NodeSample:
        """Take no sample: a log measures nothing."""
        return NodeSample()

    def silent_until(self) -> datetime | None:
        """Never keep the node from speaking."""
        return None

    def check(self) -> tuple[CheckResult, ...]:
        """Say in the check ``xid`` whether XIDs would be seen; whether there were is in events."""
        self._tail.look()
        status, text = self._condition()
        details = {
            "path": str(self._path),
            "xids": str(self._xids),
            "records_lost": str(self._lost.records),
            "events_dropped": str(self._fold.dropped),
        }
        if self._place_trouble:
            details["place"] = self._place_trouble
        result = CheckResult("xid", status, text, at=self._now(), details=details)
        return (result,)

    def events(self) -> tuple[HealthEvent, ...]:
        """Give what was logged since the last call, equal events as one with a count.

        A log that cannot be read gives nothing: the check says so. Never takes much longer than
        `TURN`. Should the place not be written down, the events are given all the same.
        """
        self._pass_history()
        began = self._now()
        skipped, overruns = self._tail.bytes_skipped, self._tail.overruns
        sequence_known = self._sequence >= 0
        self._asked = False
        read = unlooked = 0
        for lines in self._tail.turn():
            for line in lines:
                self._take(line)
            # Empty lines cost time too, and so do pieces of a line that does not end.
            unlooked += sum(map(len, lines)) + 10 * len(lines) + 100
            if unlooked >= LOOK_BYTES:
                read, unlooked = read + unlooked, 0
                if read >= TURN_BYTES_MAX or self._now() - began >= TURN:
                    break
        self._lose(skipped=self._tail.bytes_skipped - skipped)
        if self._tail.overruns > overruns and not sequence_known:
            self._lose(records=1)  # at least
        events = self._fold.take(began, self._booted(began))
        if events or self._kept_at is None or began - self._kept_at >= KEPT_EVERY:
            self._keep()
        return events

    # --- lines -------------------------------------------------------------------------------

    def _take(self, line: bytes) -> None:
        if line.startswith(b" "):
            return  # the names of the device that the last record is about
        if self._tail.numbered and not self._is_next(line):
            return
        if not kernel_lines.suspicious(line):
            return
        record = kernel_records.parse_record(line)
        fault = kernel_lines.fault_in(record.text)
        if isinstance(fault, GpuName):
            index = self._gpus.get(fault.pci_bus_id, (-1, ""))[0]
            self._remember(fault.pci_bus_id, index, fault.gpu_uuid)
        elif fault and not self._echoes.echoed(fault.told_by, record.microseconds):
            self._add(fault, record.microseconds)

    def _is_next(self, line: bytes) -> bool:
        """Tell whether a line of the kernel's own log is a record that was not read before."""
        sequence = kernel_records.sequence_of(line)
        if sequence <= max(self._sequence, NONE_YET):
            return False  # read before, or no record: a line with the names of a device
        if self._sequence >= 0:
            self._lose(records=sequence - self._sequence - 1)
        self._sequence = sequence
        return True

    def _add(self, fault: KernelFault, microseconds: int) -> None:
        index, uuid = self._gpu_at(fault)
        metrics = fault.metrics
        if metrics.get("reason") == "oom_kill" and metrics.get("oom_pid") in self._agent_pids:
            fault = structs.replace(fault, metrics={**metrics, "oom_agent": 1})
        self._fold.add(fault, index, uuid, microseconds)
        if fault.event_type == "xid":
            self._xids += 1
            self._newest_xid = (fault, index)

    # --- GPUs --------------------------------------------------------------------------------

    def _gpu_at(self, fault: KernelFault) -> tuple[int, str]:
        """Find index and UUID of the GPU that a fault is about; -1 for the node or an unknown one.

        The list is asked for once a turn: a driver that is loaded anew may count anew.
        """
        if fault.event_type not in {"xid", "pcie"}:
            return -1, ""
        self._learn()
        known = self._gpus.get(fault.pci_bus_id)
        if known is None and fault.gpu_uuid:
            known = next((gpu for gpu in self._gpus.values() if gpu[1] == fault.gpu_uuid), None)
        index, uuid = known or (-1, "")
        return index, uuid or fault.gpu_uuid

    def _learn(self) -> None:
        if self._asked:
            return
        self._asked = True
        try:
            gpus = self._known_gpus()
        except SensorError:
            return  # its own check says so; what was known before stays known
        for gpu in gpus:
            if address := kernel_records.bus_id(gpu.pci_bus_id):
                self._remember(address, gpu.index, gpu.uuid)

    def _remember(self, address: str, index: int, uuid: str) -> None:
        if address in self._gpus or len(self._gpus) < ADDRESSES_MAX:
            self._gpus[address] = (index, uuid or self._gpus.get(address, (-1, ""))[1])

    # --- what was lost -----------------------------------------------------------------------

    def _lose(self, *, records: int = 0, skipped: int = 0) -> None:
        if not records and not skipped:
            return
        now = self._now()
        if self._lost.at is None or now - self._lost.at > LOST_LATELY:
            self._lost = _Lost()
        self._lost.records += records
        self._lost.bytes += skipped
        self._lost.at = now

    def _condition(self) -> tuple[Health, str]:
        if self._tail.trouble:
            return Health.UNKNOWN, f"{self._tail.trouble}; until then XIDs are not seen"
        if self._lost.at is not None and self._now() - self._lost.at <= LOST_LATELY:
            amounts = {"records": self._lost.records, "bytes": self._lost.bytes}
            lost = " and ".join(f"{amount} {unit}" for unit, amount in amounts.items() if amount)
            text = f"{self._path}: {lost} were lost before they were read"
            return Health.DEGRADED, f"{text}; XIDs may be among them"
        if self._newest_xid is None:
            return Health.HEALTHY, f"{self._path} is read; no XID since the agent started"
        fault, index = self._newest_xid
        counted = "1 XID" if self._xids == 1 else f"{self._xids} XIDs"
        where = f"GPU {index}" if index >= 0 else fault.pci_bus_id or fault.gpu_uuid
        text = f"{self._path} is read; {counted} since the agent started"
        return Health.HEALTHY, f"{text}, the newest {fault.metrics['xid_code']} on {where}"

    # --- the place ---------------------------------------------------------------------------

    def _pass_history(self) -> None:
        """At a first start, read the numbers of the records that are there, and nothing else."""
        if self._skip_history and not self._tail.opened:
            self._tail.look()
        if not self._skip_history or not self._tail.opened:
            return
        self._skip_history = False
        if not self._tail.numbered:
            return
        for records, lines in enumerate(self._tail.turn(), start=1):
            for line in lines:
                self._sequence = max(self._sequence, kernel_records.sequence_of(line))
            if records >= HISTORY_RECORDS_MAX:
                self._tail.skip_to_end()
                self._sequence = UNKNOWN
                return

    def _read_kept(self) -> _Kept | None:
        """Read what an earlier process left; anything else than that is as good as nothing."""
        if self._file is None:
            return None
        try:
            with self._file.open("rb") as file:
                kept = msgspec.json.decode(file.read(FILE_BYTES_MAX), type=_Kept)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self._place_trouble = f"{self._file}: makes no sense: {error}: this is a first start"
            return None
        return kept if kept.path == str(self._path) else None

    def _keep(self) -> None:
        """Write down where reading stopped. A disk that refuses costs repetitions, not events."""
        self._kept_at = self._now()
        if self._file is None or not self._tail.opened:
            return
        kept = _Kept(
            str(self._path), self._agent_pid, self._boot_id, self._sequence, self._tail.place
        )
        try:
            replace_file(self._file, msgspec.json.encode(kept) + b"\n")
        except OSError as error:
            text = f"{self._file}: cannot be written: {error.strerror}"
            self._place_trouble = f"{text}: a restart will repeat or lose events"
        else:
            self._place_trouble = ""
