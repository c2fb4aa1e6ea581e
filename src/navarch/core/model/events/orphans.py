"""Facts about machines that nobody owns."""

from __future__ import annotations

from navarch.core.model.events.base import Event


class OrphanCondemned(Event, frozen=True, tag="orphan_condemned"):
    """A machine carries our tag but belongs to no live instance, by two inventories."""

    provider: str
    ref: str
    because: str


class OrphanRemoved(Event, frozen=True, tag="orphan_removed"):
    """An orphan is gone from the provider's list."""

    provider: str
    ref: str
    because: str
