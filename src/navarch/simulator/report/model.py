"""The report of a run as values: the JSON document that programs read.

Names in the document are in camel case. Times are seconds since the beginning of the run, where
nothing else is said; hours are GPU-hours or node-hours, as their name says; money is US dollars.
Numbers are rounded to six digits after the point, so that equal runs give equal bytes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

FORMAT = 1
"""The version of the document. It grows when a field goes away or changes its meaning."""


class Part(Struct, frozen=True, rename="camel", kw_only=True):
    """What all parts of a report have: how their names are written."""


class LostHours(Part, frozen=True, kw_only=True):
    """GPU-hours of machines that were there and gave nothing, by the reason."""

    booting: float = 0.0
    """From the launch until the agent registered."""
    undetected: float = 0.0
    """Broken or gone in truth, while the control plane took the node for well."""
    unhealthy: float = 0.0
    """Judged unhealthy, and not silent."""
    held: float = 0.0
    """Cordoned, draining, under repair or on probation."""
    silent: float = 0.0
    """Declared lost."""
    ending: float = 0.0
    """From the wish to end the machine until the control plane knew it gone."""

    @property
    def total(self) -> float:
        """All of them."""
        parts = (self.booting, self.undetected, self.unhealthy, self.held, self.silent, self.ending)
        return sum(parts)


class GpuHours(Part, frozen=True, kw_only=True):
    """What became of the GPU-hours that were there."""

    good: float
    """They served, and there was demand for them."""
    idle: float
    """They served beyond demand."""
    lost: float
    """They did not serve; `lost_by` says why."""
    lost_by: LostHours


class Series(Part, frozen=True, kw_only=True):
    """Columns of samples: all have the same length.

    Where there were too many samples, neighbours were merged into the one of them in which most was
    missing; what was counted over all samples does not suffer from that.
    """

    seconds: tuple[float, ...]
    """When, since the beginning."""
    serving: tuple[int, ...]
    """Nodes that are open for work and well in truth."""
    undetected: tuple[int, ...]
    """Nodes that are open for work, and broken or gone in truth."""
    booting: tuple[int, ...]
    unhealthy: tuple[int, ...]
    held: tuple[int, ...]
    """Nodes that are cordoned, draining, under repair or on probation."""
    silent: tuple[int, ...]
    """Nodes declared lost."""
    ending: tuple[int, ...]
    target: tuple[int, ...]
    """Nodes wanted by the control plane."""
    demand: tuple[float, ...]
    """Nodes' worth of work that there was; of a pool without a load, its target."""
    usd_per_hour: tuple[float, ...]
    """What all machines that exist cost an hour."""
    usd: tuple[float, ...]
    """What all machines have cost so far."""


class Scope(Part, frozen=True, kw_only=True):
    """How the fleet, or one pool of it, did."""

    name: str
    """The pool; empty for the fleet as a whole and for nodes that belong to no pool."""
    has_load: bool
    """Whether demand is a load; otherwise demand is the target."""
    samples: int
    """How often the fleet was counted, before any merging."""
    availability: float
    """The share of samples with serving nodes >= min(target, demand), from 0 to 1; of the fleet,
    those with enough in every pool. The first boot does not count, for up to an hour; 0 where it
    never ended."""
    first_full_seconds: float | None
    """When that was so first; None: never."""
    node_hours_wanted: float
    """Demand, over time, since the first boot; all of it where that never ended."""
    node_hours_delivered: float
    """How much of it there were serving nodes for."""
    gpu_hours: GpuHours
    usd: float
    most_nodes: int
    """The most nodes at one sample, booting ones counted in."""
    series: Series


class Times(Part, frozen=True, kw_only=True):
    """A distribution of lengths of time, in seconds; zeros when there were none."""

    count: int
    p50: float
    p95: float
    p99: float
    longest: float
    steps: tuple[float, ...]
    """The sorted lengths, thinned out to at most 200 at equal steps of rank, for a curve."""


