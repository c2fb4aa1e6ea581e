"""What docs/monitoring.md says to do can be done as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from infra.real_parts import require
from navarch.config.load import examine

PAGE = Path(__file__).resolve().parents[2] / "docs" / "monitoring.md"
BLOCK = re.compile(r"^( *)```(sh|yaml)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
FOLDERS = ("/etc/prometheus", "/var/lib/grafana")


def blocks(kind: str) -> list[str]:
    """The code of a kind on the page, in its order."""
    found = BLOCK.findall(PAGE.read_text())
    return [textwrap.dedent(text) for _, each, text in found if each == kind]


def test_the_commands_make_what_prometheus_takes_and_grafana_reads(tmp_path: Path) -> None:
    require(["promtool"], "prometheus")
    require(["openssl"], "openssl")
    text = f'navarch() {{ "{sys.executable}" -m navarch "$@"; }}\n' + "".join(blocks("sh"))
    for folder in FOLDERS:
        here = tmp_path / folder.rpartition("/")[2]
        here.mkdir()
        text = text.replace(folder, str(here))
    (tmp_path / "prometheus" / "navarch-ca.pem").write_text("")
    done = subprocess.run(
        ["bash", "-eu", "-c", text], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout
    made = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    assert made == [
        *(
            f"grafana/dashboards/navarch/navarch-{name}.json"
            for name in ("control-plane", "cost", "fleet", "health", "pool", "serving")
        ),
        "prometheus/navarch-ca.pem",
        "prometheus/navarch-viewer.token",
        "prometheus/navarch.rules.yml",
        "prometheus/prometheus.yml",
    ]


def test_the_part_of_our_configuration_has_no_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [ours] = [text for text in blocks("yaml") if text.startswith("server:")]
    monkeypatch.setenv("PROMETHEUS_TOKEN", "0123456789abcdef0123456789abcdef")
    whole = tmp_path / "navarch.yaml"
    pools = {"training": {"provider": "here", "max_nodes": 2}}
    content = {**yaml.safe_load(ours), "providers": {"here": {"type": "process"}}, "pools": pools}
    whole.write_text(yaml.safe_dump(content))
    assert examine(whole).faults == ()


def test_the_part_for_alertmanager_is_taken_by_it(tmp_path: Path) -> None:
    require(["amtool"], "prometheus-alertmanager")
    [theirs] = [text for text in blocks("yaml") if text.startswith("route:")]
    content = yaml.safe_load(theirs)
    content["receivers"] = [{"name": "tickets"}, {"name": "pager"}]
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(content))
    done = subprocess.run(
        ["amtool", "check-config", str(tmp_path / "alertmanager.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
