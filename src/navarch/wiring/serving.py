"""What the serving plane of a process is made of: facts about machines, and Kubernetes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from navarch.config.pods import ServingCluster
    from navarch.controlplane.pods.elsewhere import PodsElsewhere
    from navarch.controlplane.serving import ServingParts
    from navarch.core.model.fleet import Fleet
    from navarch.core.model.pool import PoolSpec
    from navarch.plugins.turns import MachineFacts
    from navarch.wiring.plans import Plan

GB: Final = 10**9


def serving_parts(plan: Plan, fleet: Callable[[], Fleet]) -> ServingParts:
    """Say what the serving plane of a plan is made of; `fleet` is asked for only once it runs."""
    from navarch.controlplane.serving import ServingParts

    cluster = plan.config.server.kubernetes if plan.config is not None else None
    return ServingParts(
        machine_facts=lambda spec: machine_facts(plan.providers, spec),
        elsewhere=None if cluster is None else _pods(cluster, fleet),
    )


def machine_facts(providers: Mapping[str, object], spec: PoolSpec) -> MachineFacts | None:
    """Look up what a pool would buy of its first seller; None where nobody says."""
    from navarch.config.providers import FakeProvider, ProcessProvider, kind_of
    from navarch.plugins.turns import MachineFacts
    from navarch.providers import catalog

    name = spec.sources[0].provider if spec.sources else spec.provider
    written = providers.get(name)
    if isinstance(written, FakeProvider | ProcessProvider):
        return MachineFacts(written.gpu_count, written.gpu_type)
    if written is None:
        return None
    type_ = (spec.sources[0].instance_type if spec.sources else "") or spec.instance_type
    entry = catalog.entry_of(kind_of(written), type_)  # type: ignore[arg-type]
    if entry is None:
        return None
    return MachineFacts(
        entry.gpu_count,
        entry.gpu,
        entry.gpu_memory_gb * GB,
        entry.price_usd_per_hour or 0.0,
    )


def _pods(cluster: ServingCluster, fleet: Callable[[], Fleet]) -> PodsElsewhere:
    from navarch.controlplane.pods.elsewhere import PodsElsewhere
    from navarch.controlplane.pods.manifest import PodSettings
    from navarch.controlplane.pods.runtime import PodRuntime
    from navarch.wiring.metrics import credentials_of

    def make(tag: str) -> PodRuntime:
        settings = PodSettings(
            fleet=tag,
            namespace=cluster.namespace or "",
            shared_gpu=cluster.shared_gpu,
            model_claim=cluster.model_claim or "",
            scheduler_name=cluster.scheduler_name or "",
            service_account=cluster.service_account or "",
        )
        credentials = None if cluster.url is None else credentials_of(cluster.credentials)
        return PodRuntime(settings, url=cluster.url or "", credentials=credentials)

    return PodsElsewhere(fleet, make)
