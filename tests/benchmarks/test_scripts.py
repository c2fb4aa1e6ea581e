"""Every benchmark is run, documented and speaks the same language; every budget is well-formed."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from suite import budgets as budgeting
from suite.budgets import BudgetsError

PLANNED = frozenset({"overload"})
"""Scripts that are named before they are here."""

GOOD = """
[sources]
go = "measured"
[[script]]
name = "heart"
[[row]]
what = "a beat"
script = "heart"
figure = "beat"
most = 25
"""


def scripts(bench: Path) -> set[str]:
    """Name what can be run; `scale_swarm` and its like are parts of `scale`."""
    names = {path.stem for path in bench.glob("*.py") if '"__main__"' in path.read_text()}
    parts = {name for name in names if any(name.startswith(f"{each}_") for each in names)}
    return names - parts - {"run"}


def test_every_script_is_run_and_every_script_that_is_run_is_there(bench: Path) -> None:
    named = {each.name for each in budgeting.load().script}
    assert scripts(bench) - named == set()
    assert named - scripts(bench) - PLANNED == set()


def test_every_script_is_described(bench: Path) -> None:
    page = (bench / "README.md").read_text()
    assert [name for name in sorted(scripts(bench)) if f"`{name}`" not in page] == []


def test_every_script_writes_its_figures_where_it_is_told(bench: Path) -> None:
    silent = []
    for name in sorted(scripts(bench)):
        text = (bench / f"{name}.py").read_text()
        if not re.search(r"\boptions\(|\"--json\"", text):
            silent.append(name)
    assert silent == []


def test_the_budgets_are_those_that_are_promised() -> None:
    rows = {row.figure: row.most or row.least for row in budgeting.load().row}
    assert rows["navarch, binary"] == 25
    assert rows["navarch, JSON"] == 30
    assert rows["navarch, binary, batches of 1,000"] == 3
    assert rows["repeated shapes, 64 a report"] == 200_000
    assert rows["decide, 1,000 launches"] == 200
    assert rows["node-seconds a CPU-second"] == 10


@pytest.mark.parametrize(
    "change,error",
    [
        (("most = 25", "most = 25\nleast = 3"), "not both"),
        (("most = 25", 'reference = "24"'), "a reference has a source"),
        (("most = 25", 'reference = "24"\nsource = "rust"'), "no source rust"),
        (('script = "heart"', 'script = "lung"'), r"no \[\[script\]\] lung"),
        (("most = 25", "msot = 25"), "msot"),
        (("most = 25", 'most = "25"'), "Expected"),
        (("[sources]", "[sources"), "budgets.toml"),
        (("[[row]]", '[[script]]\nname = "heart"\n[[row]]'), "named twice"),
    ],
)
def test_a_mistake_in_the_budgets_is_one_clear_error(
    tmp_path: Path, change: tuple[str, str], error: str
) -> None:
    path = tmp_path / "budgets.toml"
    path.write_text(GOOD)
    assert budgeting.load(path).row[0].most == 25
    path.write_text(GOOD.replace(*change))
    with pytest.raises(BudgetsError, match=error):
        budgeting.load(path)


def test_scripts_are_chosen_by_name_or_by_how_long_they_take() -> None:
    budgets = budgeting.load()
    assert [each.name for each in budgets.chosen(["decide"], long=False)] == ["decide"]
    ordinary = {each.name for each in budgets.chosen([], long=False)}
    long = {each.name for each in budgets.chosen([], long=True)}
    assert {"scale", "failover"} <= long - ordinary
    with pytest.raises(BudgetsError, match="there is no benchmark nothing; there are"):
        budgets.chosen(["nothing"], long=False)
    crashes = next(each for each in budgets.script if each.name == "crashes")
    assert crashes.arguments(quick=True, long=False) == ("--crash-points", "200")
    assert crashes.arguments(quick=False, long=True) == ("--crash-points", "10000")
    assert crashes.arguments(quick=False, long=False) == ()


def test_a_script_runs_and_its_figures_end_in_a_file_and_in_the_table(
    run: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "heart.py").write_text(
        "import sys\n"
        'open(sys.argv[-1], \'w\').write(\'[{"name": "beat", "value": 30, "unit": "µs"}]\')\n'
    )
    (tmp_path / "budgets.toml").write_text(GOOD)
    monkeypatch.setattr(run, "FOLDER", tmp_path)
    monkeypatch.setattr(run, "load", lambda: budgeting.load(tmp_path / "budgets.toml"))
    kept = tmp_path / "kept.json"
    assert run.main(["--json", str(kept)]) == 1
    assert "MISSED: a beat: 30 µs, budget ≤ 25 µs" in capfd.readouterr().out
    assert run.main(["--from", str(kept), "--against", str(kept)]) == 1
    assert "against " in capfd.readouterr().out
    (tmp_path / "heart.py").write_text("raise SystemExit(3)\n")
    assert run.main(["--json", str(kept)]) == 1
    assert "FAILED: bench/heart.py: exit code 3, no figures" in capfd.readouterr().out
    (tmp_path / "heart.py").unlink()
    assert run.main(["--json", str(kept)]) == 1
    assert "bench/heart.py: there is no heart.py" in capfd.readouterr().out
    assert run.main(["--only", "lung"]) == 2
    assert "there is no benchmark lung; there are heart" in capfd.readouterr().err


def test_a_script_that_does_not_end_is_ended(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "heart.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(run, "FOLDER", tmp_path)
    monkeypatch.setattr(run, "SECONDS_MAX", 0.3)
    ran = run.ran(budgeting.Script("heart"), quick=False, long=False)
    assert (ran.exit_code, ran.trouble) == (None, "it was ended after 0.3 s")
    assert "PYTHONDONTWRITEBYTECODE" not in run.environment()