class FailureClass(Part, frozen=True, kw_only=True):
    """Faults of one kind, in truth."""

    label: str
    count: int
    """How often it came over a node."""
    needing_repair: int
    """How many of them put the node out until something was done, or time passed."""


class Troubles(Part, frozen=True, kw_only=True):
    """Nodes that were out in truth: overlapping faults of one node are one trouble."""

    count: int
    detected: int
    """The control plane judged the node unhealthy, lost, or gone."""
    decided: int
    """It decided something about the node."""
    too_late: int
    """It decided later than `too_late_seconds` after the fault."""
    never_decided: int
    """It was out for longer than that, and nothing was ever decided."""
    too_late_seconds: float
    replaced: int
    """Another node serves in its place."""
    recovered: int
    """It is well again, and open for work."""
    open: int
    """It was still out when the run ended."""
    seconds_to_detect: Times
    seconds_to_repair: Times
    """From the fault until another node serves in its place, or it is well and open again."""


class Repairs(Part, frozen=True, kw_only=True):
    """What the control plane decided about nodes, against what was true."""

    replacements_right: int
    """The node was broken, down for good or gone."""
    replacements_wrong: int
    """It was not."""
    replacements_late: int = 0
    """Those of the right ones that were decided too late; see `too_late_seconds`."""
    replacements_withdrawn: int
    """Begun, and taken back before the machine ended; not counted above."""
    in_place_right: int
    """Resets and reboots of nodes that were broken."""
    in_place_wrong: int
    in_place_succeeded: int
    in_place_failed: int
    in_place_revoked: int
    handed_over: int
    """Nodes given to a person."""
    withheld: int
    """Repairs only named, by dry runs."""
    budget_hits: int
    """How often a repair that was due had to wait for a budget."""
    brake_hits: int
    """How often one had to wait because the breaker was open."""
    room_hits: int
    """How often one had to wait because its pool was at its maximum of nodes."""
    hours_waited: float
    """Node-hours of all such waiting, as far as samples show it."""
    budget_hours_waited: float = 0.0
    """Those of them that were for a budget."""
    brakes_opened: int
    """How often repair of a pool was halted."""
    harmless_verdicts: int
    """Verdicts that found nothing wrong with a node that had reported something."""


class ProviderCost(Part, frozen=True, kw_only=True):
    """What one pool bought of one provider, in truth."""

    provider: str
    pool: str
    machines: int
    spot_machines: int
    interrupted: int
    """Spot machines that the provider took away, or said it would."""
    machine_hours: float
    usd: float


class Purchases(Part, frozen=True, kw_only=True):
    """What the control plane asked of one provider."""

    provider: str
    requested: int
    launched: int
    uncertain: int
    """Launches of unknown outcome, which had to be looked up."""
    refused: dict[str, int]
    """Launches that the provider refused, by the kind of its error."""


class Rule(Part, frozen=True, kw_only=True):
    """A rule of the policy that spoke."""

    name: str
    status: str
    """What it says of a node: the gravest, where it said several."""
    verdicts: int
    """Verdicts in which it spoke."""
    nodes: int
    """Nodes about which it spoke."""
    failures: int
    """Verdicts that it is missing from, as it could not be evaluated."""


class Rate(Part, frozen=True, kw_only=True):
    """A fault that came by itself, at a given rate."""

    label: str
    per_node_day: float
    source: str
    """Where the rate is from; empty: the blueprint does not say."""
    pools: tuple[str, ...]
    """Which pools' nodes had it; empty: all."""


class Entry(Part, frozen=True, kw_only=True):
    """One thing that happened, was sensed or was decided."""

    number: int
    """Counts from 1, in the order of the run."""
    at: float
    subject: str
    """The node or instance, or the pool; empty for the fleet as a whole."""
    kind: str
    """The kind of the fact, as in the journal; `fault` for what happened in truth."""
    text: str
    """One sentence."""
    because: str
    """The reason of a decision; empty for what is none."""
    after: tuple[int, ...]
    """Numbers of the entries that it follows from, as far as they are here."""


