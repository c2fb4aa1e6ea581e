"""The document of a report: the same bytes for the same run, as its schema says."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from msgspec.structs import replace

from navarch.errors import ReportNotWritten
from navarch.simulator.report import (
    Report,
    report_from_json,
    report_json,
    summary_lines,
    write,
)
from simulation.report.lived import HOUR, STORMY, recorded

MORNING = replace(STORMY, lasts=3 * HOUR)

PROGRAM = """
import sys
from navarch.simulator.report import report_json
from navarch.simulator.report.page import page
from simulation.report.test_document import MORNING
from simulation.report.lived import recorded
report = recorded(MORNING, seed=3).report()
sys.stdout.buffer.write(report_json(report) + page(report).encode())
"""


@pytest.fixture(scope="module")
def report() -> Report:
    """Live through the morning once."""
    return recorded(MORNING, seed=3).report()


@pytest.fixture(scope="module")
def tool(project: Path) -> ModuleType:
    """Load the tool that writes the reference; it is no package's."""
    path = project / "tools" / "report_schema.py"
    spec = importlib.util.spec_from_file_location("report_schema", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_processes_write_the_same_bytes(project: Path) -> None:
    def lived(hash_seed: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": "tests"}
        command = [sys.executable, "-c", PROGRAM]
        return subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE)

    first, second = lived("1"), lived("4242")
    one, other = first.communicate()[0], second.communicate()[0]
    assert first.returncode == second.returncode == 0
    assert len(one) > 100_000
    assert one == other


def test_a_document_reads_back_equal(report: Report) -> None:
    raw = report_json(report)
    assert raw.endswith(b"\n")
    assert raw.count(b"\n") == 1
    assert report_from_json(raw) == report
    assert report_json(report_from_json(raw)) == raw


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="seed"):
        report_from_json(b'{"version": 1, "navarch": "0", "blueprint": "x"}')


def test_the_schema_and_the_page_of_documentation_are_up_to_date(tool: ModuleType) -> None:
    assert tool.SCHEMA.read_text() == tool.schema_text(), "run: python tools/report_schema.py"
    assert tool.PAGE.read_text() == tool.page_text(), "run: python tools/report_schema.py"


def test_the_document_is_as_its_schema_says(report: Report, tool: ModuleType) -> None:
    schema = json.loads(tool.SCHEMA.read_text())
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(schema).validate(json.loads(report_json(report)))
    names = set(schema["$defs"]["Report"]["properties"])
    assert names == set(json.loads(report_json(report)))


def test_three_files_are_written_whole(report: Report, tmp_path: Path) -> None:
    folder = tmp_path / "some" / "where"
    paths = write(report, folder, b'{"kind":"x"}\n')
    assert [path.name for path in paths] == ["report.html", "report.json", "journal.jsonl"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in paths)
    assert (folder / "report.json").read_bytes() == report_json(report)
    assert (folder / "journal.jsonl").read_bytes() == b'{"kind":"x"}\n'


def test_a_folder_that_can_not_be_written_to_is_a_clear_error(
    report: Report, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportNotWritten, match=r"file.*expected a folder that can be written to"):
        write(report, tmp_path / "file")
    (tmp_path / "report.json").mkdir()
    with pytest.raises(ReportNotWritten, match="cannot be written"):
        write(report, tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_the_table_for_a_terminal_has_the_numbers_that_matter(report: Report) -> None:
    lines = summary_lines(report)
    names = [line[:28].strip() for line in lines]
    assert names[0] == "RUN"
    assert {"AVAILABILITY", "COST", "TIME TO REPAIR", "REPLACEMENTS", "FAULTS"} <= set(names)
    assert f"${report.fleet.usd:,.2f}" in next(line for line in lines if line.startswith("COST"))
    assert all(len(line) < 160 for line in lines)
