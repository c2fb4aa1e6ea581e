"""Write the tables of a scenario's keys into docs/simulator.md, from the schema.

Run it as ``python tools/scenario_keys.py``; ``--check`` changes nothing and exits 1 when the page
is not what it would write.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from navarch.config import schema as config_schema
from navarch.config import shapes
from navarch.config.shapes import Anything, Block, Choice, Items, Leaf, Named, Shape, Variants
from navarch.config.values import format_value
from navarch.simulator.scenarios.schema import Document

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "simulator.md"
BEGINS: Final = "<!-- keys: written by tools/scenario_keys.py -->"
ENDS: Final = "<!-- end of keys -->"

PARTS: Final = (
    ("", "The whole file"),
    ("server", "`server`: the control plane"),
    ("providers.NAME", "`providers`: who sells machines"),
    ("network", "`network`: what passes between nodes and control plane"),
    ("outages", "`outages`: how the control plane itself fails"),
    ("fleet[]", "`fleet`: nodes that nobody buys"),
    ("stress", "`stress`: fleets that are made up, and chaos"),
    ("events[]", "`events`: what happens when"),
    ("assertions[]", "`assertions`: what must be so at the end"),
)
"""The chapters, by the key that each begins at."""

CONFIGURATION: Final = (config_schema.Pool, config_schema.Defaults, config_schema.Repair)
"""What is described with the product's configuration."""


def rows(shape: Shape, key: str) -> Iterator[tuple[str, str, str, str]]:
    """Describe every key of a block and below it: key, what to write, default, what it is for."""
    match shape:
        case Block():
            for name, slot in shape.slots.items():
                here = f"{key}.{name}" if key else name
                default = "required" if slot.required else format_value(slot.default)
                if isinstance(slot.shape, Block):
                    default = "" if slot.default is not None else "none"
                yield here, _wanted(slot.shape), default, slot.doc
                if not _is_configuration(slot.shape):
                    yield from rows(slot.shape, here)
        case Items():
            yield from rows(shape.item, f"{key}[]")
        case Named() if not _is_configuration(shape.value):
            yield from rows(shape.value, f"{key}.NAME")
        case _:
            return


def _is_configuration(shape: Shape) -> bool:
    return isinstance(shape, Block) and shape.struct in CONFIGURATION


def _wanted(shape: Shape) -> str:
    match shape:
        case Leaf() | Anything():
            return shape.expected
        case Choice():
            return " \\| ".join(shape.words)
        case Items():
            return f"a list of: {_wanted(shape.item)}"
        case Named():
            return f"names to: {_wanted(shape.value)}"
        case Block() | Variants():
            see = _is_configuration(shape)
            return "as in [configuration.md](configuration.md)" if see else "a mapping"


def tables() -> str:
    """Write all chapters."""
    chapters: dict[str, list[tuple[str, str, str, str]]] = {part: [] for part, _ in PARTS}
    for row in rows(shapes.block_of(Document), ""):
        part = max((p for p, _ in PARTS if row[0].startswith(f"{p}.") or not p), key=len)
        chapters[part].append((row[0].removeprefix(f"{part}."), *row[1:]))
    lines: list[str] = []
    for part, title in PARTS:
        lines += [f"### {title}", "", "| key | what to write | default | what it is for |"]
        lines.append("|---|---|---|---|")
        for key, wanted, default, doc in chapters[part]:
            lines.append(f"| `{key}` | {wanted} | {default} | {doc} |")
        lines.append("")
    return "\n".join(lines)


def written(page: str) -> str:
    """Put the tables into the page."""
    before, _, rest = page.partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    return f"{before}{BEGINS}\n\n{tables()}\n{ENDS}{after}"


def main() -> int:
    """Write the page, or check it."""
    page = PAGE.read_text(encoding="utf-8")
    new = written(page)
    if "--check" in sys.argv[1:]:
        return 0 if new == page else 1
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
