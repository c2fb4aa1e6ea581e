"""The remote calls about plugins: listed, switched at run time, and what they did."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import structs

from navarch.controlplane.plugin_host import PluginHost
from navarch.controlplane.service_base import Context, ServiceBase
from navarch.core.model import messages as msg
from navarch.errors import WireError
from navarch.plugins.kinds import SERVING, word_of
from navarch.plugins.registry import Entry
from navarch.plugins.traces import Trace
from navarch.wire import plugin_calls
from navarch.wire.generated import navarch_pb2 as pb


class PluginService(ServiceBase):
    """The methods of the service that are about plugins."""

    _plugins: PluginHost

    async def list_plugins(
        self, request: pb.ListPluginsRequest, _ctx: Context
    ) -> pb.ListPluginsResponse:
        """List plugins, in the order in which they are asked."""
        host = self._plugins
        kinds = host.kinds(plugin_calls.plugin_kind(request))
        entries = [each for kind in kinds for each in host.registry.entries(kind)]
        return pb.ListPluginsResponse(plugins=[_shown(host, each) for each in entries])

    async def set_plugin(self, request: pb.SetPluginRequest, _ctx: Context) -> pb.SetPluginResponse:
        """Switch a plugin on or off, give it another priority, or put it in shadow."""
        host = self._plugins
        wish = plugin_calls.set_plugin(request)
        entry = host.find(wish.plugin_kind, wish.name)
        if entry.kind not in SERVING:
            raise WireError(
                "failed_precondition",
                f"a {word_of(entry.kind)} is what the configuration makes it; plugins of "
                f"{', '.join(map(word_of, SERVING))} can be changed at run time",
            )
        if wish.enabled and entry.plugin is None:
            message = f"{entry.name} cannot be switched on: {entry.broken}"
            raise WireError("failed_precondition", message)
        await self._ask(structs.replace(wish, plugin_kind=entry.kind.value), msg.Accepted)
        return pb.SetPluginResponse(plugin=_shown(host, host.find(request.kind, request.name)))

    async def list_plugin_traces(
        self, request: pb.ListPluginTracesRequest, _ctx: Context
    ) -> pb.ListPluginTracesResponse:
        """Show the newest calls of plugins, the newest last."""
        host = self._plugins
        query = plugin_calls.trace_query(request)
        kind = host.kind(query.kind) if query.kind else None
        found = host.calls.traces(kind, pool=query.pool, limit=query.limit)
        return pb.ListPluginTracesResponse(traces=[_trace(each) for each in found])


def _shown(host: PluginHost, entry: Entry) -> pb.PluginInfo:
    shown = host.shown(entry)
    return pb.PluginInfo(
        kind=shown.kind,
        name=shown.name,
        priority=shown.priority,
        enabled=shown.enabled,
        shadow=shown.shadow,
        origin=shown.origin,
        version=shown.version,
        summary=shown.summary,
        calls=shown.calls,
        failures=shown.failures,
        latency_p50=shown.latency_p50_seconds,
        latency_p99=shown.latency_p99_seconds,
        last_failure=shown.last_failure,
        disagreements=shown.shadow_different,
        isolated=shown.isolated,
        broken=shown.broken,
        because=shown.because,
    )


def _trace(trace: Trace) -> pb.PluginTrace:
    at = Timestamp()
    at.FromDatetime(trace.at)
    return pb.PluginTrace(
        at=at,
        kind=word_of(trace.kind),
        plugin=trace.plugin,
        point=trace.point,
        pool=trace.pool,
        subject=trace.subject,
        seconds=trace.seconds,
        outcome=trace.outcome,
        verdict=trace.verdict,
        shadow=trace.shadow,
    )
