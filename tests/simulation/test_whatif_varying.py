"""Variants of a file: values take their places, and mistakes are told as the file's own."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.config.schema import Config
from navarch.errors import ConfigError
from navarch.simulator.whatif import varying
from navarch.simulator.whatif.varying import Variant, Vary
from simulation.whatif_files import FLEET

PATH = Path("fleet.yaml")


def read(*values: tuple[str, str], text: str = FLEET) -> Config:
    return varying.config_of(text, PATH, Variant(values), {})


def test_a_value_takes_the_place_of_the_files_own() -> None:
    assert read().pools["training"].max_nodes == 6
    assert read(("pools.training.max_nodes", "9")).pools["training"].max_nodes == 9


def test_a_key_that_the_file_does_not_have_is_added() -> None:
    key = "pools.training.disruption.max_unavailable_percent"
    assert read((key, "10")).pools["training"].disruption.max_unavailable_percent == 10
    assert read(("server.repair.probation", "5m")).server.repair.probation.seconds == 300
    one = read(("defaults.health.unhealthy_after", "4"))
    assert one.pools["training"].unhealthy_after == 4


def test_lists_are_varied_whole_or_by_item() -> None:
    key = "pools.training.health.repair"
    assert len(read((key, "[replace]")).pools["training"].ladder) == 1
    assert read((f"{key}[1]", "replace"), (f"{key}[2]", "reboot")).pools["training"].ladder[1] == (
        "replace"
    )


def test_a_wrong_value_is_refused_with_key_line_and_expectation() -> None:
    with pytest.raises(ConfigError) as refused:
        read(("pools.training.max_nodes", "many"))
    text = str(refused.value)
    assert text.startswith("fleet.yaml:8: pools.training.max_nodes: ")
    assert "expected a whole number" in text
    assert text.endswith("(varied: pools.training.max_nodes=many)")


@pytest.mark.parametrize(
    "key, because",
    [
        ("pools.training.max_node", "max_node"),
        ("pools.trainig.max_nodes", "there is no 'trainig' under pools: training"),
        ("providers.other.region", "there is no 'other' under providers: cloud"),
        ("pools.training.max_nodes.x", "x would be below a value"),
        ("pools.training.health.repair[7]", r"there is no \[7\] to vary"),
    ],
)
def test_a_key_that_leads_nowhere_is_refused(key: str, because: str) -> None:
    with pytest.raises(ConfigError, match=because):
        read((key, "3"))


def test_what_an_anchor_repeats_is_varied_in_one_place_only() -> None:
    text = FLEET.replace("disruption: {", "disruption: &limits {")
    text += (
        "  other: {provider: cloud, instance_type: h100-8x, max_nodes: 2, disruption: *limits}\n"
    )
    config = read(("pools.training.disruption.max_unavailable", "3"), text=text)
    assert config.pools["training"].disruption.max_unavailable == 3
    assert config.pools["other"].disruption.max_unavailable == 1


def test_several_keys_make_all_combinations() -> None:
    found = varying.variants([Vary("a.x", ("1", "2")), Vary("b.x", ("3", "4", "5"))])
    assert [each.name for each in found][:2] == ["a.x=1, b.x=3", "a.x=1, b.x=4"]
    assert len(found) == 6
    assert varying.variants([])[0].name == "as it is"


def test_too_many_variants_are_refused() -> None:
    many = Vary("a", tuple(map(str, range(9))))
    with pytest.raises(ConfigError, match="81 variants, expected at most 64"):
        varying.variants([many, Vary("b", many.values)])
    with pytest.raises(ConfigError, match="a key is varied twice"):
        varying.variants([many, many])


def test_values_with_commas_stand_in_brackets_or_quotes() -> None:
    assert varying.parse("a.b=[1, 2],[3]").values == ("[1, 2]", "[3]")
    assert varying.parse("a.b='x,y',z").values == ("'x,y'", "z")


@pytest.mark.parametrize("text", ["", "a", "a=", "=1", "a=1,,2", "a..b=1", "a[x]=1"])
def test_what_varies_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="varies nothing, expected KEY=V1,V2"):
        varying.parse(text)


def test_a_value_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="names a value twice"):
        varying.parse("a=1,1")


@given(st.text(max_size=60))
def test_whatever_is_written_only_a_clear_refusal_leaves(text: str) -> None:
    with contextlib.suppress(ConfigError):
        vary = varying.parse(f"pools.training.max_nodes={text}")
        for variant in varying.variants([vary]):
            varying.config_of(FLEET, PATH, variant, {})


@given(st.text(max_size=60))
def test_whatever_a_key_is_only_a_clear_refusal_leaves(key: str) -> None:
    with contextlib.suppress(ConfigError):
        vary = varying.parse(f"{key}=3")
        varying.config_of(FLEET, PATH, varying.variants([vary])[0], {})
