"""The measured quality holds, and is what the page says."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def bench(project: Path) -> ModuleType:
    sys.path.insert(0, str(project / "bench"))
    import injection_quality
    import pii_quality

    pii_quality.injection_quality = injection_quality  # type: ignore[attr-defined]
    return pii_quality


def test_every_type_is_found_as_well_as_promised_on_messages_never_looked_at(
    bench: ModuleType,
) -> None:
    scores = bench.measured(bench.messages(seed=31_337, count=3_000))
    assert len([kind for kind in scores if kind in bench.MAKERS]) >= 12
    low = {
        kind: each
        for kind, each in scores.items()
        if min(each.precision, each.recall) < bench.FLOOR
    }
    assert low == {}


def test_the_page_has_the_table_of_today(bench: ModuleType) -> None:
    made = bench.messages()
    table = bench.table(bench.measured(made), bench.found_alone(), len(made))
    assert f"{bench.BEGIN}\n\n{table}\n\n{bench.END}" in bench.PAGE.read_text()


def test_a_detector_that_finds_nothing_would_be_seen(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "THRESHOLD", 1.1)
    scores = bench.measured(bench.messages(count=300))
    assert {each.recall for each in scores.values()} == {0.0}


def test_the_page_has_what_the_rules_catch(bench: ModuleType) -> None:
    rules = bench.injection_quality
    assert f"{rules.BEGIN}\n\n{rules.table()}\n\n{rules.END}" in rules.PAGE.read_text()
    assert rules.caught(rules.BLUNT) >= 18
    assert rules.caught(rules.BENIGN) <= 1
