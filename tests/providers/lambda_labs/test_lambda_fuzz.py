"""Whatever Lambda Cloud answers, only errors of ours come out, and nothing is forgotten."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from doubles.http_cloud import Said
from doubles.lambda_bench import LAUNCH, Bench, request_of
from navarch.errors import OutcomeUnknown, ProviderError
from navarch.providers.lambda_labs import LambdaProvider

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "error", "code", "id", "status", "tags", "key", "instance_ids"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
BODIES = st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode())
HEADERS = st.fixed_dictionaries(
    {}, optional={"Retry-After": st.text(st.characters(codec="ascii", categories=["L", "N", "P"]))}
)
STATUSES = st.sampled_from([200, 201, 202, 301, 400, 401, 403, 404, 408, 409, 418, 429, 500, 503])

CALLS: list[Callable[[LambdaProvider], Awaitable[Any]]] = [
    lambda provider: provider.provision(replace(request_of(), token="")),
    lambda provider: provider.terminate("0" * 32),
    lambda provider: provider.list(),
    lambda provider: provider.list_instance_types(),
]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(status=STATUSES, body=BODIES, headers=HEADERS)
def test_any_answer_ends_in_a_value_or_in_an_error_of_ours(
    bench: Bench, status: int, body: bytes, headers: dict[str, str]
) -> None:
    for call in CALLS:
        bench.cloud.fault("", Said(status, body, headers))
        with suppress(ProviderError):
            bench.run(call)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(status=st.sampled_from([200, 201, 202, 408, 500, 502, 503]), body=BODIES)
def test_a_launch_whose_answer_makes_no_sense_is_never_taken_for_a_refusal(
    bench: Bench, status: int, body: bytes
) -> None:
    assume(b"instance_ids" not in body)
    assume(b"error" not in body)
    bench.cloud.fault(LAUNCH, Said(status, body))
    with pytest.raises(OutcomeUnknown):
        bench.provision(replace(request_of(), token=""))


def test_a_connection_that_breaks_off_ends_in_an_error_of_ours(bench: Bench) -> None:
    async def story(provider: LambdaProvider) -> list[str]:
        kinds = []
        for call in CALLS:
            bench.cloud.fault("", silence="hang up")
            with pytest.raises(ProviderError) as failure:
                await call(provider)
            kinds.append(type(failure.value).__name__)
        return kinds

    assert bench.run(story) == ["OutcomeUnknown", "OutcomeUnknown", "Unavailable", "Unavailable"]
