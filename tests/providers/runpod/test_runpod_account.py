"""What RunPod tells of money before anything is bought."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.http_cloud import Said
from doubles.runpod import ACCOUNT, KEY, Bench, problem
from navarch.providers.base import Finding, Wanted


def want(pool: str = "p", nodes: int = 2, price: float | None = 3.0) -> Wanted:
    return Wanted(pool=pool, instance_type="NVIDIA A40", nodes=nodes, price_per_hour=price)


def told(bench: Bench, *wanted: Wanted) -> list[Finding]:
    return list(bench.run(lambda provider: provider.examine_for(wanted)))


def test_balance_and_limit_are_told_with_what_pools_could_spend(bench: Bench) -> None:
    assert told(bench, want(), want("q", 1)) == [
        ("balance", True, "435.85 US$, 1.50 an hour are spent now"),
        ("quota", True, "80.00 US$ an hour are allowed, 9.00 could be spent by p, q"),
    ]


def test_no_money_and_a_limit_that_is_too_low_fail(bench: Bench) -> None:
    bench.cloud.account.myself = {"clientBalance": 0, "currentSpendPerHr": 0, "spendLimit": 5}
    assert [(what, well) for what, well, _ in told(bench, want())] == [
        *(("balance", False), ("quota", False)),
    ]


def test_a_type_without_a_price_leaves_the_limit_unknown_unless_others_exceed_it(
    bench: Bench,
) -> None:
    unpriced = want("q", price=None)
    assert told(bench, unpriced)[1] == (
        *("quota", None, "80.00 US$ an hour are allowed; there is no price of NVIDIA A40"),
    )
    assert told(bench, unpriced, want(nodes=30))[1][1] is False
    bench.cloud.account.myself["spendLimit"] = None
    assert told(bench, unpriced)[1][1] is True


def test_a_key_that_may_not_read_the_account_leaves_both_unknown(bench: Bench) -> None:
    bench.cloud.fault(ACCOUNT, problem(403, "no access"))
    found = told(bench, want())
    assert [well for _, well, _ in found] == [None, None]
    assert "HTTP 403" in found[0][2]


BODIES = st.binary(max_size=40) | st.dictionaries(
    st.sampled_from(["clientBalance", "currentSpendPerHr", "spendLimit"]),
    st.none() | st.floats() | st.integers() | st.text(max_size=4) | st.just(KEY),
).map(lambda account: json.dumps({"data": {"myself": account}}).encode())


def test_whatever_arrives_in_the_place_of_the_account_is_a_finding(bench: Bench) -> None:
    @settings(
        max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.sampled_from([200, 200, 200, 204, 302, 400, 401, 404, 500]), BODIES)
    def check(status: int, body: bytes) -> None:
        bench.cloud.fault(ACCOUNT, Said(status, body))
        found = told(bench, want())
        assert [what for what, _, _ in found] == ["balance", "quota"]
        assert all(text and KEY not in text for _, _, text in found)

    check()
