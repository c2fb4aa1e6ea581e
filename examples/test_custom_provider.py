"""What the author of the provider would test; the contract suite of `navarch.testing` does more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from custom_provider import MyCloudClient, MyCloudProvider, main

from navarch import FakeClock, Instance, InstanceStatus, Provider, ProvisionRequest
from navarch.errors import NoCapacity, NotFound, ProviderError, Unauthorized

CLOCK = FakeClock(datetime(2026, 5, 4, 12, tzinfo=UTC))
ID = "n-1"
REQUEST = ProvisionRequest(name=ID, instance_type="my.8xlarge", labels={"a": "b"}, token=ID)


def provision(client: MyCloudClient) -> Instance:
    """Buy one machine through a new provider."""
    return asyncio.run(MyCloudProvider(client, "us-east-1").provision(REQUEST))


def test_it_is_a_provider() -> None:
    assert isinstance(MyCloudProvider(MyCloudClient(), "us-east-1"), Provider)


def test_the_same_token_buys_once() -> None:
    client = MyCloudClient()
    assert provision(client) == provision(client)
    assert len(client.servers) == 1


def test_statuses_are_translated() -> None:
    client = MyCloudClient()
    assert provision(client).status is InstanceStatus.RUNNING
    client.servers["n-1"].state = "BUILDING"
    [listed] = asyncio.run(MyCloudProvider(client, "us-east-1").list())
    assert (listed.status, listed.labels) == (InstanceStatus.PROVISIONING, {"a": "b"})


@pytest.mark.parametrize(
    "client,expected",
    [(MyCloudClient(capacity=0), NoCapacity), (MyCloudClient(key="old"), Unauthorized)],
)
def test_errors_are_translated(client: MyCloudClient, expected: type[ProviderError]) -> None:
    with pytest.raises(expected, match="mycloud: 4"):
        provision(client)


def test_the_end_of_what_is_gone_is_told() -> None:
    with pytest.raises(NotFound):
        asyncio.run(MyCloudProvider(MyCloudClient(), "us-east-1").terminate("srv-n-1"))


def test_a_pool_buys_with_it() -> None:
    assert [instance.provider for instance in asyncio.run(main(CLOCK))] == ["mycloud", "mycloud"]
