"""One life of a control plane that buys a machine at EC2: a program, for tests to kill.

``python one_life.py URL JOURNAL MOMENT``: MOMENT is ``answered`` to die, without a word to anybody,
between EC2's answer and the journal, or ``held`` to go on until somebody kills it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta

from navarch.controlplane.clock import RealClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core.model.pool import PoolSpec
from navarch.core.settings import Settings
from navarch.providers.aws import AwsProvider, AwsSettings
from navarch.providers.base import Instance, ProvisionRequest
from navarch.stores.sqlite import SqliteStore

POOL = PoolSpec("train", "aws", instance_type="p5.48xlarge", min_nodes=1)
SOON = timedelta(seconds=0.2)
HURRIED = Settings(inventory_interval=SOON, inventory_interval_urgent=SOON)
KILLED = 9


def settings_for(url: str) -> AwsSettings:
    """Return the settings of every life."""
    return AwsSettings(
        regions=("us-east-1",),
        image="ami-0123456789abcdef0",
        access_key_id_env="OUR_KEY_ID",
        secret_access_key_env="OUR_SECRET",
        endpoint_url=url,
        timeout=timedelta(seconds=30),
    )


class Doomed(AwsProvider):
    """Takes the process down when EC2 has answered."""

    async def provision(self, request: ProvisionRequest) -> Instance:
        await super().provision(request)
        os._exit(KILLED)


async def live(url: str, journal: str, moment: str) -> None:
    """Buy one machine, and stay."""
    kind = Doomed if moment == "answered" else AwsProvider
    provider = kind(settings_for(url), now=RealClock().now)
    control_plane = ControlPlane(ServerConfig(settings=HURRIED), SqliteStore(journal))
    control_plane.register_provider(provider)
    async with control_plane:
        await control_plane.configure_pools([POOL])
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(live(*sys.argv[1:4]))
