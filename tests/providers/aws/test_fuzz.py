"""Whatever arrives in place of EC2's answer, only errors of ours come out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.ec2 import Answer, Step, serving
from doubles.ec2_bench import P5, Bench, request, run
from navarch.errors import OutcomeUnknown, ProviderError

STATUSES = st.sampled_from([200, 200, 200, 204, 301, 400, 403, 404, 413, 429, 500, 502, 503])

SHAPES = [
    "<x><reservationSet>{}</reservationSet></x>",
    "<x><reservationSet><item><instancesSet>{}</instancesSet></item></reservationSet></x>",
    "<x><instancesSet>{}</instancesSet></x>",
    "<x><instancesSet><item><instanceId>i-1</instanceId>{}</item></instancesSet></x>",
    "<x><instanceTypeSet><item><instanceType>p5</instanceType>{}</item></instanceTypeSet></x>",
    "<x><spotPriceHistorySet><item><spotPrice>{}</spotPrice></item></spotPriceHistorySet></x>",
    "<Response><Errors><Error><Code>{}</Code></Error></Errors></Response>",
    "<x><nextToken>{}</nextToken></x>",
    "{}",
]
PARTS = [
    "",
    "<item/>",
    "<item><instanceId>i-1</instanceId></item>",
    "<instanceState><name>running</name></instanceState>",
    "<instanceState><code>x</code><name>odd</name></instanceState><tagSet><item/></tagSet>",
    "<gpuInfo><gpus><item><count>8</count></item></gpus></gpuInfo>",
    "<gpuInfo><gpus><item><count>many</count></item></gpus></gpuInfo>",
    "-1",
    "text",
    "&x;",
    "<!-- -->",
]

BODIES = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda shape, parts: shape.replace("{}", "".join(parts)).encode(),
        st.sampled_from(SHAPES),
        st.lists(st.sampled_from(PARTS), max_size=2),
    ),
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["Content-Type", "Date", "X-Odd", "Content-Encoding"]),
        st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=9),
    ),
    max_size=2,
).map(tuple)


@pytest.fixture(scope="module")
def sellers() -> Iterator[Bench]:
    """Yield one account for all examples."""
    with serving() as served:
        made = Bench(served.cloud, served.url)
        yield made
        made.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(status=STATUSES, body=BODIES, headers=HEADERS)
def test_any_answer_is_an_error_of_ours_or_makes_sense(
    sellers: Bench, status: int, body: bytes, headers: tuple[tuple[str, str], ...]
) -> None:
    provider = sellers.provider(type_patterns=(P5,))
    step = Step(answer=Answer(status, body, headers), acts=False)
    operations = ["RunInstances", "DescribeInstances", "TerminateInstances"]
    for each in (*operations, "DescribeInstanceTypes"):
        sellers.ec2.next(each, step)

    async def ask() -> list[object]:
        asked = (
            provider.provision(request()),
            provider.terminate("us-east-1/i-0123456789abcdef0"),
            provider.list(),
            provider.list_instance_types(),
        )
        return list(await asyncio.gather(*asked, return_exceptions=True))

    outcomes = run(ask())

    sellers.ec2.heal()
    faults = [each for each in outcomes if isinstance(each, BaseException)]
    assert [each for each in faults if not isinstance(each, ProviderError)] == []
    assert not any(isinstance(each, OutcomeUnknown) for each in outcomes[2:])
    run(provider.close())
