"""A provider of your own: four small methods over your cloud's client, and a pool that uses it.

The client here is a stand-in for your cloud's library. Errors are translated where they arise:
everything but `OutcomeUnknown` promises that nothing was done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from navarch import (
    Clock,
    Instance,
    InstanceStatus,
    Pool,
    PoolConfig,
    ProvisionRequest,
    RealClock,
)
from navarch.errors import NoCapacity, NotFound, OutcomeUnknown, Unauthorized
from navarch.providers.base import Instances

STATUS = {
    "BUILDING": InstanceStatus.PROVISIONING,
    "ACTIVE": InstanceStatus.RUNNING,
    "DELETING": InstanceStatus.TERMINATING,
}
"""My cloud's words for ours."""


@dataclass
class Server:
    """What my cloud calls a machine."""

    id: str
    type: str
    tags: Mapping[str, str]
    state: str = "ACTIVE"


@dataclass
class MyCloudClient:
    """The library of my cloud, in memory."""

    servers: dict[str, Server] = field(default_factory=dict)
    capacity: int = 100
    key: str = "secret"

    async def create(self, type_: str, tags: Mapping[str, str], request_id: str) -> Server:
        """Create a server; one request id makes one server."""
        if self.key != "secret":
            raise PermissionError("401 bad key")
        if request_id not in self.servers and len(self.servers) >= self.capacity:
            raise ConnectionError("409 insufficient capacity")
        return self.servers.setdefault(request_id, Server(f"srv-{request_id}", type_, dict(tags)))

    async def delete(self, server_id: str) -> bool:
        """Delete a server, and say whether there was one."""
        return self.servers.pop(server_id.removeprefix("srv-"), None) is not None


class MyCloudProvider:
    """Sells my cloud's servers."""

    name = "mycloud"
    honours_tokens = True

    def __init__(self, client: MyCloudClient, region: str) -> None:
        """Buy in one region."""
        self._client = client
        self._region = region

    async def provision(self, request: ProvisionRequest) -> Instance:
        """Make one machine. The token makes a repeated call harmless."""
        try:
            server = await self._client.create(request.instance_type, request.labels, request.token)
        except PermissionError as error:
            raise Unauthorized(f"mycloud: {error}") from error
        except ConnectionError as error:
            raise NoCapacity(f"mycloud: {error}") from error
        except TimeoutError as error:
            raise OutcomeUnknown(f"mycloud: no answer about {request.name}") from error
        return self._instance(server)

    async def terminate(self, instance_id: str) -> None:
        """End one machine."""
        if not await self._client.delete(instance_id):
            raise NotFound(f"mycloud: no server {instance_id}")

    async def list(self) -> Instances:
        """Return every machine; the labels tell which are whose."""
        return [self._instance(server) for server in self._client.servers.values()]

    def _instance(self, server: Server) -> Instance:
        return Instance(
            id=server.id,
            provider=self.name,
            name=server.id.removeprefix("srv-"),
            region=self._region,
            instance_type=server.type,
            status=STATUS[server.state],
            gpu_count=8,
            gpu_type="NVIDIA H100 80GB HBM3",
            labels=server.tags,
        )


async def main(clock: Clock) -> list[Instance]:
    """Buy two machines of my cloud through a pool."""
    provider = MyCloudProvider(MyCloudClient(), region="us-east-1")
    pool = Pool.simple(PoolConfig("mine", "my.8xlarge", max_nodes=4), provider, clock=clock)
    return await pool.scale_up(2)


if __name__ == "__main__":
    for instance in asyncio.run(main(RealClock())):
        print(instance.id, instance.status.value)
