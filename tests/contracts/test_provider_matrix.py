"""The page that says which provider is held to which test, and what the suite says of skips."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

from contracts.harnesses import CLOUDS, Column, columns
from navarch.providers.fake import FakeProvider
from navarch.testing import ProviderContract


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    """Load the tool, which is no package's."""
    path = Path(__file__).resolve().parents[2] / "tools" / "provider_matrix.py"
    spec = importlib.util.spec_from_file_location("provider_matrix", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(matrix: ModuleType) -> None:
    assert matrix.PAGE.read_text() == matrix.page(), "run: python tools/provider_matrix.py"


def test_every_provider_with_tests_has_a_column() -> None:
    folder = Path(__file__).resolve().parents[1] / "providers"
    tested = {each.parent.name for each in folder.glob("*/test_*contract*.py")}
    titles = [each.title for each in columns()]

    assert tested <= CLOUDS.keys()
    assert titles == [*(title for name, title in CLOUDS.items() if name in tested), *titles[-2:]]
    assert titles[-2:] == ["Process", "Fake"]


def test_every_test_of_the_suite_has_a_row_once() -> None:
    rows = ProviderContract.names_of_tests()

    assert len(set(rows)) == len(rows)
    assert set(rows) == {each for each in dir(ProviderContract) if each.startswith("test_")}


@dataclass
class Told:
    """A column that says what it is told."""

    title: str
    reasons: dict[str, str] = field(default_factory=dict)

    def why_not(self, test: str) -> str:
        return self.reasons.get(test, "")


def test_reasons_stand_once_below_the_table(matrix: ModuleType) -> None:
    one = Told("One", {"test_b": "not applicable: no pages", "test_c": "not shown: no hang_next"})
    two = Told("Two", {"test_a": "not applicable: no pages", "test_b": "not applicable: no keys"})

    lines = matrix.rendered(["test_a", "test_b", "test_c"], [one, two]).splitlines()

    assert lines[lines.index("|  | One | Two |") + 2 :] == [
        "| a | yes | (a) |",
        "| b | (a) | (b) |",
        "| c | no | yes |",
        "",
        "Not applicable, because",
        "",
        "- (a) no pages",
        "- (b) no keys",
    ]


class Bare(ProviderContract):
    """Three lines, and no hook."""


class Hung(Bare):
    """With one hook, and one reason."""

    not_applicable = {"test_name_is_a_word": "it has no name"}  # noqa: RUF012 # never changed

    def hang_next(self) -> None:
        raise AssertionError


def test_a_missing_hook_is_named_and_a_hook_that_is_there_is_used() -> None:
    test = "test_a_list_without_an_answer_is_given_up"

    assert Bare.why_not(test) == "not shown: the harness has no hang_next"
    assert Hung.why_not(test) == ""
    assert Hung.why_not("test_name_is_a_word") == "not applicable: it has no name"
    assert Bare.why_not("test_name_is_a_word") == ""
    assert "cancel_steps" in Bare.why_not(
        "test_a_cancelled_launch_leaves_no_task_and_at_most_one_machine"
    )


def test_a_test_that_one_of_two_classes_runs_is_run() -> None:
    test = "test_a_list_without_an_answer_is_given_up"

    assert Column("x", FakeProvider, (Bare, Hung)).why_not(test) == ""
    assert Column("x", FakeProvider, (Bare,)).why_not(test) != ""
    assert Column("x", object, (Bare,)).why_not("test_close_may_be_repeated").endswith("close")
