"""Memory that records need not take twice.

Ten thousand nodes have the same driver, the same products in the same slots, and the same few
regions and types; each of them was read from bytes of its own. Here the equal texts of records
become the same object. Nothing that can be seen of a record changes, so this may be done to frozen
ones, and to as many or as few as one likes. A node of eight GPUs takes 3 KB less.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import force_setattr

from navarch.core.model.gpu import GPU
from navarch.core.model.instance import Instance
from navarch.core.model.node import Node

KNOWN_MAX: Final = 20_000
"""Texts and descriptions that are known; beyond, all are forgotten, and found again as they come.

Where every text is different nothing is gained, and this is what it costs: some 2 MB.
"""

_Described = tuple[int, str, str, int, str, str]
"""What the GPUs in one slot of equal nodes have in common: all but the UUID."""


_INSTANCE: Final = ("pool", "provider", "instance_type", "region", "zone", "offer", "because")
_NODE: Final = ("pool", "provider", "instance_type", "region", "zone", "because")


class Sparing:
    """What is known, so that equal texts become one."""

    def __init__(self, known_max: int = KNOWN_MAX) -> None:
        """Know nothing; keep at most so many texts, and as many descriptions of GPUs."""
        self._known_max = known_max
        self._texts: dict[str, str] = {}
        self._gpus: dict[_Described, _Described] = {}

    def node(self, node: Node) -> Node:
        """Have a node share its texts with those before; its id is also that of its instance."""
        _share(node, _NODE, self._texts)
        if node.instance_id == node.id:
            force_setattr(node, "instance_id", node.id)
        force_setattr(node, "gpus", self.gpus(node.gpus))
        metadata = node.metadata
        _share(metadata, ("kernel_version",), self._texts)
        if metadata.labels:
            texts = self._texts
            labels = {_one(key, texts): _one(text, texts) for key, text in metadata.labels.items()}
            force_setattr(metadata, "labels", labels)
        self._bound()
        return node

    def gpus(self, gpus: Iterable[GPU]) -> tuple[GPU, ...]:
        """Return the same GPUs, which share what they have in common with those before."""
        known = self._gpus
        found: list[GPU] = []
        for gpu in gpus:
            described = (
                gpu.index,
                gpu.name,
                gpu.pci_bus_id,
                gpu.memory_total,
                gpu.driver_version,
                gpu.cuda_version,
            )
            one = known.setdefault(described, described)
            found.append(GPU(one[0], gpu.uuid, one[1], one[2], one[3], one[4], one[5]))
        return tuple(found)

    def instance(self, instance: Instance) -> Instance:
        """Have an instance share its texts with those before."""
        _share(instance, _INSTANCE, self._texts)
        self._bound()
        return instance

    def _bound(self) -> None:
        for known in (self._texts, self._gpus):
            if len(known) > self._known_max:
                known.clear()


def _share(record: Struct, names: Iterable[str], texts: dict[str, str]) -> None:
    for name in names:
        text: str = getattr(record, name)
        if text:
            force_setattr(record, name, texts.setdefault(text, text))


def _one(text: str, texts: dict[str, str]) -> str:
    return texts.setdefault(text, text)
