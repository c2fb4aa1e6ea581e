"""A control plane on one host whose agents run on others: for tests that cut the network between.

Run on the control plane's host: ``cut_fleet.py DATA ADDRESS PORT BRIDGE HOST...``. Machines are
placed on the hosts in turn. Everything but the way an agent is started is the product's own.
It says ``ready`` when it serves.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from itertools import count
from pathlib import Path

from navarch.controlplane.clock import RealClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core.model.pool import PoolSpec
from navarch.core.settings import Settings
from navarch.providers.base import ProvisionRequest
from navarch.providers.local_process import AgentCommand
from navarch.providers.process import ProcessProvider
from navarch.stores.sqlite import SqliteStore
from navarch.wire import listener
from navarch.wire.auth import Authenticator, mint_node_token

SECRET = b"a secret for this test only"
SECOND = timedelta(seconds=1)
SETTINGS = Settings(
    registration_timeout=60 * SECOND,
    inventory_interval=2 * SECOND,
    inventory_interval_urgent=SECOND,
    witness_gap=SECOND,
)


def on_hosts(url: str, bridge: str, hosts: list[str]) -> ProcessProvider:
    """Return a provider that starts each agent on the next host."""
    turn = count()

    def command(request: ProvisionRequest, folder: Path) -> AgentCommand:
        host = hosts[next(turn) % len(hosts)]
        argv = ["ip", "netns", "exec", f"{bridge}-{host}", sys.executable, "-m", "navarch"]
        argv += ["agent", "--server", url, "--node-id", request.name, "--sensors", "injected"]
        argv += ["--state-dir", str(folder / "state"), "--zone", host]
        token = mint_node_token(SECRET, request.name)
        return AgentCommand(argv=tuple(argv), env={**os.environ, "NAVARCH_NODE_TOKEN": token})

    data = Path(sys.argv[1])
    return ProcessProvider(
        data / "instances", command, now=RealClock().now, name="hosts", gpu_count=1
    )


async def main() -> None:
    """Serve until SIGTERM."""
    data, address, port, bridge, *hosts = sys.argv[1:]
    listening = listener.bind(address, int(port))
    config = ServerConfig(
        heartbeat_interval_seconds=1, health_check_interval_seconds=2, settings=SETTINGS
    )
    store = SqliteStore(Path(data) / "navarch.db", holder="cut fleet")
    control_plane = ControlPlane(config, store, authenticator=Authenticator((), SECRET))
    control_plane.register_provider(on_hosts(f"http://{address}:{port}", bridge, hosts))
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with control_plane:
        spec = PoolSpec("cut", "hosts", "local", min_nodes=len(hosts), max_nodes=2 * len(hosts))
        await control_plane.configure_pools([spec])
        server = listener.EmbeddedServer(listener.config(control_plane.asgi_app))
        listening.listen()
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        print("ready", flush=True)  # noqa: T201 - the test waits for it
        await told.wait()
        for provider in control_plane.providers.values():
            assert isinstance(provider, ProcessProvider)
            await provider.power_off(deadline=5 * SECOND)
        server.should_exit = True
        await serving


asyncio.run(main())
