"""``policy backtest``: a candidate tried on a journal file, or on what a server keeps."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from cli.connect_server import ConnectServer, Json, Run
from golden_text import golden
from navarch.cli import clock, policy_backtesting
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.policy import HealthPolicy as Rules
from navarch.stores.ledger import JournalFile
from navarch.stores.rows import Batch
from navarch.stores.sqlite import SqliteStore
from simulation.judged_month import START, a_month, a_policy

HARSH = """\
version: v1
metadata: {name: harsh}
rules:
  - name: application-fault
    condition: event.event_type == "xid" && known.code == 31
    result: unhealthy
    repair: replace
  - name: fallen
    condition: event.event_type == "xid" && known.code == 79
    result: unhealthy
    repair: replace
  - {name: rest, condition: "true", result: healthy}
"""
MISTAKEN = HARSH.replace("unhealthy", "sick", 1)


@pytest.fixture(scope="module")
def month() -> list[ev.Fact]:
    return a_month().facts


def journal(path: Path, facts: list[ev.Fact]) -> Path:
    """Write facts into a new journal file."""
    file = JournalFile.open(path.absolute(), busy=timedelta(seconds=1))
    file.append([Batch.of(facts, after=0)])
    file.close()
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, month: list[ev.Fact]) -> Path:
    (tmp_path / "harsh.yaml").write_text(HARSH)
    (tmp_path / "mistaken.yaml").write_text(MISTAKEN)
    journal(tmp_path / "navarch.db", month)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def without_digests(text: str) -> str:
    """Put words in the place of digests, which differ where the catalogue does."""
    harsh = Rules.from_yaml(HARSH, source="harsh.yaml").digest
    return text.replace(harsh, "HARSH").replace(a_policy().digest, "USUAL")


def test_the_table_names_each_node_that_differs_and_the_totals(folder: Path, run: Run) -> None:
    code, stdout, stderr = run("policy", "backtest", "harsh.yaml", "--journal", "navarch.db")
    assert (code, stderr) == (0, "")
    stdout = without_digests(stdout)
    assert stdout == golden(stdout, "cli/policy-backtest.txt")


def test_programs_get_documented_keys(folder: Path, run: Run, project: Path) -> None:
    code, stdout, _ = run("policy", "backtest", "harsh.yaml", "--data", ".", "-o", "json")
    assert code == 0
    stdout = without_digests(stdout)
    assert stdout == golden(stdout, "cli/policy-backtest.json")
    page = (project / "docs" / "policy.md").read_text()
    content = json.loads(stdout)
    keys = [*content, *content["candidate"], *content["compared"][0]]
    keys += content["compared"][0]["reality"]
    assert [key for key in keys if f"`{key}`" not in page] == []


def test_without_a_file_the_built_in_policy_is_tried(folder: Path, run: Run) -> None:
    code, stdout, _ = run("policy", "backtest", "--data", ".", "-o", "json")
    assert code == 0
    assert json.loads(stdout)["policy"]["name"] == "default"


def test_since_and_pool_narrow_it_down(folder: Path, run: Run) -> None:
    words = ["--data", ".", "--pool", "train", "--since", "2026-05-09T00:00:00Z", "-o", "json"]
    code, stdout, _ = run("policy", "backtest", "harsh.yaml", *words)
    content = json.loads(stdout)
    assert code == 0
    assert content["since"] >= "2026-05-09"
    assert {one["node"] for one in content["compared"] if one["class"] == "extra"} == {
        "train-k3f9-0003"
    }


def test_a_journal_in_use_is_read_beside_its_writer(
    tmp_path: Path, run: Run, month: list[ev.Fact]
) -> None:
    async def story() -> None:
        store = SqliteStore(tmp_path / "navarch.db", holder="a test")
        await store.open()
        try:
            last = await store.append(month[:-1], after=0)
            code, stdout, _ = run("policy", "backtest", "--data", str(tmp_path), "-o", "json")
            assert (code, json.loads(stdout)["facts"]) == (0, len(month) - 1)
            assert await store.append(month[-1:], after=last) == last + 1
        finally:
            await store.close()

    asyncio.run(story())


def test_a_journal_whose_beginning_was_forgotten_is_judged_from_there(
    tmp_path: Path, run: Run, month: list[ev.Fact]
) -> None:
    fleet = fleets.Fleet()
    for fact in month:
        fold.apply(fleet, fact)
    file = JournalFile.open(tmp_path / "navarch.db", busy=timedelta(seconds=1))
    file.append([Batch.of(month, after=0)])
    file.snapshot(len(month), fleets.encode(fleet))
    assert file.remove(up_to=60, limit=1000) == 60
    file.close()
    code, stdout, _ = run("policy", "backtest", "--data", str(tmp_path), "-o", "json")
    content = json.loads(stdout)
    assert (code, content["facts"]) == (0, len(month) - 60)
    gpus = {one["node"]: one["gpus"] for one in content["compared"]}
    # What went before the snapshot is known by its id alone.
    assert gpus == {"train-k3f9-0002": 1, "train-k3f9-0004": 8, "train-k3f9-0006": 1}


def test_a_server_is_asked_page_by_page(
    server: ConnectServer, run: Run, month: list[ev.Fact], monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed(request: Json) -> Json:
        after = int(request.get("afterSeq", 0))
        page = month[after : after + 40]
        return {
            "events": [
                {"seq": str(after + n), "payload": ev.encode(fact).decode()}
                for n, fact in enumerate(page, start=1)
            ],
            "lastSeq": str(len(month)),
        }

    server.answers["ListEvents"] = listed
    monkeypatch.setattr(clock, "now", lambda: month[-1].at)
    code, stdout, stderr = run("policy", "backtest", "-o", "json")
    assert (code, stderr) == (0, "")
    assert json.loads(stdout)["facts"] == len(month)
    assert len(server.requests) == -(-len(month) // 40)


def test_a_fact_of_a_newer_server_is_one_line(server: ConnectServer, run: Run) -> None:
    events = [{"seq": "7", "payload": '{"kind": "from_the_future", "at": "2030-01-01T00:00:00Z"}'}]
    server.prepare("ListEvents", {"events": events, "lastSeq": "7"})
    code, stdout, stderr = run("policy", "backtest")
    assert (code, stdout) == (1, "")
    assert f"fact 7 of {server.url} cannot be read" in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("name,begin", [("month.html", "<!doctype"), ("month.svg", "<svg ")])
def test_a_picture_is_written(name: str, begin: str, folder: Path, run: Run) -> None:
    code, _, _ = run("policy", "backtest", "harsh.yaml", "--data", ".", "--chart", name)
    assert code == 0
    assert (folder / name).read_text().startswith(begin)


def test_people_are_told_how_far_it_is(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch, month: list[ev.Fact]
) -> None:
    monkeypatch.setattr(policy_backtesting, "PATIENCE", timedelta(days=-1))
    monkeypatch.setattr(policy_backtesting, "PAGE_SIZE", 60)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    _, _, stderr = run("policy", "backtest", "harsh.yaml", "--data", ".")
    shares = [
        f"\rnavarch: {n} of {len(month)} ({n * 100 // len(month)}%) facts judged" for n in (60, 120)
    ]
    assert stderr == "".join(shares) + "\n"


# --- bad input -------------------------------------------------------------------------------


def test_a_policy_with_mistakes_is_told_as_the_check_does(folder: Path, run: Run) -> None:
    code, stdout, stderr = run("policy", "backtest", "mistaken.yaml", "--data", ".")
    assert (code, stdout) == (1, "")
    assert stderr == run("policy", "check", "mistaken.yaml").stderr
    assert "mistaken.yaml:6" in stderr


def refused(run: Run, *words: str) -> str:
    """Run it, and return its one line about what is wrong."""
    code, stdout, stderr = run("policy", "backtest", "harsh.yaml", *words)
    assert (code, stdout) == (1, "")
    assert stderr.count("\n") == 1
    return stderr


def test_what_is_no_journal_is_one_line(folder: Path, run: Run) -> None:
    (folder / "notes.txt").write_text("these are notes, and no journal of anything " * 40)
    other = sqlite3.connect(folder / "other.db")
    other.execute("CREATE TABLE t (a)")
    other.close()
    assert "journal absent.db is not there" in refused(run, "--journal", "absent.db")
    assert "journal . is a folder: name the file" in refused(run, "--journal", ".")
    assert "elsewhere/navarch.db is not there" in refused(run, "--data", "elsewhere")
    assert "is damaged and cannot be read" in refused(run, "--journal", "notes.txt")
    assert "other.db" in refused(run, "--journal", "other.db")


def test_a_damaged_journal_names_the_first_bad_fact(folder: Path, run: Run) -> None:
    with sqlite3.connect(folder / "navarch.db") as database:
        database.execute("UPDATE fact SET raw = 'x' || raw WHERE seq = 70")
    database.close()
    assert "is damaged at fact 70: its checksum does not fit" in refused(run, "--data", ".")


def test_a_journal_without_reports_says_so(folder: Path, run: Run) -> None:
    journal(folder / "quiet.db", [ev.FleetFounded(START, "k3f9"), ev.Resumed(START, "0.1.0")])
    assert "the journal holds no health report" in refused(run, "--journal", "quiet.db")
    journal(folder / "empty.db", [])
    assert "the journal holds no health report" in refused(run, "--journal", "empty.db")
    assert "no health report since 2027" in refused(
        run, "--data", ".", "--since", "2027-01-01T00:00:00Z"
    )


def test_a_picture_that_cannot_be_written_is_one_line(folder: Path, run: Run) -> None:
    stderr = refused(run, "--data", ".", "--chart", "/nowhere/month.svg")
    assert "/nowhere/month.svg: cannot be written: No such file or directory" in stderr


@pytest.mark.parametrize(
    "words,expected",
    [
        (["--journal", "navarch.db", "--data", "."], "say either --journal or --data"),
        (["--data", ".", "--chart", "month.png"], "expected a name that ends with .svg or .html"),
        (["--data", ".", "--since", "yesterday"], "neither a duration"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    words: list[str], expected: str, folder: Path, run: Run
) -> None:
    code, stdout, stderr = run("policy", "backtest", "harsh.yaml", *words)
    assert (code, stdout) == (2, "")
    assert expected in stderr
