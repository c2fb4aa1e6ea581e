"""The remote calls about resources and replicas.

A text of resources is read here, in a thread, for a long one takes seconds; the machine gets what
was read, and only if nothing in it was wrong.
"""

from __future__ import annotations

import asyncio

from navarch.controlplane.service_base import Context, ServiceBase
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Applied
from navarch.core.model.replica import ModelSeen, Replica
from navarch.core.serving import conditions, resources
from navarch.errors import WireError
from navarch.plugins.resources import reading, writing
from navarch.wire import answers, serving_codec
from navarch.wire.generated import navarch_pb2 as pb


class ResourceService(ServiceBase):
    """Answers what is asked about resources and replicas."""

    async def apply_resources(
        self, request: pb.ApplyResourcesRequest, _ctx: Context
    ) -> pb.ApplyResourcesResponse:
        """Have resources be as they are written, all of them or none."""
        written = serving_codec.apply_resources(request)
        found = await asyncio.to_thread(reading.read, written.text, file=written.source)
        if found.mistakes:
            text = "\n".join(str(mistake) for mistake in found.mistakes)
            raise WireError("invalid_argument", text)
        message = msg.ApplyResources(found.resources, written.reason)
        if not written.dry_run:
            applied = await self._ask(message, msg.ResourcesApplied)
            return serving_codec.applied(applied)
        await self._runtime.settled()
        foretold = resources.foretold(self._fleet, message, self._runtime.clock.now())
        if isinstance(foretold, msg.Refused):
            raise answers.refusal(foretold)
        return serving_codec.applied(foretold)

    async def list_resources(
        self, request: pb.ListResourcesRequest, _ctx: Context
    ) -> pb.ListResourcesResponse:
        """List resources by kind and name, with their status.

        Cost: O(resources + replicas). A name that is asked for and not there is an error.
        """
        query = serving_codec.resource_query(request)
        await self._runtime.settled()
        keys = sorted(key for key in self._fleet.resources if query.fits(key))
        if query.name and not keys:
            text = f"there is no {query.kind or 'resource'} {query.name}"
            if query.kind:
                text = resources.unknown(self._fleet, query.kind, query.name)
            raise WireError("not_found", text)
        return pb.ListResourcesResponse(
            resources=[self._shown(self._fleet.resources[key]) for key in keys]
        )

    def _shown(self, applied: Applied) -> pb.ResourceInfo:
        resource = conditions.shown(self._fleet, self._runtime.machine.sightings, applied)
        document = writing.to_document(resource)
        created = applied.created_at.isoformat(timespec="seconds").replace("+00:00", "Z")
        document["metadata"]["creationTimestamp"] = created
        document["metadata"]["generation"] = applied.generation
        return serving_codec.shown_resource(applied, writing.to_json(document))

    async def delete_resource(
        self, request: pb.DeleteResourceRequest, _ctx: Context
    ) -> pb.DeleteResourceResponse:
        """Have a resource be wanted no more."""
        await self._ask(serving_codec.delete_resource(request), msg.Accepted)
        return pb.DeleteResourceResponse()

    async def list_replicas(
        self, request: pb.ListReplicasRequest, _ctx: Context
    ) -> pb.ListReplicasResponse:
        """List replicas by id, ended ones for as long as they are kept. Cost: O(replicas)."""
        query = serving_codec.replica_query(request)
        await self._runtime.settled()
        replicas = {each.id: each for each in self._fleet.replicas.values() if query.fits(each)}
        ids, token = query.page.of(sorted(replicas))
        return pb.ListReplicasResponse(
            replicas=[self._shown_replica(replicas[id_]) for id_ in ids], next_page_token=token
        )

    def _shown_replica(self, replica: Replica) -> pb.ReplicaInfo:
        node = self._fleet.nodes.get(replica.node_id)
        return serving_codec.shown_replica(replica, node, self._loading(replica))

    def _loading(self, replica: Replica) -> ModelSeen | None:
        """How far a replica's weights are; None when nothing is to be loaded, or all is there."""
        serving = self._runtime.machine.sightings.serving.get(replica.node_id)
        if serving is None or not replica.model or not replica.placed:
            return None
        seen = (each for each in serving.models if each.model == replica.model)
        return next((each for each in seen if not each.complete), None)
