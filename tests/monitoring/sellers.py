"""Providers of a fleet whose numbers are looked at: one with a price, one that knows us not."""

from __future__ import annotations

from navarch.errors import NoCapacity, Unauthorized
from navarch.providers.base import Instance, Instances, InstanceType, ProvisionRequest
from navarch.providers.fake import FakeCloud, FakeProvider

DOLLARS_PER_HOUR = 42.0


class Priced(FakeProvider):
    """Sells one machine, for a price; it exists in memory only, and boots for ever."""

    def __init__(self) -> None:
        """Have one machine for sale."""
        sold = InstanceType(
            name="h100-8x", gpu_count=8, gpu_type="H100", price_per_hour=DOLLARS_PER_HOUR
        )
        super().__init__(name="priced", cloud=FakeCloud(name="priced", instance_types=(sold,)))
        self._left = 1

    async def provision(self, request: ProvisionRequest) -> Instance:
        """Sell the one, once."""
        if not self._left:
            raise NoCapacity("priced: the one machine is sold")
        self._left -= 1
        return await super().provision(request)


class Refusing(FakeProvider):
    """Refuses our credentials."""

    def __init__(self) -> None:
        """Sell nothing to us."""
        super().__init__(name="refusing")

    async def provision(self, request: ProvisionRequest) -> Instance:
        """Refuse."""
        raise Unauthorized("refusing: the key is unknown")

    async def list(self) -> Instances:
        """Refuse."""
        raise Unauthorized("refusing: the key is unknown")
