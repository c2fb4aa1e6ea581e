"""What a view may look at: the fleet and all that is known beside it, at one moment.

A view takes what it needs before it waits for anything: what it reads then is in the journal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from navarch.core import explain, explain_serving
from navarch.core.model.fleet import Fleet
from navarch.core.model.samples import Samples
from navarch.core.model.sightings import Catalog, Sightings
from navarch.core.selection import BUILT_IN
from navarch.core.selection.base import Ranker
from navarch.core.settings import Settings
from navarch.dashboard.past.kept import Past
from navarch.errors import WireError
from navarch.stores.base import History
from navarch.wire.standing import Standing

if TYPE_CHECKING:
    from navarch.controlplane.control_plane import ControlPlane
    from navarch.controlplane.plugin_host import PluginHost
    from navarch.dashboard.rows import Rows
    from navarch.providers.base import Provider


class Seen:
    """What there is to see at one moment."""

    def __init__(  # noqa: PLR0913 - all that a view may look at
        self,
        fleet: Fleet,
        sightings: Sightings,
        now: datetime,
        settings: Settings,
        journal: History,
        *,
        seq: int = 0,
        standing: Standing | None = None,
        data: Path | None = None,
        control_plane: ControlPlane | None = None,
    ) -> None:
        """Show this. `control_plane` None: there is none that runs, as in tests of views."""
        self.fleet = fleet
        """All records; what is shown of them is in the journal."""
        self.sightings = sightings
        """What was seen last and is in no journal: prices, inventories, what autoscalers said."""
        self.now = now
        """The control plane's own time."""
        self.settings = settings
        self.journal = journal
        """Facts: ``await journal.read(subject=..., since=..., newest_first=True, limit=...)``."""
        self.seq = seq
        """The newest fact in the journal."""
        self.standing = standing or Standing()
        """Whether this control plane leads."""
        self.data = data
        """The folder of the fleet; None: there is none."""
        self.control_plane = control_plane
        """Everything else; None: no control plane runs."""
        self.rows: Rows | None = None
        """Every machine as a row, as it was a moment ago; None: make them of the fleet."""
        self._past: Past | None = None

    @property
    def past(self) -> Past:
        """What charts need of earlier times; it stays from one look to the next."""
        if self._past is None:
            self._past = Past()
        return self._past

    @past.setter
    def past(self, past: Past) -> None:
        self._past = past

    @property
    def catalogs(self) -> Mapping[str, Catalog]:
        """The newest price lists, those included that only people look at."""
        if self.control_plane is None:
            return self.sightings.catalogs
        return self.control_plane.accounts.prices.catalogs()

    def want_prices(self) -> None:
        """Have the price lists of all sellers read that are missing, within a minute or so."""
        if self.control_plane is not None:
            pools = self.fleet.pools.values()
            sellers = {source.provider for pool in pools for source in pool.sources}
            self.control_plane.accounts.prices.want(sellers)

    @property
    def rankers(self) -> Mapping[str, Ranker]:
        """What pools may name as their strategy."""
        return BUILT_IN if self.control_plane is None else self.control_plane.rankers

    @property
    def samples(self) -> Samples:
        """The newest readings of every node."""
        return self.sightings.samples

    @property
    def plugins(self) -> PluginHost | None:
        """The plugins of the serving plane; None: no control plane runs."""
        return None if self.control_plane is None else self.control_plane.plugins

    @property
    def providers(self) -> Mapping[str, Provider]:
        """Who may be bought from, by the names that pools use."""
        return {} if self.control_plane is None else self.control_plane.providers

    def explain(self, kind: str, id_: str) -> Sequence[str]:
        """Say why something is as it is, line by line, the answer first.

        `kind` is ``node``, ``instance``, ``pool``, ``agent-pool`` or ``replica``. Raises
        `WireError` with ``not_found`` or ``invalid_argument``.
        """
        fleet, seen, now, settings = self.fleet, self.sightings, self.now, self.settings
        match kind:
            case "node" if (node := fleet.nodes.get(id_)) is not None:
                return list(explain.explain_node(fleet, seen, node, now, settings))
            case "instance" if (instance := fleet.instances.get(id_)) is not None:
                return list(explain.explain_instance(seen, instance, now))
            case "pool" if (pool := fleet.pools.get(id_)) is not None:
                return list(explain.explain_pool(fleet, seen, pool, now, settings))
            case "agent-pool" if fleet.resource("AgentPool", id_) or fleet.replicas_of.get(id_):
                return list(explain_serving.explain_agent_pool(fleet, seen, id_, now))
            case "replica" if (replica := fleet.replicas.get(id_)) is not None:
                return list(explain_serving.explain_replica(fleet, seen, replica, now))
            case "node" | "instance" | "pool" | "agent-pool" | "replica":
                raise WireError("not_found", f"{kind} {id_[:253]!r} is not known")
            case _:
                raise WireError("invalid_argument", f"kind: {kind[:40]!r} cannot be explained")


def seen_of(
    control_plane: ControlPlane, data: Path | None = None, past: Past | None = None
) -> Seen:
    """What a running control plane has to show now; ask when its runtime is settled.

    `past` is what was kept of earlier times; None: nothing.

    Raises `NavarchError` before its start and after its end. Cost: O(1).
    """
    runtime = control_plane.runtime
    machine = runtime.machine
    seen = Seen(
        machine.fleet,
        machine.sightings,
        runtime.clock.now(),
        machine.strategies.settings,
        runtime.store,
        seq=runtime.seq,
        standing=control_plane.standing(),
        data=data,
        control_plane=control_plane,
    )
    if past is not None:
        seen.past = past
    return seen
