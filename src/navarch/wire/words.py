"""The core's words and the wire's numbers for the same things, both ways.

The wire names its enum values PREFIX_WORD, and the core's words are the same ones in lower case,
so the tables are made from the names. A word that the wire does not have fails at import.
"""

from __future__ import annotations

from typing import Final

from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.instance import InstanceState
from navarch.core.model.node import NodeStatus
from navarch.core.model.replica import ReplicaState
from navarch.core.model.report import Health
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.queries import SubjectKind

NODE_STATUS: Final[dict[NodeStatus, pb.NodeStatus]] = {
    word: getattr(pb, f"NODE_STATUS_{word.name}") for word in NodeStatus
}
HEALTH: Final[dict[Health, pb.HealthStatus]] = {
    word: getattr(pb, f"HEALTH_STATUS_{word.name}") for word in Health
}
INSTANCE_STATE: Final[dict[InstanceState, pb.InstanceState]] = {
    word: getattr(pb, f"INSTANCE_STATE_{word.name}") for word in InstanceState
}
COMMAND_TYPE: Final[dict[CommandType, pb.NodeCommandType]] = {
    word: getattr(pb, f"NODE_COMMAND_TYPE_{word.name}") for word in CommandType
}

REPLICA_STATE: Final[dict[ReplicaState, pb.ReplicaState]] = {
    word: getattr(pb, f"REPLICA_STATE_{word.name}") for word in ReplicaState
}

NODE_STATUS_OF: Final[dict[int, NodeStatus]] = {
    number: word for word, number in NODE_STATUS.items()
}
HEALTH_OF: Final[dict[int, Health]] = {number: word for word, number in HEALTH.items()}
INSTANCE_STATE_OF: Final[dict[int, InstanceState]] = {
    number: word for word, number in INSTANCE_STATE.items()
}
COMMAND_TYPE_OF: Final[dict[int, CommandType]] = {
    number: word for word, number in COMMAND_TYPE.items()
}
REPLICA_STATE_OF: Final[dict[int, ReplicaState]] = {
    number: word for word, number in REPLICA_STATE.items()
}

COMMAND_STATE_OF: Final[dict[int, CommandState]] = {
    pb.CommandStatus.Value(f"COMMAND_STATUS_{word.name}"): word
    for word in CommandState
    if word not in (CommandState.ISSUED, CommandState.DELIVERED)
}
"""What a node may say of a command; that it was issued and delivered we know ourselves."""

SUBJECT_KIND_OF: Final[dict[int, SubjectKind]] = {
    pb.SubjectKind.Value(f"SUBJECT_KIND_{word.name}"): word for word in SubjectKind
}

EVENT_TYPE_OF: Final[dict[int, str]] = {
    number: name.removeprefix("HEALTH_EVENT_TYPE_").lower()
    for name, number in pb.HealthEventType.items()
}
"""The words that health policies use, such as ``ecc_dbe``."""

WATCH_SYSTEM_OF: Final[dict[int, str]] = {
    number: f"DCGM_HEALTH_WATCH_{name.removeprefix('HEALTH_WATCH_SYSTEM_')}"
    for name, number in pb.HealthWatchSystem.items()
    if number
}
"""The words that health policies use; an unknown system has none."""
