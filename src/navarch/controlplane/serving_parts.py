"""The serving plane of a control plane, put together from everybody's plugins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from navarch.controlplane.clock import Clock
from navarch.controlplane.plugin_host import PluginHost
from navarch.controlplane.runtime import Runtime
from navarch.controlplane.serving import ServingParts, ServingPlane
from navarch.core.model.resources import AgentPool
from navarch.core.scaling.base import Reading
from navarch.core.serving.scaling.signals import GPU_UTILIZATION
from navarch.errors import PluginError, WireError
from navarch.plugins.protocols import PluginKind
from navarch.plugins.signals.chain import ProviderChain
from navarch.plugins.signals.gateway import GatewayMetricsProvider, Pushed, PushedSample
from navarch.plugins.signals.store import StoreMetricsProvider, gpu_load
from navarch.plugins.turns import Turns

GATEWAY: Final = "gateway"
"""The metrics provider that takes what is pushed."""


def serving_plane(
    runtime: Callable[[], Runtime],
    clock: Clock,
    host: PluginHost,
    parts: ServingParts,
    *,
    evaluate: Callable[[str], Awaitable[object]],
    may_act: Callable[[], bool],
) -> ServingPlane:
    """Make what counts and places replicas of `runtime`; the rest as `ServingPlane` has it."""

    def load_of(pool: AgentPool) -> Mapping[str, Reading]:
        machine = runtime().machine
        replicas = machine.fleet.replicas_in(pool.full_name)
        sample = gpu_load(replicas, machine.sightings.samples.newest, machine.sightings.heard.get)
        return {GPU_UTILIZATION: sample}

    heartbeats = StoreMetricsProvider(load_of)
    chain = ProviderChain(
        lambda: (*host.registry.metrics_providers, heartbeats),
        host.calls,
        clock.now,
        terms=host.registry.terms(PluginKind.METRICS_PROVIDER),
    )
    return ServingPlane(
        runtime,
        clock,
        Turns(host.registry, host.calls, facts=parts.machine_facts, shadows=host.shadows),
        chain,
        evaluate=evaluate,
        elsewhere=parts.elsewhere,
        may_act=may_act,
    )


def take_pushed(plugins: PluginHost, samples: Sequence[PushedSample], now: datetime) -> Pushed:
    """Give samples of load to the metrics provider that takes what is pushed.

    Raises `WireError` when it is switched off.
    """
    try:
        gateway = plugins.registry.get(PluginKind.METRICS_PROVIDER, GATEWAY)
    except PluginError as error:
        raise WireError("failed_precondition", str(error)) from error
    assert isinstance(gateway, GatewayMetricsProvider), gateway
    return gateway.push(samples, now)
