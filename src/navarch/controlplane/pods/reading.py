"""What became of a replica's pod, in our words. Pure."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct, field

from navarch.core.model.replica import ReplicaSeen, ReplicaState

TEXT_MAX: Final = 500
"""Characters of a message: a scheduler's names every reason there is."""


class Metadata(Struct, rename="camel"):
    """Who a pod is."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class _Port(Struct, rename="camel"):
    container_port: int = 0


class _Container(Struct):
    ports: list[_Port] | None = None


class _Spec(Struct, rename="camel"):
    node_name: str = ""
    containers: list[_Container] | None = None


class _Condition(Struct):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class _Waiting(Struct):
    reason: str = ""
    message: str = ""


class _Ended(Struct, rename="camel"):
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""


class _State(Struct):
    waiting: _Waiting | None = None
    running: dict[str, Any] | None = None
    terminated: _Ended | None = None


class _ContainerStatus(Struct, rename="camel"):
    restart_count: int = 0
    state: _State = field(default_factory=_State)
    last_state: _State = field(default_factory=_State)


class _Status(Struct, rename="camel"):
    phase: str = ""
    reason: str = ""
    message: str = ""
    pod_ip: str = field(default="", name="podIP")
    conditions: list[_Condition] | None = None
    container_statuses: list[_ContainerStatus] | None = None


class Pod(Struct):
    """As much of a pod as concerns us."""

    metadata: Metadata
    spec: _Spec = field(default_factory=_Spec)
    status: _Status = field(default_factory=_Status)

    @property
    def label(self) -> dict[str, str]:
        """Its labels."""
        return self.metadata.labels or {}

    @property
    def over(self) -> bool:
        """Whether it has ended for good: it stays there until somebody deletes it."""
        return self.status.phase in ("Failed", "Succeeded")

    @property
    def going(self) -> bool:
        """Whether somebody has deleted it, and it is ending."""
        return self.metadata.deletion_timestamp is not None

    def condition(self, kind: str) -> _Condition:
        """Look a condition up; an empty one when it is not there."""
        found = [each for each in self.status.conditions or () if each.type == kind]
        return found[0] if found else _Condition()


def seen(pod: Pod, *, wanted: bool) -> ReplicaSeen:
    """Say how a replica stands by its pod; `wanted` is whether it is to run."""
    state, message = _standing(pod, wanted=wanted)
    running = _first(pod)
    ports = [port for each in pod.spec.containers or () for port in each.ports or ()]
    return ReplicaSeen(
        pod.metadata.name,
        state,
        port=ports[0].container_port if ports and pod.status.pod_ip else 0,
        restarts=running.restart_count,
        message=" ".join(message.split())[:TEXT_MAX],
        node=pod.spec.node_name,
        endpoint=pod.status.pod_ip,
    )


def _standing(pod: Pod, *, wanted: bool) -> tuple[ReplicaState, str]:
    status = pod.status
    if pod.going:
        if wanted:
            return ReplicaState.ENDED, _joined("its pod was deleted", status.reason, status.message)
        return ReplicaState.STOPPING, "its pod is ending"
    if pod.over:
        why = _joined(status.reason, status.message) or _of_container(_first(pod))
        return ReplicaState.ENDED, _joined(f"its pod has {status.phase.lower()}", why)
    if not wanted:
        return ReplicaState.STOPPING, "its pod is to be deleted"
    scheduled = pod.condition("PodScheduled")
    if not pod.spec.node_name:
        return ReplicaState.PENDING, _joined(scheduled.reason, scheduled.message)
    if status.phase == "Running" and pod.condition("Ready").status == "True":
        return ReplicaState.READY, "it answers"
    if status.phase == "Unknown":
        return ReplicaState.STARTING, _joined("its node does not answer", status.message)
    return ReplicaState.STARTING, _of_container(_first(pod)) or "its pod is being started"


def _first(pod: Pod) -> _ContainerStatus:
    statuses = pod.status.container_statuses
    return statuses[0] if statuses else _ContainerStatus()


def _of_container(status: _ContainerStatus) -> str:
    """Say why a container does not serve; "" when nothing speaks against it yet."""
    now, before = status.state, status.last_state.terminated
    ended = now.terminated or before
    last = ""
    if ended is not None:
        how = f"ended with {ended.exit_code}"
        last = _joined(f"its program {how}", ended.reason, ended.message)
    if now.waiting is not None and now.waiting.reason:
        return "; ".join(filter(None, [_joined(now.waiting.reason, now.waiting.message), last]))
    if now.running is not None:
        return "; ".join(filter(None, ["its program does not answer yet", last]))
    return last


def _joined(*parts: str) -> str:
    return ": ".join(filter(None, parts))
