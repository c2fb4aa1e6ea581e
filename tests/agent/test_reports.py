"""What was sensed and not yet told is there again after a crash, as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.agent.reports import ReportFile
from navarch.core.model.messages import ReportHealth
from navarch.core.model.report import CheckResult, Health, HealthEvent

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
REPORT = ReportHealth(
    "n1",
    (CheckResult("nvml", Health.DEGRADED, "hot", at=NOW, details={"a": "b"}),),
    (
        HealthEvent(
            "xid",
            3,
            "GPU-3",
            "DCGM_HEALTH_WATCH_DRIVER",
            {"xid_code": 79, "words": "é\n", "rate": 0.5},
            "NVRM",
            NOW,
            7,
        ),
    ),
)


def test_reports_come_back_as_they_were(tmp_path: Path) -> None:
    file = ReportFile(tmp_path / "reports.json")
    assert file.read() == ((), "")
    file.write((REPORT, REPORT))
    assert ReportFile(tmp_path / "reports.json").read() == ((REPORT, REPORT), "")
    file.write(())
    assert file.read() == ((), "")


def test_nothing_to_keep_makes_no_file(tmp_path: Path) -> None:
    ReportFile(tmp_path / "reports.json").write(())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[" * 5_000, b'[{"node_id": 3}]'])
def test_a_damaged_file_is_put_aside_and_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "reports.json"
    path.write_bytes(content)
    reports, damage = ReportFile(path).read()
    assert reports == ()
    assert damage.startswith(f"{path}: ")
    assert damage.endswith("; it is now reports.json.damaged")
    assert (tmp_path / "reports.json.damaged").read_bytes() == content
    assert ReportFile(path).read() == ((), "")


@given(content=st.binary(max_size=200))
def test_no_content_whatever_keeps_an_agent_from_starting(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "reports.json"
    path.write_bytes(content)
    reports, damage = ReportFile(path).read()
    assert damage or reports == ()
