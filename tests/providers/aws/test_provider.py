"""Launches and ends at EC2, and all that goes wrong with them."""

from __future__ import annotations

import asyncio
import base64
import threading
from datetime import timedelta
from typing import Any

import pytest

from doubles.ec2 import Answer, Ec2Double, Step, backends, refusal
from doubles.ec2_bench import P5, USER_DATA, Bench, request, run, until
from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    QuotaScope,
    Throttled,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import FLEET_LABEL, InstanceStatus, facts_of

SUBNETS = {"us-east-1a": ("subnet-a",), "us-east-1b": ("subnet-b",)}


def the_machine(ec2: Ec2Double) -> Any:  # noqa: ANN401 - moto's own object
    """Return the one machine that exists."""
    (machine,) = ec2.alive()
    return machine


def test_the_machine_is_what_was_asked_for(bench: Bench, ec2: Ec2Double) -> None:
    bought = run(bench.provider(root_volume_gb=200).provision(request(spot=True)))

    machine = the_machine(ec2)
    assert bought.id == f"us-east-1/{machine.id}"
    assert bought.zone == machine.placement.zone
    assert bought.private_ip == machine.private_ip
    assert machine.instance_type == P5
    assert base64.b64decode(str(machine.user_data)) == USER_DATA.encode()
    assert machine.metadata_options.http_tokens == "required"
    assert machine.lifecycle == "spot"
    volumes = backends()["us-east-1"].volumes.values()
    (volume,) = (
        each
        for each in volumes
        if each.attachment is not None and each.attachment.instance is machine
    )
    tags = {each["key"]: each["value"] for each in volume.get_tags()}
    assert tags[FLEET_LABEL] == "k3f9"
    assert volume.size == 200


@pytest.mark.parametrize(
    "code, kind",
    [
        ("InsufficientInstanceCapacity", NoCapacity),
        ("VcpuLimitExceeded", QuotaExceeded),
        ("RequestLimitExceeded", Throttled),
        ("UnauthorizedOperation", Unauthorized),
        ("InvalidParameterValue", InvalidRequest),
        ("InternalError", OutcomeUnknown),
    ],
)
def test_a_refused_launch_says_why_and_is_not_repeated(
    bench: Bench, ec2: Ec2Double, code: str, kind: type[ProviderError]
) -> None:
    ec2.fail_next(code, "the reason")

    with pytest.raises(kind, match=f"launch of train-k3f9-0001 in us-east-1: {code}: the reason"):
        run(bench.provider().provision(request()))

    assert len(ec2.calls("RunInstances")) == 1
    assert ec2.alive() == []


def test_a_used_up_quota_says_what_it_counts(bench: Bench, ec2: Ec2Double) -> None:
    ec2.fail_next("VcpuLimitExceeded", "the reason")

    with pytest.raises(QuotaExceeded) as caught:
        run(bench.provider().provision(request(instance_type="p5.48xlarge")))

    assert caught.value.scope == QuotaScope("us-east-1", ("p[0-9]*",), spot=False)


def test_an_unknown_type_is_an_invalid_request(bench: Bench) -> None:
    with pytest.raises(InvalidRequest, match=r"p5\.nano"):
        run(bench.provider().provision(request(instance_type="p5.nano")))


@pytest.mark.parametrize(
    "step",
    [Step(answer=refusal("InternalError")), Step(drops=True)],
    ids=["an error 500", "a broken connection"],
)
def test_a_launch_whose_answer_is_lost_is_one_machine_when_it_is_repeated(
    bench: Bench, ec2: Ec2Double, step: Step
) -> None:
    provider = bench.provider()
    ec2.next("RunInstances", step)

    with pytest.raises(OutcomeUnknown):
        run(provider.provision(request()))

    assert run(provider.provision(request())).id.endswith(the_machine(ec2).id)


