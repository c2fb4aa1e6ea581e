"""The remote calls: each becomes a message to the machine, or a reading of its fleet.

A call that changes something is answered when its facts are in the journal. A reading waits until
what it would show is there too. What a request may hold, and who may send it, was checked before
(`navarch.wire`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from navarch.controlplane.answering import Answering
from navarch.controlplane.bootstrap_logs import BootstrapLogs, LogAccess
from navarch.controlplane.plugin_host import PluginHost
from navarch.controlplane.plugin_service import PluginService
from navarch.controlplane.resource_service import ResourceService
from navarch.controlplane.service_base import Context
from navarch.core import explain, explain_serving
from navarch.core.model import messages as msg
from navarch.core.model.instance import Instance
from navarch.core.model.node import Node
from navarch.core.model.pool import Pool
from navarch.core.sentences import sentence
from navarch.core.settings import Settings
from navarch.errors import WireError
from navarch.plugins.registry import Registry
from navarch.plugins.signals.gateway import Pushed, PushedSample
from navarch.stores.base import Recorded
from navarch.wire import answers, codec, serving_codec
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.listing import Listing
from navarch.wire.prepared import standing_for
from navarch.wire.queries import Configuration, InstanceQuery, Subject, SubjectKind

_A = TypeVar("_A")

Push = Callable[[Sequence[PushedSample]], Pushed]
"""Takes samples of load."""

Configure = Callable[[Configuration], Awaitable[Sequence[str]]]
"""Uses a configuration from now on, and says what is different. Raises `WireError`."""

WATCH_PAGE = 500
"""Facts that a watcher is sent from one reading of the journal: it bounds what waits for it."""
DEAF = (
    "told by a standby: it hears no heartbeats, sees no cloud and asks no autoscaler; what follows "
    "is read off the journal alone"
)
"""What stands above the explanations of a standby."""
EXPLAIN_FACTS = 50
"""Facts that an explanation quotes, the newest ones."""


class Service(ResourceService, PluginService):
    """Answers every method of ``navarch.ControlPlaneService``."""

    def __init__(
        self,
        runtime: Answering,
        configure: Configure | None = None,
        logs: BootstrapLogs | None = None,
        plugins: PluginHost | None = None,
        push: Push | None = None,
        listing: Listing | None = None,
    ) -> None:
        """Answer for this control plane; `configure` is None where there is no file to replace.

        `logs` None: start-up logs are asked of providers alone, and not kept. `plugins` None:
        there are none. `push` takes samples of load; None: nobody does. `listing` keeps how nodes
        are written; None: one of its own.
        """
        super().__init__(runtime)
        self._push = push
        self._listing = listing or Listing()
        self.heartbeats = 0
        """Heartbeats that were taken since the start, those of batches too."""
        self._plugins = plugins or PluginHost(Registry(), runtime.clock)
        self._configure = configure
        self._logs = logs or BootstrapLogs(
            LogAccess(), runtime.effects, lambda: runtime.machine.fleet, runtime.clock
        )

    @property
    def _settings(self) -> Settings:
        return self._runtime.machine.strategies.settings

    # --- agents --------------------------------------------------------------------------

    async def register_node(
        self, request: pb.RegisterNodeRequest, _ctx: Context
    ) -> pb.RegisterNodeResponse:
        """Let a node join, or describe itself anew."""
        await self._ask(codec.register_node(request), msg.Accepted)
        return answers.registered(self._settings)

    async def heartbeat(self, request: pb.HeartbeatRequest, _ctx: Context) -> pb.HeartbeatResponse:
        """Take a sign of life."""
        accepted = await self._ask(codec.heartbeat(request), msg.HeartbeatAccepted)
        self.heartbeats += 1
        return answers.heartbeat(accepted, self._settings)

    async def send_heartbeat(
        self, request: pb.HeartbeatRequest, ctx: Context
    ) -> pb.HeartbeatResponse:
        """Do the same, under the older name."""
        return await self.heartbeat(request, ctx)

    async def heartbeat_batch(
        self, request: pb.HeartbeatBatchRequest, _ctx: Context
    ) -> pb.HeartbeatBatchResponse:
        """Take many signs of life; the nodes that must register first are named."""
        heartbeats = codec.heartbeats(request)
        if not heartbeats:
            return pb.HeartbeatBatchResponse()
        samples = {each.node_id: each.sample for each in heartbeats if each.sample is not None}
        serving = {each.node_id: each.serving for each in heartbeats if each.serving is not None}
        batch = msg.HeartbeatBatch(frozenset(each.node_id for each in heartbeats), samples, serving)
        accepted = await self._ask(batch, msg.HeartbeatBatchAccepted)
        strangers = frozenset(accepted.unknown)
        unknown = [each.node_id for each in heartbeats if each.node_id in strangers]
        self.heartbeats += len(heartbeats) - len(unknown)
        return answers.heartbeat_batch(
            accepted, unknown, len(heartbeats) - len(unknown), self._settings
        )

    async def report_health(
        self, request: pb.ReportHealthRequest, _ctx: Context
    ) -> pb.ReportHealthResponse:
        """Take what a node's sensors and checks found."""
        message = codec.report_health(request)
        await self._ask(message, msg.Accepted)
        return answers.report_health(self._fleet.nodes[message.node_id].status)

    async def poll_commands(
        self, request: pb.GetNodeCommandsRequest, _ctx: Context
    ) -> pb.GetNodeCommandsResponse:
        """Hand out what waits for a node."""
        message = codec.poll_commands(request, acknowledges=True)
        return answers.commands(await self._ask(message, msg.CommandsHanded))

    async def get_node_commands(
        self, request: pb.GetNodeCommandsRequest, _ctx: Context
    ) -> pb.GetNodeCommandsResponse:
        """Do the same for an agent that never acknowledges."""
        message = codec.poll_commands(request, acknowledges=False)
        return answers.commands(await self._ask(message, msg.CommandsHanded))

    async def ack_command(
        self, request: pb.AckCommandRequest, _ctx: Context
    ) -> pb.AckCommandResponse:
        """Take the outcome of a command."""
        await self._ask(codec.ack_command(request), msg.Accepted)
        return pb.AckCommandResponse(acknowledged=True)

    # --- operators: nodes and instances --------------------------------------------------

    async def issue_command(
        self, request: pb.IssueCommandRequest, _ctx: Context
    ) -> pb.IssueCommandResponse:
        """Note what an operator wants of a node."""
        accepted = await self._ask(codec.issue_command(request), msg.CommandAccepted)
        return answers.command_issued(accepted)

    async def list_nodes(self, request: pb.ListNodesRequest, ctx: Context) -> pb.ListNodesResponse:
        """List nodes by id, as they are now. Cost: O(the page)."""
        query = codec.node_query(request)
        await self._runtime.settled()
        machine = self._runtime.machine
        answer = self._listing.list(machine.fleet, machine.sightings.heard, query)
        await self._listing.prepare(answer, ctx)
        return standing_for(pb.ListNodesResponse, answer)

    async def get_node(self, request: pb.GetNodeRequest, _ctx: Context) -> pb.GetNodeResponse:
        """Show one node."""
        await self._runtime.settled()
        node = _known("node", request.node_id, self._fleet.nodes.get(request.node_id))
        return pb.GetNodeResponse(node=self._shown_node(node))

    def _shown_node(self, node: Node) -> pb.NodeInfo:
        return answers.node_info(node, self._runtime.machine.sightings.heard.get(node.id))

    async def list_instances(
        self, request: pb.ListInstancesRequest, _ctx: Context
    ) -> pb.ListInstancesResponse:
        """List instances by id, ended ones included. Cost: O(instances)."""
        query = codec.instance_query(request)
        await self._runtime.settled()
        instances = {
            instance.id: instance
            for instance in self._fleet.instances.values()
            if _is_wanted(instance, query)
        }
        ids, token = query.page.of(sorted(instances))
        return pb.ListInstancesResponse(
            instances=[answers.instance_info(instances[id_]) for id_ in ids],
            next_page_token=token,
        )

    async def get_instance(
        self, request: pb.GetInstanceRequest, _ctx: Context
    ) -> pb.GetInstanceResponse:
        """Show one instance."""
        await self._runtime.settled()
        id_ = request.instance_id
        instance = _known("instance", id_, self._fleet.instances.get(id_))
        return pb.GetInstanceResponse(instance=answers.instance_info(instance))

    async def get_bootstrap_log(
        self, request: pb.GetBootstrapLogRequest, _ctx: Context
    ) -> pb.GetBootstrapLogResponse:
        """Show what an instance's start-up script told; the loop goes on meanwhile."""
        await self._runtime.settled()
        id_ = request.instance_id
        instance = _known("instance", id_, self._fleet.instances.get(id_))
        found = await self._logs.of(instance)
        return answers.bootstrap_log(found.text, found.source, found.read_at, found.problem)

    # --- operators: pools ----------------------------------------------------------------

    async def list_pools(self, request: pb.ListPoolsRequest, _ctx: Context) -> pb.ListPoolsResponse:
        """List all pools by name. Cost: O(pools × instances)."""
        del request  # it has no fields
        await self._runtime.settled()
        pools = sorted(self._fleet.pools.values(), key=lambda pool: pool.name)
        return pb.ListPoolsResponse(pools=[self._shown_pool(pool) for pool in pools])

    async def get_pool(self, request: pb.GetPoolRequest, _ctx: Context) -> pb.GetPoolResponse:
        """Show one pool."""
        await self._runtime.settled()
        pool = _known("pool", request.pool_name, self._fleet.pools.get(request.pool_name))
        return pb.GetPoolResponse(pool=self._shown_pool(pool))

    async def scale_pool(self, request: pb.ScalePoolRequest, _ctx: Context) -> pb.ScalePoolResponse:
        """Set how many nodes a pool wants."""
        message = codec.scale_pool(request)
        await self._ask(message, msg.Accepted)
        return pb.ScalePoolResponse(pool=self._shown_pool(self._fleet.pools[message.pool]))

    async def pause_pool(self, request: pb.PausePoolRequest, _ctx: Context) -> pb.PausePoolResponse:
        """Stop a pool, or let it go on."""
        message = codec.pause_pool(request)
        await self._ask(message, msg.Accepted)
        return pb.PausePoolResponse(pool=self._shown_pool(self._fleet.pools[message.pool]))

    async def clear_health(
        self, request: pb.ClearHealthRequest, _ctx: Context
    ) -> pb.ClearHealthResponse:
        """Set aside what stands against a node."""
        message = codec.clear_health(request)
        await self._ask(message, msg.Accepted)
        node = self._fleet.nodes[message.node_id]
        return pb.ClearHealthResponse(node=self._shown_node(node))

    def _shown_pool(self, pool: Pool) -> pb.PoolInfo:
        members = (
            (instance, self._fleet.node_of(instance))
            for instance in self._fleet.instances_of(pool.name)
        )
        return answers.pool_info(pool, members)

    async def apply_config(
        self, request: pb.ApplyConfigRequest, _ctx: Context
    ) -> pb.ApplyConfigResponse:
        """Use another configuration from now on."""
        written = codec.apply_config(request)
        if self._configure is None:
            text = "this control plane was started without a configuration file"
            raise WireError("failed_precondition", text)
        return pb.ApplyConfigResponse(changes=await self._configure(written))

    async def push_metrics(
        self, request: pb.PushMetricsRequest, _ctx: Context
    ) -> pb.PushMetricsResponse:
        """Take samples of load; those that can not be taken are left out, unless all are."""
        samples = [
            PushedSample(each.agent_pool, each.metric, each.value, each.observed_at, each.source)
            for each in serving_codec.pushed(request)
        ]
        if self._push is None:
            raise WireError("failed_precondition", "nobody takes samples here")
        taken = self._push(samples)
        if samples and not taken.accepted:
            raise WireError("invalid_argument", "; ".join(taken.refused))
        return pb.PushMetricsResponse(accepted=taken.accepted)

    # --- operators: history --------------------------------------------------------------

    async def list_events(
        self, request: pb.ListEventsRequest, _ctx: Context
    ) -> pb.ListEventsResponse:
        """List facts from the journal."""
        query = codec.event_query(request)
        recorded = await self._runtime.store.read(
            after=query.after_seq,
            limit=query.limit,
            subject=query.subject or None,
            since=query.since,
            newest_first=query.newest_first,
        )
        return pb.ListEventsResponse(
            events=[_shown_fact(each) for each in recorded], last_seq=self._runtime.seq
        )

    async def watch_events(
        self, request: pb.WatchEventsRequest, _ctx: Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        """Send facts as they come, for as long as the caller listens."""
        query = codec.watch_query(request)
        after = self._runtime.seq if query.after_seq is None else query.after_seq
        while True:
            known = self._runtime.seq
            recorded = await self._runtime.store.read(
                after=after, limit=WATCH_PAGE, subject=query.subject or None
            )
            for each in recorded:
                yield pb.WatchEventsResponse(event=_shown_fact(each))
            if len(recorded) == WATCH_PAGE:
                after = recorded[-1].seq
                continue
            after = max(after, known, recorded[-1].seq if recorded else 0)
            await self._runtime.wait_appended(after)

    async def explain(self, request: pb.ExplainRequest, _ctx: Context) -> pb.ExplainResponse:
        """Say why something is as it is."""
        subject = codec.subject(request)
        await self._runtime.settled()
        lines = list(self._explanation(subject, self._runtime.clock.now()))
        if self._runtime.machine.sightings.deaf:
            lines.insert(0, DEAF)
        recorded = await self._runtime.store.read(
            subject=subject.id, limit=EXPLAIN_FACTS, newest_first=True
        )
        facts = [
            answers.explain_fact(each.seq, each.event, sentence(each.event))
            for each in reversed(recorded)
        ]
        return answers.explanation(lines, facts)

    def _explanation(self, subject: Subject, now: datetime) -> list[str]:
        fleet, seen = self._fleet, self._runtime.machine.sightings
        match subject.kind:
            case SubjectKind.NODE:
                node = _known("node", subject.id, fleet.nodes.get(subject.id))
                return list(explain.explain_node(fleet, seen, node, now, self._settings))
            case SubjectKind.INSTANCE:
                instance = _known("instance", subject.id, fleet.instances.get(subject.id))
                return list(explain.explain_instance(seen, instance, now))
            case SubjectKind.POOL:
                pool = _known("pool", subject.id, fleet.pools.get(subject.id))
                return list(explain.explain_pool(fleet, seen, pool, now, self._settings))
            case SubjectKind.AGENT_POOL:
                applied = fleet.resource("AgentPool", subject.id)
                _known("agent pool", subject.id, applied or fleet.replicas_of.get(subject.id))
                return list(explain_serving.explain_agent_pool(fleet, seen, subject.id, now))
            case SubjectKind.REPLICA:
                replica = _known("replica", subject.id, fleet.replicas.get(subject.id))
                return list(explain_serving.explain_replica(fleet, seen, replica, now))


def _known(kind: str, id_: str, found: _A | None) -> _A:
    if found is None:
        raise WireError("not_found", f"{kind} {id_[:253]!r} is not known")
    return found


def _is_wanted(instance: Instance, query: InstanceQuery) -> bool:
    return (
        query.provider in ("", instance.provider)
        and query.region in ("", instance.region)
        and query.pool in ("", instance.pool)
        and query.state in (None, instance.state)
    )


def _shown_fact(recorded: Recorded) -> pb.EventInfo:
    return answers.event_info(recorded.seq, recorded.event, sentence(recorded.event))
