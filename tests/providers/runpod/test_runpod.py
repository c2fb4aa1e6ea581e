"""What RunPod's provider asks for, what becomes of every answer, and what it reads."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from doubles.http_cloud import Limit, Said, Silence, said_json
from doubles.runpod import (
    CATALOG,
    CREATE,
    DELETE,
    KEY,
    KEY_ENV,
    LIST,
    SOLD_OUT,
    Bench,
    problem,
    request_of,
    settings_of,
)
from navarch.errors import (
    ConfigError,
    InvalidRequest,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import FLEET_LABEL, InstanceStatus, facts_of
from navarch.providers.fake import ManualTime
from navarch.providers.runpod import (
    LABELS_ENV,
    RUN_SCRIPT,
    SCRIPT_ENV,
    RunPodProvider,
    RunPodSettings,
)

SCRIPT = "#!/bin/sh\nexport NAVARCH_TOKEN=node-token-0123456789\nexec start-the-agent\n"


def test_a_launch_asks_for_what_was_requested_and_carries_our_labels(bench: Bench) -> None:
    bench.changes = {
        "registry_id": "registry-1",
        "network_volume_id": "volume-1",
        "global_networking": True,
    }
    request = replace(request_of(), region="US-TX-3", user_data=SCRIPT)

    instance = bench.provision(request)

    [asked] = [each for each in bench.cloud.asked if each.call == CREATE]
    body = asked.json()
    assert json.loads(body["env"].pop(LABELS_ENV)) == request.labels
    assert b64decode(body["env"].pop(SCRIPT_ENV)).decode() == SCRIPT
    assert body == {
        "name": "training-1",
        "image": "registry.example/navarch-agent:1",
        "gpu": {"id": "NVIDIA H100 80GB HBM3", "count": 8},
        "cloud": "SECURE",
        "disk": 50,
        "ports": ["22/tcp"],
        "env": {},
        "args": RUN_SCRIPT,
        "dataCenterIds": ["US-TX-3"],
        "registry": "registry-1",
        "mounts": {"network": [{"volumeId": "volume-1", "path": "/workspace"}]},
        "globalNetworking": True,
    }
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert (instance.region, instance.instance_type) == ("US-TX-3", "8x NVIDIA H100 80GB HBM3")


def test_the_arguments_of_the_container_run_the_script(tmp_path: Path) -> None:
    script = f'#!/bin/sh\necho "it\'s $1 $0" > {tmp_path}/said\n'
    environment = {SCRIPT_ENV: b64encode(script.encode()).decode(), "PATH": "/usr/bin:/bin"}
    arguments = shlex.split(RUN_SCRIPT.replace("/tmp/navarch-start", f"{tmp_path}/start"))
    subprocess.run(arguments, env=environment, check=True)
    assert (tmp_path / "said").read_text() == f"it's  {tmp_path}/start\n"


@pytest.mark.parametrize(
    "changes,because",
    [
        ({"name": ""}, "needs a name"),
        ({"zone": "a"}, "no zones"),
        ({"spot": True}, "no spot"),
        ({"ssh_key_names": ("ops",)}, "knows no keys by name"),
        ({"user_data": "#cloud-config\n"}, "no cloud-init"),
        ({"user_data": f"#!{'x' * 90_000}"}, "more than 90000 bytes"),
        ({"user_data": "#!\ud800"}, "no Unicode"),
        ({"labels": {"a": "\ud800"}}, "no Unicode"),
        ({"instance_type": ""}, "is no type"),
        ({"instance_type": "1x NVIDIA A40"}, "is no type"),
        ({"instance_type": "0x NVIDIA A40"}, "not found"),
    ],
)
def test_what_runpod_could_not_do_is_refused(
    bench: Bench, changes: dict[str, object], because: str
) -> None:
    with pytest.raises(InvalidRequest, match=because):
        bench.provision(replace(request_of(), **changes))
    assert bench.cloud.pods == {}


@pytest.mark.parametrize(
    "said,kind",
    [
        (problem(400, SOLD_OUT), NoCapacity),
        (problem(500, SOLD_OUT), NoCapacity),
        (problem(400, "the gpu could not be placed"), NoCapacity),
        (problem(400, "Your account balance is too low"), QuotaExceeded),
        (problem(402, "pay first"), QuotaExceeded),
        (problem(400, "exactly one of gpu or cpu must be set"), InvalidRequest),
        (problem(422, "Request validation failed.", ("$: missing 'image'",)), InvalidRequest),
        (problem(404, "gpu type not found"), InvalidRequest),
        (problem(409, "conflict"), InvalidRequest),
        (problem(401, "missing bearer token"), Unauthorized),
        (problem(403, "access denied"), Unauthorized),
        (problem(429, "rate limit exceeded", retry_after="12"), Throttled),
        (Said(403, b"<h1>Forbidden</h1>"), Unauthorized),
        (Said(404, b"<h1>nginx</h1>"), Unavailable),
        (Said(301, b"", {"location": "https://elsewhere.example/"}), Unavailable),
    ],
)
def test_a_refusal_says_what_it_is_and_nothing_is_made(
    bench: Bench, said: Said, kind: type[ProviderError]
) -> None:
    bench.cloud.fault(CREATE, said)
    with pytest.raises(ProviderError) as failure:
        bench.provision()
    assert type(failure.value) is kind
    assert str(failure.value).startswith("runpod: ")
    assert bench.cloud.pods == {}


UNCLEAR: list[tuple[Said | None, Silence]] = [
    (problem(500, "internal"), ""),
    (Said(502, b"<h1>Bad gateway</h1>"), ""),
    (Said(408, b""), ""),
    (Said(201, b""), ""),
    (said_json({"id": "", "status": "RUNNING"}, 201), ""),
    (said_json({"pod": {}}, 200), ""),
    (Said(202, b"{}"), ""),
    (None, "hang up"),
    (None, "hang"),
]


@pytest.mark.parametrize("said,silence", UNCLEAR)
def test_after_an_unclear_answer_the_pod_is_found_and_not_bought_again(
    bench: Bench, said: Said | None, silence: Silence
) -> None:
    bench.changes = {"launch_timeout": timedelta(milliseconds=150)}
    bench.cloud.fault(CREATE, said, acts=True, silence=silence)
    with pytest.raises(OutcomeUnknown):
        bench.provision()
    [pod] = bench.cloud.pods.values()
    assert bench.provision().id == pod.id
    assert len(bench.cloud.pods) == 1


def test_fleets_of_one_account_with_the_same_ids_are_not_confused(bench: Bench) -> None:
    mine, theirs = bench.provision(request_of()), bench.provision(request_of(fleet="fleet-2"))
    assert mine.id != theirs.id
    assert {each.labels[FLEET_LABEL] for each in bench.list()} == {"fleet-1", "fleet-2"}


def test_a_cancelled_launch_is_found(bench: Bench) -> None:
    bench.cloud.fault(CREATE, acts=True, silence="hang")

    async def story(provider: RunPodProvider) -> str:
        task = asyncio.create_task(provider.provision(request_of()))
        while not bench.cloud.pods:  # noqa: ASYNC110 - the double is another thread
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return (await provider.provision(request_of())).id

    assert [bench.run(story)] == list(bench.cloud.pods)


@pytest.mark.parametrize(
    "word,status",
    [
        ("PROVISIONING", InstanceStatus.PROVISIONING),
        ("STARTING", InstanceStatus.PROVISIONING),
        ("RUNNING", InstanceStatus.RUNNING),
        ("EXITED", InstanceStatus.RUNNING),
        ("ERROR", InstanceStatus.RUNNING),
        ("TERMINATED", InstanceStatus.TERMINATED),
        ("a word of next year", InstanceStatus.RUNNING),
    ],
)
def test_each_of_runpods_words_has_one_of_ours(
    bench: Bench, word: str, status: InstanceStatus
) -> None:
    bench.cloud.pods[bench.provision().id].status = word
    [listed] = bench.list()
    assert listed.status == status


def test_a_listed_pod_says_where_and_what_it_is_and_no_secret(bench: Bench) -> None:
    bought = bench.provision(replace(request_of(), user_data=SCRIPT))
    [listed] = bench.list()
    assert (listed.id, listed.name, listed.region) == (bought.id, "training-1", "US-KS-2")
    assert (listed.public_ip, listed.private_ip) == ("203.0.113.9", "10.65.1.42")
    assert (listed.gpu_count, listed.gpu_type) == (8, "NVIDIA H100 80GB HBM3")
    assert SCRIPT_ENV not in repr(listed)
    assert b64encode(SCRIPT.encode()).decode() not in repr(listed)


def test_pods_of_others_are_left_out_and_damaged_labels_make_nobodys(bench: Bench) -> None:
    for name, env in (
        ("stranger", {"JUPYTER_PASSWORD": "x"}),
        ("damaged", {LABELS_ENV: "not JSON"}),
        ("bent", {LABELS_ENV: '["a"]'}),
        ("cpu", None),
    ):
        bench.cloud.pods[bench.provision(request_of(name)).id].asked["env"] = env
    listed = bench.list()
    assert [(each.name, dict(each.labels)) for each in listed] == [("damaged", {}), ("bent", {})]


@pytest.mark.parametrize(
    "said,kind",
    [
        (problem(404, "pod not found"), NotFound),
        (Said(404, b"<h1>nginx</h1>"), Unavailable),
        (problem(500, "internal"), OutcomeUnknown),
        (problem(400, "pod is locked"), InvalidRequest),
        (problem(401), Unauthorized),
        (problem(429), Throttled),
    ],
)
def test_only_runpod_itself_can_say_that_a_pod_is_gone(
    bench: Bench, said: Said, kind: type[ProviderError]
) -> None:
    bought = bench.provision()
    bench.cloud.fault(DELETE, said)
    with pytest.raises(ProviderError) as failure:
        bench.terminate(bought.id)
    assert type(failure.value) is kind
    bench.terminate(bought.id)
    assert bench.list() == []


def test_an_id_cannot_lead_to_another_path(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.terminate("../pods?x=#")
    assert bench.cloud.asked[-1].call == "DELETE /v2/pods/../pods?x=#"


def test_the_price_list_has_each_size_that_is_sold(bench: Bench) -> None:
    bench.cloud.account.stock["NVIDIA A40"] = 0
    bench.changes = {"gpu_counts": (8, 1)}
    lines = bench.run(lambda provider: provider.list_instance_types())
    assert [(each.name, each.price_per_hour, each.regions, each.available) for each in lines] == [
        ("NVIDIA A40", 0.4, (), False),
        ("NVIDIA H100 80GB HBM3", 2.99, ("US-KS-2",), True),
        ("8x NVIDIA A40", 3.2, (), False),
        ("8x NVIDIA H100 80GB HBM3", 23.92, ("US-KS-2",), True),
    ]
    bench.changes = {"gpu_counts": (8, 4), "cloud": "COMMUNITY"}
    lines = bench.run(lambda provider: provider.list_instance_types())
    assert [(each.name, each.price_per_hour) for each in lines] == [
        ("4x NVIDIA A40", 0.8),
        ("4x NVIDIA H100 80GB HBM3", 5.98),
    ]


def test_the_price_list_and_the_list_are_whole_or_an_error(bench: Bench) -> None:
    for said, kind in (
        (Said(200, b"{}"), Unavailable),
        (problem(500), Unavailable),
        (problem(404), Unavailable),
        (problem(403), Unauthorized),
    ):
        bench.cloud.fault(LIST, said)
        with pytest.raises(kind):
            bench.list()
        bench.cloud.fault(CATALOG, said)
        with pytest.raises(kind):
            bench.run(lambda provider: provider.list_instance_types())


def test_neither_key_nor_script_is_in_any_error(bench: Bench) -> None:
    encoded = b64encode(SCRIPT.encode()).decode()
    text = f"bad env NAVARCH_USER_DATA={encoded} of {KEY}: {SCRIPT}"
    bench.cloud.fault(CREATE, problem(422, text, (text,)))
    with pytest.raises(InvalidRequest) as failure:
        bench.provision(replace(request_of(), user_data=SCRIPT))
    assert "bad env" in str(failure.value)
    for secret in (encoded.rstrip("="), KEY, "node-token-0123456789"):
        assert secret not in str(failure.value)


def test_credentials_revoked_half_way_are_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.provision()
    bench.cloud.account.keys = {"the-next-key"}
    with pytest.raises(Unauthorized):
        bench.list()
    monkeypatch.setenv(KEY_ENV, "the-next-key")
    assert len(bench.list()) == 1
    monkeypatch.delenv(KEY_ENV)
    with pytest.raises(Unauthorized, match=KEY_ENV):
        bench.list()


def test_a_burst_and_then_the_documented_average(bench: Bench) -> None:
    time = ManualTime()
    bench.cloud.now, bench.now, bench.sleep = time.now, time.now, time.sleep
    bench.changes = {"request_interval": RunPodSettings(image="i").request_interval}

    async def story(provider: RunPodProvider) -> None:
        for _ in range(8):
            await provider.list()

    bench.run(story)
    begun, *later = bench.cloud.times(LIST)
    assert [(at - begun).total_seconds() for at in later] == [0, 0, 0, 0, 1.2, 2.4, 3.6]


def test_too_many_requests_hold_back_every_call_for_as_long_as_was_said(bench: Bench) -> None:
    time = ManualTime()
    bench.now, bench.sleep = time.now, time.sleep
    bench.cloud.account.limits = [Limit(timedelta(minutes=1))]

    async def story(provider: RunPodProvider) -> None:
        await provider.list()
        with pytest.raises(Throttled, match="again in 60 s"):
            await provider.list()
        with pytest.raises(Throttled, match="again in 60 s"):
            await provider.terminate("pod1")

    bench.run(story)
    assert (bench.cloud.refused_for_pace, bench.cloud.count(DELETE)) == (1, 0)


def test_what_the_provider_says_of_itself(bench: Bench) -> None:
    default = RunPodSettings(image="i")
    bench.changes = {"request_interval": default.request_interval}
    facts = facts_of(bench.provider())
    assert facts.calls_per_second * 3600 <= 3000.1
    assert facts.list_lag > 2 * timedelta(seconds=20) + default.timeout + default.launch_timeout
    assert not facts.honours_tokens


@pytest.mark.parametrize(
    "changes,because",
    [
        ({"image": ""}, "image is empty"),
        ({"api_key_file": "/run/key"}, "not both"),
        ({"disk_gb": 0}, "start at 1"),
        ({"gpu_counts": (0,)}, "start at 1"),
        ({"timeout": timedelta()}, "timeout is"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, object], because: str) -> None:
    with pytest.raises(ConfigError, match=because):
        settings_of("http://127.0.0.1:1", **changes)


CALLS: list[Callable[[RunPodProvider], Awaitable[Any]]] = [
    lambda provider: provider.provision(replace(request_of(), token="")),
    lambda provider: provider.terminate("pod1"),
    lambda provider: provider.list(),
    lambda provider: provider.list_instance_types(),
]
WORDS = ["pods", "gpus", "id", "status", "title", "detail", "errors", "env", "gpu", "price"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    status=st.sampled_from([200, 201, 202, 301, 400, 402, 403, 404, 408, 422, 429, 500, 503]),
    body=st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()),
)
def test_any_answer_ends_in_a_value_or_in_an_error_of_ours(
    bench: Bench, status: int, body: bytes
) -> None:
    for call in CALLS:
        bench.cloud.fault("", Said(status, body))
        with suppress(ProviderError):
            bench.run(call)
