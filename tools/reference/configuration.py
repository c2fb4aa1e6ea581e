"""The tables of docs/configuration.md, from the schema by which files are read."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from navarch.config import shapes
from navarch.config.shapes import Anything, Block, Items, Named, Shape, Slot, Variants
from navarch.config.values import format_value

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
TABLE: Final = re.compile(r"<!-- keys: (?P<place>.*?) -->\n(?P<table>.*?)<!-- end -->\n", re.DOTALL)


def blocks(document: Shape | None = None) -> dict[str, Block]:
    """Collect the blocks by places such as ``server.metrics[]: slurm``; the file's own is ``""``.

    Blocks may hold themselves, so that the walk goes by levels and follows each of them once.
    """
    found: dict[str, Block] = {}
    seen: set[type[Struct]] = set()
    waiting: deque[tuple[str, Shape]] = deque([("", document or shapes.document())])
    while waiting:
        place, shape = waiting.popleft()
        if isinstance(shape, Block):
            if shape.struct in seen:
                continue
            seen.add(shape.struct)
            found[place] = shape
        waiting.extend(_inside(place, shape))
    return found


def _inside(place: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    match shape:
        case Block(slots=slots):
            above = place.partition(": ")[0]
            for name, slot in slots.items():
                yield f"{above}.{name}".lstrip("."), slot.shape
        case Variants(blocks=kinds):
            for tag, block in kinds.items():
                yield f"{place}: {tag}", block
        case Items(item=inside):
            yield f"{place}[]", inside
        case Named(value=inside):
            yield f"{place}.NAME", inside
        case _:
            return


def table_of(block: Block) -> str:
    """Write the table of a block."""
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    rows += [_row(name, slot) for name, slot in block.slots.items()]
    return "".join(f"{row}\n" for row in rows)


def _row(name: str, slot: Slot) -> str:
    default = "*required*" if slot.required else f"`{format_value(slot.default)}`"
    if isinstance(slot.shape, Block) and (slot.required or slot.default is not None):
        default = ""
    return f"| `{name}` | {_value(slot.shape)} | {default} | {slot.doc} |"


def _value(shape: Shape) -> str:
    if isinstance(shape, Block):
        return "a mapping"
    return "anything" if isinstance(shape, Anything) else shape.expected


def tables(text: str) -> Iterator[tuple[str, str]]:
    """Find the tables of the page: each with the place that it is of."""
    for found in TABLE.finditer(text):
        yield found["place"].strip(), found["table"]


def undocumented(text: str, known: Mapping[str, Block] | None = None) -> list[str]:
    """Name the keys that no table of the page has, as ``place.key``."""
    there = {
        (place, key)
        for place, table in tables(text)
        for key in re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    }
    return [
        f"{place}.{key}".lstrip(".")
        for place, block in (known or blocks()).items()
        for key in block.slots
        if (place, key) not in there
    ]


def written(text: str) -> str:
    """Put the tables into the page; those of places that are no more stay, for the test to name."""
    known = blocks()

    def instead(found: re.Match[str]) -> str:
        place = found["place"].strip()
        table = table_of(known[place]) if place in known else found["table"]
        return f"<!-- keys: {found['place']} -->\n{table}<!-- end -->\n"

    return TABLE.sub(instead, text)