def test_a_launch_that_is_not_answered_in_time_is_unknown(bench: Bench, ec2: Ec2Double) -> None:
    provider = bench.provider(timeout=timedelta(seconds=0.3))
    run(provider.list())  # the first call takes longer: it loads the SDK
    answers = threading.Event()
    ec2.next("RunInstances", Step(answers_after=answers))

    with pytest.raises(OutcomeUnknown, match=r"no answer|ReadTimeout"):
        run(provider.provision(request()))

    answers.set()
    (listed,) = run(provider.list())
    assert listed.name == "train-k3f9-0001"


def test_a_launch_that_is_cancelled_is_found_by_its_name(bench: Bench, ec2: Ec2Double) -> None:
    provider, answers = bench.provider(), threading.Event()
    ec2.next("RunInstances", Step(answers_after=answers))

    async def cancel() -> None:
        task = asyncio.create_task(provider.provision(request()))
        await until(lambda: ec2.finished["RunInstances"])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(cancel())

    answers.set()
    (listed,) = run(provider.list())
    assert listed.name == "train-k3f9-0001"
    assert listed.id.endswith(the_machine(ec2).id)


def test_one_token_is_one_machine_though_ec2_carries_the_first_request_out_last(
    bench: Bench, ec2: Ec2Double
) -> None:
    first_goes_on = threading.Event()
    ec2.next("RunInstances", Step(waits_for=first_goes_on))

    async def both() -> set[str]:
        first = asyncio.create_task(bench.provider().provision(request()))
        await until(lambda: ec2.calls("RunInstances"))
        second = await bench.provider().provision(request())
        first_goes_on.set()
        return {second.id, (await first).id}

    assert run(both()) == {f"us-east-1/{the_machine(ec2).id}"}


def test_nobody_at_the_address_means_that_nothing_was_done(bench: Bench) -> None:
    provider = bench.provider(endpoint_url="http://127.0.0.1:1")

    with pytest.raises(Unavailable, match="EndpointConnectionError"):
        run(provider.provision(request()))


def test_a_name_whose_machine_has_ended_is_refused(bench: Bench, ec2: Ec2Double) -> None:
    provider = bench.provider()
    bought = run(provider.provision(request()))
    run(provider.terminate(bought.id))

    with pytest.raises(InvalidRequest, match="IdempotentInstanceTerminated"):
        run(provider.provision(request()))

    assert ec2.alive() == []


def test_a_token_that_answers_with_an_ended_machine_is_refused(
    bench: Bench, ec2: Ec2Double
) -> None:
    """As EC2 did until January 2025, and may while a machine is ending."""
    provider = bench.provider()
    run(provider.provision(request()))
    body = (
        f"<x><instancesSet><item><instanceId>{the_machine(ec2).id}</instanceId><instanceState>"
        "<name>shutting-down</name></instanceState></item></instancesSet></x>"
    )
    ec2.next("RunInstances", Step(answer=Answer(200, body.encode())))

    with pytest.raises(InvalidRequest, match="which is terminating: names are used once"):
        run(provider.provision(request()))


def test_settings_that_changed_under_a_token_do_not_hide_its_machine(
    bench: Bench, ec2: Ec2Double
) -> None:
    bought = run(bench.provider().provision(request()))

    again = run(bench.provider(image="ami-0fedcba9876543210").provision(request()))

    assert again.id == bought.id
    assert again.name == bought.name
    assert again.id.endswith(the_machine(ec2).id)


def test_settings_that_changed_under_a_token_before_ec2_shows_its_machine(
    bench: Bench, ec2: Ec2Double
) -> None:
    ec2.lists_lag = True
    run(bench.provider().provision(request()))

    with pytest.raises(OutcomeUnknown, match="not found, or not yet"):
        run(bench.provider(image="ami-0fedcba9876543210").provision(request()))

    assert the_machine(ec2)


def test_a_type_that_the_chosen_zone_lacks_is_no_capacity_and_that_of_a_named_one_is_wrong(
    bench: Bench, ec2: Ec2Double
) -> None:
    provider = bench.provider(subnets=SUBNETS)
    ec2.fail_next("Unsupported", "is not supported in your requested Availability Zone")
    with pytest.raises(NoCapacity, match="another zone may have it"):
        run(provider.provision(request()))

    ec2.fail_next("Unsupported", "is not supported in your requested Availability Zone")
    with pytest.raises(InvalidRequest):
        run(provider.provision(request("train-k3f9-0002", zone="us-east-1a")))


