"""Reports of simulations in a folder: which there are, the sum of each, and its page.

A report is a folder with ``report.html`` and ``report.json``, as ``navarch simulate run --report``
leaves it. The page of a report is a program of its own, made by whoever ran the simulation, and is
never trusted: it is sent with a policy that gives it an origin of its own, no network, no cookies
and no way to the page around it (`GUARDS`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from navarch.errors import WireError

PAGE: Final = "report.html"
DOCUMENT: Final = "report.json"
BYTES_MAX: Final = 96 * 1024 * 1024
"""Of one file: the report of a week of ten thousand nodes has some 10 MB."""
ENTRIES_MAX: Final = 5_000
"""Entries of folders that are looked at when reports are listed."""
REPORTS_MAX: Final = 100
"""Reports that are listed, the newest."""
READ_MAX: Final = 20
"""Of them, those whose documents are read for the list."""
DEPTH_MAX: Final = 2
"""How deep reports may lie below the folder: ``NAME`` and ``GROUP/NAME``."""
KEPT_MAX: Final = 200
"""Sums that are kept, so that a document is read once."""

POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts"
)
"""Its own inline scripts and styles, and nothing else. ``sandbox`` without ``allow-same-origin``
makes it a stranger to us wherever it is shown: HTML Living Standard, 7.1.5 (read November 2026)."""

GUARDS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
"""Headers of every page of a report."""

FRAME: Final = (
    b'<!doctype html><html lang="en"><meta charset="utf-8"><title>A report</title><script>'
    b'addEventListener("message",function(event){'
    b'if(event.source!==parent||typeof event.data!=="string")return;'
    b"document.open();document.write(event.data);document.close()},{once:true});"
    b'parent.postMessage("ready","*")</script>'
)
"""An empty page that becomes the report it is sent: for files that people choose in the browser.
They do not travel to the server, and the page around them cannot give them a policy of their own.
"""


class Hours(Struct, rename="camel"):
    """What became of GPU-hours."""

    good: float = 0.0
    idle: float = 0.0
    lost: float = 0.0


class Scope(Struct, rename="camel"):
    """How the fleet or a pool of it did: what can be compared with a real one."""

    name: str = ""
    availability: float | None = None
    node_hours_wanted: float = 0.0
    node_hours_delivered: float = 0.0
    gpu_hours: Hours = field(default_factory=Hours)
    usd: float = 0.0
    most_nodes: int = 0


class Repairs(Struct, rename="camel"):
    """What was decided about nodes."""

    replacements_right: int = 0
    replacements_wrong: int = 0
    brakes_opened: int = 0


class ProviderCost(Struct, rename="camel"):
    """What one pool bought of one provider."""

    provider: str
    pool: str
    machine_hours: float = 0.0
    usd: float = 0.0


class Document(Struct, rename="camel"):
    """The part of ``report.json`` that is read here."""

    version: int
    seconds: float
    seed: int
    begins_at: datetime
    fleet: Scope
    blueprint: str = ""
    navarch: str = ""
    policy: str = ""
    pools: list[Scope] = []
    costs: list[ProviderCost] = []
    repairs: Repairs = field(default_factory=Repairs)


FORMAT: Final = 1
"""The version of documents that are understood."""


class Sum(Struct):
    """One report, summed up; names are as everywhere in the dashboard."""

    blueprint: str
    seed: int
    navarch: str
    policy: str
    begins_at: datetime
    seconds: float
    machine_hours: float
    replacements: int
    brakes_opened: int
    fleet: SumOf
    pools: list[SumOf]


class SumOf(Struct):
    """How the simulated fleet, or one pool, did."""

    name: str
    availability: float | None
    delivered: float | None
    """Which share of the node-hours that were wanted there was; null: none were wanted."""
    good: float
    """GPU-hours; likewise the others."""
    idle: float
    lost: float
    dollars: float | None
    """Null: the scenario has no prices."""
    dollars_per_good_hour: float | None
    most_nodes: int


class Entry(Struct):
    """A report in a list."""

    name: str
    """Its path below the folder; ``.`` for the folder itself."""
    at: datetime
    """When its page was written."""
    size: int
    """Bytes of its page."""
    sum: Sum | None = None
    """Null: its document was not read; `problem` may say why."""
    problem: str = ""


class Reports:
    """The reports of one folder. All of it waits for a disk: call it in a thread."""

    def __init__(self, folder: Path) -> None:
        """Look into this folder, which need not be there."""
        self.folder = folder
        self._sums: dict[Path, tuple[tuple[int, int], Sum]] = {}

    def newest(self) -> tuple[list[Entry], int]:
        """List the newest reports, the newest first, and say how many others there are."""
        found = sorted(self._found(), key=lambda entry: (entry.at, entry.name), reverse=True)
        for entry in found[:READ_MAX]:
            try:
                entry.sum = self.summed(entry.name)
            except WireError as error:
                entry.problem = error.message
        return found[:REPORTS_MAX], max(len(found) - REPORTS_MAX, 0)

    def page(self, name: str) -> bytes:
        """Return a report's page. Raises `WireError` with ``not_found`` when there is none."""
        return _read(self._file(name, PAGE), name)

    def entry(self, name: str) -> Entry:
        """Show one report. Raises `WireError` with ``not_found`` when there is none."""
        state = self._file(name, PAGE).stat()
        entry = Entry(name, datetime.fromtimestamp(state.st_mtime, UTC), state.st_size)
        try:
            entry.sum = self.summed(name)
        except WireError as error:
            entry.problem = error.message
        return entry

    def summed(self, name: str) -> Sum:
        """Sum a report up. Raises `WireError` with ``not_found``, also for a broken document."""
        path = self._file(name, DOCUMENT)
        state = path.stat()
        mark = (state.st_mtime_ns, state.st_size)
        kept = self._sums.get(path)
        if kept is not None and kept[0] == mark:
            return kept[1]
        found = read_sum(_read(path, name), name)
        while len(self._sums) >= KEPT_MAX:
            del self._sums[next(iter(self._sums))]
        self._sums[path] = (mark, found)
        return found

    def _found(self) -> Iterator[Entry]:
        looked_at = 0
        waiting = [(self.folder, 0)]
        while waiting:
            folder, depth = waiting.pop(0)
            try:
                entries = sorted(os.scandir(folder), key=lambda each: each.name)
            except OSError:
                continue  # it is not there, or not ours to read: it has no reports
            looked_at += len(entries)
            if looked_at > ENTRIES_MAX:
                return
            for each in entries:
                if each.name == PAGE and each.is_file():
                    state = each.stat()
                    at = datetime.fromtimestamp(state.st_mtime, UTC)
                    yield Entry(folder.relative_to(self.folder).as_posix(), at, state.st_size)
                elif depth < DEPTH_MAX and not each.name.startswith(".") and each.is_dir():
                    waiting.append((Path(each.path), depth + 1))

    def _file(self, name: str, file: str) -> Path:
        """Find a file of a report; whatever name is asked for, nothing outside is."""
        unknown = WireError("not_found", f"report {name[:80]!r} is not in the folder of reports")
        parts = name.split("/")
        if name != "." and any(not part or part.startswith(".") or "\0" in part for part in parts):
            raise unknown
        if len(parts) > DEPTH_MAX:
            raise unknown
        try:
            root = self.folder.resolve(strict=True)
            path = (root / name / file).resolve(strict=True)
        except (OSError, ValueError) as error:
            raise unknown from error
        if not path.is_relative_to(root) or not path.is_file():
            raise unknown
        return path


