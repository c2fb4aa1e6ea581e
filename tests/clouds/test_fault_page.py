"""The page that says which cloud is held to which fault."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from clouds.faults import Fault
from clouds.stands import STANDS

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """Load the tool, which is no package's."""
    path = TESTS.parent / "tools" / "fault_matrix.py"
    spec = importlib.util.spec_from_file_location("fault_matrix", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(tool: ModuleType) -> None:
    assert tool.PAGE.read_text() == tool.page(), "run: python tools/fault_matrix.py"


def test_reasons_stand_once_below_the_table(tool: ModuleType) -> None:
    columns = {"One": {"b": "there is no list"}, "Two": {"a": "it boots", "b": "there is no list"}}

    lines = tool.rendered(["a", "b", "c"], columns).splitlines()

    assert lines[lines.index("|  | One | Two |") + 2 :] == [
        "| a | seen | (a) |",
        "| b | (b) | (b) |",
        "| c | seen | seen |",
        "",
        "Not applicable, because",
        "",
        "- (a) it boots",
        "- (b) there is no list",
    ]


def test_every_cloud_on_trial_is_a_provider_of_ours_with_tests() -> None:
    for each in STANDS:
        assert (TESTS / "providers" / each.slug).is_dir()
        assert all(isinstance(fault, Fault) for fault in each.stand.not_applicable)
    assert len({each.slug for each in STANDS}) == len({each.stand for each in STANDS})
