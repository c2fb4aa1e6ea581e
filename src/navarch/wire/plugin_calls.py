"""The requests about plugins, read and checked.

Which kinds and plugins there are, only the registry knows: here names are texts within limits.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from navarch.core.model import messages
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.limits import DEFAULT, Limits, check_id, check_text, invalid

TRACES_MAX: Final = 1_000
"""Calls that one answer holds."""
TRACES: Final = 100
"""Calls that are shown where nobody says how many."""
PRIORITY_MAX: Final = 1_000_000


class TraceQuery(Struct, frozen=True):
    """Which calls of plugins to show."""

    kind: str = ""
    """Empty: every kind."""
    pool: str = ""
    """Empty: every pool."""
    limit: int = TRACES


def plugin_kind(request: pb.ListPluginsRequest, limits: Limits = DEFAULT) -> str:
    """Read which kind is to be listed; empty: every one. Raises `WireError`."""
    return check_text("kind", request.kind, limits)


def trace_query(request: pb.ListPluginTracesRequest, limits: Limits = DEFAULT) -> TraceQuery:
    """Read which calls are to be shown. Raises `WireError`."""
    if not 0 <= request.limit <= TRACES_MAX:
        raise invalid("limit", f"{request.limit} is not from 0 to {TRACES_MAX:,}")
    return TraceQuery(
        kind=check_text("kind", request.kind, limits),
        pool=check_text("pool", request.pool, limits),
        limit=request.limit or TRACES,
    )


def set_plugin(request: pb.SetPluginRequest, limits: Limits = DEFAULT) -> messages.SetPlugin:
    """Read how a plugin is to be from now on. Raises `WireError`, also when nothing is said."""
    said = [name for name in ("enabled", "priority", "shadow") if request.HasField(name)]
    if not said:
        raise invalid("enabled", "is required, or priority, or shadow: what is to change")
    if "priority" in said and abs(request.priority) > PRIORITY_MAX:
        reason = f"{request.priority} is not from {-PRIORITY_MAX:,} to {PRIORITY_MAX:,}"
        raise invalid("priority", reason)
    return messages.SetPlugin(
        plugin_kind=check_id("kind", request.kind),
        name=_name(request.name, limits),
        enabled=request.enabled if "enabled" in said else None,
        priority=request.priority if "priority" in said else None,
        shadow=request.shadow if "shadow" in said else None,
        reason=check_text("reason", request.reason, limits),
    )


def _name(name: str, limits: Limits) -> str:
    if not name:
        raise invalid("name", "is required: which plugin")
    return check_text("name", name, limits)
