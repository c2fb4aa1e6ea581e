"""A launch on Google Cloud: what is asked for, and what becomes of it, well or not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from doubles.compute_engine_faults import Fail, Fault, HangUp, Refuse
from doubles.gcp_bench import STOCK_OUT, ZONE, Bench, asking
from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    QuotaScope,
    Throttled,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import Instance, InstanceStatus, ProvisionRequest
from navarch.providers.gcp import GcpProvider, Interface


def sent(bench: Bench) -> dict[str, Any]:
    """Return the body of the latest insert."""
    body: dict[str, Any] = bench.double.inserts()[-1].body
    return body


# --- what is asked for -----------------------------------------------------------------------


def test_a_launch_describes_the_machine_whole(bench: Bench) -> None:
    instance = bench.launch(asking(user_data="#!/bin/sh\necho hello\n"))

    assert sent(bench) == {
        "name": "n-1",
        "machineType": f"zones/{ZONE}/machineTypes/a3-highgpu-8g",
        "labels": {
            "managed-by": "navarch",
            "navarch-dev-fleet": "k3f9",
            "navarch-dev-instance": "n-1",
            "navarch-dev-pool": "training",
        },
        "scheduling": {"onHostMaintenance": "TERMINATE", "automaticRestart": True},
        "disks": [
            {
                "boot": True,
                "autoDelete": True,
                "initializeParams": {
                    "sourceImage": "projects/images/global/images/family/gpu",
                    "diskSizeGb": "200",
                },
            }
        ],
        "networkInterfaces": [
            {
                "network": "global/networks/default",
                "accessConfigs": [{"name": "External NAT", "type": "ONE_TO_ONE_NAT"}],
            }
        ],
        "metadata": {"items": [{"key": "startup-script", "value": "#!/bin/sh\necho hello\n"}]},
    }
    assert instance == Instance(
        id=f"{ZONE}/n-1",
        provider="gcp",
        name="n-1",
        region="us-central1",
        zone=ZONE,
        instance_type="a3-highgpu-8g",
        status=InstanceStatus.RUNNING,
        public_ip="192.0.2.2",
        private_ip="10.128.0.2",
        gpu_count=8,
        gpu_type="nvidia-h100-80gb",
        labels={"managed-by": "navarch", **asking().labels},
    )


def test_a_spot_machine_is_deleted_when_it_is_taken_away(bench: Bench) -> None:
    bench.launch(asking(spot=True), reservation="mine")

    assert sent(bench)["scheduling"] == {
        "provisioningModel": "SPOT",
        "instanceTerminationAction": "DELETE",
        "onHostMaintenance": "TERMINATE",
        "automaticRestart": False,
    }
    assert "reservationAffinity" not in sent(bench)


def test_old_machines_have_their_gpus_attached(bench: Bench) -> None:
    instance = bench.launch(asking(instance_type="n1-standard-8+nvidia-tesla-t4:2"))

    assert sent(bench)["machineType"] == f"zones/{ZONE}/machineTypes/n1-standard-8"
    assert sent(bench)["guestAccelerators"] == [
        {
            "acceleratorType": f"zones/{ZONE}/acceleratorTypes/nvidia-tesla-t4",
            "acceleratorCount": 2,
        }
    ]
    assert instance.instance_type == "n1-standard-8+nvidia-tesla-t4:2"
    assert (instance.gpu_count, instance.gpu_type) == (2, "nvidia-tesla-t4")


def test_networks_disks_accounts_and_policies_go_along(bench: Bench) -> None:
    bench.launch(
        asking(ssh_key_names=("ops",), user_data="#cloud-config\n{}\n"),
        subnetwork="gpu",
        network="",
        external_ip=False,
        nic_type="GVNIC",
        more_interfaces=(Interface(subnetwork="projects/p/regions/r/subnetworks/rdma"),),
        network_tags=("navarch",),
        disk_type="hyperdisk-balanced",
        disk_gb=500,
        service_account="node@navarch-test.iam.gserviceaccount.com",
        placement_policy="close",
        ssh_keys={"ops": "ops:ssh-ed25519 AAAA ops@example.com"},
        metadata={"enable-oslogin": "FALSE"},
    )

    body = sent(bench)
    assert body["networkInterfaces"] == [
        {"subnetwork": "regions/us-central1/subnetworks/gpu", "nicType": "GVNIC"},
        {"subnetwork": "projects/p/regions/r/subnetworks/rdma"},
    ]
    assert body["tags"] == {"items": ["navarch"]}
    assert body["disks"][0]["initializeParams"] == {
        "sourceImage": "projects/images/global/images/family/gpu",
        "diskSizeGb": "500",
        "diskType": f"zones/{ZONE}/diskTypes/hyperdisk-balanced",
    }
    assert body["serviceAccounts"] == [
        {
            "email": "node@navarch-test.iam.gserviceaccount.com",
            "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
        }
    ]
    assert body["resourcePolicies"] == [
        "projects/navarch-test/regions/us-central1/resourcePolicies/close"
    ]
    assert body["metadata"]["items"] == [
        {"key": "enable-oslogin", "value": "FALSE"},
        {"key": "ssh-keys", "value": "ops:ssh-ed25519 AAAA ops@example.com"},
        {"key": "user-data", "value": "#cloud-config\n{}\n"},
    ]


@pytest.mark.parametrize(
    "reservation, expected",
    [
        ("none", {"consumeReservationType": "NO_RESERVATION"}),
        (
            "projects/other/reservations/h100",
            {
                "consumeReservationType": "SPECIFIC_RESERVATION",
                "key": "compute.googleapis.com/reservation-name",
                "values": ["projects/other/reservations/h100"],
            },
        ),
    ],
)
def test_a_reservation_is_used_as_told(
    bench: Bench, reservation: str, expected: dict[str, Any]
) -> None:
    bench.launch(reservation=reservation)

    assert sent(bench)["reservationAffinity"] == expected


def test_a_bound_machine_lives_with_its_reservation(bench: Bench) -> None:
    bench.launch(reservation="mine", reservation_bound=True)

    assert sent(bench)["scheduling"]["provisioningModel"] == "RESERVATION_BOUND"


def test_the_request_id_follows_from_token_and_zone(bench: Bench) -> None:
    bench.launch()
    bench.launch()
    bench.launch(asking(zone="us-central1-b"))

    ids = [UUID(each.query["requestId"]) for each in bench.double.inserts()]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    "request_, says",
    [
        (asking("Big-Name"), "cannot be the name"),
        (asking("n" * 64), "cannot be the name"),
        (asking(instance_type="h100/8"), "no type"),
        (asking(ssh_key_names=("nobody",)), "no key 'nobody'"),
        (asking(user_data="x" * 262_145), "above 262144 bytes"),
        (asking(zone="moon"), "no zone"),
        (asking(region="europe-west4"), "no zone of 'europe-west4'"),
        (asking(zone=""), "give the pool a region or zones"),
        (asking(zone="", region="Mars"), "no region"),
        (asking(zone="", region="us-east1"), "no zone of us-east1 sells a3-highgpu-8g"),
        (asking(labels={"k": "\ud800"}), "no Unicode"),
        (asking(user_data="\ud800"), "no Unicode"),
        (asking(labels={f"k{n}": "v" for n in range(64)}), "expected 64"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_asked_for(
    bench: Bench, request_: ProvisionRequest, says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        bench.launch(request_)

    assert bench.double.inserts() == []


def test_a_type_that_the_zone_does_not_sell_is_no_missing_machine(bench: Bench) -> None:
    with pytest.raises(InvalidRequest, match="a2-highgpu-1g' was not found"):
        bench.launch(asking(zone="us-central1-b", instance_type="a2-highgpu-1g"))


# --- what becomes of it ----------------------------------------------------------------------


@pytest.mark.parametrize("looks", [1, 3, 12])
@pytest.mark.parametrize("code", [STOCK_OUT, f"{STOCK_OUT}_WITH_DETAILS"])
def test_a_stock_out_arrives_late_and_is_seen(bench: Bench, looks: int, code: str) -> None:
    bench.double.operation_looks = looks
    bench.double.script("insert", Fail(code))

    with pytest.raises(NoCapacity, match=f"a3-highgpu-8g in {ZONE}: {code}"):
        bench.launch()

    assert bench.double.instances == {}


def test_a_used_up_quota_says_what_it_counts(bench: Bench) -> None:
    said = "Quota 'NVIDIA_H100_GPUS' exceeded.  Limit: 8.0 in region us-central1."
    bench.double.script("insert", Fail("QUOTA_EXCEEDED", 403, said))

    with pytest.raises(QuotaExceeded) as caught:
        bench.launch()

    types = ("a3-highgpu-*", "a3-edgegpu-*")
    assert caught.value.scope == QuotaScope("us-central1", types, spot=False)


@pytest.mark.parametrize(
    "fault, kind",
    [
        (Fail("QUOTA_EXCEEDED", 403), QuotaExceeded),
        (Fail("RESOURCE_OPERATION_RATE_EXCEEDED", 429), Throttled),
        (Fail("IP_SPACE_EXHAUSTED", 400), NoCapacity),
        (Fail("PERMISSIONS_ERROR", 403), Unauthorized),
        (Fail("RESOURCE_NOT_FOUND", 404), InvalidRequest),
        (Fail("CONDITION_NOT_MET", 412), InvalidRequest),
        (Fail("RESOURCE_NOT_READY", 400), Unavailable),
        (Fail("INTERNAL_ERROR", 500), Unavailable),
        (Refuse(400, "invalid"), InvalidRequest),
        (Refuse(403, "quotaExceeded"), QuotaExceeded),
        (Refuse(403, "rateLimitExceeded"), Throttled),
        (Refuse(403, "forbidden"), Unauthorized),
        (Refuse(403, "accessNotConfigured"), Unauthorized),
        (Refuse(404, "notFound"), InvalidRequest),
        (Refuse(409, "resourceInUseByAnotherResource"), Unavailable),
        (Refuse(412, "conditionNotMet"), InvalidRequest),
        (Refuse(429, ""), Throttled),
        (Refuse(503, "ZONE_RESOURCE_POOL_EXHAUSTED"), NoCapacity),
        (Refuse(503, "insufficientCapacity"), NoCapacity),
    ],
)
def test_each_refusal_has_its_error_and_leaves_nothing(
    bench: Bench, fault: Fault, kind: type[ProviderError]
) -> None:
    bench.double.script("insert", fault)

    with pytest.raises(kind, match="scripted by the test"):
        bench.launch()

    assert bench.double.instances == {}
    assert len(bench.double.inserts()) == 1


def test_a_used_up_rate_says_when_to_come_back(bench: Bench) -> None:
    bench.double.script(
        "insert",
        Refuse(403, "rateLimitExceeded"),
        Refuse(429, "", headers={"retry-after": "7"}),
    )

    with pytest.raises(Throttled, match="again in 60 s"):
        bench.launch()
    with pytest.raises(Throttled, match="again in 7 s"):
        bench.launch()


def test_a_launch_is_not_followed_for_longer_than_told(bench: Bench) -> None:
    bench.double.operation_looks = -1
    before = bench.time.now()

    instance = bench.launch(follow=timedelta(seconds=30))

    assert instance.status is InstanceStatus.PROVISIONING
    assert (instance.id, instance.labels) == (f"{ZONE}/n-1", asking().labels)
    assert timedelta(seconds=30) <= bench.time.now() - before <= timedelta(seconds=35)


def test_what_fails_after_that_is_missing_from_the_list(bench: Bench) -> None:
    bench.double.operation_looks = -1
    bench.double.script("insert", Fail(STOCK_OUT))
    bench.launch(follow=timedelta())
    listed = bench.run(lambda provider: provider.list())

    bench.double.finish()

    assert [each.id for each in listed] == [f"{ZONE}/n-1"]
    assert bench.run(lambda provider: provider.list()) == []


def test_asking_again_after_that_tells_why(bench: Bench) -> None:
    bench.double.operation_looks = -1
    bench.double.script("insert", Fail(STOCK_OUT))
    bench.launch(follow=timedelta())
    bench.double.finish()

    with pytest.raises(NoCapacity, match=STOCK_OUT):
        bench.launch()


def test_acquired_resources_end_the_wait(bench: Bench) -> None:
    bench.double.operation_looks = -1
    bench.double.status_while_made = "STAGING"

    instance = bench.launch()

    assert instance.status is InstanceStatus.PROVISIONING
    assert instance.gpu_count == 8
    assert len(bench.double.asked) == 4  # token, insert, operation, instance


def test_looks_that_fail_do_not_end_a_launch(bench: Bench) -> None:
    bench.double.operation_looks = 2
    bench.double.script(
        "operation",
        Refuse(503, "backendError"),
        HangUp(is_done=False),
        Refuse(403, "rateLimitExceeded"),
    )

    assert bench.launch().status is InstanceStatus.RUNNING


def test_an_unclear_failure_is_looked_into(bench: Bench) -> None:
    bench.double.script("insert", Fail("INTERNAL_ERROR", 500, leaves=True))

    assert bench.launch().status is InstanceStatus.RUNNING


def test_an_unclear_failure_that_cannot_be_looked_into_is_unknown(bench: Bench) -> None:
    bench.double.script("insert", Fail("INTERNAL_ERROR", 500))
    bench.double.script("get", Refuse(503, "backendError"))

    with pytest.raises(OutcomeUnknown, match="INTERNAL_ERROR"):
        bench.launch()


@pytest.mark.parametrize("looks", [0, 1])
def test_a_machine_that_cannot_be_looked_at_is_promised(bench: Bench, looks: int) -> None:
    bench.double.operation_looks = looks
    bench.double.script("get", Refuse(503, "backendError"))

    assert bench.launch().status is InstanceStatus.PROVISIONING


def test_a_spot_machine_taken_away_at_once_was_still_made(bench: Bench) -> None:
    bench.double.script("get", Refuse(404, "notFound"))

    assert bench.launch().status is InstanceStatus.PROVISIONING


def test_a_clock_that_stands_still_does_not_keep_a_launch(bench: Bench) -> None:
    bench.double.operation_looks = -1
    waited: list[timedelta] = []

    async def sleep(pause: timedelta) -> None:
        waited.append(pause)

    async def story() -> Instance:
        provider = GcpProvider(bench.settings, now=bench.time.now, sleep=sleep)
        try:
            return await provider.provision(asking())
        finally:
            await provider.close()

    assert asyncio.run(story()).status is InstanceStatus.PROVISIONING
    assert sum(waited, timedelta()) < timedelta(seconds=66)