def _read(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise WireError("not_found", f"report {name[:80]!r} cannot be read: {error}") from error
    if len(content) > BYTES_MAX:
        text = f"report {name[:80]!r}: {path.name} has more than {BYTES_MAX:,} bytes"
        raise WireError("not_found", text)
    return content


def read_sum(raw: bytes, name: str) -> Sum:
    """Read a document. Raises `WireError` with ``not_found`` for what is none."""
    try:
        return sum_of(msgspec.json.decode(raw, type=Document))
    except (msgspec.DecodeError, RecursionError) as error:
        text = f"report {name[:80]!r}: {DOCUMENT} cannot be read: {error}"
        raise WireError("not_found", text) from error


def sum_of(document: Document) -> Sum:
    """Sum a document up. Raises `msgspec.ValidationError` for one of another version."""
    if document.version != FORMAT:
        text = f"it is of version {document.version}, expected {FORMAT}"
        raise msgspec.ValidationError(text)
    repairs = document.repairs
    return Sum(
        blueprint=document.blueprint,
        seed=document.seed,
        navarch=document.navarch,
        policy=document.policy,
        begins_at=document.begins_at,
        seconds=document.seconds,
        machine_hours=sum(each.machine_hours for each in document.costs),
        replacements=repairs.replacements_right + repairs.replacements_wrong,
        brakes_opened=repairs.brakes_opened,
        fleet=_sum_of(document.fleet),
        pools=[_sum_of(each) for each in document.pools],
    )


def _sum_of(scope: Scope) -> SumOf:
    hours, wanted = scope.gpu_hours, scope.node_hours_wanted
    return SumOf(
        name=scope.name,
        availability=scope.availability,
        delivered=scope.node_hours_delivered / wanted if wanted else None,
        good=hours.good,
        idle=hours.idle,
        lost=hours.lost,
        dollars=scope.usd or None,
        dollars_per_good_hour=scope.usd / hours.good if scope.usd and hours.good else None,
        most_nodes=scope.most_nodes,
    )