def test_a_plan_that_cannot_be_is_refused_without_asking(bench: Bench, ec2: Ec2Double) -> None:
    with pytest.raises(InvalidRequest, match="aws: eu-west-1 is not one of the configured"):
        run(bench.provider().provision(request(region="eu-west-1")))

    assert ec2.asked == []


def test_what_ec2_does_not_know_yet_is_not_gone(bench: Bench, ec2: Ec2Double) -> None:
    provider = bench.provider()
    bench.time.advance(timedelta(hours=1))  # long enough to know all that was there before
    ec2.lists_lag = True
    bought = run(provider.provision(request()))

    with pytest.raises(Unavailable, match="may not know it yet"):
        run(provider.terminate(bought.id))

    ec2.catch_up()
    run(provider.terminate(bought.id))
    assert ec2.alive() == []


def test_what_another_process_may_have_launched_just_now_is_not_gone(bench: Bench) -> None:
    provider = bench.provider()
    stranger = "us-east-1/i-0123456789abcdef0"

    with pytest.raises(Unavailable, match="may not know it yet"):
        run(provider.terminate(stranger))

    bench.time.advance(provider.list_lag)
    with pytest.raises(NotFound, match="i-0123456789abcdef0"):
        run(provider.terminate(stranger))


def test_a_machine_that_was_terminated_by_hand_is_gone(bench: Bench, ec2: Ec2Double) -> None:
    provider = bench.provider()
    bought = run(provider.provision(request()))
    the_machine(ec2).terminate()

    assert run(provider.list()) == []
    with pytest.raises(NotFound, match="has been terminated"):
        run(provider.terminate(bought.id))

    bench.time.advance(timedelta(hours=2))
    ec2.forget(bought.id.rpartition("/")[2])
    with pytest.raises(NotFound, match=bought.id):
        run(provider.terminate(bought.id))


@pytest.mark.parametrize("nonsense", ["", "/", "i-", "../i-0123456789abcdef0", "a/b/c", "x" * 99])
def test_what_can_be_no_id_is_not_found_at_once(bench: Bench, nonsense: str) -> None:
    with pytest.raises(NotFound):
        run(bench.provider().terminate(nonsense))


def test_an_id_without_a_region_is_looked_for_in_all(bench: Bench, ec2: Ec2Double) -> None:
    provider = bench.provider(regions=("us-east-1", "us-west-2"))
    bought = run(provider.provision(request(region="us-west-2")))
    assert bought.id.startswith("us-west-2/")

    run(provider.terminate(bought.id.rpartition("/")[2]))

    assert ec2.alive() == []


def test_an_end_that_ec2_refuses_leaves_the_machine(bench: Bench, ec2: Ec2Double) -> None:
    provider = bench.provider()
    bought = run(provider.provision(request()))
    ec2.fail_next("OperationNotPermitted", "protected", operation="TerminateInstances")

    with pytest.raises(InvalidRequest, match="protected"):
        run(provider.terminate(bought.id))

    (listed,) = run(provider.list())
    assert listed.status is InstanceStatus.RUNNING


def test_a_closed_provider_asks_nothing_any_more(bench: Bench, ec2: Ec2Double) -> None:
    provider = bench.provider()
    run(provider.list())
    run(provider.close())

    with pytest.raises(Unavailable, match="is closed"):
        run(provider.provision(request()))

    assert ec2.calls("RunInstances") == []


def test_the_facts_are_those_of_ec2(bench: Bench) -> None:
    facts = facts_of(bench.provider(timeout=timedelta(seconds=50)))

    assert facts.honours_tokens
    assert facts.list_lag == timedelta(minutes=6, seconds=20)
    assert facts.calls_per_second == 2
    assert facts.launches_at_once == 8
