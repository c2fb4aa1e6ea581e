"""What the control plane knows itself: the load of the GPUs that a pool's replicas have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from navarch.core.model.gpu import NodeSample
from navarch.core.model.replica import Replica, ReplicaState
from navarch.core.model.resources import AgentPool
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.series import Sample
from navarch.plugins.signals.base import single

NAME = "store"


class StoreMetricsProvider:
    """Gives the GPU load of a pool's replicas from their nodes' heartbeats."""

    name = NAME

    def __init__(self, reading: Callable[[AgentPool], Mapping[str, Sample]]) -> None:
        """Give what `reading` returns of a pool, here and now: it must be quick."""
        self._reading = reading

    async def get_samples(self, pool: AgentPool, metrics: Sequence[str]) -> Mapping[str, Sample]:
        """Return what is known of these signals."""
        known = self._reading(pool)
        return {name: known[name] for name in signals.names(metrics) if name in known}

    async def get_metric(self, pool: AgentPool, metric_type: str) -> float:
        """Read one value; `LookupError` when there is none."""
        return await single(self, pool, metric_type)

    def list_metrics(self) -> list[str]:
        """The signals that heartbeats tell."""
        return [signals.GPU_UTILIZATION]


def gpu_load(
    replicas: Iterable[Replica],
    newest: Callable[[str], NodeSample | None],
    heard: Callable[[str], datetime | None],
) -> Sample:
    """Return the mean utilization of the GPUs that the serving replicas have.

    `newest` gives the newest reading of a node, `heard` tells when it was heard. The mean is as old
    as the oldest of them. A share of a GPU counts for as much as the share; what else runs on that
    GPU cannot be told apart.
    """
    parts: list[tuple[float, float]] = []
    times: list[datetime] = []
    silent = serving = 0
    for replica in replicas:
        if replica.state is not ReplicaState.READY:
            continue
        serving += 1
        sample, at = newest(replica.node_id), heard(replica.node_id)
        mine = [
            gpu.utilization_percent
            for gpu in (sample.gpus if sample else ())
            if gpu.index in replica.gpus
        ]
        if not mine or at is None:
            silent += 1
            continue
        parts.extend((value, replica.share) for value in mine)
        times.append(at)
    if not serving:
        return signals.absent(signals.GPU_UTILIZATION, "no replica serves", NAME)
    if silent:
        text = f"{silent} of {serving} serving replicas are on nodes that told nothing"
        return signals.broken(signals.GPU_UTILIZATION, text, NAME)
    weight = sum(share for _, share in parts)
    mean = sum(value * share for value, share in parts) / weight if weight > 0 else 0.0
    return signals.fresh(signals.GPU_UTILIZATION, mean, NAME, observed_at=min(times))
