"""Google's own client against the double, so that the double is Google's word and not only ours.

Two traps of that client, for whoever extends this: `insert` and `delete` poll by a client of their
own that ignores the address, so `insert_unary` and `delete_unary` are used; and an operation's id
that is no decimal number is a parse error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.json_format import ParseError
from msgspec.structs import replace

from doubles.compute_engine_faults import Fail, Refuse
from doubles.compute_engine_rules import PROJECT
from doubles.gcp_bench import ZONE, Bench, asking
from navarch.providers.gcp import launching

STOCK_OUT = "ZONE_RESOURCE_POOL_EXHAUSTED"


@dataclass
class Google:
    """Google's clients of the double, and its module of messages."""

    v1: Any
    instances: Any
    operations: Any
    types: Any
    exceptions: Any

    def insert(self, bench: Bench, name: str = "n-1", token: str = "n-1") -> Any:  # noqa: ANN401
        """Ask by Google's client for what our provider would ask for."""
        body = launching.body(asking(name), bench.settings, ZONE)
        operation = self.instances.insert_unary(
            request=self.v1.InsertInstanceRequest(
                project=PROJECT,
                zone=ZONE,
                request_id=launching.request_id(PROJECT, ZONE, token),
                instance_resource=self.v1.Instance.from_json(_json(body)),
            ),
            timeout=10,
        )
        return self.operations.wait(project=PROJECT, zone=ZONE, operation=operation.name)


@pytest.fixture
def google(bench: Bench) -> Iterator[Google]:
    """Yield clients that ask the double without a token."""
    from google.api_core import exceptions
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import compute_v1

    bench.double.is_open = True
    anonymous: Any = AnonymousCredentials
    options: Any = {
        "credentials": anonymous(),
        "client_options": ClientOptions(api_endpoint=bench.double.url),
    }
    instances: Any = compute_v1.InstancesClient(**options)
    operations: Any = compute_v1.ZoneOperationsClient(**options)
    types: Any = compute_v1.MachineTypesClient(**options)
    yield Google(compute_v1, instances, operations, types, exceptions)
    for client in (instances, operations, types):
        client.transport.close()


def test_googles_client_launches_lists_and_deletes(bench: Bench, google: Google) -> None:
    done = google.insert(bench)
    assert (done.status.name, done.operation_type) == ("DONE", "insert")
    assert done.target_link.endswith(f"/zones/{ZONE}/instances/n-1")

    machine = google.instances.get(project=PROJECT, zone=ZONE, instance="n-1")
    assert machine.status == "RUNNING"
    assert machine.network_interfaces[0].access_configs[0].nat_i_p == "192.0.2.2"
    assert machine.guest_accelerators[0].accelerator_count == 8
    assert dict(machine.labels)["navarch-dev-fleet"] == "k3f9"
    assert machine.scheduling.on_host_maintenance == "TERMINATE"

    request = google.v1.AggregatedListInstancesRequest(
        project=PROJECT, filter="labels.navarch-dev-fleet:*", max_results=1
    )
    pages = google.instances.aggregated_list(request=request)
    assert {zone: [each.name for each in scope.instances] for zone, scope in pages}[
        f"zones/{ZONE}"
    ] == ["n-1"]

    google.instances.delete_unary(project=PROJECT, zone=ZONE, instance="n-1")
    bench.double.finish()
    with pytest.raises(google.exceptions.NotFound):
        google.instances.get(project=PROJECT, zone=ZONE, instance="n-1")


def test_googles_client_sees_a_stock_out_late(bench: Bench, google: Google) -> None:
    bench.double.script("insert", Fail(STOCK_OUT))

    failed = google.insert(bench)

    assert failed.error.errors[0].code == STOCK_OUT
    assert failed.http_error_status_code == 503


def test_googles_client_gets_one_machine_for_one_request_id(bench: Bench, google: Google) -> None:
    assert google.insert(bench).name == google.insert(bench).name

    with pytest.raises(google.exceptions.Conflict):
        google.insert(bench, token="another")


@pytest.mark.parametrize(
    "fault, kind",
    [
        (Refuse(403, "quotaExceeded"), "Forbidden"),
        (Refuse(400, "invalid"), "BadRequest"),
        (Refuse(429, "rateLimitExceeded"), "TooManyRequests"),
    ],
)
def test_googles_client_understands_refusals(
    bench: Bench, google: Google, fault: Refuse, kind: str
) -> None:
    bench.double.script("insert", fault)

    with pytest.raises(getattr(google.exceptions, kind), match="scripted by the test"):
        google.insert(bench)


def test_googles_client_reads_the_types(bench: Bench, google: Google) -> None:
    request = google.v1.AggregatedListMachineTypesRequest(
        project=PROJECT, filter='name = "a3-highgpu-8g"', max_results=1
    )
    sold = [
        (zone, each.accelerators[0].guest_accelerator_count, each.guest_cpus)
        for zone, scope in google.types.aggregated_list(request=request)
        for each in scope.machine_types
    ]

    assert sorted(sold) == [
        ("zones/europe-west4-b", 8, 208),
        ("zones/us-central1-a", 8, 208),
        ("zones/us-central1-b", 8, 208),
    ]


def test_every_field_that_we_send_is_one_of_googles(bench: Bench, google: Google) -> None:
    """`from_json` refuses fields that Google's own description of a machine does not have."""
    request = asking(
        spot=True,
        user_data="#!/bin/sh\n",
        ssh_key_names=("ops",),
        instance_type="n1-standard-8+nvidia-tesla-t4:2",
    )
    settings = replace(
        bench.settings,
        ssh_keys={"ops": "ops:ssh-ed25519 AAAA"},
        network_tags=("t",),
        service_account="a@b",
        placement_policy="close",
        nic_type="GVNIC",
        subnetwork="s",
        disk_type="pd-ssd",
    )
    bodies = [
        launching.body(request, settings, ZONE),
        launching.body(asking(), replace(bench.settings, reservation="mine"), ZONE),
    ]

    for body in bodies:
        message = google.v1.Instance.from_json(_json(body))
        assert message.name == "n-1"
    with pytest.raises(ParseError, match="noSuchField"):
        google.v1.Instance.from_json('{"noSuchField": 1}')


def _json(body: object) -> str:
    return json.dumps(body)
