"""Lists of machines and of types: all of it, or an error."""

from __future__ import annotations

import pytest

from doubles.ec2 import Answer, Ec2Double, Step
from doubles.ec2_bench import P5, Bench, request, run
from navarch.errors import OutcomeUnknown, ProviderError, Unavailable
from navarch.providers.base import FLEET_LABEL, INSTANCE_LABEL, InstanceStatus

BOTH = ("us-east-1", "us-west-2")


def page(*, token: str) -> Answer:
    """Write a page without machines that names another one."""
    return Answer(
        200,
        b"<DescribeInstancesResponse><reservationSet/><nextToken>%s</nextToken>"
        b"</DescribeInstancesResponse>" % token.encode(),
    )


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read ten machines a page."""
    monkeypatch.setattr("navarch.providers.aws.lists.MACHINES_PAGE", 10)


@pytest.mark.usefixtures("short_pages")
def test_all_pages_are_read(bench: Bench, ec2: Ec2Double) -> None:
    ec2.crowd = 27

    listed = run(bench.provider().list())

    assert [each.name for each in listed] == [f"crowd-{n}" for n in range(ec2.crowd)]
    assert len(ec2.calls("DescribeInstances")) == 3
    first = listed[0]
    assert first.id == f"us-east-1/i-{0:017x}"
    assert first.labels[FLEET_LABEL] == "k3f9"
    assert (first.zone, first.status) == ("us-east-1a", InstanceStatus.RUNNING)


@pytest.mark.usefixtures("short_pages")
def test_a_page_that_fails_fails_the_list(bench: Bench, ec2: Ec2Double) -> None:
    ec2.crowd = 27
    ec2.next("DescribeInstances", Step())
    ec2.fail_next("InternalError", operation="DescribeInstances")

    with pytest.raises(Unavailable, match="list of machines in us-east-1: InternalError"):
        run(bench.provider().list())


def test_a_region_that_fails_fails_the_list(bench: Bench, ec2: Ec2Double) -> None:
    provider = bench.provider(regions=BOTH)
    run(provider.provision(request()))
    ec2.fail_next("Unavailable", operation="DescribeInstances")

    with pytest.raises(Unavailable):
        run(provider.list())

    assert len(run(provider.list())) == 1


def test_all_regions_are_listed(bench: Bench) -> None:
    provider = bench.provider(regions=BOTH)
    bought = [
        run(provider.provision(request(f"train-k3f9-{number}", region=region)))
        for number, region in enumerate(BOTH)
    ]

    listed = run(provider.list())

    assert sorted(each.id for each in listed) == sorted(each.id for each in bought)
    assert sorted(each.region for each in listed) == list(BOTH)


def test_machines_of_other_fleets_are_listed_and_strangers_are_not(bench: Bench) -> None:
    provider = bench.provider()
    run(provider.provision(request("a", labels={FLEET_LABEL: "other"})))
    run(provider.provision(request("b", labels={})))
    bench.stranger()

    listed = {each.name: each.labels[FLEET_LABEL] for each in run(provider.list())}

    assert listed == {"a": "other", "b": ""}


def test_a_machine_renamed_by_hand_keeps_our_name(bench: Bench, ec2: Ec2Double) -> None:
    provider = bench.provider()
    run(provider.provision(request()))
    (machine,) = ec2.alive()
    machine.add_tags({"Name": "do not touch"})

    (listed,) = run(provider.list())

    assert listed.name == "train-k3f9-0001"
    assert listed.labels[INSTANCE_LABEL] == "train-k3f9-0001"


def test_a_stopped_machine_exists_and_does_not_run(bench: Bench, ec2: Ec2Double) -> None:
    provider = bench.provider()
    run(provider.provision(request()))
    (machine,) = ec2.alive()
    machine.stop()

    (listed,) = run(provider.list())

    assert listed.status is InstanceStatus.PROVISIONING


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>Please sign in</body></html>",
        b"<DescribeInstancesResponse/>",
        b"<x><reservationSet><item/></reservationSet></x>",
        b"<x><reservationSet><item><instancesSet><x/></instancesSet></item></reservationSet></x>",
        b"<x><reservationSet><y><instancesSet><item/></instancesSet></y></reservationSet></x>",
        b"",
        b"{}",
    ],
)
def test_an_answer_that_is_no_list_is_not_an_empty_one(
    bench: Bench, ec2: Ec2Double, body: bytes
) -> None:
    ec2.next("DescribeInstances", Step(answer=Answer(200, body)))

    with pytest.raises(Unavailable):
        run(bench.provider().list())


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_an_error_and_is_not_followed(
    bench: Bench, ec2: Ec2Double, status: int
) -> None:
    elsewhere = (("Location", f"{bench.settings.endpoint_url}/elsewhere"),)
    ec2.next("DescribeInstances", Step(answer=Answer(status, b"", elsewhere)))

    with pytest.raises(Unavailable):
        run(bench.provider().list())

    assert len(ec2.asked) == 1


@pytest.mark.parametrize("body", [b"<html/>", b"<x><instancesSet/></x>", b"\0"])
def test_a_launch_with_a_senseless_answer_is_unknown(
    bench: Bench, ec2: Ec2Double, body: bytes
) -> None:
    ec2.next("RunInstances", Step(answer=Answer(200, body)))

    with pytest.raises(OutcomeUnknown):
        run(bench.provider().provision(request()))

    assert len(ec2.alive()) == 1


def test_pages_that_go_in_a_circle_are_an_error(bench: Bench, ec2: Ec2Double) -> None:
    ec2.next("DescribeInstances", *[Step(answer=page(token="again"), acts=False)] * 2)

    with pytest.raises(Unavailable, match="followed by itself"):
        run(bench.provider().list())


def test_pages_without_end_are_an_error(
    bench: Bench, ec2: Ec2Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("navarch.providers.aws.lists.PAGES_MAX", 3)
    ec2.next("DescribeInstances", *(Step(answer=page(token=each), acts=False) for each in "abcdef"))

    with pytest.raises(Unavailable, match="more than 3 pages"):
        run(bench.provider().list())


def test_the_price_list_has_gpus_and_the_lowest_spot_price_of_all_regions(
    bench: Bench, ec2: Ec2Double
) -> None:
    ec2.spot = {
        (P5, "us-east-1a"): 41.5,
        (P5, "us-east-1b"): 39.25,
        (P5, "us-west-2a"): 44.0,
        ("g6.xlarge", "us-east-1a"): 0.3,
    }
    provider = bench.provider(regions=BOTH, type_patterns=("p5.48*", "g6.xlarge", "t3.micro"))

    sold = {each.name: each for each in run(provider.list_instance_types())}

    assert sorted(sold) == ["g6.xlarge", P5]
    p5 = sold[P5]
    assert (p5.gpu_count, p5.gpu_type) == (8, "NVIDIA H100 80GB")
    assert (p5.vcpus, p5.memory_gb) == (192, 2199)
    assert p5.regions == BOTH
    assert p5.spot_price_per_hour == 39.25
    assert p5.price_per_hour == 0
    (listed, *_) = [run(provider.provision(request()))]
    assert (listed.gpu_count, listed.gpu_type) == (8, "NVIDIA H100 80GB")


def test_the_price_list_is_of_the_zones_that_have_subnets(bench: Bench, ec2: Ec2Double) -> None:
    ec2.spot = {(P5, "us-east-1a"): 41.5, (P5, "us-east-1b"): 39.25}
    here = {"us-east-1a": ("subnet-a",)}
    nowhere = {"us-east-1f-wl1-bos-1": ("subnet-b",)}

    (sold,) = run(bench.provider(type_patterns=(P5,), subnets=here).list_instance_types())

    assert sold.spot_price_per_hour == 41.5
    assert run(bench.provider(type_patterns=(P5,), subnets=nowhere).list_instance_types()) == []


@pytest.mark.parametrize(
    "operation",
    ["DescribeInstanceTypes", "DescribeInstanceTypeOfferings", "DescribeSpotPriceHistory"],
)
def test_a_price_list_is_whole_or_an_error(bench: Bench, ec2: Ec2Double, operation: str) -> None:
    ec2.next(operation, Step(answer=Answer(200, b"<html/>")))

    with pytest.raises(ProviderError, match="price list of us-east-1"):
        run(bench.provider(type_patterns=(P5,)).list_instance_types())
