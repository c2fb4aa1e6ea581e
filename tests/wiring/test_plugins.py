"""Plugins are found and checked, and one that does not fit is named with what was expected."""

from __future__ import annotations

import pytest

from navarch.core.model.pool import PoolSpec
from navarch.errors import PluginError
from navarch.wiring import autoscalers, parts, plugins
from wiring.foreign import Backwards, Steady

AUTOSCALER = autoscalers.CUSTOM


def refusal(use: str, config: dict[str, object] | None = None) -> str:
    with pytest.raises(PluginError) as caught:
        plugins.make(AUTOSCALER, use, config)
    return str(caught.value)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("use", ["steady", "wiring.foreign:Steady"])
def test_a_class_is_found_by_its_name_or_its_place(use: str) -> None:
    made = plugins.make(AUTOSCALER, use, {"nodes": 7})
    assert (type(made), made.nodes) == (Steady, 7)


@pytest.mark.usefixtures("installed")
def test_an_unknown_name_is_told_which_there_are() -> None:
    assert refusal("stedy") == (
        "autoscaler stedy: no such entry point in the group navarch.autoscalers, there are: "
        "absent, steady; or write package.module:Class"
    )


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "use,expected",
    [
        ("absent", "cannot be imported: AttributeError: module 'wiring.foreign' has no attribute"),
        ("wiring.nothing:A", "cannot be imported: ModuleNotFoundError: No module named"),
        ("wiring.foreign:not_a_class", "expected a class with recommend(), got <function"),
        ("wiring.foreign:Tickets", "expected a class with recommend(), got <class"),
        ("subprocess:Popen", "expected a class with recommend(), got <class 'subprocess.Popen'>"),
        ("wiring.foreign:Nameless", "its name is '', expected a text"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_called(use: str, expected: str) -> None:
    told = refusal(use)
    assert told.startswith(f"autoscaler {use}: ")
    assert expected in told


def test_a_config_that_the_class_does_not_take_is_named() -> None:
    told = refusal("wiring.foreign:Steady", {"node": 7})
    assert told.startswith(
        "autoscaler wiring.foreign:Steady: cannot be made with node as its config: TypeError: "
    )


@pytest.mark.usefixtures("installed")
def test_strategies_that_are_not_built_in_are_loaded_once_each() -> None:
    pools = [PoolSpec(name, "p", strategy="backwards") for name in ("a", "b")]
    (ranker,) = parts.foreign_rankers([*pools, PoolSpec("c", "p", strategy="cost")])
    assert isinstance(ranker, Backwards)


@pytest.mark.usefixtures("installed")
def test_a_ranker_must_be_called_what_pools_call_it() -> None:
    with pytest.raises(PluginError) as caught:
        parts.foreign_rankers([PoolSpec("a", "p", strategy="forwards")])
    assert str(caught.value) == ("ranker forwards calls itself backwards: expected the same name")
