"""What would help a pod that fits nowhere: one change, and the smallest that does.

Every plugin that alone rules some nodes out proposes changes. Each is tried on a what-if of the
snapshot before it is told; `batch.ORDER` says which of several is the smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import structs

from navarch.core.model.resources import AgentPool
from navarch.core.serving.scheduling.batch import Batch, Easing
from navarch.core.serving.scheduling.shapes import Bound, Shape
from navarch.core.serving.scheduling.snapshot import slots_of, units
from navarch.core.serving.views import Node

TRIED_MAX: Final = 32
"""Changes that are tried for one shape of pod, the smallest first."""


def cures(shape: Shape, bound: Sequence[Bound], pool: AgentPool) -> Iterator[Easing]:
    """Give the single changes that let a pod of this shape fit, the smallest first.

    Leaves everything as it is. Cost: O(nodes) for each change that is tried.
    """
    return (each for each in proposals(shape) if cured(shape, each, bound, pool))


def proposals(shape: Shape) -> list[Easing]:
    """List the changes that may help, the smallest first, at most `TRIED_MAX`."""
    found: list[Easing] = []
    states = {each.place: state for each, state in shape.states}
    for each, rows in shape.sole_blockers():
        plugin = each.plugin
        if isinstance(plugin, Batch) and type(plugin).easings is not Batch.easings:
            found.extend(plugin.easings(shape.pod, states[each.place], shape.snapshot, rows))
        else:
            name = shape.snapshot.names[int(rows[0])]
            text = f"disable the plugin {plugin.name}, which alone refuses {name}"
            found.append(Easing("plugin", text, node=name, plugin=plugin.name))
    return sorted(found, key=lambda each: each.order)[:TRIED_MAX]


def cured(shape: Shape, change: Easing, bound: Sequence[Bound], pool: AgentPool) -> bool:
    """Whether a pod of this shape fits after a change. Leaves everything as it is."""
    snapshot, pod = shape.snapshot, shape.pod
    if change.pod is not None:
        return Shape(change.pod, pool, bound, snapshot).best() >= 0
    if change.plugin:
        without = [each for each in bound if each.plugin.name != change.plugin]
        return Shape(pod, pool, without, snapshot).best() >= 0
    row = snapshot.row[change.node]
    if change.kind == "free":
        at = snapshot.positions(row, change.gpus)
        what_if = snapshot.with_free(row, at, units(change.share), change.mig)
    else:
        what_if = snapshot.with_service(row)
    return Shape(pod, pool, bound, what_if).fits(row)


def changed_row(node: Node, change: Easing) -> Node:
    """Show a node as it would be after a change of it."""
    if change.kind != "free":
        return structs.replace(node, why_not="", unschedulable=False, healthy=True, conditions=())
    slots = list(slots_of(node))
    for at, slot in enumerate(slots):
        times = change.gpus.count(slot.index)
        if times and change.mig:
            free = {**slot.mig_free, change.mig: slot.mig_free.get(change.mig, 0) + times}
            slots[at] = structs.replace(slot, mig_free=free)
        elif times:
            slots[at] = structs.replace(slot, free=max(slot.free, change.share))
    return structs.replace(node, gpus=tuple(slots), allocatable={})
