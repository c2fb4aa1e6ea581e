"""What clouds spoken to over HTTP share: reading answers, quoting them, and looking launches up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from navarch.errors import ConfigError, InvalidRequest, OutcomeUnknown, Unavailable
from navarch.peers.endpoint import Answer
from navarch.providers.base import (
    FLEET_LABEL,
    INSTANCE_LABEL,
    Instance,
    InstanceStatus,
    ProvisionRequest,
)
from navarch.providers.fake import ManualTime
from navarch.providers.lookup import bought_before
from navarch.providers.pace import Pace
from navarch.providers.rest import Rest, api_key, secrets_of

START = datetime(2026, 1, 1, tzinfo=UTC)


def rest() -> Rest:
    time = ManualTime(START)
    pace = Pace(timedelta(seconds=1), now=time.now, sleep=time.sleep)
    credentials = api_key("", "", default="A_KEY")
    return Rest("cloud", "http://127.0.0.1:1", credentials, pace=pace, now=time.now)


def test_an_answer_that_was_cut_is_never_believed() -> None:
    whole = Answer(status=200, body=b"[1]", is_cut=False)
    cut = Answer(status=200, body=b"[1]", is_cut=True)
    assert rest().parsed(whole, list[int], otherwise=Unavailable) == [1]
    with pytest.raises(Unavailable, match="above 3 bytes"):
        rest().parsed(cut, list[int], otherwise=Unavailable)


def test_an_answer_that_nests_too_deep_is_an_error_of_ours() -> None:
    deep = Answer(status=200, body=b"[" * 100_000, is_cut=False)
    with pytest.raises(OutcomeUnknown):
        rest().parsed(deep, list[object], otherwise=OutcomeUnknown)


def test_only_long_words_of_a_script_are_hidden_in_quotations() -> None:
    hidden = secrets_of("export TOKEN='abcdefgh' x=1")
    said = rest().quoted('refused: "abcdefgh" and x=1\r\n(see abcdefghi)', hidden=hidden)
    assert said == 'refused: "***" and x=1 (see abcdefghi)'


def test_a_key_has_one_place() -> None:
    with pytest.raises(ConfigError, match="not both"):
        api_key("A", "/run/key", default="B")
    assert api_key("A", "", default="B").token_env == "A"
    assert api_key("", "/run/key", default="B").token_file == "/run/key"
    assert api_key("", "", default="B").token_env == "B"


def test_what_was_closed_can_be_closed_again() -> None:
    async def story() -> None:
        closed = rest()
        await closed.close()
        await closed.close()

    asyncio.run(story())


def machine(ref: str, status: InstanceStatus, name: str = "a", fleet: str = "f") -> Instance:
    labels = {FLEET_LABEL: fleet, INSTANCE_LABEL: name}
    return Instance(id=ref, provider="cloud", status=status, labels=labels)


def test_of_several_machines_of_one_launch_the_living_one_is_found_and_always_the_same() -> None:
    request = ProvisionRequest(name="a", instance_type="t", labels={FLEET_LABEL: "f"})
    listed = [
        machine("1", InstanceStatus.TERMINATED),
        machine("2", InstanceStatus.PROVISIONING, fleet="another"),
        machine("3", InstanceStatus.PROVISIONING, name="another"),
        machine("5", InstanceStatus.RUNNING),
        machine("4", InstanceStatus.PROVISIONING),
    ]
    for order in (listed, listed[::-1]):
        found = bought_before(request, order)
        assert found is not None
        assert found.id == "4"
    assert bought_before(request, listed[1:3]) is None
    with pytest.raises(InvalidRequest, match="cloud: a was 1, which is terminated"):
        bought_before(request, listed[:3])
