"""Hypothesis strategies for the domain's own values.

`structs` makes any struct from its annotations, so that a new field or a new kind of message is
searched without a word here. Names are drawn from a small vocabulary, so that they meet. Whole runs
of a small world are in `worlds`.
"""

from __future__ import annotations

import dataclasses
import types
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from msgspec import Struct

from factories import START, TAG
from navarch.core.model import events as ev
from navarch.core.model import ids
from navarch.core.model import messages as msg
from navarch.core.model.finding import Remedy
from navarch.core.model.offer import Offer
from navarch.core.model.pool import Disruption, PoolSpec, Source

S = TypeVar("S", bound=Struct)

# --- any value -------------------------------------------------------------------------------

POOLS = ("blue", "green")
PROVIDERS = ("fake", "lambda")
TYPES = ("small", "big")
FAILURES = (
    "NoCapacity",
    "NoCapacity",
    "QuotaExceeded",
    "Unauthorized",
    "Throttled",
    "InvalidRequest",
    "Unavailable",
    "NotFound",
)
INSTANCE_IDS = [ids.instance_id(pool, TAG, n) for n in range(1, 6) for pool in POOLS]
NODE_IDS = [*INSTANCE_IDS, "lab-1", "lab-2", ""]

moments = st.builds(
    lambda seconds: START + timedelta(seconds=seconds), st.integers(-3_600, 200_000)
)
"""Moments of the control plane's clock, around those of the runs."""

words = st.sampled_from(["", "a", "out", "×", "two words"])


sources = st.builds(
    Source,
    st.sampled_from(PROVIDERS),
    priority=st.integers(0, 1),
    weight=st.integers(1, 3),
    regions=st.sampled_from([(), (), ("a",), ("a", "b")]),
    zones=st.sampled_from([(), (), ("a1",), ("a1", "a2", "b1")]),
    instance_type=st.sampled_from(["", *TYPES]),
    spot=st.booleans(),
)
"""What a valid configuration may say about a seller."""

offers = st.builds(
    Offer,
    st.sampled_from(PROVIDERS),
    region=st.sampled_from(["", "a", "b"]),
    zone=st.sampled_from(["", "a1"]),
    instance_type=st.sampled_from(TYPES),
    priority=st.integers(-1, 2),
    weight=st.integers(1, 3),
    spot=st.booleans(),
)
"""Something that can be bought."""

price_lists = st.lists(
    st.builds(
        msg.Sold,
        st.sampled_from(TYPES),
        st.sampled_from([None, 1.0, 2.0]),
        st.sampled_from([None, 0.5, 1.0]),
        st.sampled_from([(), ("a",), ("a", "b")]),
        st.booleans(),
    ),
    max_size=2,
).map(tuple)
"""A provider's price list."""


@st.composite
def pool_specs(draw: st.DrawFn, *names: str) -> PoolSpec:
    """Draw what a valid configuration may say about a pool of one of these names."""
    low = draw(st.integers(0, 3))
    return PoolSpec(
        draw(st.sampled_from(names or POOLS)),
        draw(st.sampled_from(PROVIDERS)),
        min_nodes=low,
        max_nodes=low + draw(st.integers(0, 3)),
        instance_type=draw(st.sampled_from(TYPES)),
        zones=draw(st.sampled_from([(), ("a",), ("a", "b")])),
        sources=draw(st.lists(sources, max_size=2).map(tuple)),
        strategy=draw(st.sampled_from(["priority", "cost", "availability", "round-robin", "x"])),
        auto_replace=draw(st.sampled_from([True, True, True, False])),
        disruption=draw(disruptions),
        unhealthy_after=draw(st.sampled_from([1, 2, 2, 3])),
        ladder=draw(st.sampled_from(LADDERS)),
        replace_in_place=draw(st.booleans()),
        dry_run=draw(st.sampled_from([False, False, False, True])),
    )


