"""What Lambda Cloud's provider reads, and how machines end."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.http_cloud import Said, said_json
from doubles.lambda_bench import KEY, LIST, TERMINATE, TYPES, Bench, request_of, settings_of
from doubles.lambda_cloud import TAG_KEY, fault_of
from navarch.errors import (
    ConfigError,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    Throttled,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import FLEET_LABEL, InstanceStatus, InstanceType, facts_of
from navarch.providers.lambda_labs import LambdaProvider, LambdaSettings
from navarch.providers.lambda_labs.tags import labels_of, tags_of


@pytest.mark.parametrize(
    "word,status",
    [
        ("booting", InstanceStatus.PROVISIONING),
        ("active", InstanceStatus.RUNNING),
        ("unhealthy", InstanceStatus.RUNNING),
        ("terminating", InstanceStatus.TERMINATING),
        ("terminated", InstanceStatus.TERMINATED),
        ("preempted", InstanceStatus.TERMINATED),
        ("a word of next year", InstanceStatus.RUNNING),
    ],
)
def test_each_of_lambdas_words_has_one_of_ours(
    bench: Bench, word: str, status: InstanceStatus
) -> None:
    bench.cloud.servers[bench.provision().id].status = word
    [listed] = bench.list()
    assert listed.status == status


def test_a_listed_machine_says_where_and_what_it_is_and_no_secret(bench: Bench) -> None:
    bought = bench.provision()
    [listed] = bench.list()
    assert (listed.id, listed.name, listed.provider) == (bought.id, "training-1", "lambda")
    assert (listed.public_ip, listed.private_ip) == ("203.0.113.7", "10.19.0.7")
    assert (listed.gpu_count, listed.gpu_type) == (8, "H100 (80 GB SXM5)")
    assert (listed.region, listed.instance_type) == ("us-west-1", "gpu_8x_h100_sxm5")
    assert "jupyter" not in repr(listed)


def test_machines_of_others_are_left_out(bench: Bench) -> None:
    ours = bench.provision()
    bench.provision(request_of(fleet="another-fleet"))
    stranger = bench.provision(request_of("stranger"))
    bench.cloud.servers[stranger.id].asked["tags"] = [{"key": "managed-by", "value": "terraform"}]
    untagged = bench.provision(request_of("untagged"))
    del bench.cloud.servers[untagged.id].asked["tags"]

    listed = {each.id: each.labels[FLEET_LABEL] for each in bench.list()}

    assert listed[ours.id] == "fleet-1"
    assert sorted(listed.values()) == ["another-fleet", "fleet-1"]


def test_a_machine_taken_away_by_hand_is_gone_from_the_list(bench: Bench) -> None:
    bought = bench.provision()
    bench.cloud.vanish(bought.id)
    assert bench.list() == []
    with pytest.raises(NotFound, match=bought.id):
        bench.terminate(bought.id)


def test_a_machine_without_what_is_optional_is_still_listed(bench: Bench) -> None:
    tags = [{"key": "managed-by", "value": "navarch"}, {"key": "navarch:fleet", "value": "f"}]
    bare = {"id": "a1", "status": "active", "name": None, "ip": None, "tags": tags}
    bench.cloud.fault(LIST, said_json({"data": [bare, bare]}))
    [listed] = bench.list()
    assert (listed.id, listed.name, listed.public_ip, listed.gpu_count) == ("a1", "", "", 0)


@pytest.mark.parametrize(
    "said,kind",
    [
        (Said(200, b""), Unavailable),
        (Said(200, b"[]"), Unavailable),
        (said_json({"data": [{"id": "", "status": "active"}]}), Unavailable),
        (said_json({"data": [{"status": "active"}]}), Unavailable),
        (said_json({"data": 1}), Unavailable),
        (Said(500, b""), Unavailable),
        (fault_of(500, "global/internal-error"), Unavailable),
        (fault_of(404, "global/object-does-not-exist"), Unavailable),
        (fault_of(401, "global/invalid-api-key"), Unauthorized),
        (Said(429), Throttled),
    ],
)
def test_a_list_is_whole_or_an_error(bench: Bench, said: Said, kind: type[ProviderError]) -> None:
    async def list_machines(provider: LambdaProvider) -> object:
        return await provider.list()

    async def list_types(provider: LambdaProvider) -> object:
        return await provider.list_instance_types()

    for call, read in ((LIST, list_machines), (TYPES, list_types)):
        bench.cloud.fault(call, said)
        with pytest.raises(ProviderError) as failure:
            bench.run(read)
        assert type(failure.value) is kind


def test_an_answer_that_does_not_fit_is_not_quoted(bench: Bench) -> None:
    secret = {"id": 7, "jupyter_token": "jupyter-token-that-nobody-may-see"}
    bench.cloud.fault(LIST, said_json({"data": [secret]}))
    with pytest.raises(Unavailable, match=r"\$\.data\[0\]\.id") as failure:
        bench.list()
    assert "nobody-may-see" not in str(failure.value)


def test_a_slow_list_ends_with_its_deadline(bench: Bench) -> None:
    bench.changes = {"timeout": timedelta(milliseconds=100)}
    bench.cloud.fault(LIST, silence="hang")
    with pytest.raises(Unavailable, match=r"no answer within 0\.1 s"):
        bench.list()


@pytest.mark.parametrize(
    "said,kind",
    [
        (fault_of(404, "global/object-does-not-exist"), NotFound),
        (fault_of(400, "global/object-does-not-exist"), NotFound),
        (Said(404, b"<h1>nginx</h1>"), Unavailable),
        (Said(404, b""), Unavailable),
        (fault_of(500, "global/internal-error"), OutcomeUnknown),
        (said_json({"data": {"terminated_instances": []}}), OutcomeUnknown),
        (
            said_json({"data": {"terminated_instances": [{"id": "x", "status": "terminating"}]}}),
            OutcomeUnknown,
        ),
        (Said(200, b"{}"), OutcomeUnknown),
        (fault_of(401, "global/invalid-api-key"), Unauthorized),
        (Said(429), Throttled),
    ],
)
def test_only_lambda_itself_can_say_that_a_machine_is_gone(
    bench: Bench, said: Said, kind: type[ProviderError]
) -> None:
    bought = bench.provision()
    bench.cloud.fault(TERMINATE, said)
    with pytest.raises(ProviderError) as failure:
        bench.terminate(bought.id)
    assert type(failure.value) is kind
    bench.terminate(bought.id)
    assert bench.cloud.alive() == []


def test_a_termination_without_an_answer_may_be_repeated(bench: Bench) -> None:
    bench.cloud.account.end_time = timedelta(minutes=1)
    bought = bench.provision()
    bench.cloud.fault(TERMINATE, acts=True, silence="hang up")
    with pytest.raises(OutcomeUnknown):
        bench.terminate(bought.id)
    bench.terminate(bought.id)
    [listed] = bench.list()
    assert listed.status == InstanceStatus.TERMINATING


def test_the_price_list_says_what_costs_how_much_and_where_it_is(bench: Bench) -> None:
    bench.cloud.account.stock["gpu_8x_h100_sxm5", "us-west-1"] = 0
    bench.cloud.account.stock["gpu_1x_a10", "us-west-1"] = 0
    bench.cloud.account.stock["gpu_1x_a10", "us-east-1"] = 0
    small, big = bench.run(lambda provider: provider.list_instance_types())
    assert big == InstanceType(
        name="gpu_8x_h100_sxm5",
        gpu_count=8,
        gpu_type="H100 (80 GB SXM5)",
        memory_gb=1717,
        vcpus=208,
        price_per_hour=23.92,
        regions=("us-east-1",),
        available=True,
    )
    assert (small.name, small.regions, small.available) == ("gpu_1x_a10", (), False)


def test_what_the_provider_says_of_itself(bench: Bench) -> None:
    provider = bench.provider()
    facts = facts_of(provider)
    assert (facts.launches_at_once, facts.honours_tokens) == (1, False)
    bench.changes = {"request_interval": LambdaSettings().request_interval}
    assert facts_of(bench.provider()).calls_per_second == 1.0
    waits = LambdaSettings().launch_interval + 2 * timedelta(seconds=20)
    assert facts.list_lag > waits + LambdaSettings().timeout + LambdaSettings().launch_timeout


@pytest.mark.parametrize(
    "changes,because",
    [
        ({"api_key_file": "/run/key"}, "not both"),
        ({"image_id": "i", "image_family": "f"}, "not both"),
        ({"timeout": timedelta()}, "timeout is 0:00:00"),
        ({"launch_interval": timedelta(seconds=-1)}, "launch_interval is"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, object], because: str) -> None:
    with pytest.raises(ConfigError, match=because):
        settings_of("http://127.0.0.1:1", **changes)


@pytest.mark.parametrize("url", ["http://cloud.lambda.ai/api", "cloud.lambda.ai", "ftp://a"])
def test_the_key_is_never_sent_unencrypted(bench: Bench, url: str) -> None:
    bench.url = url
    with pytest.raises(ConfigError, match="expected http"):
        bench.provider()


def test_a_key_in_a_file_is_used_and_read_anew(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("key") / "lambda"
    file.write_text(f"{KEY}\n")
    bench.changes = {"api_key_env": "", "api_key_file": str(file)}
    assert bench.list() == []
    file.unlink()
    with pytest.raises(Unauthorized, match="cannot read the token file"):
        bench.list()


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.dictionaries(TEXTS, TEXTS, max_size=6))
def test_any_labels_come_back_from_tags_that_lambda_takes(labels: dict[str, str]) -> None:
    tags = tags_of(labels)
    assert [each["key"] for each in tags if not TAG_KEY.fullmatch(each["key"])] == []
    assert labels_of((each["key"], each["value"]) for each in tags) == labels


@given(st.lists(st.tuples(st.text(max_size=12) | st.just("label::f"), TEXTS), max_size=4))
def test_any_tags_of_others_can_be_read(tags: list[tuple[str, str]]) -> None:
    labels = labels_of(tags)
    assert len(labels) <= len(tags)


def test_a_tag_of_somebody_else_does_not_hide_a_label_of_ours() -> None:
    tags = [("label:team", "ours"), ("team", "theirs"), ("owner", "ops"), ("label:UPPER", "odd")]
    for order in (tags, tags[::-1]):
        assert labels_of(order) == {"team": "ours", "owner": "ops", "label:UPPER": "odd"}


def test_to_import_the_provider_loads_no_sdk() -> None:
    program = (
        "import sys, navarch.providers.lambda_labs\n"
        "sdks = {'boto3', 'botocore', 'google', 'asyncssh', 'httpx', 'requests', 'aiohttp'}\n"
        "print(sorted(sdks & sys.modules.keys()))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout == "[]\n"
