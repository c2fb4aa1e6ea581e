"""The documentation has every key as the schema has it, and its examples are right.

``NAVARCH_WRITE_GOLDEN=1`` writes the tables of ``docs/configuration.md`` anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.blocks import blocks
from navarch.config import load
from navarch.config.shapes import Anything, Block, Shape, Slot
from navarch.config.values import format_value

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
TABLE = re.compile(r"<!-- keys: (?P<place>.*?) -->\n(?P<table>.*?)<!-- end -->\n", re.DOTALL)
EXAMPLES = re.findall(r"```yaml\n(.*?)```\n", DOCUMENT.read_text(), re.DOTALL)


def table_of(block: Block) -> str:
    """Write the table of a block."""
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    rows += [row_of(name, slot) for name, slot in block.slots.items()]
    return "".join(f"{row}\n" for row in rows)


def row_of(name: str, slot: Slot) -> str:
    default = "*required*" if slot.required else f"`{format_value(slot.default)}`"
    if isinstance(slot.shape, Block) and (slot.required or slot.default is not None):
        default = ""
    return f"| `{name}` | {value_of(slot.shape)} | {default} | {slot.doc} |"


def value_of(shape: Shape) -> str:
    if isinstance(shape, Block):
        return "a mapping"
    return "anything" if isinstance(shape, Anything) else shape.expected


def written() -> Iterator[tuple[str, str]]:
    for found in TABLE.finditer(DOCUMENT.read_text()):
        yield found["place"].strip(), found["table"]


def test_every_block_has_its_table_and_every_table_its_block() -> None:
    assert sorted(place for place, _ in written()) == sorted(blocks())


def test_every_table_is_what_the_schema_says() -> None:
    known = blocks()
    if os.environ.get("NAVARCH_WRITE_GOLDEN"):
        text = TABLE.sub(
            lambda found: (
                f"<!-- keys: {found['place']} -->\n{table_of(known[found['place'].strip()])}"
                "<!-- end -->\n"
            ),
            DOCUMENT.read_text(),
        )
        DOCUMENT.write_text(text)
    assert dict(written()) == {place: table_of(block) for place, block in known.items()}


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_has_no_mistakes(number: int) -> None:
    found = load.examine_text(EXAMPLES[number], path=Path("navarch.yaml"), environ={})
    assert [str(fault) for fault in found.faults] == []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 9
