"""What the state owes the world, in the imperative.

There is no outbox: after a crash the journal is folded and the same actions are owed again. An
action's `key` says which ones are the same, so that none is performed twice at one time.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field

from navarch.core.model.ladder import Told


class Launch(Struct, frozen=True, tag="launch"):
    """Buy this machine. No need to look first: a launch with an unknown outcome is not owed."""

    provider: str
    instance_id: str
    pool: str
    instance_type: str = ""
    region: str = ""
    zone: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    ssh_key_names: tuple[str, ...] = ()
    user_data: str = ""
    spot: bool = False

    @property
    def key(self) -> str:
        """One launch at a time for an instance."""
        return f"launch {self.instance_id}"


class Terminate(Struct, frozen=True, tag="terminate"):
    """End this machine. Asking for one that is already ending, or gone, does no harm."""

    provider: str
    ref: str
    instance_id: str = ""
    """Ours; empty for an orphan."""

    @property
    def key(self) -> str:
        """One termination at a time for a machine."""
        return f"terminate {self.provider}/{self.ref}"


class TakeInventory(Struct, frozen=True, tag="take_inventory"):
    """List what the provider has."""

    provider: str

    @property
    def key(self) -> str:
        """One inventory at a time of a provider."""
        return f"inventory {self.provider}"


class ListTypes(Struct, frozen=True, tag="list_types"):
    """Read the provider's price list."""

    provider: str

    @property
    def key(self) -> str:
        """One price list at a time of a provider."""
        return f"types {self.provider}"


class Tell(Struct, frozen=True, tag="tell"):
    """Let the workload manager know what to do with a node. Telling it twice does no harm."""

    node_id: str
    told: Told
    because: str
    deadline: datetime | None = None
    """When a drain is over, done or not; None: never, or it is no drain."""
    intent: int = 0
    """The number of this wish about the node, from 1; the same when it is told again."""

    @property
    def key(self) -> str:
        """One word at a time about a node."""
        return f"tell {self.node_id}"


class AskDrained(Struct, frozen=True, tag="ask_drained"):
    """Ask the workload manager whether a node is empty."""

    node_id: str

    @property
    def key(self) -> str:
        """One question at a time about a node."""
        return f"drained {self.node_id}"


Purchase = Launch | Terminate | TakeInventory | ListTypes
"""What providers are asked."""

Notice = Tell | AskDrained
"""What the workload manager is told and asked."""

Action = Purchase | Notice
