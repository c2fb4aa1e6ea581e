"""What EC2 and Service Quotas tell before anything is bought."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.ec2_bench import P5, Bench, run
from doubles.http_cloud import Said
from doubles.service_quotas import NAMES, ServiceQuotas, service_quotas
from navarch.providers.aws.examining import quota_of
from navarch.providers.base import Finding, Wanted


@pytest.fixture
def quotas() -> Iterator[ServiceQuotas]:
    """Yield the quotas of an account that may have nothing."""
    with service_quotas() as cloud:
        yield cloud


def want(pool: str = "training", **changes: object) -> Wanted:
    """Want eight machines of 192 vCPUs."""
    said: dict[str, object] = {"instance_type": P5, "nodes": 8, "vcpus": 192, **changes}
    return Wanted(pool=pool, **said)  # type: ignore[arg-type]


def told(bench: Bench, *wanted: Wanted) -> list[Finding]:
    """Return what is told of quotas."""
    found = run(bench.provider().examine_for(wanted))
    return [each for each in found if each[0].startswith("quota")]


@pytest.mark.parametrize(
    "instance_type,spot,code",
    [
        ("p5.48xlarge", False, "L-417A185B"),
        ("p4d.24xlarge", True, "L-7212CCBC"),
        ("p5en.48xlarge", True, "L-C4BD4855"),
        ("g6e.xlarge", False, "L-DB2E81BA"),
        ("g5.xlarge", True, "L-3819A6DF"),
        ("p6-b200.48xlarge", False, "L-417A185B"),
        ("p6-b200.48xlarge", True, ""),
        ("m5.large", False, ""),
        ("", False, ""),
    ],
)
def test_each_family_is_counted_by_its_own_quota(
    instance_type: str, *, spot: bool, code: str
) -> None:
    quota = quota_of(instance_type, spot=spot)
    assert (quota.code if quota else "") == code
    assert quota is None or NAMES[code] == quota.name


def test_a_quota_of_less_than_the_pools_may_use_fails_with_both_numbers(
    bench: Bench, quotas: ServiceQuotas
) -> None:
    quotas.applied["us-east-1", "L-417A185B"] = 1535
    assert told(bench, want()) == [
        (
            "quota of us-east-1",
            False,
            (
                "1535 vCPUs are allowed, 1536 could be used by training: have L-417A185B raised "
                "(Running On-Demand P instances)"
            ),
        )
    ]
    quotas.applied["us-east-1", "L-417A185B"] = 1536
    assert told(bench, want())[0][1] is True


def test_pools_that_share_a_quota_are_added_up_and_each_counts_its_largest_type_once(
    bench: Bench, quotas: ServiceQuotas
) -> None:
    quotas.applied["us-east-1", "L-417A185B"] = 2000
    smaller = want(instance_type="p4d.24xlarge", vcpus=96)
    other = want("other", nodes=2, zone="us-east-1a")
    ((_, well, text),) = told(bench, want(), smaller, other)
    assert (well, text.split(" (")[0]) == (
        *(True, "2000 vCPUs are allowed, 1920 could be used by training, other"),
    )


def test_spot_has_a_quota_of_its_own_and_the_default_holds_where_no_other_was_granted(
    bench: Bench, quotas: ServiceQuotas
) -> None:
    quotas.applied["us-east-1", "L-417A185B"] = 1536
    quotas.defaults["L-C4BD4855"] = 96
    found = told(bench, want(), want(spot=True))
    assert [well for _, well, _ in found] == [True, False]
    assert "96 vCPUs are allowed" in found[1][2]


def test_what_may_not_be_read_is_unknown_and_names_the_right(
    bench: Bench, quotas: ServiceQuotas
) -> None:
    quotas.may_read = False
    ((what, well, text),) = told(bench, want())
    assert (what, well) == ("quota of us-east-1", None)
    assert "AccessDeniedException" in text
    assert text.endswith("it takes the right servicequotas:GetServiceQuota")


def test_what_is_not_known_of_a_type_is_said(bench: Bench, quotas: ServiceQuotas) -> None:
    found = told(bench, want(instance_type="m5.large"), want(vcpus=None))
    assert found == [
        ("quota for training", None, "m5.large: its quota is not known here"),
        ("quota for training", None, f"{P5}: its vCPUs are not known"),
    ]
    assert quotas.asked == []


def test_a_launch_that_the_settings_do_not_make_fails_without_asking(bench: Bench) -> None:
    provider = bench.provider(image="")
    found = run(provider.examine_for([want(instance_type="m5.large")]))
    assert found[0][:2] == ("launch for training", False)
    assert "image" in found[0][2]
    assert bench.ec2.calls("RunInstances") == []


def test_an_ec2_in_trouble_says_nothing_of_rights(bench: Bench, quotas: ServiceQuotas) -> None:
    bench.ec2.fail_next("RequestLimitExceeded", operation="RunInstances")
    quotas.applied["us-east-1", "L-417A185B"] = 5000
    found = run(bench.provider().examine_for([want()]))
    assert [(what, well) for what, well, _ in found] == [
        ("launch for training", None),
        ("quota of us-east-1", True),
    ]


ANSWERS = st.builds(
    Said,
    st.sampled_from([200, 200, 200, 204, 400, 403, 429, 500, 503]),
    st.binary(max_size=40)
    | st.sampled_from(
        [
            b'{"Quota": {"Value": NaN}}',
            b'{"Quota": {"Value": -1}}',
            b'{"Quota": {"Value": "many"}}',
            b'{"Quota": {"Value": 1e999}}',
            b'{"Quota": {"Value": true}}',
            b'{"Quota": []}',
            b'{"Quota": null}',
            b"[]",
            b"{}",
            b'{"__type": 7}',
            b'{"__type": "NoSuchResourceException"}',
        ]
    ),
)


def test_whatever_arrives_in_the_place_of_a_quota_is_unknown(
    bench: Bench, quotas: ServiceQuotas
) -> None:
    @settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(ANSWERS)
    def check(said: Said) -> None:
        quotas.said = said
        ((what, well, text),) = told(bench, want())
        assert (what, well) == ("quota of us-east-1", None)
        assert text

    check()
