"""What can be wrong in a scenario between keys that are right one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from navarch.config import contradictions
from navarch.config.reading import Reader, nearest
from navarch.config.values import format_duration
from navarch.errors import ConfigError
from navarch.simulator.scenarios import targets
from navarch.simulator.scenarios.comparing import Comparison
from navarch.simulator.scenarios.events_schema import (
    EVENTS_MAX,
    NODES_MAX,
    Assertion,
    Event,
    Params,
)
from navarch.simulator.scenarios.schema import DURATION_MAX, Document
from navarch.simulator.scenarios.targets import Scope

Faults = Iterator[ConfigError]

CHOICE = ("count", "percent", "alias")
TAKES: Mapping[str, tuple[str, ...]] = {
    "start_fleet": ("pattern", "duration", "jitter_percent"),
    "stop_fleet": (*CHOICE,),
    "inject_failure": (
        *(
            "failure_type",
            "xid_code",
            "gpu_index",
            "message",
            "temperature",
            "lasts",
            "every",
            "drift",
        ),
        *CHOICE,
    ),
    "recover_failure": (*CHOICE,),
    "issue_command": ("command_type", "command_args", "reason", "expect", *CHOICE),
    "wait_for_status": ("expected_status", "expected_health", "timeout", "match"),
    "wait": ("duration",),
    "log": ("log_message",),
    "assert": ("expected_status", "expected_health", "match"),
    "scale_pool": ("nodes", "reason", "expect"),
    "pause_pool": ("reason", "expect"),
    "resume_pool": ("reason", "expect"),
    "set_load": ("jobs",),
}
"""Which parameters an action takes."""
NEEDS: Mapping[str, tuple[str, ...]] = {
    "inject_failure": ("failure_type",),
    "issue_command": ("command_type",),
    "wait": ("duration",),
    "log": ("log_message",),
    "scale_pool": ("nodes",),
    "set_load": ("jobs",),
}
POOL_ACTIONS = frozenset({"scale_pool", "pause_pool", "resume_pool", "set_load"})
NEEDS_TARGET = frozenset({"inject_failure", "recover_failure", "issue_command"})
NO_TARGET = frozenset({"wait", "log"})
STATUSES = ("active", "cordoned", "draining", "unhealthy", "terminated")
HEALTHS = ("unknown", "healthy", "degraded", "unhealthy")
WORDS: Mapping[str, tuple[str, ...]] = {"node_status": STATUSES, "health_status": HEALTHS}
COUNTED = frozenset(
    {"node_count", "pool_size", "cost_below", "availability_above", "goodput_above"}
)
OF_KIND: Mapping[str, str] = {"temperature": "temperature", "every": "flap", "drift": "clock_drift"}
"""Parameters of one kind of fault alone."""


def found(written: Document, reader: Reader) -> Faults:
    """Find all of them in a scenario whose keys are right one by one."""
    yield from _sizes(written, reader)
    for name, pool in written.pools.items():
        yield from contradictions.of_pool(name, pool, tuple(written.providers), reader)
    yield from _server(written, reader)
    yield from _load(written, reader)
    yield from _fleet(written, reader)
    for number, event in enumerate(written.events):
        yield from _event(event, f"events[{number}]", written, reader)
    yield from _aliases(written, reader)
    for number, assertion in enumerate(written.assertions):
        yield from _assertion(assertion, f"assertions[{number}]", written, reader)


def _sizes(written: Document, reader: Reader) -> Faults:
    for key, count, most in (
        ("fleet", len(written.fleet), NODES_MAX),
        ("events", len(written.events), EVENTS_MAX),
        ("assertions", len(written.assertions), EVENTS_MAX),
    ):
        if count > most:
            message = f"expected at most {most:,} entries, got {count:,}"
            yield reader.fault(message, key=key, line=reader.first_line(key))
    nodes = sum(pool.max_nodes for pool in written.pools.values()) + len(written.fleet)
    if nodes > NODES_MAX:
        message = f"{nodes:,} nodes with all pools at max_nodes, expected at most {NODES_MAX:,}"
        yield reader.fault(message, key="pools", line=reader.first_line("pools"))
    for key, lasts in (("duration", written.duration), ("liveness", written.liveness)):
        yield from _short(key, lasts, reader)
    stress = written.stress
    if stress is not None:
        yield from _short("stress.duration", stress.duration, reader)
        if stress.duration is not None and written.duration is not None:
            message = "said twice, expected either duration or stress.duration"
            yield reader.fault(message, key="stress.duration")


def _short(key: str, lasts: timedelta | None, reader: Reader) -> Faults:
    if lasts is not None and lasts > DURATION_MAX:
        message = f"expected at most {format_duration(DURATION_MAX)}"
        yield reader.fault(message, key=key)


def _server(written: Document, reader: Reader) -> Faults:
    if written.server.health_policy is not None and written.server.custom_policy is not None:
        message = "expected either health_policy or custom_policy, got both"
        yield reader.fault(message, key="server.health_policy")


def _load(written: Document, reader: Reader) -> Faults:
    for name in written.load:
        key = f"load.{name}"
        line = reader.first_line(key)
        pool = written.pools.get(name)
        if pool is None:
            yield reader.fault(_no_pool(name, written), key=key, line=line)
        elif pool.autoscaling is None:
            message = f"nothing follows it, expected pools.{name}.autoscaling"
            yield reader.fault(message, key=key, line=line)
    employed = _employed(written)
    for name in written.load:
        if name in employed:
            message = f"expected either a load or jobs of pool {name}, got both"
            yield reader.fault(message, key=f"load.{name}", line=reader.first_line(f"load.{name}"))
    for name, pool in written.pools.items():
        if pool.autoscaling is not None and name not in written.load and name not in employed:
            message = f"its autoscaler has no load to follow, expected load.{name}"
            key = f"pools.{name}.autoscaling"
            yield reader.fault(message, key=key, line=reader.first_line(key))


def _employed(written: Document) -> set[str]:
    """Find the pools that have jobs."""
    return {name for job in written.jobs if isinstance(name := job.get("pool"), str)}


def _fleet(written: Document, reader: Reader) -> Faults:
    seen: dict[str, int] = {}
    for number, node in enumerate(written.fleet):
        key = f"fleet[{number}].id"
        if node.id in seen:
            message = f"written twice, first as fleet[{seen[node.id]}]"
            yield reader.fault(message, key=key)
        elif targets.parse(node.id).scope is not Scope.NODE:
            message = f"expected the name of one node, and {node.id} means several"
            yield reader.fault(message, key=key)
        seen.setdefault(node.id, number)
    stress = written.stress
    made_up = stress is not None and stress.enabled and stress.fleet_gen is not None
    if written.fleet and made_up:
        message = "expected either fleet or stress.fleet_gen, got both"
        yield reader.fault(message, key="fleet", line=reader.first_line("fleet"))
    starts = any(event.action == "start_fleet" for event in written.events)
    if written.fleet and not starts:
        message = "nothing starts it, expected an event with action: start_fleet"
        yield reader.fault(message, key="fleet", line=reader.first_line("fleet"))
    if not (written.fleet or made_up or written.pools):
        message = "there are no nodes, expected fleet, stress.fleet_gen or pools"
        yield reader.fault(message, key="name")


# --- events ----------------------------------------------------------------------------------


def _event(event: Event, key: str, written: Document, reader: Reader) -> Faults:
    line = reader.readings[f"{key}.action"].line
    last = written.duration
    if last is None and written.stress is not None:
        last = written.stress.duration
    if event.at > (last or DURATION_MAX):
        message = f"is after the end, expected at most {format_duration(last or DURATION_MAX)}"
        yield reader.fault(message, key=f"{key}.at")
    takes = TAKES[event.action]
    for name in Params.__struct_fields__:
        place = reader.readings.get(f"{key}.params.{name}")
        is_given = event.params.command_args if place is None else place.line is not None
        if is_given and name not in takes:
            given = line if place is None else place.line
            near = nearest(name, takes)
            message = f"{event.action} does not take it, expected any of {', '.join(takes)}{near}"
            yield reader.fault(message, key=f"{key}.params.{name}", line=given)
    for name in NEEDS.get(event.action, ()):
        if getattr(event.params, name) in (None, ""):
            message = f"missing, {event.action} has to be told"
            yield reader.fault(message, key=f"{key}.params.{name}", line=line)
    yield from _params(event, key, line, reader)
    yield from _event_target(event, key, written, reader)


def _params(event: Event, key: str, line: int | None, reader: Reader) -> Faults:
    params = event.params
    is_xid = params.failure_type == "xid_error"
    if is_xid and params.xid_code is None:
        message = "missing, xid_error has to be told which"
        yield reader.fault(message, key=f"{key}.params.xid_code", line=line)
    if params.xid_code is not None and params.failure_type is not None and not is_xid:
        message = f"{params.failure_type} has no code, expected failure_type: xid_error"
        yield reader.fault(message, key=f"{key}.params.xid_code")
    for name, kind in OF_KIND.items():
        if getattr(params, name) is not None and params.failure_type != kind:
            message = f"expected failure_type: {kind} beside it"
            yield reader.fault(message, key=f"{key}.params.{name}")
    if params.count is not None and params.percent is not None:
        message = "expected either count or percent, got both"
        yield reader.fault(message, key=f"{key}.params.percent")
    if event.action in ("assert", "wait_for_status"):
        said = (params.expected_status, params.expected_health)
        if said.count(None) != 1:
            got = "neither" if said == (None, None) else "both"
            message = f"expected either expected_status or expected_health, got {got}"
            yield reader.fault(message, key=f"{key}.params", line=line)


def _event_target(event: Event, key: str, written: Document, reader: Reader) -> Faults:
    here = f"{key}.target"
    line = reader.readings[f"{key}.action"].line
    if event.action in NO_TARGET and event.target:
        yield reader.fault(f"{event.action} has no target", key=here)
    elif event.action in POOL_ACTIONS:
        name = event.target.removeprefix("pool:")
        if not event.target.startswith("pool:") or name not in written.pools:
            message = f"expected pool:NAME, got {event.target or 'nothing'}; "
            yield reader.fault(message + _no_pool(name, written), key=here, line=line)
        elif event.action == "set_load" and name not in written.load:
            message = f"pool {name} has no load, expected load.{name}"
            yield reader.fault(message, key=here)
    elif event.action in (NEEDS_TARGET | {"wait_for_status", "assert"}) and not event.target:
        message = f"missing, {event.action} has to be told whom it is about"
        yield reader.fault(message, key=here, line=line)
    else:
        yield from _target(event.target, here, line, written, reader)


def _target(text: str, key: str, line: int | None, written: Document, reader: Reader) -> Faults:
    try:
        target = targets.parse(text)
    except ValueError as error:
        yield reader.fault(f"expected a target, got {text}: {error}", key=key, line=line)
        return
    if target.scope is Scope.POOL and target.name not in written.pools:
        yield reader.fault(_no_pool(target.name, written), key=key, line=line)
    is_listed = bool(written.fleet) and not written.pools and written.stress is None
    if target.scope is Scope.NODE and is_listed:
        known = [node.id for node in written.fleet]
        if target.name not in known:
            near = nearest(target.name, known)
            message = f"no node {target.name}, expected one under fleet{near}"
            yield reader.fault(message, key=key, line=line)


def _aliases(written: Document, reader: Reader) -> Faults:
    """Find aliases that nothing has given before they are used."""
    order = sorted(range(len(written.events)), key=lambda number: written.events[number].at)
    known: list[str] = []
    for number in order:
        event = written.events[number]
        yield from _alias_known(event.target, known, f"events[{number}].target", reader)
        if event.params.alias is not None:
            known.append(event.params.alias)
    for number, assertion in enumerate(written.assertions):
        yield from _alias_known(assertion.target, known, f"assertions[{number}].target", reader)


def _alias_known(text: str, known: Sequence[str], key: str, reader: Reader) -> Faults:
    name = text.removeprefix("alias:")
    if text.startswith("alias:") and name and name not in known:
        message = f"no event before it has given params.alias: {name}{nearest(name, known)}"
        yield reader.fault(message, key=key)


def _no_pool(name: str, written: Document) -> str:
    have = ", ".join(written.pools) or "there is none"
    return f"no pool {name}, expected one under pools: {have}{nearest(name, tuple(written.pools))}"


# --- assertions ------------------------------------------------------------------------------


def _assertion(assertion: Assertion, key: str, written: Document, reader: Reader) -> Faults:
    line = reader.readings[f"{key}.type"].line
    type_, expected = assertion.type, assertion.expected
    here = f"{key}.expected"
    written_at = reader.readings.get(here)
    place = line if written_at is None else written_at.line or line
    if type_ in WORDS and expected not in WORDS[type_]:
        near = nearest(str(expected), WORDS[type_])
        message = f"expected one of {', '.join(WORDS[type_])}, got {_shown(expected)}{near}"
        yield reader.fault(message, key=here, line=place)
    if type_ in COUNTED:
        try:
            Comparison.read(expected, default=_operator(type_))
        except ValueError as error:
            yield reader.fault(str(error), key=here, line=place)
    if type_ in ("no_orphans", "replaced") and expected not in (None, True):
        yield reader.fault("expected true, or nothing", key=here, line=place)
    if assertion.status is not None and type_ != "node_count":
        yield reader.fault(f"{type_} does not take it", key=f"{key}.status")
    if type_ == "pool_size" and assertion.target.removeprefix("pool:") not in written.pools:
        name = assertion.target.removeprefix("pool:")
        yield reader.fault(_no_pool(name, written), key=f"{key}.target", line=line)
    elif type_ == "goodput_above":
        yield from _goodput(assertion, key, line, written, reader)
    elif type_ in ("node_status", "health_status", "replaced") and not assertion.target:
        message = f"missing, {type_} has to be told whom it is about"
        yield reader.fault(message, key=f"{key}.target", line=line)
    elif type_ != "pool_size":
        is_status = type_ == "node_count" and assertion.target in STATUSES
        if not is_status:
            yield from _target(assertion.target, f"{key}.target", line, written, reader)


def _goodput(
    assertion: Assertion, key: str, line: int | None, written: Document, reader: Reader
) -> Faults:
    if not written.jobs:
        yield reader.fault("there is nothing to look at, expected jobs", key=key, line=line)
    name = assertion.target.removeprefix("pool:")
    employed = sorted(_employed(written))
    if assertion.target and written.jobs and name not in employed:
        message = f"no jobs in pool {name}, expected one of {', '.join(employed) or 'none'}"
        yield reader.fault(message, key=f"{key}.target", line=line)


def _operator(type_: str) -> str:
    return {"cost_below": "<", "availability_above": ">", "goodput_above": ">"}.get(type_, "==")


def _shown(value: object) -> str:
    return "nothing" if value is None else str(value)[:60]
