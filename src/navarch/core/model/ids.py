"""How Navarch names things: its own ids, made before anything is launched.

An id is made from the fleet's serial number, so it needs no chance and is never used twice. It
carries the fleet's tag, so that two fleets that share a cloud account can not mistake each
other's machines for their own.
"""

from __future__ import annotations

import re

POOL_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
"""What a pool may be called: at most 40 characters, for the id built on it has to fit the 63
that Compute Engine and DNS labels allow."""

FLEET_TAG = re.compile(r"[a-z0-9]{4,8}")
"""The tag that a fleet gets when it is founded."""

NODE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,252}")
"""What a node may call itself: agents that we did not launch bring ids of their own."""


def instance_id(pool: str, fleet_tag: str, serial: int) -> str:
    """Name the instance with this serial number, as in ``training-k3f9-0007``."""
    return f"{pool}-{fleet_tag}-{serial:04d}"


def is_instance_id(text: str, fleet_tag: str) -> bool:
    """Whether a text has the form of an instance's id of this fleet."""
    return re.search(f"-{re.escape(fleet_tag)}-[0-9]+$", text) is not None


def command_id(fleet_tag: str, serial: int) -> str:
    """Name the command with this serial number, as in ``cmd-k3f9-000012``."""
    return f"cmd-{fleet_tag}-{serial:06d}"


def replica_id(agent_pool: str, fleet_tag: str, serial: int) -> str:
    """Name the replica with this serial number, as in ``chat-k3f9-r00012``.

    `agent_pool` is ``namespace/name``; only the name is part of the id.
    """
    return f"{agent_pool.rpartition('/')[2]}-{fleet_tag}-r{serial:05d}"
