"""Snapshots are written slice by slice, packed, and read back equal; plain ones of before too."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from factories import a_fleet, a_node, an_instance, name
from navarch.core.model import fleet as fleets
from navarch.core.model import snapshots
from navarch.core.model.fleet import Fleet, Weights
from navarch.core.model.node import Intent

ENTRIES = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=7)


class Kept(msgspec.Struct, omit_defaults=True, rename="camel"):
    """Records of every form that a snapshot has."""

    tag: str = ""
    some_number: int = 0
    entries: dict[str, str] = {}
    nested: dict[str, dict[str, str]] = {}


@given(
    st.builds(
        Kept,
        st.text(max_size=5),
        st.integers(0, 9),
        ENTRIES,
        st.dictionaries(st.text(max_size=5), ENTRIES, max_size=7),
    )
)
def test_slices_are_together_what_is_written_at_once(kept: Kept) -> None:
    before, snapshots.SLICE = snapshots.SLICE, 3  # type: ignore[misc]
    try:
        assert b"".join(snapshots.written(kept)) == msgspec.json.encode(kept)
    finally:
        snapshots.SLICE = before  # type: ignore[misc]


def a_busy_fleet() -> Fleet:
    fleet = a_fleet(3)
    fleet.put_node(a_node(7, intent=Intent.CORDONED, because="a look"))
    fleet.put_instance(an_instance(8))
    fleet.weights[name(1)] = {"demo/llama": Weights(since=a_node(1).registered_at)}
    return fleet


def test_a_packed_snapshot_is_read_back_equal_and_a_plain_one_too() -> None:
    fleet = a_busy_fleet()
    packed = snapshots.packed(fleet.frozen())
    assert packed.startswith(snapshots.MAGIC)
    assert fleets.decode(packed) == fleet
    assert fleets.decode(fleets.encode(fleet)) == fleet
    assert snapshots.unpacked(packed) == fleets.encode(fleet)


def test_what_happens_later_does_not_reach_a_frozen_fleet() -> None:
    fleet = a_busy_fleet()
    before = fleets.encode(fleet)
    frozen = fleet.frozen()
    fleet.put_node(replace(fleet.nodes[name(7)], because="otherwise"))
    fleet.drop([name(8)], [name(1)])
    fleet.weights.setdefault(name(2), {})["demo/llama"] = Weights(since=a_node().registered_at)
    fleet.pools.clear()
    assert msgspec.json.encode(frozen) == before


@pytest.mark.parametrize("damage", [lambda raw: raw[:-3], lambda raw: raw[:40] + b"?" + raw[41:]])
def test_a_damaged_packed_snapshot_is_refused(damage: Callable[[bytes], bytes]) -> None:
    packed = snapshots.packed(a_busy_fleet().frozen())
    with pytest.raises(msgspec.DecodeError, match="the packed snapshot is damaged"):
        fleets.decode(damage(packed))
