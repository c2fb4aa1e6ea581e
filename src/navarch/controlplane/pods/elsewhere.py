"""The replicas of a fleet that run on Kubernetes, turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from navarch.controlplane.pods.manifest import WantedReplica
from navarch.controlplane.pods.runtime import PodRuntime
from navarch.core.model.fleet import Fleet
from navarch.core.model.replica import ReplicaSeen, ReplicaState
from navarch.core.serving.recipes import Recipe, recipe

KIND: Final = "kubernetes"
"""What the runtime of such pools of agents is called."""


class PodsElsewhere:
    """Has pods made and deleted as the fleet says."""

    def __init__(self, fleet: Callable[[], Fleet], make: Callable[[str], PodRuntime]) -> None:
        """Look at the fleet that `fleet` returns; `make` a runtime when its tag is known."""
        self._fleet = fleet
        self._make = make
        self._runtime: PodRuntime | None = None

    async def turn(self, fleet_tag: str, now: datetime) -> Sequence[ReplicaSeen]:
        """Make what runs there be what is wanted, and say how it stands.

        :raises PodsUnavailable: the API server could not be asked
        :raises ConfigError: the runtime cannot be made
        """
        if self._runtime is None:
            self._runtime = self._make(fleet_tag)
        wanted, kept = wishes(self._fleet(), now)
        return await self._runtime.reconcile(wanted, now, keep=kept)

    async def close(self) -> None:
        """Give up the connections; the pods stay."""
        if self._runtime is not None:
            await self._runtime.close()


def wishes(fleet: Fleet, now: datetime) -> tuple[list[WantedReplica], frozenset[str]]:
    """Say which replicas shall have a pod, and which may keep theirs but get no other now.

    The latter wait after a failure, or nobody can say at present how they are to run: a class that
    was deleted by mistake takes no running replica with it.

    Cost: O(replicas).
    """
    wanted: list[WantedReplica] = []
    kept: set[str] = set()
    for replica in fleet.replicas.values():
        if replica.runtime != KIND or not replica.wanted:
            continue
        waits = replica.retry_at is not None and now < replica.retry_at
        how = recipe(fleet, replica.agent_pool)
        if isinstance(how, Recipe) and not (waits and replica.state is ReplicaState.PENDING):
            wanted.append(WantedReplica(replica.id, how.pool, how.model, replica.gang))
        else:
            kept.add(replica.id)
    return wanted, frozenset(kept)