class Chain(Part, frozen=True, kw_only=True):
    """Entries that belong together, such as all steps from a fault to the end of its repair."""

    number: int
    kind: str
    """``trouble``, ``purchase``, ``release``, ``operator``, ``pool`` or ``fleet``."""
    title: str
    pool: str
    subjects: tuple[str, ...]
    began: float
    ended: float | None
    """When its last step came; None: it was still open when the run ended."""
    outcome: str
    """How it ended, in a word or two; empty while it is open."""
    noticed: float | None
    """When the control plane first took something for wrong."""
    decided: float | None
    """When it first decided something."""
    justified: bool | None
    """Whether its newest repair had something to put right; None: none was begun."""
    steps: tuple[int, ...]
    """Numbers of its entries."""
    left_out: int
    """Steps that were left out: repetitions, and those that did not fit."""


class Timeline(Part, frozen=True, kw_only=True):
    """What happened and why: the newest chains and entries."""

    entries: tuple[Entry, ...]
    chains: tuple[Chain, ...]
    entries_left_out: int
    """Older entries that did not fit."""
    chains_left_out: int
    """Older chains that did not fit."""


class Check(Part, frozen=True, kw_only=True):
    """Something that a scenario demanded, and whether it held."""

    what: str
    passed: bool
    at: float
    line: int | None
    """Where the scenario says it; None: it holds for every run."""
    message: str
    """What was expected and what was seen instead, with everything that is needed to see it again;
    empty when it held."""


class Goodput(Part, frozen=True, kw_only=True):
    """What the training jobs of one pool made of its machines, in GPU-hours unless it says so."""

    pool: str
    jobs: int
    jobs_done: int
    goodput: float
    """Kept time divided by paid time, from 0 to 1."""
    paid: float
    """Of all machines, from the moment each was made until it was gone."""
    kept: float
    """Work that is saved, or was delivered."""
    at_risk: float
    """Done, and not saved yet."""
    lost: float
    """Done, and to be done again."""
    saving: float
    starting: float
    idle: float
    """Paid for while no job had it."""
    waited_hours: float
    """Hours that jobs waited for nodes, in sum."""
    ettr: float
    """The effective training time ratio of all jobs, weighted by their nodes and time."""
    scheduling_goodput: float
    runtime_goodput: float
    restarts: dict[str, int]
    """How often jobs were ended, by cause."""


class Report(Part, frozen=True, kw_only=True):
    """A whole run."""

    version: int = FORMAT
    navarch: str
    """The version of the program."""
    blueprint: str
    """Its name."""
    seed: int
    begins_at: datetime
    """Virtual time at the beginning."""
    seconds: float
    """How much virtual time passed."""
    sample_seconds: float
    """How much lay between two samples."""
    policy: str
    policy_digest: str
    fleet: Scope
    pools: tuple[Scope, ...]
    """By name."""
    costs: tuple[ProviderCost, ...]
    """By provider and pool."""
    purchases: tuple[Purchases, ...]
    """By provider."""
    failures: tuple[FailureClass, ...]
    """The most frequent first."""
    troubles: Troubles
    repairs: Repairs
    interruptions_noticed: int
    """Spot machines whose agent could say beforehand that they are taken away."""
    rules: tuple[Rule, ...]
    """Those that spoke most first."""
    rates: tuple[Rate, ...]
    facts: int
    """Facts that the journal gained."""
    timeline: Timeline
    checks: tuple[Check, ...] = ()
    """What a scenario demanded, in the order in which it was looked at."""
    goodput: tuple[Goodput, ...] = ()
    """By pool; empty for a run without training jobs."""


_encoder = msgspec.json.Encoder(order="deterministic")


def report_json(report: Report) -> bytes:
    """Write a report as JSON, on one line; equal reports give equal bytes."""
    return _encoder.encode(report) + b"\n"


def report_from_json(raw: bytes) -> Report:
    """Read a report.

    Raises `msgspec.DecodeError` when the bytes are no JSON, and its subclass
    `msgspec.ValidationError` when they are no report.
    """
    return msgspec.json.decode(raw, type=Report)


def report_schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    return msgspec.json.schema(Report)
