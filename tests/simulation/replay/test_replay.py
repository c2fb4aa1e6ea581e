"""Replaying: the fleet at any fact of a journal, and every kind of damage on the way."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from navarch.core import fold
from navarch.core.model import fleet as fleets
from navarch.core.model.fleet import Fleet
from navarch.errors import JournalCorrupt, JournalError
from navarch.simulator.replay import facts_about, replay
from navarch.simulator.scenarios.reading import examine_text
from navarch.simulator.scenarios.running import Run
from navarch.simulator.server import facts_of
from navarch.simulator.timeline import EPOCH
from navarch.simulator.twin.twin import Twin
from navarch.stores.rows import checksum
from navarch.stores.sqlite import SqliteStore

TEXT = """\
name: replayed
duration: 30m
providers: {fake: {boot_time: 1m}}
pools:
  train: {provider: fake, min_nodes: 3, max_nodes: 5}
events:
  - at: 10m
    action: inject_failure
    target: pool:train
    params: {failure_type: xid_error, xid_code: 79, count: 1}
"""


@pytest.fixture(scope="module")
def twin() -> Twin:
    """A run in which a node is replaced."""
    scenario = examine_text(TEXT, path=Path("test.yaml")).scenario
    assert scenario is not None
    run = Run(scenario, 3)
    assert run.live().passed
    return run.twin


@pytest.fixture
def lines(twin: Twin, tmp_path: Path) -> Path:
    """The journal as lines, in a folder."""
    path = tmp_path / "journal.jsonl"
    path.write_bytes(twin.journal)
    return path


@pytest.fixture
def store(twin: Twin, tmp_path: Path) -> Path:
    """The journal as the file of a store, with a snapshot after each tenth fact."""
    path = tmp_path / "data" / "navarch.db"

    async def fill() -> None:
        store = SqliteStore(path)
        await store.open()
        fleet = Fleet()
        for seq, fact in enumerate(facts_of(twin.server.store), 1):
            await store.append([fact], after=seq - 1)
            fold.apply(fleet, fact)  # type: ignore[arg-type]
            if seq % 10 == 0:
                await store.snapshot(seq, fleets.encode(fleet))
        await store.close()

    asyncio.run(fill())
    return path


def test_the_end_of_a_journal_is_the_fleet_of_its_run(twin: Twin, lines: Path) -> None:
    replayed = replay(lines.parent)
    assert replayed.fleet == twin.fleet
    assert replayed.seq == replayed.facts == replayed.last == twin.server.store.last_seq_now


def test_a_store_is_replayed_as_its_lines_are(lines: Path, store: Path) -> None:
    for until in (1, 12, 30):
        of_store, of_lines = replay(store.parent, until=until), replay(lines, until=until)
        assert of_store.fleet == of_lines.fleet
        assert (of_store.seq, of_store.at) == (of_lines.seq, of_lines.at)
    assert replay(store).snapshots == 2


def test_a_store_is_read_while_it_is_written(store: Path) -> None:
    async def both() -> int:
        writing = SqliteStore(store)
        await writing.open()
        try:
            return replay(store).seq
        finally:
            await writing.close()

    assert asyncio.run(both()) == replay(store).seq


def test_a_moment_is_up_to_and_with_its_facts(lines: Path) -> None:
    early = replay(lines, at=EPOCH + timedelta(minutes=9))
    assert {node.status.value for node in early.fleet.nodes.values()} == {"active"}
    late = replay(lines, at=EPOCH + timedelta(minutes=12))
    assert any(each.condemned for each in late.fleet.instances.values())
    assert replay(lines, at=EPOCH - timedelta(seconds=1)).seq == 0


def test_facts_about_one_thing_are_found_up_to_a_fact(lines: Path, store: Path) -> None:
    found = facts_about(lines, "train", until=20, most=2)
    assert len(found) == 2
    assert max(seq for seq, _ in found) <= 20
    assert facts_about(store, "train", until=20, most=2) == found


@pytest.mark.parametrize(
    "damage, message",
    [
        (b'{"kind": "node_lo', "is no fact: "),
        (b"\xff\xfe", "is no fact: "),
        (b'{"kind": "unheard_of", "at": "2026-01-01T00:00:00Z"}', "is no fact: "),
        (
            b'{"kind":"node_lost","at":"2026-01-01T00:00:00Z","node_id":"nobody","because":"x"}',
            "node_lost does not fold: KeyError: 'nobody'",
        ),
    ],
)
def test_a_damaged_line_is_named(lines: Path, damage: bytes, message: str) -> None:
    whole = lines.read_bytes().splitlines(keepends=True)
    lines.write_bytes(b"".join([*whole[:6], damage + b"\n", *whole[6:]]))
    with pytest.raises(JournalCorrupt) as raised:
        replay(lines)
    assert str(raised.value).startswith(f"{lines}:7: {message}")
    assert replay(lines, until=5).seq == 5


def test_a_snapshot_that_is_another_fleet_is_named(store: Path) -> None:
    state = fleets.encode(Fleet())
    with sqlite3.connect(store) as db:
        (seq,) = db.execute("SELECT max(seq) FROM snapshot").fetchone()
        place = (checksum(state, seq), state, seq)
        db.execute("UPDATE snapshot SET crc = ?, state = ? WHERE seq = ?", place)
    db.close()
    with pytest.raises(JournalCorrupt, match=f":{seq}: the snapshot here is another fleet"):
        replay(store)


def test_a_store_whose_beginning_is_dropped_begins_at_a_snapshot(store: Path) -> None:
    whole = replay(store)

    async def forget() -> None:
        opened = SqliteStore(store)
        await opened.open()
        await opened.forget(before=EPOCH + timedelta(days=1))
        await opened.close()

    asyncio.run(forget())
    replayed = replay(store)
    assert replayed.fleet == whole.fleet
    assert replayed.first > 1
    with pytest.raises(JournalError, match=f"expected --until {replayed.first - 1} or later"):
        replay(store, until=3)


def test_what_is_no_journal_is_said(tmp_path: Path, lines: Path) -> None:
    with pytest.raises(JournalError, match="is not there"):
        replay(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(JournalError, match=r"has neither of navarch\.db and journal\.jsonl"):
        replay(tmp_path / "empty")
    with pytest.raises(JournalError, match="ends at fact"):
        replay(lines, until=10_000)
    (tmp_path / "other.db").touch()
    assert replay(tmp_path / "other.db").seq == 0
