"""Serving: a simulated fleet behind the product's own API, on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from navarch.controlplane.clock import RealClock
from navarch.errors import WireError
from navarch.simulator import serving
from navarch.simulator.scenarios.passing import Passing
from navarch.simulator.scenarios.reading import examine_text
from navarch.simulator.scenarios.running import Run
from navarch.simulator.serving import Simulated
from navarch.wire import listener
from navarch.wire.client import ConnectClient

POOL = """\
name: served
duration: 10m
providers: {fake: {boot_time: 1m}}
pools:
  train: {provider: fake, min_nodes: 3, max_nodes: 5}
events:
  - {at: 8m, action: log, params: {log_message: eight}}
assertions:
  - {type: pool_size, target: train, expected: 3}
"""


class Served(Struct):
    """A served run."""

    client: ConnectClient
    run: Run
    told: list[str]


def laid_out(text: str) -> Run:
    scenario = examine_text(text, path=Path("test.yaml")).scenario
    assert scenario is not None
    return Run(scenario, 1)


@contextlib.contextmanager
def served(text: str, speed: float) -> Iterator[Served]:
    """Serve a run in a thread until the block ends."""
    run = laid_out(text)
    told: list[str] = []
    over = threading.Event()
    ended = threading.Event()
    listening = listener.bind("127.0.0.1", 0)
    listening.listen()
    end: list[Any] = []

    def tell(line: str) -> None:
        told.append(line)
        over.set()

    async def main() -> None:
        stop = asyncio.Event()
        end.append((asyncio.get_running_loop(), stop))
        ended.set()
        await serving.serve(
            Passing(run),
            Simulated(run.twin),
            RealClock(),
            listening=listening,
            told=stop,
            speed=speed,
            tell=tell,
        )

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ended.wait(10)
        if math.isinf(speed):
            assert over.wait(20)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with contextlib.closing(ConnectClient(url, None, timeout=10)) as client:
            yield Served(client, run, told)
    finally:
        loop, stop = end[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        listening.close()
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def over() -> Iterator[Served]:
    """A run whose scenario is over."""
    with served(POOL, math.inf) as live:
        yield live


def test_a_scenario_that_is_over_is_judged_and_served_on(over: Served) -> None:
    assert over.told == [
        "the scenario is over at +0:10:00, all that it demands holds; time goes on"
    ]
    nodes = over.client.call("ListNodes", {"pageSize": 10})["nodes"]
    assert {node["status"] for node in nodes} == {"NODE_STATUS_ACTIVE"}
    assert len(nodes) == 3
    (pool,) = over.client.call("ListPools", {})["pools"]
    assert (pool["name"], pool["currentNodes"]) == ("train", 3)


def test_explanations_and_facts_about_one_thing_are_answered(over: Served) -> None:
    id_ = over.client.call("ListInstances", {"pageSize": 10})["instances"][0]["instanceId"]
    answer = over.client.call("Explain", {"kind": "SUBJECT_KIND_INSTANCE", "id": id_})
    assert any("running" in line for line in answer["lines"])
    assert all(id_ in fact["text"] for fact in answer["facts"])
    newest = over.client.call("ListEvents", {"subject": id_, "limit": 2, "newestFirst": True})
    assert len(newest["events"]) == 2
    assert int(newest["events"][0]["seq"]) > int(newest["events"][1]["seq"])


def test_what_is_asked_changes_the_fleet_and_is_in_its_journal(over: Served) -> None:
    id_ = over.client.call("ListNodes", {"pageSize": 1})["nodes"][0]["nodeId"]
    request = {"nodeId": id_, "commandType": "NODE_COMMAND_TYPE_CORDON", "reason": "a try"}
    assert over.client.call("IssueCommand", request)["commandId"]
    assert over.client.call("GetNode", {"nodeId": id_})["node"]["intent"] == "cordoned"
    scaled = over.client.call("ScalePool", {"poolName": "train", "targetNodes": 4})
    assert scaled["pool"]["targetNodes"] == 4
    kinds = [each["kind"] for each in over.client.call("ListEvents", {"limit": 1000})["events"]]
    assert "intent_changed" in kinds
    assert "target_changed" in kinds


def test_refusals_are_those_of_the_product(over: Served) -> None:
    with pytest.raises(WireError, match="not known") as refused:
        over.client.call("GetNode", {"nodeId": "nobody"})
    assert refused.value.code == "not_found"
    with pytest.raises(WireError, match="without a configuration file"):
        over.client.call("ApplyConfig", {"text": "a: 1"})


def test_start_up_logs_are_said_to_be_nowhere(over: Served) -> None:
    id_ = over.client.call("ListInstances", {"pageSize": 1})["instances"][0]["instanceId"]
    log = over.client.call("GetBootstrapLog", {"instanceId": id_})
    assert log["problem"]
    assert not log.get("text")


def test_a_watcher_hears_of_facts_as_virtual_time_brings_them() -> None:
    with served(POOL, 60.0) as live:
        kinds = []
        for answer in live.client.stream("WatchEvents", {"afterSeq": 0}):
            kinds.append(answer["event"]["kind"])
            if kinds.count("node_registered") == 3:
                break
        assert kinds[0] == "fleet_founded"


def test_looking_changes_nothing_in_a_run() -> None:
    plain = laid_out(POOL)
    Passing(plain).pass_until(plain.scenario.lasts)
    with served(POOL, math.inf) as live:
        live.client.call("ListNodes", {"pageSize": 10})
        journal = live.run.twin.journal
    assert journal.startswith(plain.twin.journal)


def test_nobody_waits_for_ever_when_time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "FACTS_MAX", 12)
    with served(POOL, math.inf) as live:
        assert "time stands still" in live.told[0]
        with pytest.raises(WireError, match="time stands still: the journal has 12 facts"):
            live.client.call("ScalePool", {"poolName": "train", "targetNodes": 4})
        assert live.client.call("ListPools", {})["pools"]


def test_a_control_plane_that_is_down_is_unavailable() -> None:
    run = laid_out(POOL)
    simulated = Simulated(run.twin)
    assert not simulated.readiness().ready
    with pytest.raises(WireError, match="is down"):
        asyncio.run(simulated.settled())
