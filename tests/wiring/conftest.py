"""A package of somebody else, installed for one test."""

from __future__ import annotations

from pathlib import Path

import pytest

ENTRY_POINTS = """
[navarch.autoscalers]
steady = wiring.foreign:Steady
absent = wiring.foreign:Absent
[navarch.metrics_sources]
tickets = wiring.foreign:Tickets
[navarch.providers]
rack = wiring.foreign:Rack
[navarch.rankers]
backwards = wiring.foreign:Backwards
forwards = wiring.foreign:Backwards
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the entry points of `wiring.foreign`."""
    folder = tmp_path / "site" / "foreign-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(folder.parent))
