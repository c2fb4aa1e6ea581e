"""Whatever bytes come in whatever pieces: no exception, and the same events."""

from __future__ import annotations

import itertools
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from navarch.agent.sensors.base import EVENT_TYPES, WATCH_SYSTEMS
from navarch.agent.sensors.kernel_lines import (
    MESSAGE_BYTES_MAX,
    KernelFault,
    fault_in,
    suspicious,
)
from navarch.agent.sensors.kernel_log import KernelLogSensor
from navarch.agent.sensors.kernel_records import (
    LINE_BYTES_MAX,
    LineCutter,
    parse_record,
    sequence_of,
)
from navarch.core.model.report import HealthEvent, folded

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)

WORDS = st.sampled_from(
    [
        *("NVRM: Xid (", "NVRM: GPU at ", "PCI:", "0000:3b:00", "0000:3b:00.0", " GPU-I:05"),
        *("): ", "79, ", "154, ", "149, ", "74, ", "pid=1, ", "pid='<unknown>', ", "name=a, "),
        *("GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",),
        *("NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6 0x0)", "detected on link 3(0x0, 0x1)"),
        *("nvidia-nvswitch3: SXid (PCI:", "12028, Non-fatal, ", "Link 32 ", "Fatal"),
        *("pcieport ", ": AER: ", "Corrected error received: ", "id=00e0", "PCIe Bus Error: "),
        *("severity=Uncorrectable (Fatal), type=Inaccessible, ", "mce: ", "[Hardware Error]: "),
        *("CPU 2: Machine Check: 0 Bank 5: bea0000000000108", "event severity: fatal"),
        *("EDAC MC0: ", "99999999999999 CE ", "3 UE x on D", "Out of memory: Killed process 1"),
        *(" (a) ", "oom-kill:constraint=CONSTRAINT_NONE,task=a,pid=7,", "I/O error, dev sda, "),
        *("EXT4-fs error (device sda)", "XFS (sda): Corruption", "4,1,2,-;", "6,99,5,c,caller=T1;"),
        *("<4>", "[  1.5] ", "Jan 31 12:00:00 h kernel: ", "\\x00", "\\xff", "\\x5c", "\x00", "\r"),
        *("9" * 5000, "٣", "²", "\u2028", "é"),
    ]
).map(str.encode)
LINES = st.lists(WORDS | st.binary(max_size=20), max_size=12).map(b"".join)
LOGS = st.lists(LINES, max_size=12).map(b"\n".join)


def written(log: bytes, cuts: list[int], *, end: bool) -> tuple[HealthEvent, ...]:
    """Return the events of a log that is written in pieces, each read before the next."""
    log = log + b"\n" if end else log
    places = sorted({0, len(log), *(cut % (len(log) + 1) for cut in cuts)})
    events: list[HealthEvent] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kern.log"
        path.touch()
        sensor = KernelLogSensor(path, now=lambda: NOW, booted=lambda _: None)
        with path.open("ab", buffering=0) as file:
            for start, stop in itertools.pairwise(places):
                file.write(log[start:stop])
                events.extend(sensor.events())
        assert sensor.events() == ()
        sensor.check()
    return folded(tuple(events))


@given(LOGS, st.lists(st.integers(min_value=0), max_size=6))
@example(b"NVRM: Xid (PCI:0000:3b:00): 79, x\nEDAC MC0: 3 CE x", [5, 31, 33, 34, 40])
def test_events_do_not_depend_on_the_pieces_a_log_is_written_in(
    log: bytes, cuts: list[int]
) -> None:
    assert written(log, cuts, end=True) == written(log, [], end=True)


@given(LOGS)
def test_a_line_without_its_newline_says_nothing_yet(log: bytes) -> None:
    whole, newline, _ = log.rpartition(b"\n")
    assert written(log, [], end=False) == (written(whole, [], end=True) if newline else ())


@given(st.lists(st.binary(max_size=200) | LOGS, max_size=8))
def test_lines_are_the_same_however_they_are_cut(pieces: list[bytes]) -> None:
    cutter = LineCutter()
    lines = [line for piece in pieces for line in cutter.cut(piece)]
    *expected, rest = b"".join(pieces).split(b"\n")
    assert lines == [line[:LINE_BYTES_MAX] for line in expected]
    assert cutter.unfinished_bytes == len(rest)


@given(LINES | st.binary(max_size=300))
def test_any_bytes_are_a_record_and_at_most_one_sound_fault(line: bytes) -> None:
    suspicious(line)
    assert sequence_of(line) >= -1
    record = parse_record(line)
    assert -1 <= record.level <= 7
    found = fault_in(record.text)
    if isinstance(found, KernelFault):
        assert found.event_type in EVENT_TYPES
        assert found.system in WATCH_SYSTEMS | {""}
        assert found.count >= 1
        assert found.message
        assert len(found.message.encode()) <= MESSAGE_BYTES_MAX
        assert len(found.metrics) <= 16
        assert all(len(str(value)) <= 400 for value in found.metrics.values())


@given(LINES)
@example(b"I/O error, dev sda, 4,1,2,-;")
def test_no_fault_is_passed_over_by_the_quick_test(line: bytes) -> None:
    line = line.replace(b"\\x", b"").replace(b"\n", b"")
    if fault_in(parse_record(line).text) is not None:
        assert suspicious(line)
