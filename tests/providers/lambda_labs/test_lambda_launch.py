"""What a launch at Lambda Cloud asks, and what becomes of every answer to it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from doubles.http_cloud import Said, Silence, said_json
from doubles.lambda_bench import KEY, KEY_ENV, LAUNCH, LIST, Bench, request_of, settings_of
from doubles.lambda_cloud import fault_of
from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import FLEET_LABEL, INSTANCE_LABEL, POOL_LABEL, InstanceStatus
from navarch.providers.lambda_labs import LambdaProvider

SCRIPT = "#!/bin/sh\nexport NAVARCH_TOKEN=node-token-0123456789\nexec start-the-agent\n"


def test_a_launch_asks_for_what_was_requested_and_carries_our_tags(bench: Bench) -> None:
    bench.changes = {
        "image_family": "lambda-stack-24-04",
        "file_system_names": ("models",),
        "firewall_ruleset_ids": ("rules-1",),
    }
    request = replace(request_of(), region="us-east-1", ssh_key_names=("ops",), user_data=SCRIPT)

    instance = bench.provision(request)

    [asked] = [each for each in bench.cloud.asked if each.call == LAUNCH]
    assert asked.json() == {
        "region_name": "us-east-1",
        "instance_type_name": "gpu_8x_h100_sxm5",
        "ssh_key_names": ["ops"],
        "name": "training-1",
        "tags": [
            {"key": "managed-by", "value": "navarch"},
            {"key": "navarch:instance", "value": "training-1"},
            {"key": "navarch:fleet", "value": "fleet-1"},
            {"key": "navarch:pool", "value": "training"},
        ],
        "user_data": SCRIPT,
        "image": {"family": "lambda-stack-24-04"},
        "file_system_names": ["models"],
        "firewall_rulesets": [{"id": "rules-1"}],
    }
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert (instance.region, instance.status) == ("us-east-1", InstanceStatus.PROVISIONING)


def test_the_settings_fill_in_what_a_pool_leaves_open(bench: Bench) -> None:
    bench.changes = {"image_id": "43336648-096d-4cba-9aa2-f9bb7727639d"}
    bench.provision()
    [asked] = [each for each in bench.cloud.asked if each.call == LAUNCH]
    body = asked.json()
    assert (body["region_name"], body["ssh_key_names"]) == ("us-west-1", ["ops"])
    assert body["image"] == {"id": "43336648-096d-4cba-9aa2-f9bb7727639d"}
    assert {"user_data", "file_system_names", "firewall_rulesets"} & body.keys() == set()


@pytest.mark.parametrize(
    "changes,because",
    [
        ({"name": ""}, "needs a name"),
        ({"name": "n" * 65}, "65 characters"),
        ({"zone": "a"}, "no zones"),
        ({"spot": True}, "no spot"),
        ({"ssh_key_names": ("ops", "dev")}, "2 ssh keys"),
        ({"user_data": "x" * 1_000_001}, "1000001 bytes"),
        ({"name": "\ud800"}, "no Unicode"),
    ],
)
def test_what_lambda_would_refuse_is_refused_before_it_is_asked(
    bench: Bench, changes: dict[str, object], because: str
) -> None:
    with pytest.raises(InvalidRequest, match=because):
        bench.provision(replace(request_of(), **changes))
    assert bench.cloud.count(LAUNCH) == 0


def test_without_a_region_or_a_key_to_log_in_with_nothing_is_asked(bench: Bench) -> None:
    bench.changes = {"region": ""}
    with pytest.raises(InvalidRequest, match="needs a region"):
        bench.provision()
    bench.changes = {"ssh_key_name": ""}
    with pytest.raises(InvalidRequest, match="0 ssh keys"):
        bench.provision()
    assert bench.cloud.asked == []


REFUSALS = [
    (fault_of(400, "instance-operations/launch/insufficient-capacity"), NoCapacity),
    (fault_of(400, "global/quota-exceeded"), QuotaExceeded),
    (fault_of(400, "global/invalid-parameters"), InvalidRequest),
    (fault_of(400, "global/duplicate"), InvalidRequest),
    (fault_of(400, "global/object-does-not-exist"), InvalidRequest),
    (fault_of(404, "global/object-does-not-exist"), InvalidRequest),
    (fault_of(400, "instance-operations/launch/file-system-in-wrong-region"), InvalidRequest),
    (fault_of(400, "instance-operations/launch/something-new"), InvalidRequest),
    (fault_of(401, "global/invalid-api-key"), Unauthorized),
    (fault_of(401, "global/something-new"), Unauthorized),
    (fault_of(403, "global/account-inactive"), Unauthorized),
    (fault_of(403, "global/invalid-address"), Unauthorized),
    (fault_of(400, "provider/region-closed"), Unavailable),
    (fault_of(429, "global/too-many-requests"), Throttled),
    (Said(429, b"error code: 1015"), Throttled),
    (Said(403, b"error code: 1015"), Throttled),
    (Said(403, b"<h1>Forbidden</h1>"), Unauthorized),
    (Said(404, b"<h1>nginx</h1>"), Unavailable),
    (Said(413, b"<h1>too large</h1>"), Unavailable),
    (Said(302, b"", {"location": "https://elsewhere.example/"}), Unavailable),
]


@pytest.mark.parametrize("said,kind", REFUSALS)
def test_a_refusal_says_what_it_is_and_nothing_is_made(
    bench: Bench, said: Said, kind: type[ProviderError]
) -> None:
    bench.cloud.fault(LAUNCH, said)
    with pytest.raises(ProviderError) as failure:
        bench.provision()
    assert type(failure.value) is kind
    assert str(failure.value).startswith("lambda: ")
    assert bench.cloud.servers == {}


UNCLEAR: list[tuple[Said | None, Silence]] = [
    (fault_of(500, "global/internal-error"), ""),
    (fault_of(400, "global/internal-error"), ""),
    (Said(502, b"<h1>Bad gateway</h1>"), ""),
    (fault_of(503, "provider/down"), ""),
    (Said(408, b""), ""),
    (Said(200, b""), ""),
    (Said(200, b'{"data": {"instance_ids": [1]}}'), ""),
    (Said(200, b"\xff\xfe"), ""),
    (said_json({"data": {"instance_ids": []}}), ""),
    (said_json({"data": {"instance_ids": [""]}}), ""),
    (said_json({"data": {"instance_ids": ["a", "b"]}}), ""),
    (Said(202, b"{}"), ""),
    (None, "hang up"),
    (None, "hang"),
]


@pytest.mark.parametrize("said,silence", UNCLEAR)
def test_after_an_unclear_answer_the_machine_is_found_and_not_bought_again(
    bench: Bench, said: Said | None, silence: Silence
) -> None:
    bench.changes = {"launch_timeout": timedelta(milliseconds=150)}
    bench.cloud.fault(LAUNCH, said, acts=True, silence=silence)
    with pytest.raises(OutcomeUnknown):
        bench.provision()
    [server] = bench.cloud.servers.values()

    found = bench.provision()

    assert found.id == server.id
    assert found.labels[INSTANCE_LABEL] == "training-1"
    assert len(bench.cloud.servers) == 1


def test_where_no_connection_can_be_made_nothing_was_done(bench: Bench) -> None:
    request = replace(
        request_of(), token=""
    )  # no look-up, so that the launch itself meets the closed door
    bench.url = "http://127.0.0.1:1"
    with pytest.raises(Unavailable):
        bench.provision(request)


def test_a_failed_look_up_launches_nothing(bench: Bench) -> None:
    for said, kind in (
        (Said(500, b"oops"), Unavailable),
        (Said(200, b"{}"), Unavailable),
        (fault_of(401, "global/invalid-api-key"), Unauthorized),
        (Said(429), Throttled),
    ):
        bench.cloud.fault(LIST, said)
        with pytest.raises(kind):
            bench.provision()
    assert bench.cloud.count(LAUNCH) == 0


def test_a_token_is_used_once_while_lambda_remembers_it(bench: Bench) -> None:
    bench.cloud.account.end_time = timedelta(minutes=5)
    bench.terminate(bench.provision().id)
    with pytest.raises(InvalidRequest, match=r"training-1 was 0.*terminating; ids are used once"):
        bench.provision()
    assert len(bench.cloud.servers) == 1


def test_fleets_of_one_account_with_the_same_ids_are_not_confused(bench: Bench) -> None:
    mine = bench.provision(request_of(fleet="fleet-1"))
    theirs = bench.provision(request_of(fleet="fleet-2"))
    assert mine.id != theirs.id
    assert {each.labels[FLEET_LABEL] for each in bench.list()} == {"fleet-1", "fleet-2"}


def test_without_a_token_each_call_buys(bench: Bench) -> None:
    request = replace(request_of(), token="")
    assert bench.provision(request).id != bench.provision(request).id
    assert bench.cloud.count(LIST) == 0


def test_a_renamed_machine_is_found_by_its_tags(bench: Bench) -> None:
    first = bench.provision()
    bench.cloud.servers[first.id].asked["name"] = "renamed in the console"
    again = bench.provision()
    assert (again.id, again.name) == (first.id, "training-1")


def test_a_stock_out_ends_when_there_is_stock(bench: Bench) -> None:
    bench.cloud.account.stock["gpu_8x_h100_sxm5", "us-west-1"] = 0
    with pytest.raises(NoCapacity):
        bench.provision()
    assert bench.provision(replace(request_of(), region="us-east-1")).region == "us-east-1"


def test_two_who_ask_at_once_through_one_provider_buy_one(bench: Bench) -> None:
    async def story(provider: LambdaProvider) -> set[str]:
        both = await asyncio.gather(*(provider.provision(request_of()) for _ in range(2)))
        return {each.id for each in both}

    assert len(bench.run(story)) == 1


def test_a_cancelled_launch_is_found_and_holds_up_nobody(bench: Bench) -> None:
    bench.cloud.fault(LAUNCH, acts=True, silence="hang")

    async def story(provider: LambdaProvider) -> None:
        task = asyncio.create_task(provider.provision(request_of()))
        while not bench.cloud.servers:  # noqa: ASYNC110 - the double is another thread
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        [server] = bench.cloud.servers.values()
        assert (await provider.provision(request_of())).id == server.id
        assert (await provider.provision(request_of("training-2"))).id != server.id
        assert asyncio.all_tasks() == {asyncio.current_task()}

    bench.run(story)


def test_neither_key_nor_script_is_in_any_error(bench: Bench) -> None:
    said = fault_of(400, "global/invalid-parameters", f"bad user_data: {SCRIPT!r} of {KEY}")
    bench.cloud.fault(LAUNCH, said)
    with pytest.raises(InvalidRequest) as failure:
        bench.provision(replace(request_of(), user_data=SCRIPT))
    said_text = str(failure.value)
    assert "bad user_data" in said_text
    assert "***" in said_text
    assert "node-token-0123456789" not in said_text
    assert KEY not in said_text
    assert KEY not in repr(settings_of(bench.url))


def test_a_long_complaint_is_cut(bench: Bench) -> None:
    bench.cloud.fault(LAUNCH, fault_of(400, "global/invalid-parameters", "no\n\x1b[31m " * 9999))
    with pytest.raises(InvalidRequest) as failure:
        bench.provision()
    assert len(str(failure.value)) < 400
    assert str(failure.value).isprintable()


def test_labels_travel(bench: Bench) -> None:
    odd = {
        POOL_LABEL: "training",
        "": "",
        "managed-by": "us",
        "navarch:fleet": "no",
        "Größe/八": "8",
    }
    request = request_of()
    labels = {**request.labels, **odd}
    instance = bench.provision(replace(request_of(), labels=labels))
    [listed] = bench.list()
    assert dict(listed.labels) == dict(instance.labels) == labels


def test_the_key_is_read_anew_for_each_request(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(provider: LambdaProvider) -> None:
        await provider.provision(request_of())
        bench.cloud.account.keys = {"the-next-key"}
        with pytest.raises(Unauthorized):
            await provider.list()
        monkeypatch.setenv(KEY_ENV, "the-next-key")
        assert len(await provider.list()) == 1
        for wrong in ("", "two\nlines", "ключ"):
            monkeypatch.setenv(KEY_ENV, wrong)
            with pytest.raises(Unauthorized):
                await provider.provision(request_of("training-2"))

    bench.run(story)
    assert len(bench.cloud.servers) == 1
