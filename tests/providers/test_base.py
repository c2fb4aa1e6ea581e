"""The words providers are spoken to in."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.errors import PluginError
from navarch.providers.base import (
    Instance,
    Instances,
    InstanceStatus,
    ProviderFacts,
    ProvisionRequest,
    facts_of,
    log_tail,
)


class Silent:
    """A provider that states no facts about itself."""

    name = "silent"

    async def provision(self, request: ProvisionRequest) -> Instance:
        """Sell a machine of the name asked for."""
        return Instance(id="1", provider=self.name, name=request.name)

    async def terminate(self, instance_id: str) -> None:
        """Do nothing."""

    async def list(self) -> Instances:
        """Have nothing."""
        return []


def test_the_status_words_are_the_documented_ones() -> None:
    words = [str(each) for each in InstanceStatus]

    assert words == ["provisioning", "running", "terminating", "terminated"]


@pytest.mark.parametrize(
    "public, private, expected",
    [("203.0.113.7", "10.0.0.7", "203.0.113.7"), ("", "10.0.0.7", "10.0.0.7"), ("", "", "")],
)
def test_the_address_is_the_public_one_if_there_is_one(
    public: str, private: str, expected: str
) -> None:
    instance = Instance(id="i", provider="p", public_ip=public, private_ip=private)

    assert instance.ip_address == expected


def test_a_request_does_not_show_its_start_up_script() -> None:
    request = ProvisionRequest(name="n-1", instance_type="t", user_data="token=hunter2")

    assert "hunter2" not in repr(request)
    assert "hunter2" not in str([request])
    assert "n-1" in repr(request)


def test_facts_that_are_not_stated_have_the_careful_defaults() -> None:
    assert facts_of(Silent()) == ProviderFacts(
        list_lag=timedelta(minutes=2), launches_at_once=8, honours_tokens=False
    )


def test_facts_that_are_stated_are_read() -> None:
    provider = Silent()
    provider.list_lag = timedelta()  # type: ignore[attr-defined] # an optional attribute
    provider.launches_at_once = 1  # type: ignore[attr-defined] # an optional attribute
    provider.honours_tokens = True  # type: ignore[attr-defined] # an optional attribute

    assert facts_of(provider) == ProviderFacts(
        list_lag=timedelta(), launches_at_once=1, honours_tokens=True
    )


@pytest.mark.parametrize(
    "attribute, wrong",
    [
        ("list_lag", 5),
        ("list_lag", timedelta(seconds=-1)),
        ("launches_at_once", 0),
        ("launches_at_once", True),
        ("launches_at_once", "8"),
        ("honours_tokens", 1),
    ],
)
def test_an_impossible_fact_is_refused_by_name(attribute: str, wrong: object) -> None:
    provider = Silent()
    setattr(provider, attribute, wrong)

    with pytest.raises(PluginError, match=f"^provider silent: {attribute} must be "):
        facts_of(provider)


@given(st.binary(max_size=300), st.integers(1, 100))
def test_the_end_of_any_log_fits_and_is_utf8(content: bytes, bytes_max: int) -> None:
    shown = log_tail(content, bytes_max)
    assert len(shown.encode()) <= bytes_max
    if len(content) <= bytes_max and content.isascii():
        assert shown == content.decode()


@pytest.mark.parametrize(
    "text,shown",
    [
        ("a\nbc\nd\n", "bc\nd\n"),
        ("abcdefgh", "cdefgh"),
        ("ab\ncdefg\n", "cdefg\n"),
        ("abcdefghi\n", "efghi\n"),
        ("\ud800", "?"),
    ],
)
def test_a_log_that_is_cut_begins_with_a_whole_line_where_it_has_one(text: str, shown: str) -> None:
    assert log_tail(text, 6) == shown
