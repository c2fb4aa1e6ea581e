"""The machine around the GPUs: processors, memory, disks and the clock.

The sensor ``system`` samples how busy processors and memory are, and has one check, ``system``, of
what makes a node useless although its GPUs are well:

=========  ===================================================  ==================================
part       degraded                                             unhealthy
=========  ===================================================  ==================================
disks      95 % used, or less than 1 GiB free (of 10 or more)   99.5 % used
           95 % of its files used                               99.5 % of its files used
memory     less than 2 % available
clock      30 seconds off, if something tells
=========  ===================================================  ==================================

Its only event is ``system`` with the metric ``reason`` = ``cgroup_oom``: the kernel killed a
process of the agent's own control group for want of memory. What else goes wrong with the machine
is told by the kernel's log (`navarch.agent.sensors.kernel_log`).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from msgspec import Struct

from navarch.agent.sensors.base import SensorError
from navarch.core.model.gpu import GPU, NodeSample
from navarch.core.model.report import GRAVITY, CheckResult, Health, HealthEvent

GIB: Final = 1024**3

USED_DEGRADED: Final = 0.95
USED_UNHEALTHY: Final = 0.995
FREE_BYTES_MIN: Final = GIB
FREE_BYTES_OF: Final = 10 * GIB
"""A disk smaller than this is judged by its share only: of a small one little is ever free."""

MEMORY_AVAILABLE_MIN: Final = 0.02
"""Of all memory. Training uses what there is, so little is usual; less than this is the end."""

CLOCK_OFF_MAX: Final = timedelta(seconds=30)
"""Tokens and certificates begin to fail somewhere above; time of events is wrong by then."""

FILE_BYTES_MAX: Final = 256 * 1024
"""/proc/stat of 1,024 processors has 100 KiB, and what is read here stands at its beginning."""

_NUMBER: Final = re.compile(r"[0-9]{1,18}")

COUNT_MAX: Final = 2**31 - 1
"""What the wire can count."""


class Space(Struct, frozen=True):
    """How full the file system is that a path is on."""

    total_bytes: int
    free_bytes: int
    """What processes without privileges may still use."""
    used: float
    """From 0 to 1, as df counts: of what they may use."""
    files_used: float
    """From 0 to 1; 0 where files are not counted."""


def space_of(path: Path) -> Space:
    """Ask the file system. Raises `OSError`; hangs as long as a network's file system does."""
    status = os.statvfs(path)
    blocks_used = status.f_blocks - status.f_bfree
    usable = blocks_used + status.f_bavail
    files_used = status.f_files - status.f_ffree
    files = files_used + status.f_favail
    return Space(
        total_bytes=status.f_blocks * status.f_frsize,
        free_bytes=status.f_bavail * status.f_frsize,
        used=blocks_used / usable if usable else 0.0,
        files_used=files_used / files if status.f_files and files else 0.0,
    )


def own_cgroup_counter(
    proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")
) -> Path | None:
    """Find the file that counts the OOM kills in this process's control group; None without one.

    Version 2 has ``memory.events``, version 1 ``memory.oom_control``; the line is the same (Linux,
    Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst).
    """
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    candidates: list[Path] = []
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        below = path.lstrip("/")
        if "memory" in controllers.split(","):
            candidates.append(cgroups / "memory" / below / "memory.oom_control")
        elif not controllers:
            candidates.append(cgroups / below / "memory.events")
            candidates.append(cgroups / "unified" / below / "memory.events")
    return next((path for path in candidates if path.is_file()), None)


