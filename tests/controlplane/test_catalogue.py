"""The catalogue of measures: it has every name that is shown, and the page of metrics has it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest
from msgspec.structs import replace

from navarch.controlplane import catalogue
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.described import LABELS, Described
from navarch.wire.generated import navarch_pb2 as pb
from pools import MONDAY, a_control_plane, a_spec, register_all, run
from requests_of import call, get

PLANTED = """\
# HELP navarch_planted_total Nobody knows this one.
# TYPE navarch_planted_total counter
navarch_planted_total 3
"""


@pytest.fixture(scope="module")
def tool(project: Path) -> ModuleType:
    """Return the writer of the page."""
    path = project / "tools" / "metrics_table.py"
    spec = importlib.util.spec_from_file_location("metrics_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page() -> str:
    """Return what a control plane shows that has done this and that."""

    async def told() -> str:
        clock = FakeClock(MONDAY)
        async with a_control_plane(clock, a_spec()) as (plane, _):
            [node_id, _] = await register_all(plane, 2)
            application = plane.asgi_app
            await call(application, "Heartbeat", pb.HeartbeatRequest(node_id=node_id))
            await call(application, "GetNode", pb.GetNodeRequest(node_id="nobody"))
            clock.advance(timedelta(seconds=30))
            await plane.accounts.sweep()
            status, body = await get(application, "/metrics")
            assert status == 200
            return body.decode()

    return run(told())


def test_everything_that_is_shown_is_in_the_catalogue(page: str) -> None:
    assert list(catalogue.faults(page)) == []


def test_a_measure_that_is_not_in_the_catalogue_is_found(page: str) -> None:
    assert set(catalogue.faults(page + PLANTED)) == {
        "navarch_planted_total is not in the catalogue"
    }


@pytest.mark.parametrize(
    "shown, planted, fault",
    [
        ("# TYPE navarch_nodes gauge", "# TYPE navarch_nodes counter", "# TYPE counter"),
        ("# HELP navarch_leader W", "# HELP navarch_leader w", "# HELP whether this"),
        ('navarch_nodes{pool="training",', 'navarch_nodes{rack="r1",', "labels rack, status"),
        ("navarch_leader 1", 'navarch_leader{pool="a"} 1', "labels pool"),
        ("navarch_leader 1", "navarch_leader", "no sample"),
        ("navarch_leader 1", 'navarch_leader{pool=a"} 1', "cannot be read"),
        ("navarch_boot_duration_seconds_sum{", "navarch_boot_duration_seconds{", "not in the"),
    ],
)
def test_what_is_shown_otherwise_is_found(page: str, shown: str, planted: str, fault: str) -> None:
    assert shown in page
    found = list(catalogue.faults(page.replace(shown, planted)))
    assert any(fault in each for each in found), found


def test_the_page_of_metrics_has_the_catalogue(project: Path, tool: ModuleType) -> None:
    written = (project / "docs" / "metrics.md").read_text()
    assert tool.page(written) == written, "run python tools/metrics_table.py"


def test_a_measure_that_is_not_on_the_page_is_found(
    project: Path, tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = (project / "docs" / "metrics.md").read_text()
    planted = (*catalogue.ALL, replace(catalogue.ALL[-1], name="navarch_planted_total"))
    assert "navarch_planted_total" in tool.tables(planted)
    monkeypatch.setattr(tool.tables, "__defaults__", (planted,))
    assert tool.page(written) != written


@pytest.mark.parametrize("row", catalogue.ALL, ids=lambda row: row.name)
def test_every_row_is_well_formed(row: Described) -> None:
    assert re.fullmatch(r"(navarch|process)_[a-z]+(_[a-z]+)*", row.name)
    assert row.name.endswith("_total") == (row.type == "counter")
    assert not row.name.endswith(("_bucket", "_sum", "_count"))
    assert set(row.labels) <= LABELS.keys()
    assert row.about.endswith(".")
    assert "\n" not in row.about + row.more
    assert (row.type == "histogram") == bool(row.bounds)
    assert list(row.bounds) == sorted(set(row.bounds))
    assert row.group


def test_every_label_is_used_and_no_name_is_twice() -> None:
    assert len(catalogue.BY_NAME) == len(catalogue.ALL)
    assert {label for row in catalogue.ALL for label in row.labels} == LABELS.keys()


def test_promtool_finds_nothing_to_complain_of(page: str) -> None:
    """The linter of Prometheus itself; skipped where it is not installed."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    told = subprocess.run(
        ["promtool", "check", "metrics"], input=page, text=True, capture_output=True, check=False
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
