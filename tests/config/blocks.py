"""Every block of the schema once, by the place where it is first met."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from msgspec import Struct

from navarch.config import shapes
from navarch.config.shapes import Block, Items, Named, Shape, Variants


def blocks() -> dict[str, Block]:
    """Collect the blocks by places such as ``server.metrics[]: slurm``; the file's own is ``""``.

    Blocks may hold themselves, so that the walk goes by levels and follows each of them once.
    """
    found: dict[str, Block] = {}
    seen: set[type[Struct]] = set()
    waiting: deque[tuple[str, Shape]] = deque([("", shapes.document())])
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
            pass