class SystemSensor:
    """Reads /proc and asks file systems. It sees no GPU."""

    name = "system"
    injected = False

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        disks: Sequence[Path] = (Path("/"),),
        proc: Path = Path("/proc"),
        oom_counter: Path | None = None,
        clock_offset: Callable[[], timedelta | None] | None = None,
        space: Callable[[Path], Space] = space_of,
    ) -> None:
        """Begin to count: what was killed before is no news.

        `now` is the time, aware. `disks` are paths, each on a file system that is to be watched.
        `oom_counter` is the file from `own_cgroup_counter`. `clock_offset` tells how far our clock
        is ahead of a better one, None while it does not know; without it nothing is said about the
        clock.
        """
        self._now = now
        self._disks = tuple(disks)
        self._proc = proc
        self._oom_counter = oom_counter
        self._clock_offset = clock_offset
        self._space = space
        self._ticks: tuple[int, int] | None = None
        self._cpu_percent = 0.0
        with contextlib.suppress(SensorError):  # the first sample will say so
            self._ticks = self._read_ticks()
        self._oom_kills = self._read_oom_kills()

    def gpus(self) -> tuple[GPU, ...]:
        """See no GPU."""
        return ()

    def silent_until(self) -> datetime | None:
        """Never keep the node from speaking."""
        return None

    def sample(self) -> NodeSample:
        """Read how busy the processors were since the last sample, and memory now; no GPUs.

        The first sample covers the time since the sensor began. Raises `SensorError` when /proc
        can not be read.
        """
        ticks = self._read_ticks()
        before = self._ticks or ticks
        busy, total = ticks[0] - before[0], ticks[1] - before[1]
        if total > 0:  # two samples within a hundredth of a second: the earlier one still holds
            self._cpu_percent = _percent(busy / total)
        if total > 0 or self._ticks is None:
            self._ticks = ticks
        all_bytes, available = self._read_memory()
        return NodeSample(self._cpu_percent, _percent(1 - available / all_bytes))

    def check(self) -> tuple[CheckResult, ...]:
        """Check disks, memory and the clock; the worst part gives the status, each its words."""
        parts = [*map(self._disk, self._disks), self._memory(), *self._clock()]
        statuses = [status for status, _ in parts]
        worst = max(statuses, key=GRAVITY.__getitem__)
        if worst is Health.HEALTHY and Health.UNKNOWN in statuses:
            worst = Health.UNKNOWN
        # What is wrong is said first: messages are cut at their end.
        text = "; ".join(text for status, text in sorted(parts, key=_urgency))
        return (CheckResult("system", worst, text, at=self._now()),)

    def events(self) -> tuple[HealthEvent, ...]:
        """Tell how many processes of our control group were killed since the last call."""
        before, kills = self._oom_kills, self._read_oom_kills()
        if kills is not None:
            self._oom_kills = kills
        # A control group that was made anew counts from zero: that is no negative news.
        if before is None or kills is None or kills <= before:
            return ()
        killed = kills - before
        text = f"{self._oom_counter}: oom_kill rose from {before} to {kills}"
        event = HealthEvent(
            "system",
            metrics={"reason": "cgroup_oom"},
            message=text,
            timestamp=self._now(),
            count=min(killed, COUNT_MAX),
        )
        return (event,)

    # --- parts of the check ------------------------------------------------------------------

    def _disk(self, path: Path) -> tuple[Health, str]:
        try:
            space = self._space(path)
        except OSError as error:
            return Health.UNKNOWN, f"disk {path} cannot be asked: {error.strerror}"
        free = f"{space.free_bytes / GIB:.1f} GiB free"
        text = f"disk {path} {100 * space.used:.1f} % used, {free}"
        if space.files_used >= USED_DEGRADED:
            text += f", {100 * space.files_used:.1f} % of its files used"
        used = max(space.used, space.files_used)
        short = space.free_bytes < FREE_BYTES_MIN and space.total_bytes >= FREE_BYTES_OF
        if used >= USED_UNHEALTHY:
            return Health.UNHEALTHY, text
        if used >= USED_DEGRADED or short:
            return Health.DEGRADED, text
        return Health.HEALTHY, text

    def _memory(self) -> tuple[Health, str]:
        try:
            all_bytes, available = self._read_memory()
        except SensorError as error:
            return Health.UNKNOWN, str(error)
        text = f"memory {_percent(1 - available / all_bytes):g} % used"
        if available < MEMORY_AVAILABLE_MIN * all_bytes:
            return Health.DEGRADED, f"{text}, {available / GIB:.2f} GiB available"
        return Health.HEALTHY, text

    def _clock(self) -> list[tuple[Health, str]]:
        offset = self._clock_offset() if self._clock_offset else None
        if offset is None:
            return []
        direction = "ahead" if offset > timedelta() else "behind"
        text = f"clock {abs(offset).total_seconds():.1f} s {direction}"
        if abs(offset) > CLOCK_OFF_MAX:
            return [(Health.DEGRADED, f"{text}: start a time service such as chrony")]
        return [(Health.HEALTHY, text)]

    # --- files -------------------------------------------------------------------------------

    def _read_ticks(self) -> tuple[int, int]:
        """Read the ticks in which processors were busy, and all of them (Linux, proc_stat(5)).

        Waiting for a disk counts as idle, and guests count within user already.
        """
        first = self._read("stat").partition("\n")[0].split()
        ticks = [int(word) for word in first[1:9] if _NUMBER.fullmatch(word)]
        if first[:1] != ["cpu"] or len(ticks) < 4:
            raise SensorError(f"{self._proc / 'stat'}: begins with {first[:3]}, expected cpu ticks")
        idle = sum(ticks[3:5])
        return sum(ticks) - idle, sum(ticks)

    def _read_memory(self) -> tuple[int, int]:
        """Read all memory and what is available of it, in bytes (Linux, proc_meminfo(5))."""
        found: dict[str, int] = {}
        for line in self._read("meminfo").splitlines():
            name, _, rest = line.partition(":")
            number = rest.partition("kB")[0].strip()
            if _NUMBER.fullmatch(number):
                found[name] = int(number) * 1024
        total, available = found.get("MemTotal", 0), found.get("MemAvailable")
        if total <= 0 or available is None:
            path = self._proc / "meminfo"
            raise SensorError(f"{path}: MemTotal or MemAvailable is missing, Linux 3.14 or later")
        return total, min(available, total)

    def _read(self, name: str) -> str:
        path = self._proc / name
        try:
            with path.open("rb") as file:
                return file.read(FILE_BYTES_MAX).decode(errors="replace")
        except OSError as error:
            raise SensorError(f"{path}: cannot be read: {error.strerror}") from error

    def _read_oom_kills(self) -> int | None:
        """Read the counter; None when there is none now."""
        if self._oom_counter is None:
            return None
        try:
            with self._oom_counter.open("rb") as file:
                words = file.read(4096).split()
        except OSError:
            return None
        kills = dict(zip(words[::2], words[1::2], strict=False)).get(b"oom_kill", b"")
        return int(kills) if _NUMBER.fullmatch(kills.decode(errors="replace")) else None


def _percent(share: float) -> float:
    return round(min(max(100 * share, 0.0), 100.0), 1)


def _urgency(part: tuple[Health, str]) -> int:
    status = part[0]
    return -GRAVITY[status] if status is not Health.UNKNOWN else -GRAVITY[Health.HEALTHY] - 1
