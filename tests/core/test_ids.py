"""Ids: made from a serial number, readable, and acceptable to every cloud."""

from __future__ import annotations

import re

import pytest

from navarch.core.model import ids

DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


def test_an_instance_is_named_for_its_pool_its_fleet_and_its_number() -> None:
    assert ids.instance_id("training", "k3f9", 7) == "training-k3f9-0007"


def test_a_command_is_named_for_its_fleet_and_its_number() -> None:
    assert ids.command_id("k3f9", 12) == "cmd-k3f9-000012"


def test_numbers_may_grow_beyond_their_padding() -> None:
    assert ids.instance_id("a", "k3f9", 12_345) == "a-k3f9-12345"
    assert ids.command_id("k3f9", 1_234_567) == "cmd-k3f9-1234567"


def test_the_longest_id_is_still_a_label_for_every_cloud() -> None:
    pool, tag = "p" * 40, "t" * 8
    assert ids.POOL_NAME.fullmatch(pool)
    assert ids.FLEET_TAG.fullmatch(tag)
    assert DNS_LABEL.fullmatch(ids.instance_id(pool, tag, 9_999_999_999))


@pytest.mark.parametrize("name", ["a", "h100", "training-west-2", "p" * 40])
def test_pool_names_that_fit(name: str) -> None:
    assert ids.POOL_NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "7b", "-a", "a-", "A", "a_b", "a.b", "p" * 41, "a\n"])
def test_pool_names_that_do_not_fit(name: str) -> None:
    assert ids.POOL_NAME.fullmatch(name) is None


@pytest.mark.parametrize("node_id", ["lab-1", "i-0abc", "gpu01.example.org", "a:b/c", "n" * 253])
def test_node_ids_that_fit(node_id: str) -> None:
    assert ids.NODE_ID.fullmatch(node_id)


@pytest.mark.parametrize("node_id", ["", "-a", ".a", "a b", "ü", "n" * 254, "a\n"])
def test_node_ids_that_do_not_fit(node_id: str) -> None:
    assert ids.NODE_ID.fullmatch(node_id) is None
