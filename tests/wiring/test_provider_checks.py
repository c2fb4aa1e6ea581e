"""What `navarch provider` finds out: clocks, credentials, price lists, and what pools may buy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.ec2 import Served, serving
from doubles.ec2_bench import KEY, SECRET
from doubles.service_quotas import service_quotas
from navarch.config import load
from navarch.config import providers as written
from navarch.config.schema import Config
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.effects import ListPrice
from navarch.errors import Unavailable
from navarch.providers.base import InstanceType
from navarch.wiring import provider_checks, provider_types
from navarch.wiring.provider_checks import skew
from navarch.wiring.providers import pools_of
from wiring.foreign import Rack

NEVER = datetime(1, 1, 1, tzinfo=UTC)
"""Stands for a cloud that does not say what time it is."""
NOW = datetime(2026, 11, 22, 12, 0, 0, 500_000, tzinfo=UTC)


def configured(text: str) -> Config:
    found = load.examine_text(text, path=Path("/etc/navarch.yaml"), environ={})
    assert found.faults == ()
    assert found.config is not None
    return found.config


def checked(text: str, *names: str) -> list[tuple[str, str, str, str]]:
    """Check the providers of a text by a clock that stands."""
    found = asyncio.run(provider_checks.examined(configured(text), FakeClock(NOW), names))
    return [(one.provider, one.what, one.outcome, one.text) for one in found]


def header(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.mark.parametrize(
    "theirs,expected",
    [
        (NOW, timedelta()),
        (NOW - timedelta(seconds=1), timedelta(seconds=0.5)),
        (NOW - timedelta(minutes=10), timedelta(minutes=10) - timedelta(seconds=0.5)),
        (NOW + timedelta(minutes=10), -timedelta(minutes=10) + timedelta(seconds=2.5)),
    ],
)
def test_a_clock_is_off_by_what_the_way_of_the_answer_cannot_explain(
    theirs: datetime, expected: timedelta
) -> None:
    assert skew(header(theirs), NOW, NOW + timedelta(seconds=2)) == expected


@given(st.text() | st.dates().map(str) | st.sampled_from(["Fri, 31 Dec 9999 23:59:59 GMT", "0"]))
def test_any_header_is_a_time_or_nothing(date: str) -> None:
    found = skew(date, NOW, NOW)
    assert found is None or abs(found) < timedelta(days=3_660_000)


class Dated(BaseHTTPRequestHandler):
    """A cloud that says what time it has."""

    theirs = NOW
    keys: list[str | None]

    def do_GET(self) -> None:
        self.keys.append(self.headers.get("authorization"))
        self.send_response_only(401)
        if self.theirs != NEVER:
            self.send_header("Date", header(self.theirs))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def cloud(theirs: datetime) -> Iterator[tuple[str, list[str | None]]]:
    """Serve a cloud whose clock shows `theirs`; yield its address and the keys it was sent."""
    keys: list[str | None] = []
    handler = type("Handler", (Dated,), {"theirs": theirs, "keys": keys})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", keys
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "theirs,outcome,text",
    [
        (NOW, "ok", "as theirs"),
        (NOW - timedelta(seconds=90), "ok", "89 s ahead of theirs"),
        (
            NOW + timedelta(minutes=6),
            "failed",
            "359 s behind theirs: signed requests are refused; set this machine's clock",
        ),
        (NEVER, "unknown", "{url} does not say what time it is"),
    ],
)
def test_our_clock_is_compared_without_sending_the_key(
    theirs: datetime, outcome: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAMBDA_API_KEY", raising=False)
    with cloud(theirs) as (url, keys):
        found = checked(f'providers: {{cheap: {{type: lambda, url: "{url}"}}}}\n')
    assert found[0] == ("cheap", "clock", outcome, text.format(url=url))
    assert keys == [None]
    assert found[1:] == [
        ("cheap", "settings", "ok", "it can be made"),
        ("cheap", "credentials", "failed", found[2][3]),
    ]
    assert "LAMBDA_API_KEY" in found[2][3]


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    """Serve an EC2, and leave the SDK nothing of this machine's own."""
    monkeypatch.setenv("OUR_KEY_ID", KEY)
    monkeypatch.setenv("OUR_SECRET", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    with serving() as served, service_quotas() as quotas:
        quotas.applied["us-east-1", "L-417A185B"] = 100
        yield served


def at_amazon(url: str, pool: str) -> dict[str, tuple[str, str]]:
    found = checked(
        "providers:\n"
        f"  aws: {{type: aws, region: us-east-1, image: ami-0123456789abcdef0, "
        f"endpoint_url: '{url}', access_key_id_env: OUR_KEY_ID, "
        "secret_access_key_env: OUR_SECRET}\n"
        f"pools: {{training: {pool}}}\n"
    )
    return {what: (outcome, text) for _, what, outcome, text in found}


def test_rights_at_amazon_are_asked_without_launching(ec2: Served) -> None:
    pool = "{provider: aws, instance_type: h100-8x, max_nodes: 1}"
    found = at_amazon(ec2.url, pool)
    assert found["launch for training"] == (
        *("ok", "a launch of p5.48xlarge in us-east-1 would be allowed"),
    )
    assert "launches" not in found
    assert found["quota of us-east-1"][0] == "failed"
    assert "192 could be used by training" in found["quota of us-east-1"][1]
    ec2.cloud.fail_next("UnauthorizedOperation", operation="RunInstances")
    outcome, text = at_amazon(ec2.url, pool)["launch for training"]
    assert outcome == "failed"
    assert "UnauthorizedOperation" in text
    assert ec2.cloud.alive() == []
    assert len(ec2.cloud.calls("RunInstances")) == 2


def test_a_cloud_out_of_reach_says_nothing_of_our_clock() -> None:
    with cloud(NOW) as (url, _):
        pass
    clock = checked(f'providers: {{cheap: {{type: lambda, url: "{url}"}}}}\n')[0]
    assert clock[:3] == ("cheap", "clock", "unknown")
    assert url in clock[3]


@pytest.mark.parametrize(
    "settings,expected",
    [
        (written.AwsProvider(region="eu-north-1"), "https://ec2.eu-north-1.amazonaws.com"),
        (
            written.AwsProvider(regions=("us-west-2", "b"), endpoint_url="https://{region}.ec2"),
            "https://us-west-2.ec2",
        ),
        (written.GcpProvider(project="p"), "https://compute.googleapis.com"),
        (written.RunPodProvider(image="i"), "https://api.runpod.io"),
        (written.FakeProvider(), None),
        (written.SshProvider(), None),
    ],
)
def test_each_cloud_is_asked_for_the_time_where_it_is_asked_for_machines(
    settings: written.Provider, expected: str | None
) -> None:
    assert provider_checks.date_url(settings) == expected


FOREIGN = """
providers:
  rack: {type: custom, use: "wiring.foreign:Rack"}
  gone: {type: custom, use: "wiring.foreign:Refusing"}
  odd: {type: custom, use: "wiring.foreign:Rack", config: {list_lag: soon}}
  fake: {type: fake, stock: {h100-8x: 1}}
pools:
  training: {provider: fake, instance_type: h100-8x, max_nodes: 1}
  other: {provider: fake, instance_type: a100-8x, max_nodes: 1}
"""


def test_credentials_settings_types_and_what_a_provider_knows_of_itself_are_told() -> None:
    assert checked(FOREIGN, "rack", "gone", "odd") == [
        ("rack", "settings", "ok", "it can be made"),
        ("rack", "credentials", "ok", "accepted; machines listed: 1"),
        ("rack", "quota", "failed", "0 of 8 GPUs are left"),
        ("rack", "rights", "ok", "may launch"),
        ("gone", "settings", "ok", "it can be made"),
        ("gone", "credentials", "failed", "rack: the key is refused"),
        (
            "odd",
            "settings",
            "failed",
            "provider rack: list_lag must be a timedelta of zero or more, not 'soon'",
        ),
    ]


def test_the_types_that_pools_buy_are_looked_up_in_the_price_list() -> None:
    found = checked(FOREIGN, "fake")
    assert found[0] == ("fake", "settings", "ok", "it can be made")
    assert [what for _, what, _, _ in found[1:]] == [
        *("credentials", "price list", "pool training", "pool other", "stock", "stock"),
    ]
    assert found[-2:] == [
        ("fake", "stock", "ok", "h100-8x: 1 machines, 1 could be wanted"),
        ("fake", "stock", "ok", "a100-8x: as many as anybody wants"),
    ]


class Silent(Rack):
    """One that knows nothing of its account."""

    examine = None  # type: ignore[assignment] # it has no such method


def test_a_provider_that_tells_nothing_leaves_launches_unknown() -> None:
    text = 'providers: {rack: {type: custom, use: "wiring.test_provider_checks:Silent"}}\n'
    assert checked(text)[-1][1:3] == ("launches", "unknown")


def test_what_pools_may_come_to_want_is_told_with_sizes_and_prices() -> None:
    config = configured(
        "providers: {aws: {type: aws, region: us-east-1, image: ami-0123456789abcdef0}}\n"
        "pools:\n"
        "  a: {provider: aws, instance_type: h100-8x, max_nodes: 3}\n"
        "  b: {provider: aws, instance_type: x9.large, max_nodes: 2, spot_percent: 50}\n"
    )
    listed = {
        "x9.large": InstanceType(
            name="x9.large", gpu_count=1, gpu_type="X", vcpus=4, price_per_hour=2.0
        )
    }
    found = provider_checks.wanted(pools_of(config), "aws", "aws", listed)
    told = [
        (one.pool, one.instance_type, one.nodes, one.spot, one.vcpus, one.price_per_hour)
        for one in found
    ]
    assert told == [
        ("a", "p5.48xlarge", 3, False, 192, None),
        ("b", "x9.large", 2, True, 4, 2.0),
        ("b", "x9.large", 2, False, 4, 2.0),
    ]


class Broken(Rack):
    """Its price list cannot be had."""

    async def list_instance_types(self) -> list[InstanceType]:
        raise Unavailable("rack: it is on fire")


class Priced(Rack):
    """It shows some prices, and of some types none."""

    async def list_instance_types(self) -> list[InstanceType]:
        return [
            InstanceType(name="p5.48xlarge", gpu_count=8, gpu_type="NVIDIA H100", regions=("a",)),
            InstanceType(
                name="g6e.xlarge",
                gpu_count=1,
                gpu_type="NVIDIA L40S",
                price_per_hour=1.5,
                spot_price_per_hour=0.5,
                available=False,
            ),
            InstanceType(name="x9.large", gpu_count=1, gpu_type="NVIDIA X900"),
        ]


def test_prices_that_a_provider_does_not_say_are_the_catalogues() -> None:
    sold, failures = asyncio.run(
        provider_types.sold_by(
            {"cloud": Priced(), "broken": Broken(), "silent": Rack()},
            {"cloud": "aws", "broken": "aws", "silent": "custom"},
        )
    )
    assert failures == [provider_types.Failure("broken", "Unavailable: rack: it is on fire")]
    known, cheaper, unknown = sold
    assert (known.abstract, known.gpu, known.vcpus, known.regions) == (
        *("h100-8x", "NVIDIA H100", 192),
        ("a",),
    )
    assert known.price_usd_per_hour == 55.04
    assert known.price_from == "list price of us-east-1, 2026-11-09"
    assert (cheaper.price_usd_per_hour, cheaper.price_from) == (1.5, "provider")
    assert (cheaper.spot_price_usd_per_hour, cheaper.available) == (0.5, False)
    assert "us-east-1" in cheaper.regions
    assert (unknown.abstract, unknown.price_usd_per_hour, unknown.price_from) == ("", None, "")


def test_list_prices_are_those_of_the_catalogue_with_place_and_day() -> None:
    listed = provider_types.list_prices("aws")
    assert listed is not None
    assert listed("p5.48xlarge") == ListPrice(55.04, "us-east-1, 2026-11-09")
    assert (listed("p5.4xlarge"), listed("x9.large")) == (None, None)
    assert provider_types.list_prices("ssh") is None


def test_types_are_chosen_by_gpu_and_count_and_unknown_prices_come_last() -> None:
    every = provider_types.in_catalogue()
    eights = provider_types.chosen(every, gpu="h100", count=8)
    assert {one.gpu_count for one in eights} == {8}
    assert {"H100 SXM", "H100 PCIe"} == {one.gpu for one in eights}
    prices = [one.price_usd_per_hour for one in provider_types.chosen(every)]
    known = [price for price in prices if price is not None]
    assert prices == [*sorted(known), *([None] * (len(prices) - len(known)))]
    cards = provider_types.chosen(every, gpu="H100-PCIe", count=1, sort="name")
    assert [one.type for one in cards] == ["NVIDIA H100 PCIe", "gpu_1x_h100_pcie"]
    counts = [one.gpu_count for one in provider_types.chosen(every, sort="count")]
    assert counts == sorted(counts)
    assert provider_types.chosen(every, gpu="x900") == []
