"""Reports of simulations: found in a folder, summed up, and held beside the real fleet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard import pool_world, simulated
from dashboard.seeing import seen, shown
from factories import POOL, at, flat, founded, lost, priced, running
from navarch.core.model.messages import Sold
from navarch.core.model.sightings import Sightings
from navarch.dashboard import reports
from navarch.dashboard.past.kept import Past
from navarch.dashboard.past.uses import Use
from navarch.dashboard.reports import DOCUMENT, PAGE, REPORTS_MAX, Document, Reports
from navarch.errors import WireError
from navarch.simulator.report import Report

PRICED = Sightings(catalogs=priced(at(), fake=[Sold("h100-8x", 24.0)]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one real report."""
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def real(folder: Path) -> Report:
    """What that report says."""
    return simulated.report(folder / "hour")


def written(folder: Path, name: str, document: bytes | None = None, age: int = 0) -> None:
    """Leave a report in a folder, written so many seconds ago."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / PAGE).write_text(f"<title>{name}</title>")
    if document is not None:
        (folder / name / DOCUMENT).write_bytes(document)
    os.utime(folder / name / PAGE, (1_800_000_000 - age, 1_800_000_000 - age))


def of(folder: Path | None, **given: Any) -> Past:  # noqa: ANN401 - passed on
    return Past(reports=None if folder is None else Reports(folder), **given)


def test_a_real_report_is_summed_up_as_it_says_itself(folder: Path, real: Report) -> None:
    found, left_out = Reports(folder).newest()
    assert [each.name for each in found] == ["hour"]
    assert left_out == 0
    summed = found[0].sum
    assert summed is not None
    assert (summed.blueprint, summed.seed, summed.seconds) == ("an hour", 7, 3600)
    assert summed.fleet.good == real.fleet.gpu_hours.good
    assert summed.fleet.dollars == real.fleet.usd
    assert summed.machine_hours == sum(each.machine_hours for each in real.costs)
    assert [each.name for each in summed.pools] == ["training"]
    assert summed.fleet.dollars_per_good_hour == real.fleet.usd / real.fleet.gpu_hours.good


def test_reports_are_listed_the_newest_first_and_bounded(tmp_path: Path) -> None:
    for number in range(REPORTS_MAX + 3):
        written(tmp_path, f"run-{number:03d}", age=number)
    found, left_out = Reports(tmp_path).newest()
    assert len(found) == REPORTS_MAX
    assert left_out == 3
    assert found[0].name == "run-000"
    assert "not in the folder" in found[0].problem


def test_the_folder_itself_and_folders_of_folders_may_be_reports(tmp_path: Path) -> None:
    written(tmp_path, ".", age=1)
    written(tmp_path, "group/run", age=2)
    written(tmp_path, "group/run/too-deep", age=3)
    written(tmp_path, ".hidden", age=4)
    found, _ = Reports(tmp_path).newest()
    assert [each.name for each in found] == [".", "group/run"]
    assert Reports(tmp_path).page("group/run") == b"<title>group/run</title>"
    assert Reports(tmp_path).page(".") == b"<title>.</title>"


@pytest.mark.parametrize(
    "name", ["..", "../outside", "a/../..", "/etc", "", "a//b", ".hidden", "link", "a\0b", "a/b/c"]
)
def test_nothing_outside_of_the_folder_is_shown(tmp_path: Path, name: str) -> None:
    written(tmp_path, "outside")
    inside = tmp_path / "inside"
    written(inside, ".hidden")
    (inside / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(WireError) as refusal:
        Reports(inside).page(name)
    assert refusal.value.code == "not_found"


def test_a_folder_that_is_not_there_has_no_reports(tmp_path: Path) -> None:
    assert Reports(tmp_path / "nowhere").newest() == ([], 0)


def test_a_document_that_changes_is_read_again(tmp_path: Path) -> None:
    written(tmp_path, "run", b"{}")
    kept = Reports(tmp_path)
    assert "cannot be read" in kept.newest()[0][0].problem
    simulated.report(tmp_path / "run")
    assert kept.newest()[0][0].sum is not None


def test_a_document_of_another_version_is_said_to_be_one() -> None:
    with pytest.raises(msgspec.ValidationError, match="version 2, expected 1"):
        reports.sum_of(msgspec.json.decode(_document(version=2), type=Document))


def _document(**changes: object) -> bytes:
    plain = {
        "version": 1,
        "seconds": 60.0,
        "seed": 1,
        "beginsAt": "2026-01-01T00:00:00Z",
        "fleet": {},
    }
    return msgspec.json.encode({**plain, **changes})


def test_a_run_without_prices_has_no_price_of_a_good_hour(tmp_path: Path) -> None:
    hours = {"good": 8.0, "idle": 0.0, "lost": 1.0}
    written(tmp_path, "run", _document(fleet={"gpuHours": hours, "usd": 0.0}))
    summed = Reports(tmp_path).summed("run")
    assert (summed.fleet.dollars, summed.fleet.dollars_per_good_hour) == (None, None)
    assert summed.fleet.delivered is None


WORDS = st.sampled_from(["version", "fleet", "pools", "seconds", "seed", "usd", "costs"])
WILD = st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.lists(st.integers())


@given(st.binary(max_size=200) | st.dictionaries(WORDS, WILD).map(msgspec.json.encode))
@settings(max_examples=40, deadline=None)
def test_whatever_lies_there_is_refused_unless_it_is_a_document(raw: bytes) -> None:
    with pytest.raises(WireError, match="cannot be read"):
        reports.read_sum(raw, "wild")


def test_a_document_that_is_nested_without_end_is_refused() -> None:
    raw = _document().rstrip(b"}") + b', "more": ' + b"[" * 100_000
    with pytest.raises(WireError, match="cannot be read"):
        reports.read_sum(raw, "deep")


# --- beside the real fleet ---------------------------------------------------------------------


def live(facts: Any, past: Past | None = None) -> dict[str, Any]:  # noqa: ANN401 - a list of facts
    what = seen(facts, at(hours=2), PRICED, past)
    view = shown(what, "simulations")
    found: dict[str, Any] = view["live"]
    return found


def test_the_real_fleet_is_told_in_the_words_of_reports() -> None:
    past = Past()
    for minute in range(121):
        past.uses.note(POOL, at(minutes=minute), Use(good=12, idle=4))
    told = live(flat(founded(target=2), running(1), running(2), lost(2, at(hours=1))), past)
    pool = told["pools"][0]
    assert pool["name"] == POOL
    assert pool["nodes"] == 2
    assert pool["lost"] == pytest.approx(8)
    assert pool["availability"] == pytest.approx(0.5, abs=0.05)
    assert pool["dollars"] == pytest.approx(4 * 24.0)
    assert told["fleet"]["availability"] == pool["availability"]
    assert told["fleet"]["replacements"] == 0


def test_what_the_real_fleet_does_not_know_is_said() -> None:
    facts = flat(founded(target=1), running(1))
    view = shown(seen(facts, at(hours=2)), "simulations")
    fleet = view["live"]["fleet"]
    assert fleet["dollars"] is None
    assert fleet["dollars_per_good_hour"] is None
    assert "machine-hours is not known" in fleet["because"]
    assert view["reports"] == []
    assert view["folder"] == ""


def test_one_report_says_where_its_page_is(folder: Path, real: Report) -> None:
    what = seen(pool_world.past(at(hours=6)), at(hours=6), past=of(folder))
    view = shown(what, "simulations", "hour")
    assert view["page"] == "/ui/reports/hour/report.html"
    assert view["report"]["sum"]["fleet"]["most_nodes"] == real.fleet.most_nodes
    with pytest.raises(WireError, match="not in the folder"):
        shown(what, "simulations", "another")
    with pytest.raises(WireError, match="without a query"):
        shown(what, "simulations", window="1h")


def test_without_a_folder_there_is_no_report() -> None:
    with pytest.raises(WireError, match="no folder of reports"):
        shown(seen(flat(founded()), at(), past=of(None)), "simulations", "hour")


def test_the_policy_of_a_report_gives_it_no_origin_and_no_network() -> None:
    policy = dict(part.strip().partition(" ")[::2] for part in reports.POLICY.split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["sandbox"] == "allow-scripts"
    assert "connect-src" not in policy  # so 'none'
    assert policy["frame-ancestors"] == "'self'"
