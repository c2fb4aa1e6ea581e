"""Unrolling: what a scenario makes up, written out node by node and fault by fault."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from typing import Any

from msgspec import Struct

from navarch.simulator.scenarios import trees
from navarch.simulator.scenarios.building import build
from navarch.simulator.scenarios.events_schema import EVENTS_MAX, FleetNode, Params
from navarch.simulator.scenarios.running import Run
from navarch.simulator.scenarios.schema import Scenario
from navarch.simulator.scenarios.trees import Tree
from navarch.simulator.twin.blueprint import Owned
from navarch.simulator.twin.faults import Fault, FaultKind


class Struck(Struct, frozen=True):
    """A fault that chaos has brought."""

    since: timedelta
    node_id: str
    fault: Fault


class Recorder:
    """Remembers what chaos does in one run."""

    def __init__(self, run: Run) -> None:
        """Listen; the run has not begun."""
        self.struck: list[Struck] = []
        self._twin = run.twin
        if run.monkey is not None:
            run.monkey.on_strike = self._note

    def _note(self, node_id: str, fault: Fault) -> None:
        if len(self.struck) < EVENTS_MAX:
            self.struck.append(Struck(self._twin.since, node_id, fault))


def with_fleet(tree: Tree, scenario: Scenario, seed: int) -> Tree:
    """Write a made-up fleet out as nodes, and its start as an event."""
    stress = scenario.stress
    if stress is None or stress.fleet_gen is None:
        return tree
    told = deepcopy(tree)
    told["fleet"] = [_node(owned) for owned in build(scenario, seed).fleet]
    del told["stress"]["fleet_gen"]
    if not any(event["action"] == "start_fleet" for event in told.get("events", [])):
        wish = stress.fleet_gen.startup
        params: dict[str, Any] = {}
        if wish.pattern != "instant":
            params["pattern"] = wish.pattern
            params["duration"] = trees.written(wish.duration)
            params["jitter_percent"] = wish.jitter_percent
        start: Tree = {"at": "0s", "action": "start_fleet"}
        if params:
            start["params"] = params
        told["events"] = [start, *told.get("events", [])]
    return told


def with_events(tree: Tree, struck: list[Struck], lasts: timedelta) -> Tree:
    """Write chaos out as the faults that it brought in one run, and their ends within its time."""
    told = deepcopy(tree)
    told.get("stress", {}).pop("chaos", None)
    faults: list[tuple[timedelta, Tree]] = []
    for each in struck:
        faults.append((each.since, _event(each)))
        ends = each.fault.lasts
        if ends is not None and each.fault.kind is not FaultKind.VANISH:
            over = each.since + ends
            if over > lasts:
                continue
            event = {"at": trees.written(over), "action": "recover_failure", "target": each.node_id}
            faults.append((over, event))
    faults.sort(key=lambda each: each[0])
    told["events"] = [*told.get("events", []), *(event for _, event in faults)]
    return told


def _node(owned: Owned) -> Tree:
    plain = FleetNode(id=owned.id)
    said: Tree = {"id": owned.id}
    written = {
        "provider": owned.provider,
        "region": owned.region,
        "zone": owned.zone,
        "instance_type": owned.instance_type,
        "gpu_count": owned.gpus,
        "gpu_type": owned.gpu_type,
        "labels": dict(owned.labels),
    }
    return said | {key: value for key, value in written.items() if value != getattr(plain, key)}


def _event(struck: Struck) -> Tree:
    fault, plain = struck.fault, Params()
    params: Tree = {"failure_type": fault.kind.value}
    said = {
        "xid_code": fault.xid if fault.kind is FaultKind.XID else None,
        "gpu_index": fault.gpu if fault.gpu >= 0 else None,
        "message": fault.message,
        "temperature": fault.temperature if fault.kind is FaultKind.TEMPERATURE else None,
        "lasts": fault.lasts,
    }
    for key, value in said.items():
        if value != getattr(plain, key):
            params[key] = trees.written(value) if isinstance(value, timedelta) else value
    event: Tree = {"at": trees.written(struck.since), "action": "inject_failure"}
    return event | {"target": struck.node_id, "params": params}
