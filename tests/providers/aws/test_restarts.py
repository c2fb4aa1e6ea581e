"""A control plane that dies while it buys: the next one has one machine, and pays for one."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from doubles.ec2 import Ec2Double, Served, Step, serving
from doubles.ec2_bench import until
from navarch.controlplane.clock import RealClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.providers.aws import AwsProvider
from navarch.stores.sqlite import SqliteStore

PROGRAM = Path(__file__).with_name("one_life.py")
PATIENCE_SECONDS = 30.0


@pytest.fixture
def served() -> Iterator[Served]:
    """Yield a running EC2."""
    with serving() as running:
        yield running


@pytest.fixture
def life() -> ModuleType:
    """Return the program as a module, for what both lives have in common."""
    spec = importlib.util.spec_from_file_location("one_life", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def live_and_die(served: Served, journal: Path, moment: str) -> None:
    """Let a control plane live until it has asked EC2 for a machine, and die at the moment."""
    process = subprocess.Popen([sys.executable, str(PROGRAM), served.url, str(journal), moment])
    try:
        if moment == "answered":
            assert process.wait(timeout=PATIENCE_SECONDS) == 9
        else:
            asyncio.run(until(lambda: served.cloud.calls("RunInstances")))
    finally:
        process.kill()
        process.wait()


async def live_on(
    served: Served, journal: Path, life: ModuleType, list_lag: timedelta, let_go: Callable[[], None]
) -> list[str]:
    """Start anew on the same journal; return the machines of the fleet, by EC2's ids."""
    provider = AwsProvider(life.settings_for(served.url), now=RealClock().now)
    provider.list_lag = list_lag
    control_plane = ControlPlane(ServerConfig(settings=life.HURRIED), SqliteStore(journal))
    control_plane.register_provider(provider)
    try:
        async with control_plane:
            records = control_plane.instance_manager.list
            await until(lambda: [each for each in records() if each.ref])
            let_go()
            launches = len(served.cloud.calls("RunInstances"))
            await until(lambda: served.cloud.finished["RunInstances"] == launches)
            calls = len(served.cloud.calls("DescribeInstances"))
            # Two more lists, so that whatever else there is would have shown.
            described = served.cloud.calls
            await until(lambda: len(described("DescribeInstances")) >= calls + 2)
            return [each.ref for each in records()]
    finally:
        await provider.close()


def ids(ec2: Ec2Double) -> list[str]:
    """Return the ids of the machines that are paid for."""
    return [f"us-east-1/{each.id}" for each in ec2.alive()]


def test_killed_between_the_answer_and_the_journal(
    served: Served, tmp_path: Path, life: ModuleType
) -> None:
    ec2, journal = served.cloud, tmp_path / "journal.db"
    live_and_die(served, journal, "answered")

    refs = asyncio.run(live_on(served, journal, life, timedelta(minutes=6), lambda: None))

    assert refs == ids(ec2)
    assert len(refs) == 1
    assert len(ec2.calls("RunInstances")) == 1


def test_killed_before_the_answer_while_lists_lag(
    served: Served, tmp_path: Path, life: ModuleType
) -> None:
    """The list does not have it when it should: it is asked for again, under the same token."""
    ec2, journal, answers = served.cloud, tmp_path / "journal.db", threading.Event()
    ec2.lists_lag = True
    ec2.next("RunInstances", Step(answers_after=answers))
    live_and_die(served, journal, "held")

    refs = asyncio.run(live_on(served, journal, life, timedelta(seconds=0.5), answers.set))

    assert refs == ids(ec2)
    assert len(refs) == 1
    tokens = [each.query["ClientToken"] for each in ec2.calls("RunInstances")]
    assert tokens == [tokens[0]] * 2
