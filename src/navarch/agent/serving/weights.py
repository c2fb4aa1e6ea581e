"""What replicas need of a node's cache of models."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from navarch.core.model.replica import ModelSeen
from navarch.core.model.resources import Model


class Weights(Protocol):
    """The weights on this node's disk."""

    @property
    def address(self) -> str:
        """Where other nodes may fetch what is here, such as ``http://10.0.0.7:9650``.

        Empty: they may not.
        """
        ...

    async def load(self, model: Model, peers: Sequence[str]) -> Path:
        """Bring all of a model here, from `peers` where they have it; return its folder.

        Doing it twice, also at one time, is the same as once. Raises `NavarchError` or `OSError`
        when it does not come; what has come is kept for the next try.
        """
        ...

    async def unload(self, name: str) -> None:
        """Remove a model; nothing happens where there is none.

        Raises `NavarchError` while a replica uses it.
        """
        ...

    def path(self, name: str) -> Path | None:
        """Return the folder of a model that is here whole; None for any other."""
        ...

    def lease(self, name: str) -> AbstractContextManager[object]:
        """Keep a model from being removed for as long as the block lasts."""
        ...

    def seen(self) -> tuple[ModelSeen, ...]:
        """Tell of every model that is here or on its way. Quick: it is asked each second."""
        ...

    async def close(self) -> None:
        """End what is under way, and serve nobody any more."""
        ...
