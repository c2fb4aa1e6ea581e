"""What Google Cloud lists, what it ends, and what it sells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from doubles.compute_engine_faults import Fail, Fault, HangUp, Raw, Refuse
from doubles.gcp_bench import ZONE, Bench, asking
from navarch.errors import (
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import Instances, InstanceStatus, InstanceType
from navarch.providers.gcp import GcpProvider

OURS = {"navarch-dev-fleet": "k3f9", "navarch-dev-instance": "n-1"}


def listed(bench: Bench) -> Instances:
    return bench.run(lambda provider: provider.list())


def end(bench: Bench, ref: str = f"{ZONE}/n-1") -> None:
    bench.run(lambda provider: provider.terminate(ref))


def page(**fields: Any) -> Raw:  # noqa: ANN401
    return Raw(200, json.dumps({"items": {}, **fields}).encode())


# --- lists -----------------------------------------------------------------------------------


def test_all_pages_of_all_zones_are_read(bench: Bench) -> None:
    bench.double.page = 2
    for number in range(5):
        zone = (ZONE, "us-central1-b", "europe-west4-b")[number % 3]
        bench.double.put_by_hand(zone, f"n-{number}", labels=OURS)

    assert sorted(each.name for each in listed(bench)) == ["n-0", "n-1", "n-2", "n-3", "n-4"]
    tokens = [each.query.get("pageToken") for each in bench.double.asked if "filter" in each.query]
    assert tokens == [None, "p2", "p4"]


def test_strangers_are_not_listed_and_other_fleets_are(bench: Bench) -> None:
    bench.double.put_by_hand(ZONE, "web-1")
    bench.double.put_by_hand(ZONE, "web-2", labels={"managed-by": "navarch"})
    bench.double.put_by_hand(ZONE, "n-1", labels={**OURS, "navarch-dev-fleet": "zzzz"})

    assert [(each.name, each.labels["navarch.dev/fleet"]) for each in listed(bench)] == [
        ("n-1", "zzzz")
    ]


def test_start_up_scripts_are_not_asked_for(bench: Bench) -> None:
    bench.run(lambda provider: provider.provision(asking(user_data="#!/bin/sh\n")))
    listed(bench)

    reads = [each for each in bench.double.asked if each.method == "GET" and "v1/p" in each.path]
    assert {"metadata" in each.query.get("fields", "") for each in reads} == {False}
    assert "metadata" in bench.double.instances[ZONE, "n-1"]


@pytest.mark.parametrize(
    "answer",
    [
        page(unreachables=[f"projects/p/zones/{ZONE}"]),
        page(warning={"code": "UNREACHABLE", "message": "a zone"}),
        page(items={f"zones/{ZONE}": {"warning": {"code": "UNREACHABLE", "message": "x"}}}),
        page(warning={"code": "PARTIAL_SUCCESS"}),
    ],
)
def test_a_part_is_no_list(bench: Bench, answer: Raw) -> None:
    bench.double.script("list", answer)

    with pytest.raises(Unavailable, match="is not whole"):
        listed(bench)


def test_a_zone_out_of_reach_is_an_error(bench: Bench) -> None:
    bench.double.unreachable = "europe-west4-b"

    with pytest.raises(Unavailable, match="europe-west4-b is unreachable"):
        listed(bench)


def test_a_later_page_that_fails_fails_the_list(bench: Bench) -> None:
    bench.double.page = 1
    for name in ("n-1", "n-2"):
        bench.double.put_by_hand(ZONE, name, labels=OURS)
    bench.double.script("list", None, Refuse(500, "internalError"))

    with pytest.raises(Unavailable):
        listed(bench)


def test_a_list_without_end_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("navarch.providers.gcp.api.PAGES_MAX", 3)
    bench.double.script("list", *[page(nextPageToken="again")] * 3)

    with pytest.raises(Unavailable, match="more than 3 pages"):
        listed(bench)


def test_a_machine_on_two_pages_is_listed_once(bench: Bench) -> None:
    machine = {"name": "n-1", "zone": ZONE, "status": "RUNNING", "labels": OURS}
    scoped = {f"zones/{ZONE}": {"instances": [machine]}}
    bench.double.script("list", page(items=scoped, nextPageToken="p"), page(items=scoped))

    assert [each.id for each in listed(bench)] == [f"{ZONE}/n-1"]


@pytest.mark.parametrize(
    "status, expected",
    [
        ("PENDING", InstanceStatus.PROVISIONING),
        ("PROVISIONING", InstanceStatus.PROVISIONING),
        ("STAGING", InstanceStatus.PROVISIONING),
        ("RUNNING", InstanceStatus.RUNNING),
        ("STOPPING", InstanceStatus.TERMINATING),
        ("PENDING_STOP", InstanceStatus.TERMINATING),
        ("DEPROVISIONING", InstanceStatus.TERMINATING),
        ("TERMINATED", InstanceStatus.PROVISIONING),
        ("SUSPENDED", InstanceStatus.PROVISIONING),
        ("REPAIRING", InstanceStatus.PROVISIONING),
        ("A_NEW_WORD", InstanceStatus.RUNNING),
    ],
)
def test_a_stopped_machine_still_exists(
    bench: Bench, status: str, expected: InstanceStatus
) -> None:
    bench.double.put_by_hand(ZONE, "n-1", labels=OURS, status=status)

    assert [each.status for each in listed(bench)] == [expected]


def test_the_name_says_how_many_gpus_where_google_does_not(bench: Bench) -> None:
    kind = f"https://g/zones/{ZONE}/machineTypes/a3-megagpu-8g"
    bench.double.put_by_hand(ZONE, "n-1", labels=OURS, machineType=kind)

    assert [(each.instance_type, each.gpu_count) for each in listed(bench)] == [
        ("a3-megagpu-8g", 8)
    ]


@pytest.mark.parametrize(
    "fault, kind",
    [
        (Refuse(401, "authError"), Unauthorized),
        (Refuse(403, "forbidden"), Unauthorized),
        (Refuse(403, "rateLimitExceeded"), Throttled),
        (Refuse(403, "quotaExceeded"), QuotaExceeded),
        (Refuse(429, "rateLimitExceeded"), Throttled),
        (Refuse(500, "internalError"), Unavailable),
        (Refuse(503, "backendError"), Unavailable),
        (HangUp(is_done=True), Unavailable),
        (Raw(302, b"", {"location": "http://127.0.0.1:1/"}), Unavailable),
        (Raw(404, b"<html>a proxy</html>"), Unavailable),
        (Raw(407, b""), Unavailable),
        (Raw(200, b"<html>hello</html>"), Unavailable),
        (Raw(200, b""), Unavailable),
    ],
)
def test_without_a_list_nothing_may_be_concluded(
    bench: Bench, fault: Fault, kind: type[ProviderError]
) -> None:
    bench.double.script("list", fault, fault)

    with pytest.raises(kind):
        listed(bench)


# --- ends ------------------------------------------------------------------------------------


def test_a_machine_is_ended_and_then_not_found(bench: Bench) -> None:
    bench.double.put_by_hand(ZONE, "n-1", labels=OURS)
    bench.double.operation_looks = 2

    end(bench)
    assert [each.status for each in listed(bench)] == [InstanceStatus.TERMINATING]
    end(bench)
    bench.double.finish()
    assert listed(bench) == []
    with pytest.raises(NotFound, match=f"{ZONE}/n-1"):
        end(bench)


def test_an_end_carries_no_request_id(bench: Bench) -> None:
    bench.double.put_by_hand(ZONE, "n-1", labels=OURS)
    end(bench)

    (deletion,) = [each for each in bench.double.asked if each.method == "DELETE"]
    assert deletion.query == {}


def test_a_machine_deleted_by_hand_is_not_found(bench: Bench) -> None:
    bench.run(lambda provider: provider.provision(asking()))
    bench.double.delete_by_hand("n-1")

    with pytest.raises(NotFound):
        end(bench)


def test_a_machine_that_is_about_to_be_is_not_gone(bench: Bench) -> None:
    bench.double.operation_looks = -1

    async def story(provider: GcpProvider) -> None:
        await provider.provision(asking())
        bench.double.delete_by_hand("n-1")  # not to be seen yet, as far as we can tell
        await provider.terminate(f"{ZONE}/n-1")

    with pytest.raises(Unavailable, match="still being made"):
        bench.run(story)


@pytest.mark.parametrize("fault", [Refuse(503, "backendError"), HangUp(is_done=False)])
def test_what_cannot_be_told_is_not_gone(bench: Bench, fault: Fault) -> None:
    bench.double.script("operations", fault)

    with pytest.raises(Unavailable, match="is not seen, but"):
        end(bench)


def test_a_mistyped_project_is_not_taken_for_an_empty_one(bench: Bench) -> None:
    bench.double.put_by_hand(ZONE, "n-1", labels=OURS)

    with pytest.raises(Unavailable, match="is not seen, but"):
        bench.run(lambda provider: provider.terminate(f"{ZONE}/n-1"), project="another-one")


@pytest.mark.parametrize("ref", ["", "n-1", "a/b/c", f"{ZONE}/", f"{ZONE}/../x", "/", f"{ZONE}/N"])
def test_what_is_no_id_of_ours_is_not_found_and_not_asked_for(bench: Bench, ref: str) -> None:
    with pytest.raises(NotFound):
        end(bench, ref)

    assert bench.double.asked == []


@pytest.mark.parametrize(
    "fault, kind",
    [
        (Refuse(400, "resourceNotReady"), Unavailable),
        (Refuse(400, "invalid"), InvalidRequest),
        (Refuse(403, "forbidden"), Unauthorized),
        (Refuse(403, "rateLimitExceeded"), Throttled),
        (Refuse(500, "internalError"), OutcomeUnknown),
        (HangUp(is_done=True), OutcomeUnknown),
        (Raw(200, b"{}"), OutcomeUnknown),
        (Raw(404, b"a proxy"), Unavailable),
    ],
)
def test_an_end_that_is_not_agreed_to_has_its_error(
    bench: Bench, fault: Fault, kind: type[ProviderError]
) -> None:
    bench.double.put_by_hand(ZONE, "n-1", labels=OURS)
    bench.double.script("delete", fault)

    with pytest.raises(kind):
        end(bench)


@pytest.mark.parametrize(
    "fault, kind",
    [(Fail("PERMISSIONS_ERROR", 403), Unauthorized), (Fail("INTERNAL_ERROR", 500), Unavailable)],
)
def test_an_end_that_fails_at_once_is_no_agreement(
    bench: Bench, fault: Fault, kind: type[ProviderError]
) -> None:
    bench.double.put_by_hand(ZONE, "n-1", labels=OURS)
    bench.double.operation_looks = 0
    bench.double.script("delete", fault)

    with pytest.raises(kind, match="the end of us-central1-a/n-1"):
        end(bench)


# --- what is sold ----------------------------------------------------------------------------


def test_types_with_gpus_are_shown_with_their_regions(bench: Bench) -> None:
    bench.double.page = 3

    sold = bench.run(lambda provider: provider.list_instance_types())

    assert [each.name for each in sold] == ["a2-highgpu-1g", "a3-highgpu-8g", "g2-standard-4"]
    assert sold[1] == InstanceType(
        name="a3-highgpu-8g",
        gpu_count=8,
        gpu_type="nvidia-h100-80gb",
        memory_gb=1872,
        vcpus=208,
        regions=("europe-west4", "us-central1"),
    )


def test_a_price_list_is_whole_or_an_error(bench: Bench) -> None:
    bench.double.script("types", page(warning={"code": "UNREACHABLE"}))

    with pytest.raises(Unavailable, match="is not whole"):
        bench.run(lambda provider: provider.list_instance_types())
