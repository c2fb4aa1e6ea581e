"""What the state owes the world, in the imperative.

There is no outbox: after a crash the journal is folded and the same actions are owed again. An
action's `key` says which ones are the same, so that none is performed twice at one time.
"""

from __future__ import annotations

from msgspec import Struct, field


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


Action = Launch | Terminate | TakeInventory | ListTypes
