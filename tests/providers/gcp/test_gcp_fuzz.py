"""Whatever stands where Google should: every call ends in an answer or an error of the contract."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.compute_engine_faults import Raw
from doubles.gcp_bench import ZONE, Bench, asking
from navarch.errors import ProviderError
from navarch.providers.gcp import GcpProvider

KEYS = st.sampled_from(
    [
        *("items", "name", "status", "error", "errors", "code", "message", "reason", "details"),
        *("nextPageToken", "unreachables", "warning", "instances", "machineTypes", "labels"),
        *("zone", "targetLink", "httpErrorStatusCode", "networkInterfaces", "accelerators"),
        *("zones/us-central1-a", "machineType", "guestAccelerators", "guestCpus"),
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["DONE", "RUNNING", "STAGING", "n-1", ZONE, "rateLimitExceeded", "../x"])
    | st.text(max_size=8)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
OPERATION = st.fixed_dictionaries(
    {"name": st.just("operation-1") | st.text(max_size=8), "status": st.just("DONE") | LEAVES},
    optional={"error": JSON, "httpErrorStatusCode": JSON, "targetLink": JSON},
)
BODIES = st.binary(max_size=64) | (JSON | OPERATION).map(lambda value: json.dumps(value).encode())
VISIBLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
ANSWERS = st.builds(
    Raw,
    status=st.sampled_from([200, 200, 200, 204, 302, 400, 401, 403, 404, 409, 412, 429, 500, 503])
    | st.integers(min_value=200, max_value=599),
    body=BODIES,
    headers=st.dictionaries(st.just("retry-after"), VISIBLE, max_size=1),
)
KINDS = ("insert", "get", "operation", "delete", "list", "types", "operations")


async def provision(provider: GcpProvider) -> object:
    return await provider.provision(asking())


async def provision_anywhere(provider: GcpProvider) -> object:
    return await provider.provision(asking(zone="", region="us-central1"))


async def terminate(provider: GcpProvider) -> object:
    await provider.terminate(f"{ZONE}/n-1")
    return None


async def listing(provider: GcpProvider) -> object:
    return await provider.list()


async def types(provider: GcpProvider) -> object:
    return await provider.list_instance_types()


@pytest.mark.parametrize("call", [provision, provision_anywhere, terminate, listing, types])
def test_any_answer_is_read_or_becomes_an_error_of_the_contract(
    bench: Bench, call: Callable[[GcpProvider], Awaitable[object]]
) -> None:
    with asyncio.Runner() as runner:
        provider = bench.provider()

        @settings(max_examples=30, suppress_health_check=list(HealthCheck))
        @given(st.lists(st.tuples(st.sampled_from(KINDS), ANSWERS), min_size=1, max_size=6))
        def fuzz(script: list[tuple[str, Raw]]) -> None:
            bench.double.unscript()
            bench.double.instances.clear()
            for kind, answer in script:
                bench.double.script(kind, answer)
            with contextlib.suppress(ProviderError):
                runner.run(tell())

        async def tell() -> Any:  # noqa: ANN401
            async with asyncio.timeout(10):
                return await call(provider)

        fuzz()
        runner.run(provider.close())


def test_any_answer_of_the_token_endpoint_becomes_an_error_of_the_contract(bench: Bench) -> None:
    told = bench.double.identity.faults

    @settings(max_examples=15, suppress_health_check=list(HealthCheck))
    @given(ANSWERS.filter(lambda answer: answer.status not in {408, 429, 500, 503, 504}))
    def fuzz(answer: Raw) -> None:
        # The statuses left out are tried again by google-auth, after seconds of real sleep.
        told.clear()
        told.append((answer.status, answer.body))
        with contextlib.suppress(ProviderError):
            bench.run(
                lambda provider: provider.list(),
                credentials_file=key_file,
                use_metadata_server=False,
            )

    key_file = bench.key_file()
    fuzz()
