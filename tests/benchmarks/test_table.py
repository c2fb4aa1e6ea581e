"""The table of benchmarks: what it says of figures, and what has changed beyond noise."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from suite import comparing, results, table
from suite.budgets import Budgets, Row, Script
from suite.results import Figure, Machine, Results, ResultsError, ScriptRun
from suite.table import Outcome

MACHINE = Machine("EPYC", 2, "6.1", "3.11.7", {"msgspec": "0.22"}, governor="", load=0.1)
BUDGETS = Budgets(
    sources={"go": "measured November 2026"},
    script=(Script("heart"), Script("disk"), Script("never", only_long=True)),
    row=(
        Row("a beat", "heart", "beat", most=25, reference="24 µs", source="go", peers=("FastAPI",)),
        Row("beats", "heart", "rate", least=1000),
        Row("a fact", "disk", "fact"),
        Row("a week", "never", "week", most=1),
    ),
)


def figure(name: str, *runs: float, unit: str = "µs") -> Figure:
    return Figure(name, sorted(runs)[len(runs) // 2], unit, list(runs))


def found(*figures: Figure, machine: Machine = MACHINE, quick: bool = False) -> Results:
    disk = ScriptRun("disk", 1.0, 1, 0.1, trouble="exit code 1, no figures: it broke")
    heart = ScriptRun("heart", 2.0, 0, 0.1, figures=list(figures))
    return Results("2026-11-22T10:00:00+00:00", machine, quick, [heart, disk])


BEAT = figure("beat", 17.0, 18.04, 19.0)
RATE = figure("rate", 2000.0, 2100.0, 1900.0, unit="/s")
FASTAPI = figure("FastAPI", 250.0)


@pytest.mark.parametrize(
    "row,runs,outcome",
    [
        (Row("", "", "", most=25), (24, 25, 25), Outcome.MET),
        (Row("", "", "", most=25), (24, 26, 27), Outcome.NEAR),
        (Row("", "", "", most=25), (26, 27, 28), Outcome.MISSED),
        (Row("", "", "", most=25), (26,), Outcome.MISSED),
        (Row("", "", "", least=25), (25, 25, 20), Outcome.MET),
        (Row("", "", "", least=25), (20, 24, 30), Outcome.NEAR),
        (Row("", "", "", least=25), (20, 21, 22), Outcome.MISSED),
        (Row("", "", "", most=0), (0,), Outcome.MET),
        (Row("", "", "", most=0), (1,), Outcome.MISSED),
        (Row("", "", ""), (20,), Outcome.NO_BUDGET),
    ],
)
def test_a_budget_is_missed_when_the_middle_half_of_the_runs_misses_it(
    row: Row, runs: tuple[float, ...], outcome: Outcome
) -> None:
    assert table.judged(row, figure("x", *runs)) is outcome


def test_what_was_not_measured_meets_no_budget() -> None:
    assert table.judged(Row("", "", "", most=1), None) is Outcome.NOT_MEASURED


def test_a_line_has_all_columns_and_long_scripts_have_none_unless_they_ran() -> None:
    lines = [line.cells for line in table.lines(BUDGETS, found(BEAT, RATE, FASTAPI))]
    assert lines == [
        ("a beat", "18.0 µs", "≤ 25 µs", "met", "24 µs [go]", "FastAPI: 250 µs"),
        ("beats", "2,000 /s", "≥ 1,000 /s", "met", "–", "–"),
        ("a fact", "NOT MEASURED", "–", "NOT MEASURED", "–", "–"),
    ]


def test_a_peer_that_is_missing_is_said_in_its_cell_and_below() -> None:
    text = table.text(BUDGETS, found(BEAT, RATE))
    assert "FastAPI: NOT MEASURED" in text
    assert text.splitlines()[-2:] == [
        "NOT MEASURED: FastAPI: bench/heart.py gave no such figure: not installed?",
        "NOT MEASURED: fact: exit code 1, no figures: it broke",
    ]
    assert "FAILED: bench/disk.py: exit code 1, no figures: it broke" in text


def test_a_busy_machine_and_a_quick_run_are_said() -> None:
    quiet = "\n".join(table.described(found(BEAT)))
    assert "2 × EPYC, Linux 6.1, governor not readable, load 0.10" in quiet
    assert "Python 3.11.7; msgspec 0.22" in quiet
    assert "OTHER PROGRAMS" not in quiet
    busy = found(BEAT, machine=msgspec.structs.replace(MACHINE, load=2.0), quick=True)
    said = "\n".join(table.described(busy))
    assert "OTHER PROGRAMS RAN: load 2.00" in said
    assert "a quick run" in said


def test_the_page_gets_the_same_table(run: ModuleType) -> None:
    content = table.markdown(BUDGETS, found(BEAT, RATE, FASTAPI))
    assert "| a beat | 18.0 µs | ≤ 25 µs | met | 24 µs [go] | FastAPI: 250 µs |" in content
    assert "- [go] measured November 2026" in content
    page = run.written(f"# Page\n{run.BEGIN}\nold\n{run.END}\nafter\n", "new")
    assert page == f"# Page\n{run.BEGIN}\n\nnew\n\n{run.END}\nafter\n"
    with pytest.raises(run.BudgetsError, match="no marks"):
        run.written("# Page\n", "new")


def test_the_exit_code_has_reasons(run: ModuleType) -> None:
    slow = found(figure("beat", 30.0, 31.0, 32.0), RATE, FASTAPI)
    assert run.verdict(BUDGETS, slow) == [
        "a beat: 31 µs, budget ≤ 25 µs",
        "bench/disk.py: exit code 1, no figures: it broke",
    ]


@pytest.mark.parametrize(
    "value,text",
    [
        (0, "0"),
        (0.0234, "0.0234"),
        (1.5, "1.50"),
        (18.04, "18.0"),
        (128.6, "129"),
        (2e6, "2,000,000"),
    ],
)
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert table.number(value) == text


# --- against an earlier run ------------------------------------------------------------------


@pytest.mark.parametrize(
    "before,now,changed",
    [
        ((10.0, 11.0, 12.0), (11.5, 11.6, 11.7), False),  # within the noise of the first
        ((10.0, 10.0, 10.0), (10.1, 10.1, 10.1), False),  # less than 2 %
        ((10.0, 10.1, 10.2), (12.0, 12.1, 12.2), True),
        ((10.0, 10.1, 10.2), (10.0, 12.0, 14.0), False),  # the second one is noisy
        ((0.0,), (1.0,), True),
        ((0.0,), (0.0,), False),
    ],
)
def test_a_change_is_larger_than_the_wider_middle_half(
    before: tuple[float, ...], now: tuple[float, ...], *, changed: bool
) -> None:
    assert comparing.beyond_noise(figure("x", *before), figure("x", *now)) is changed


def test_a_change_is_better_or_worse_as_its_budget_says() -> None:
    before = found(BEAT, RATE, FASTAPI, figure("gone", 1.0), figure("x", 1.0))
    now = found(
        figure("beat", 27.0, 27.1, 27.2),
        figure("rate", 2500.0, 2501.0, 2502.0, unit="/s"),
        figure("FastAPI", 300.0),
        figure("x", 1.0, unit="ms"),
    )
    assert comparing.told(BUDGETS, before, now).splitlines() == [
        "against 2026-11-22T10:00:00+00:00, beyond noise:",
        "WORSE      +50.2%  heart: beat: 18.0 → 27.1 µs",
        "better     +25.0%  heart: rate: 2,000 → 2,501 /s",
        "changed    +20.0%  heart: FastAPI: 250 → 300 µs",
    ]


def test_another_machine_and_nothing_changed_are_said() -> None:
    before = found(BEAT, machine=msgspec.structs.replace(MACHINE, cores=64), quick=True)
    said = comparing.told(BUDGETS, before, found(BEAT))
    assert "ANOTHER MACHINE (64 × EPYC) ONE OF BOTH WAS A QUICK RUN" in said
    assert said.endswith("\nnothing")


# --- what is kept ----------------------------------------------------------------------------


def test_a_run_is_kept_and_read_again_and_a_second_one_of_a_day_gets_a_number(
    tmp_path: Path,
) -> None:
    kept = found(BEAT, RATE)
    first, second = results.keep(kept, tmp_path / "new"), results.keep(kept, tmp_path / "new")
    assert first.name.startswith("2026-11-22-")
    assert second.stem == f"{first.stem}-2"
    assert results.read(first) == kept == results.read(second)
    assert results.keep(kept, tmp_path, tmp_path / "there.json") == tmp_path / "there.json"


@pytest.mark.parametrize("content", ["", "[]", '{"at": 1}', "\xff"])
def test_a_file_that_is_no_run_is_one_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content, encoding="latin-1")
    with pytest.raises(ResultsError, match=r"x\.json"):
        results.read(tmp_path / "x.json")


def test_what_scripts_write_is_what_is_read(tmp_path: Path) -> None:
    rows = [{"name": "a", "value": 1.5, "unit": "ms", "runs": [1.0, 1.5, 2.0]}]
    rows.append({"name": "b", "value": 3, "unit": "nodes"})
    (tmp_path / "f.json").write_text(json.dumps(rows))
    assert results.read_figures(tmp_path / "f.json") == [
        Figure("a", 1.5, "ms", [1.0, 1.5, 2.0]),
        Figure("b", 3.0, "nodes"),
    ]


def test_the_machine_is_described() -> None:
    machine = results.this_machine()
    assert machine.cpu
    assert machine.cores >= 1
    assert {"msgspec", "protobuf", "uvicorn"} <= set(machine.libraries)