_RESET, _REBOOT, _REPLACE = Remedy.RESET_GPU, Remedy.REBOOT, Remedy.REPLACE
LADDERS: tuple[tuple[Remedy, ...], ...] = (
    (_REPLACE,),
    (_REPLACE,),
    (_RESET, _REBOOT, _REPLACE),
    (_RESET, _REPLACE),
    (_REBOOT,),
    (),
)


disruptions = st.builds(
    Disruption,
    st.sampled_from([1, 1, 2, 3, 0]),
    st.sampled_from([0.0, 34.0, 100.0]),
    st.sampled_from([0, 0, 1]),
    st.sampled_from([6, 6, 1, 0]),
)


VOCABULARY: dict[str, st.SearchStrategy[object]] = {
    "node_id": st.sampled_from(NODE_IDS),
    "node_ids": st.frozensets(st.sampled_from(NODE_IDS), max_size=6),
    "instance_id": st.sampled_from([*INSTANCE_IDS, ""]),
    "command_id": st.sampled_from([ids.command_id(TAG, n) for n in range(5)]),
    "pool": st.sampled_from([*POOLS, "red"]),
    "pools": st.lists(pool_specs(), max_size=2, unique_by=lambda spec: spec.name).map(tuple),
    "provider": st.sampled_from(PROVIDERS),
    "ref": st.sampled_from([f"m-{id_}" for id_ in INSTANCE_IDS[:4]] + ["m-x", "m-y", ""]),
    "fleet": st.sampled_from([TAG, TAG, "z9z9", ""]),
    "tag": st.just(TAG),
    "target": st.integers(-1, 7),
    "begun_at": moments,
    "list_lag": st.sampled_from([timedelta(), timedelta(seconds=45)]),
    "count": st.integers(1, 9),
    "failure": st.sampled_from(FAILURES),
}
"""By field name, whatever the struct: what its values are drawn from."""

_YEARS = (datetime(2020, 1, 1), datetime(2030, 1, 1))  # noqa: DTZ001  # Hypothesis adds the zone

_PLAIN: dict[object, st.SearchStrategy[object]] = {
    str: words,
    int: st.integers(-1, 9),
    float: st.floats(0, 100),
    bool: st.booleans(),
    datetime: st.datetimes(*_YEARS, timezones=st.just(UTC)),
    timedelta: st.timedeltas(timedelta(), timedelta(hours=1)),
}


def structs(type_: type[S]) -> st.SearchStrategy[S]:
    """Draw any value of a struct."""
    hints = get_type_hints(type_)
    fields = {name: VOCABULARY.get(name, _any(hints[name])) for name in type_.__struct_fields__}
    return st.builds(type_, **fields)


def _any(hint: object) -> st.SearchStrategy[object]:
    """Draw any value that fits an annotation."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if hint is types.NoneType:
        return st.none()
    if origin in {Union, types.UnionType}:
        return st.one_of([_any(argument) for argument in arguments])
    if origin is tuple:
        return st.lists(_any(arguments[0]), max_size=3).map(tuple)
    if origin is frozenset:
        return st.frozensets(_any(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(_any(arguments[0]), _any(arguments[1]), max_size=2)
    if origin is Literal:
        return st.sampled_from(arguments)
    if hint is object:
        return words
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if hint is PoolSpec:
        return pool_specs()
    if isinstance(hint, type) and issubclass(hint, Struct):
        return structs(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(
            hint, **{each.name: _any(hints[each.name]) for each in dataclasses.fields(hint)}
        )
    raise NotImplementedError(hint)


facts: st.SearchStrategy[ev.Fact] = st.one_of([structs(type_) for type_ in get_args(ev.Fact)])
"""Any fact at all, sensible or not."""

_one_of_the_messages: st.SearchStrategy[msg.Message] = st.one_of(
    [structs(type_) for type_ in get_args(msg.Message)]
)


@st.composite
def _a_message(draw: st.DrawFn) -> msg.Message:
    """Draw one. Hypothesis writes strategies out: this has a name, all kinds exceed 30 kB."""
    return draw(_one_of_the_messages)


messages: st.SearchStrategy[msg.Message] = _a_message()
"""Any message that may be decoded, sensible or not."""
