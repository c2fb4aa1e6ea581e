"""Which machine of which cloud an abstract type such as ``h100-8x`` means, and what it costs.

An abstract name is a GPU, its memory where that is needed to tell models apart, and a count:
``h100-8x``, ``a100-80gb-8x``, ``h100-pcie-1x``. It means one type of each cloud that sells such a
machine. Rules that hold:

- ``h100``, ``h200`` and ``b200`` are the SXM modules; cards say so: ``h100-pcie``.
- ``a100-8x`` promises at least 40 GB a GPU: the 40 GB model where a cloud sells it, else the one of
  80 GB. Whoever needs 80 GB says ``a100-80gb-8x``, and ``a100-40gb-8x`` is the 40 GB model alone.
- It says nothing of processors, disks and the network, which differ from cloud to cloud.

The tables in ``data`` are facts read elsewhere, one row a type, each with its source and the day it
was read. A price is the list price on demand, in US dollars for the whole machine for an hour,
where the row says; it is empty where none was found, and it is for comparing offers, not for
invoices. A provider that lists its own types knows better.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from navarch.errors import ConfigError

CLOUDS: Final = ("lambda", "gcp", "aws", "runpod")
"""The kinds of provider that have a table: the words under ``type`` in the configuration."""

ABSTRACT: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*-[0-9]{1,3}x")
"""What an abstract name looks like. No cloud's own names end so."""

OWN: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "lambda": re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)+"),
        "gcp": re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+(?:\+[a-z][a-z0-9-]*:[1-9][0-9]?)?"),
        "aws": re.compile(r"[a-z0-9-]+\.[a-z0-9-]+"),
        "runpod": re.compile(r"(?:[1-9][0-9]{0,2}x )?\S+ \S.*"),
    }
)
"""What the own names of each cloud look like, the abstract ones left out: clouds sell more types
than the tables have, and those pass."""

NEAREST_MAX: Final = 3
"""How many nearest names are told."""


class Entry(Struct, frozen=True, kw_only=True):
    """One type of one cloud. Texts are empty, and numbers None, where no source says anything."""

    cloud: str
    """One of `CLOUDS`."""
    abstract: tuple[str, ...]
    """The abstract names that mean it, the most precise first; none for many."""
    type: str
    """The cloud's own name."""
    gpu: str
    """The GPU's model, with its form where there are several: ``H100 SXM``."""
    gpu_count: int
    gpu_memory_gb: int
    """Of one GPU, as its maker states it."""
    interconnect: str
    """How its GPUs reach each other, and the network where it is known."""
    vcpus: int | None
    memory_gb: int | None
    """Main memory in GB or GiB, as the cloud counts it."""
    facts_source: str
    facts_read: date
    price_usd_per_hour: float | None
    price_where: str
    """The region that the price holds in, or ``all``."""
    price_source: str
    price_read: date | None
    """The day on which the source read the price."""
    regions: tuple[str, ...]
    """Where it is sold, as far as known; none: not known."""
    note: str


@cache
def table() -> tuple[Entry, ...]:
    """Return every entry, by cloud and then in the order of its table. Read once: some 80 rows."""
    return tuple(entry for cloud in CLOUDS for entry in _read(cloud))


def resolve(provider_kind: str, type_name: str) -> str:
    """Return the cloud's own name of a type.

    A cloud's own name is returned as it is, whether or not it is in the tables, and so is every
    name where `provider_kind` has no table: a rack calls its machines what it likes.

    :raises ConfigError: there is no such type at this cloud; names the nearest ones
    """
    if provider_kind not in CLOUDS or not type_name:
        return type_name
    known = _by_abstract(provider_kind)
    if type_name in known:
        return known[type_name].type
    if type_name in _by_type(provider_kind):
        return type_name
    if ABSTRACT.fullmatch(type_name) is None and OWN[provider_kind].fullmatch(type_name):
        return type_name
    raise ConfigError(
        f"{provider_kind} sells no {type_name!r}; nearest: {_told(provider_kind, type_name)}"
    )


def abstract_of(provider_kind: str, name: str) -> str:
    """Return the most precise abstract name of a cloud's type; empty where there is none.

    An abstract name that means a type of this cloud gives the name of that type.
    """
    if provider_kind not in CLOUDS:
        return ""
    entry = entry_of(provider_kind, name)
    return entry.abstract[0] if entry is not None and entry.abstract else ""


def entry_of(provider_kind: str, name: str) -> Entry | None:
    """Find what is known of a type by either name; None where nothing is."""
    if provider_kind not in CLOUDS:
        return None
    return _by_type(provider_kind).get(name) or _by_abstract(provider_kind).get(name)


def nearest(provider_kind: str, type_name: str) -> tuple[str, ...]:
    """Name the abstract types of a cloud that are most like `type_name`, the likest first.

    Types of the same GPU come before those that are only spelt alike, and another cloud's own name
    counts as what it is there; never empty for a cloud.
    """
    elsewhere = (one.abstract[0] for one in table() if one.type == type_name and one.abstract)
    asked = next(elsewhere, type_name.lower())
    names = list(_by_abstract(provider_kind))
    alike = difflib.get_close_matches(asked, names, n=len(names), cutoff=0.0)
    gpu = asked.partition("-")[0]
    ordered = sorted(alike, key=lambda name: name.partition("-")[0] != gpu)
    return tuple(ordered[:NEAREST_MAX])


def _told(cloud: str, type_name: str) -> str:
    known = _by_abstract(cloud)
    return ", ".join(f"{name} ({known[name].type})" for name in nearest(cloud, type_name))


@cache
def _by_abstract(cloud: str) -> Mapping[str, Entry]:
    return {name: each for each in table() if each.cloud == cloud for name in each.abstract}


@cache
def _by_type(cloud: str) -> Mapping[str, Entry]:
    return {each.type: each for each in table() if each.cloud == cloud}


def _read(cloud: str) -> list[Entry]:
    text = resources.files("navarch.providers").joinpath("data", f"{cloud}.csv").read_text("utf-8")
    return [_entry(cloud, row) for row in csv.DictReader(text.splitlines())]


def _entry(cloud: str, row: Mapping[str, str]) -> Entry:
    price = row["price_usd_per_hour"]
    return Entry(
        cloud=cloud,
        abstract=tuple(row["abstract"].split()),
        type=row["type"],
        gpu=row["gpu"],
        gpu_count=int(row["gpu_count"]),
        gpu_memory_gb=int(row["gpu_memory_gb"]),
        interconnect=row["interconnect"],
        vcpus=_number(row["vcpus"]),
        memory_gb=_number(row["memory_gb"]),
        facts_source=row["facts_source"],
        facts_read=date.fromisoformat(row["facts_read"]),
        price_usd_per_hour=float(price) if price else None,
        price_where=row["price_where"],
        price_source=row["price_source"],
        price_read=date.fromisoformat(row["price_read"]) if price else None,
        regions=tuple(row["regions"].split()),
        note=row["note"],
    )


def _number(text: str) -> int | None:
    return int(text) if text else None
