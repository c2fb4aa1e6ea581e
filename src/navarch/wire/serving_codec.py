"""Requests about resources and replicas become values of ours, and ours answers on the wire.

As in `navarch.wire.codec`, what leaves a function that reads is valid, and whatever a peer sends,
it either returns or raises `WireError` with ``invalid_argument``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Struct

from navarch.core.model import messages
from navarch.core.model import resources as res
from navarch.core.model.fleet import Applied
from navarch.core.model.node import Node
from navarch.core.model.replica import ModelSeen, Replica, ReplicaState
from navarch.wire import codec
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.limits import DEFAULT, Limits, check_id, check_text, invalid
from navarch.wire.queries import Page

NAMESPACE: Final = "default"
"""Where a name is that says nothing of a namespace."""

_STATE: Final[dict[ReplicaState, pb.ReplicaState]] = {
    word: getattr(pb, f"REPLICA_STATE_{word.name}") for word in ReplicaState
}


class WrittenResources(Struct, frozen=True):
    """A text of resources, not yet understood."""

    text: str
    source: str
    """What it is called in messages; never empty."""
    dry_run: bool = False
    reason: str = ""


SAMPLES_MAX: Final = 1_000
"""Samples of one push."""


def pushed(request: pb.PushMetricsRequest, limits: Limits = DEFAULT) -> tuple[Pushing, ...]:
    """Read samples of load. Raises `WireError`."""
    if len(request.samples) > SAMPLES_MAX:
        raise invalid("samples", f"{len(request.samples):,} are more than {SAMPLES_MAX:,}")
    return tuple(
        Pushing(
            check_id(f"samples[{index}].agent_pool", each.agent_pool),
            check_id(f"samples[{index}].metric", each.metric),
            each.value,
            codec.moment(f"samples[{index}].observed_at", each.observed_at)
            if each.HasField("observed_at")
            else None,
            check_text(f"samples[{index}].source", each.source, limits),
        )
        for index, each in enumerate(request.samples)
    )


class Pushing(Struct, frozen=True):
    """One value that somebody saw of a pool of agents."""

    agent_pool: str
    metric: str
    value: float
    observed_at: datetime | None = None
    """None: now."""
    source: str = ""


class ResourceQuery(Struct, frozen=True):
    """Which resources to list. An empty string does not filter."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    """``namespace/name``."""

    def fits(self, key: str) -> bool:
        """Whether a resource is wanted; `key` is ``Kind/namespace/name``."""
        kind, _, name = key.partition("/")
        return (
            self.kind in ("", kind)
            and self.namespace in ("", name.partition("/")[0])
            and self.name in ("", name)
        )


class ReplicaQuery(Struct, frozen=True):
    """Which replicas to list. An empty string does not filter."""

    agent_pool: str = ""
    """``namespace/name``."""
    node_id: str = ""
    page: Page = Page()

    def fits(self, replica: Replica) -> bool:
        """Whether a replica is wanted."""
        return self.agent_pool in ("", replica.agent_pool) and self.node_id in (
            "",
            replica.node_id,
        )


def full_name(field: str, text: str, namespace: str = "") -> str:
    """Read ``namespace/name``, or a name of `namespace`, else of "default". Raises `WireError`."""
    check_id(field, text)
    space, slash, name = text.rpartition("/")
    if not slash:
        return f"{namespace or NAMESPACE}/{text}"
    if not space or not name or "/" in space:
        raise invalid(field, f"{text[:80]!r} is neither a name nor namespace/name")
    return text


def apply_resources(
    request: pb.ApplyResourcesRequest, limits: Limits = DEFAULT
) -> WrittenResources:
    """Read which resources shall be. Raises `WireError`, also when there is no text."""
    if not request.text:
        raise invalid("text", "is required: one or several resources")
    return WrittenResources(
        text=check_text("text", request.text, limits, "config_bytes"),
        source=check_text("source", request.source, limits) or "the resources",
        dry_run=request.dry_run,
        reason=check_text("reason", request.reason, limits),
    )


def resource_query(request: pb.ListResourcesRequest, limits: Limits = DEFAULT) -> ResourceQuery:
    """Read which resources to list. Raises `WireError`, also for a kind that there is not."""
    namespace = check_text("namespace", request.namespace, limits)
    name = full_name("name", request.name, namespace) if request.name else ""
    return ResourceQuery(_kind(request.kind) if request.kind else "", namespace, name)


def delete_resource(
    request: pb.DeleteResourceRequest, limits: Limits = DEFAULT
) -> messages.DeleteResource:
    """Read which resource is wanted no more. Raises `WireError`."""
    return messages.DeleteResource(
        kind=_kind(request.kind),
        name=full_name("name", request.name),
        reason=check_text("reason", request.reason, limits),
    )


def replica_query(request: pb.ListReplicasRequest, limits: Limits = DEFAULT) -> ReplicaQuery:
    """Read which replicas to list. Raises `WireError`."""
    pool = full_name("agent_pool", request.agent_pool) if request.agent_pool else ""
    return ReplicaQuery(
        agent_pool=pool,
        node_id=check_id("node_id", request.node_id) if request.node_id else "",
        page=codec.page(request.page_size, request.page_token, limits),
    )


def _kind(word: str) -> str:
    if word not in res.KINDS:
        raise invalid("kind", f"{word[:40]!r} is none of {', '.join(res.KINDS)}")
    return word


# --- answers ---------------------------------------------------------------------------------


def applied(outcome: messages.ResourcesApplied) -> pb.ApplyResourcesResponse:
    """The answer to resources that were applied, or would be."""
    return pb.ApplyResourcesResponse(
        applied=[
            pb.AppliedResource(kind=each.kind, name=each.name, outcome=each.outcome)
            for each in outcome.outcomes
        ]
    )


def shown_resource(resource: Applied, json: str) -> pb.ResourceInfo:
    """A resource; `json` is the whole document."""
    return pb.ResourceInfo(
        kind=res.kind_of(resource.resource),
        name=resource.resource.full_name,
        json=json,
        created_at=_stamp(resource.created_at),
        changed_at=_stamp(resource.changed_at),
        generation=resource.generation,
    )


def shown_replica(replica: Replica, node: Node | None, loading: ModelSeen | None) -> pb.ReplicaInfo:
    """A replica; `node` is where it runs, and `loading` how far its weights are."""
    blocker = replica.blocker
    return pb.ReplicaInfo(
        replica_id=replica.id,
        agent_pool=replica.agent_pool,
        state=_STATE[replica.state],
        node_id=replica.node_id,
        gpus=replica.gpus,
        gpu_share=replica.share if replica.gpus else 0.0,
        endpoint=_endpoint(replica, node),
        restarts=replica.restarts,
        because=replica.because if blocker is None else blocker.summary,
        cure="" if blocker is None else blocker.cure,
        loading=None if loading is None else _model_status(loading),
        created_at=_stamp(replica.requested_at),
        changed_at=_stamp(replica.changed_at or replica.requested_at),
    )


def _endpoint(replica: Replica, node: Node | None) -> str:
    """Where a replica is reached; empty while it is not."""
    if node is None or not replica.port or replica.state is not ReplicaState.READY:
        return ""
    meta = node.metadata
    host = meta.internal_ip or meta.external_ip or meta.hostname
    if not host:
        return ""
    return f"http://[{host}]:{replica.port}" if ":" in host else f"http://{host}:{replica.port}"


def _model_status(seen: ModelSeen) -> pb.ModelStatus:
    return pb.ModelStatus(
        model=seen.model,
        digest=seen.digest,
        bytes_done=seen.bytes_done,
        bytes_total=seen.bytes_total,
        complete=seen.complete,
        problem=seen.problem,
        bytes_per_second=seen.bytes_per_second,
    )


def _stamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
