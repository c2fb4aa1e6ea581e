"""The benchmark of large fleets, on a small scale: nobody is lost, and everybody is answered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from integration.daemon import free_port

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "scale.py"


@pytest.mark.soak
@pytest.mark.parametrize("form", ["proto", "json"])
def test_two_thousand_agents_live_for_a_minute(tmp_path: Path, form: str) -> None:
    found = tmp_path / "found.json"
    command = [sys.executable, str(SCRIPT), "--batched", "2000", "--direct", "200"]
    command += ["--minutes", "1", "--interval", "10", "--form", form, "--json", str(found)]
    command += ["--folder", str(tmp_path / "fleet"), "--port", str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    values = {each["name"]: each["value"] for each in json.loads(found.read_text())}
    assert values["nodes declared lost"] == 0
    assert values["calls refused or broken"] == 0, values
    assert values["relayed heartbeats"] > 9_000
    assert values["direct heartbeats"] > 900
    assert found.with_suffix(".svg").read_text().startswith("<svg")
