"""An export is read exactly as it was written, or refused: there is no third outcome."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.errors import JournalError
from navarch.stores import archive
from navarch.stores.archive import Archive
from navarch.stores.base import Recorded, Snapshot
from navarch.stores.memory import MemoryStore
from stores.facts import fact, facts, run

COUNT = 12


async def exported(path: Path) -> None:
    """Write a journal of some facts and a snapshot."""
    store = MemoryStore()
    await store.open()
    await store.append(facts(1, COUNT), after=0)
    await store.snapshot(5, b"state at 5")
    store.name = "memory"  # type: ignore[attr-defined]
    await archive.write(store, path, lambda _done, _all: None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sound export."""
    path = tmp_path_factory.mktemp("export") / "all.jsonl"
    run(exported(path))
    return path


def told(path: Path) -> tuple[tuple[Snapshot, ...], list[Recorded]]:
    """Return all that an export holds."""
    with closing(Archive(path)) as file:
        return file.snapshots, [each for page in file.pages() for each in page]


WHOLE = ((Snapshot(5, b"state at 5"),), [Recorded(n, fact(n)) for n in range(1, COUNT + 1)])


def test_what_was_written_is_read(sound: Path) -> None:
    assert told(sound) == WHOLE
    assert not list(sound.parent.glob(".*.part"))


@given(data=st.data())
def test_a_changed_byte_is_noticed_or_harmless(sound: Path, data: st.DataObject) -> None:
    clean = sound.read_bytes()
    place = data.draw(st.integers(0, len(clean) - 1), label="place")
    byte = data.draw(st.integers(0, 255), label="byte")
    cut = data.draw(st.booleans(), label="cut")
    changed = clean[:place] if cut else clean[:place] + bytes([byte]) + clean[place + 1 :]
    path = sound.with_name("changed.jsonl")
    path.write_bytes(changed)
    try:
        found = told(path)
    except JournalError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either is right
    else:
        assert found == WHOLE


@given(noise=st.binary(max_size=300))
def test_noise_is_no_export(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.jsonl"
    path.write_bytes(noise)
    with pytest.raises(JournalError):
        told(path)
