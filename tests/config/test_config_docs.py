"""The documentation has every key as the schema has it, and its examples are right.

``tools/generate_docs.py`` writes the tables of ``docs/configuration.md`` anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from navarch.config import load
from reference.configuration import PAGE, blocks, table_of, tables

EXAMPLES = re.findall(r"```yaml\n(.*?)```\n", PAGE.read_text(), re.DOTALL)


def test_every_block_has_its_table_and_every_table_its_block() -> None:
    assert sorted(place for place, _ in tables(PAGE.read_text())) == sorted(blocks())


def test_every_table_is_what_the_schema_says() -> None:
    written = dict(tables(PAGE.read_text()))
    right = {place: table_of(block) for place, block in blocks().items()}
    assert written == right, "run: python tools/generate_docs.py"


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_has_no_mistakes(number: int) -> None:
    found = load.examine_text(EXAMPLES[number], path=Path("navarch.yaml"), environ={})
    assert [str(fault) for fault in found.faults] == []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 9
