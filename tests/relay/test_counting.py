"""What a relay shows to Prometheus: well formed, and on its page."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from navarch.relay.counting import Counts, lines

NAME = re.compile(r"`(navarch_relay_[a-z_]+)(?:\{[a-z,]+\})?`")


@pytest.fixture
def page() -> str:
    """Return what a relay shows to which everything has happened."""
    counts = Counts()
    counts.heartbeats["gathered"] += 3
    counts.passed["Heartbeat", "ok"] += 1
    counts.batches["ok"] += 1
    counts.dropped["old"] += 1
    counts.refused["unauthenticated"] += 1
    counts.batch_seconds.add(0.02)
    counts.passed_seconds.add(0.01)
    told = lines(counts, nodes=2, waiting=1, waiting_bytes=90, age=0.5, server="http://a")
    return "".join(f"{line}\n" for line in told)


def missing(page: str, document: str) -> set[str]:
    """Name what is shown and not documented."""
    shown = {line.split(" ")[2] for line in page.splitlines() if line.startswith("# TYPE ")}
    return shown - set(NAME.findall(document))


def test_everything_that_is_shown_is_documented(project: Path, page: str) -> None:
    document = (project / "docs" / "relay.md").read_text()
    assert missing(page, document) == set()
    planted = page + "# TYPE navarch_relay_planted_total counter\n"
    assert missing(planted, document) == {"navarch_relay_planted_total"}


def test_everything_that_is_documented_is_shown(project: Path, page: str) -> None:
    document = (project / "docs" / "relay.md").read_text()
    assert [name for name in NAME.findall(document) if f"# TYPE {name} " not in page] == []


def test_promtool_finds_nothing_to_complain_of(page: str) -> None:
    """The linter of Prometheus itself; skipped where it is not installed."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    told = subprocess.run(
        ["promtool", "check", "metrics"], input=page, text=True, capture_output=True, check=False
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
