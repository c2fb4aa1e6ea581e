"""Policies and events for tests of judging: short ways to write them, and random ones."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from msgspec.structs import replace

from navarch.core.judging import Match
from navarch.policy import HealthEvent, HealthPolicy
from navarch.policy.vocabulary import EVENT_TYPES

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
MANY_METRICS = 64


def a_rule(condition: str, result: str = "unhealthy", *, name: str = "", more: str = "") -> str:
    """One rule of a policy file; the name is made of the result where none is given."""
    quoted = condition.replace("'", "''")
    return f"  - {{name: {name or result}, condition: '{quoted}', result: {result}{more}}}\n"


def a_policy(*rules: str) -> HealthPolicy:
    """A policy of these rules."""
    return HealthPolicy.from_yaml(
        f"version: v1\nmetadata: {{name: test}}\nrules:\n{''.join(rules)}", "test.yaml"
    )


def an_xid(code: object, gpu_index: int = 3, **more: object) -> HealthEvent:
    """An XID on GPU 3, as an agent reports it."""
    metrics = {"xid_code": code, **more.pop("metrics", {})}  # type: ignore[dict-item]
    return HealthEvent("xid", gpu_index, metrics=metrics, **more)  # type: ignore[arg-type]


def match(policy: HealthPolicy, event: HealthEvent, past: Past | None = None) -> Match:
    """What a policy makes of one event; the plain way has to agree."""
    verdict = policy.evaluate([event], past)
    assert policy.plainly([event], past) == verdict
    return verdict.matches[0]


def text(yaml: str) -> str:
    """A file written inside a test."""
    return textwrap.dedent(yaml).lstrip("\n")


class Past:
    """A node that has counted what it is told here, in any window."""

    def __init__(self, counts: Mapping[tuple[str, int | None], int]) -> None:
        """Hold counts by kind and GPU, None for the node."""
        self.counts = counts
        self.asked: list[tuple[str, int | None, timedelta]] = []

    def of(self, kind: str, gpu_index: int | None, window: timedelta) -> int:
        """Count."""
        self.asked.append((kind, gpu_index, window))
        return self.counts.get((kind, gpu_index), 0)


# --- random ones ------------------------------------------------------------------------------

LINES = (
    "",
    "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (x)",
    "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x2 (Reboot) to 0x0 (None)",
    "NVRM: Xid (PCI:0009:01:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6 0x0 0x0)",
    "nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
    "row remap failed",
    "x" * 5000,
    "\ud800",
)
NAMES = (
    "xid_code",
    "sxid_code",
    "temperature",
    "row_remap_failed",
    "severity",
    "reason",
    "link_id",
)

values = st.one_of(
    st.sampled_from([13, 31, 48, 63, 74, 79, 92, 94, 119, 122, 144, 149, 154, 999, 20034, 22003]),
    st.sampled_from(
        ["79", "154", "+79", "79.0", "NaN", "-inf", "0x4f", "", " 79", "fatal", "1e999"]
    ),
    st.sampled_from([79.0, -0.0, 0.0, 95, 95.0, float("nan"), float("inf"), 2**70, True, False, 1]),
    st.sampled_from([None, [], "\ud800", "95" * 40]),
    st.integers(-5, 120),
    st.floats(width=16),
    st.text(max_size=4),
)

events = st.builds(
    HealthEvent,
    event_type=st.sampled_from([*EVENT_TYPES, "odd", "", "\ud800"]),
    gpu_index=st.integers(-1, 2),
    gpu_uuid=st.sampled_from(["", "GPU-1", "79"]),
    system=st.sampled_from(["", "DCGM_HEALTH_WATCH_PCIE"]),
    metrics=st.one_of(
        st.dictionaries(st.sampled_from(NAMES), values, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=3), st.sampled_from(NAMES)), values, max_size=3),
        st.just({f"metric{n}": n for n in range(MANY_METRICS + 1)}),
    ),
    message=st.sampled_from(LINES),
    timestamp=st.one_of(
        st.none(),
        st.sampled_from([NOW, NOW.replace(tzinfo=None), NOW + timedelta(days=40_000)]),
    ),
    count=st.integers(1, 3),
)


@st.composite
def alike(draw: st.DrawFn) -> list[HealthEvent]:
    """Events that differ from one another in one thing each: what a memory may mix up."""
    event: HealthEvent = draw(events)
    found = [event]
    for _ in range(draw(st.integers(1, 5))):
        other: HealthEvent = draw(events)
        field = draw(
            st.sampled_from(
                ["gpu_index", "gpu_uuid", "system", "message", "timestamp", *["metrics"] * 4]
            )
        )
        change: object = getattr(other, field)
        if field == "metrics" and event.metrics and draw(st.booleans()):
            name = draw(st.sampled_from(sorted(event.metrics, key=str)))
            change = {**event.metrics, name: draw(values)}
        found.append(replace(found[draw(st.integers(0, len(found) - 1))], **{field: change}))
    return found


SIDES = (
    "type(event.metrics.xid_code) == int",
    "type(event.metrics.temperature) == double",
    "event.metrics.exists(name, event.metrics[name] == 79)",
    'event.event_type == "xid"',
    'event.event_type != "thermal"',
    'event.event_type in ["xid", "sxid", "odd"]',
    "event.metrics.xid_code in [79, 154, 13]",
    "event.metrics.xid_code > 50",
    "has(event.metrics.xid_code)",
    'known.action == "reset"',
    'known.verdict == "none"',
    "known.found",
    "known.fatal || known.linked",
    "event.metrics.temperature >= 95",
    "event.metrics.temperature < 0.0",
    'event.metrics["temperature"] == 95',
    "has(event.metrics.temperature)",
    "1 / int(event.metrics.temperature) > 0",
    "string(event.metrics.temperature) == '95'",
    "event.metrics.exists(name, event.metrics[name] == 95)",
    'event.metrics.all(name, name.startsWith("x"))',
    "event.metrics.size() == 2",
    'event.metrics[event.gpu_uuid == "" ? "xid_code" : "link_id"] == 79',
    'event.message.matches("remap|Fatal")',
    "event.message.size() > 100",
    "event.gpu_index == 1",
    'event.system == ""',
    'event.timestamp > timestamp("2026-06-01T00:00:00Z")',
    'count("xid", "1h") > 2',
    'node_count("ecc_sbe", "10m") == 1',
    'count("xid:79", duration("24h")) + node_count("xid", "5m") > 3',
    "true",
    "false",
)
"""Sides of conditions that look at all there is to look at, and often fail."""

conditions = st.recursive(
    st.sampled_from(SIDES),
    lambda inner: st.one_of(
        st.builds("({}) && ({})".format, inner, inner),
        st.builds("({}) || ({})".format, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("({}) ? ({}) : ({})".format, inner, inner, inner),
    ),
    max_leaves=4,
)

pasts = st.builds(
    Past,
    st.dictionaries(
        st.tuples(
            st.sampled_from(["xid", "xid:79", "ecc_sbe"]), st.sampled_from([None, -1, 0, 1, 2])
        ),
        st.integers(0, 4),
        max_size=6,
    ),
)


@st.composite
def policies(draw: st.DrawFn) -> HealthPolicy:
    """A policy of up to eight random rules."""
    written: Sequence[str] = draw(st.lists(conditions, min_size=1, max_size=8))
    rules = []
    for number, condition in enumerate(written):
        result = draw(st.sampled_from(["healthy", "degraded", "unhealthy"]))
        more = draw(st.sampled_from(["", ", settles: true", ", lasting: true", ", lasting: false"]))
        rules.append(a_rule(condition, result, name=f"rule{number}", more=more))
    return a_policy(*rules)
