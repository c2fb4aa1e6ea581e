"""How a policy's backtest ended: as values, as a table for people, as a document for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from navarch.core.model.finding import Remedy
from navarch.simulator import policy_comparison as comparing
from navarch.simulator.policy_comparison import Class, Comparison, Numbers
from navarch.simulator.policy_stories import Act, Side, Stories, Sums

Json = dict[str, Any]

HEADERS = ("NODE", "POOL", "CLASS", "THE CANDIDATE WOULD", "REALLY", "BY", "NOTE")

NOTE_MAX = 80
"""Characters of a note in the table; programs get all of it."""

DONE = {
    Remedy.RESET_GPU: "reset",
    Remedy.REBOOT: "reboot",
    Remedy.REPLACE: "replace",
    Remedy.INSPECT: "cordon",
}
"""What each rung is called in the table; a node that waits for a person is cordoned."""

ROWS: tuple[tuple[str, str, str], ...] = (
    ("replaced", "machines replaced", "{}"),
    ("replaced_right", "  rightly", "{}"),
    ("replaced_wrong", "  wrongly", "{}"),
    ("reset", "GPUs reset", "{}"),
    ("rebooted", "nodes rebooted", "{}"),
    ("handed_over", "nodes cordoned for a person", "{}"),
    ("withheld", "of all these, only named by a dry run", "{}"),
    ("missed", "failures missed", "{}"),
    ("too_late", "too late", "{}"),
    ("gpu_hours_sick", "GPU-hours sick before it acted", "{:,.1f}"),
    ("gpu_hours_wrong", "GPU-hours lost to what was not needed", "{:,.1f}"),
    ("budget_hits", "repairs that waited for a budget", "{}"),
    ("breaker_openings", "openings of the breaker", "{}"),
    ("unjudged_events", "events that no rule could judge", "{}"),
    ("failing_rules", "rules that failed", "{}"),
)
"""The rows of the totals: field, words, form."""


class InUse(Struct, frozen=True):
    """A policy that really judged."""

    name: str
    digest: str
    since: datetime
    """When it gave its first verdict that is counted."""


class Backtest(Struct, frozen=True):
    """What came of trying a policy on the past."""

    policy: str
    digest: str
    in_use: tuple[InUse, ...]
    """Who really judged, one after the other; empty in journals of version 0.1."""
    since: datetime
    until: datetime
    facts: int
    """Facts read, those before `since` included."""
    nodes: int
    """Nodes that reported."""
    reports: int
    events: int
    made_up: int
    """Reports that the candidate would have waited for and the journal does not hold."""
    unannounced: int
    """Machines that were lost or vanished and had reported nothing that could be judged."""
    compared: tuple[Comparison, ...]
    """Nodes that were ill by anybody's word, or about which anything was done, by id."""
    would: Numbers
    """The candidate."""
    really: Numbers
    """The policy in use."""

    @property
    def differing(self) -> list[Comparison]:
        """The nodes about which the two policies part."""
        return [each for each in self.compared if each.differs]


def numbers(
    stories: Stories, compared: Sequence[Comparison], until: datetime, wrong_takes: timedelta
) -> tuple[Numbers, Numbers]:
    """Sum both policies up, the candidate first.

    `wrong_takes` is how long a machine is away that the candidate replaces for nothing.
    """
    would = [(each, each.story.would, each.would) for each in compared]
    really = [(each, each.story.real, each.really) for each in compared]
    wrong = [_wrong_candidate(each, until, wrong_takes) for each in compared]
    wrong_then = [_wrong_really(each, until) for each in compared]
    return (
        _numbers(stories.would, would, wrong, until),
        _numbers(stories.real, really, wrong_then, until),
    )


def _wrong_candidate(
    each: Comparison, until: datetime, wrong_takes: timedelta
) -> tuple[int, float]:
    """Count the replacements that were not needed, and the GPU-hours of every such act."""
    replaced, hours = 0, 0.0
    for act in each.story.would.acts:
        if act.stands and comparing.why_wrong(each.story, act, until):
            replaced += act.remedy is Remedy.REPLACE
            length = (act.ended_at or until) - act.at
            if act.remedy is Remedy.REPLACE and act.outcome != "revoked":
                length = wrong_takes
            hours += _lost(each, act, length)
    return replaced, hours


def _wrong_really(each: Comparison, until: datetime) -> tuple[int, float]:
    replaced, hours = 0, 0.0
    for act in each.story.real.acts:
        if act.stands and comparing.wrong_real(each.story, act, until):
            replaced += act.remedy is Remedy.REPLACE
            hours += _lost(each, act, (act.ended_at or until) - act.at)
    return replaced, hours


def _lost(each: Comparison, act: Act, length: timedelta) -> float:
    """How many GPU-hours an act took; nobody knows when a person lets a node go on."""
    if act.withheld or act.remedy is Remedy.INSPECT:
        return 0.0
    return comparing.gpu_hours(length, each.story.gpus)


def _numbers(
    sums: Sums,
    sides: Sequence[tuple[Comparison, Side, Act | None]],
    wrong: Sequence[tuple[int, float]],
    until: datetime,
) -> Numbers:
    of = [side for _, side, _ in sides]
    replaced = comparing.standing(of, Remedy.REPLACE)
    replaced_wrong = sum(count for count, _ in wrong)
    return Numbers(
        replaced=replaced,
        replaced_right=replaced - replaced_wrong,
        replaced_wrong=replaced_wrong,
        reset=comparing.standing(of, Remedy.RESET_GPU),
        rebooted=comparing.standing(of, Remedy.REBOOT),
        handed_over=comparing.standing(of, Remedy.INSPECT),
        withheld=sum(act.withheld for side in of for act in side.acts),
        missed=sum(_is_missed(each, act) for each, _, act in sides),
        too_late=sum(comparing.is_too_late(each.story, act) for each, _, act in sides),
        gpu_hours_sick=round(
            sum(comparing.sick_hours(each, act, until) for each, _, act in sides), 3
        ),
        gpu_hours_wrong=round(sum(hours for _, hours in wrong), 3),
        budget_hits=sums.budget_hits,
        breaker_openings=sums.breaker_openings,
        unjudged_events=sums.unjudged_events,
        failing_rules=dict(sorted(sums.failing_rules.items())),
    )


def _is_missed(each: Comparison, act: Act | None) -> bool:
    """Whether a policy did nothing about a node that failed, or that the other rightly repaired."""
    if act is not None:
        return False
    return each.classed is Class.MISSED or each.story.failed


# --- for people ------------------------------------------------------------------------------


def rows(result: Backtest) -> list[tuple[str, ...]]:
    """Say each node that differs in one row under `HEADERS`, the most telling first."""
    order = [Class.EXTRA, Class.MISSED, Class.LATER, Class.EARLIER, Class.SPARED]
    ranked = sorted(
        result.differing,
        key=lambda each: (
            order.index(each.classed) if each.classed in order else len(order),
            each.story.node_id,
        ),
    )
    return [_row(each) for each in ranked]


def _row(each: Comparison) -> tuple[str, ...]:
    note = each.note if len(each.note) <= NOTE_MAX else f"{each.note[: NOTE_MAX - 1]}…"
    story = each.story
    return (
        story.node_id,
        story.pool,
        each.classed.value,
        said(each.would),
        said(each.really) or _ended(each),
        "" if each.ahead is None or each.classed is Class.SAME else span(abs(each.ahead)),
        note,
    )


def said(act: Act | None) -> str:
    """Say an act in a few words; empty for none."""
    if act is None:
        return ""
    by = f" ({act.rule})" if act.rule else ""
    only = ", dry run" if act.withheld else ""
    return f"{DONE.get(act.remedy, act.remedy.value)} {act.at:%m-%d %H:%M}{only}{by}"


def _ended(each: Comparison) -> str:
    story = each.story
    if story.end is None or story.ended_at is None:
        return ""
    return f"{story.end.value} {story.ended_at:%m-%d %H:%M}"


def span(length: timedelta) -> str:
    """Say a stretch of time in its two largest units."""
    minutes = round(length / timedelta(minutes=1))
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [
        f"{count}{unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "m")) if count
    ]
    return " ".join(parts[:2]) or f"{length / timedelta(seconds=1):.0f}s"


def summary(result: Backtest) -> list[str]:
    """Say what was tried on what, one line each."""
    judges = ", then ".join(f"{each.name} ({each.digest})" for each in result.in_use)
    span_text = f"{result.since:%Y-%m-%d %H:%M}Z to {result.until:%Y-%m-%d %H:%M}Z"
    said_text = f"{result.reports:,} reports with {result.events:,} events"
    lines = [
        f"policy {result.policy} ({result.digest}), tried on {span_text}",
        f"in use then: {judges or 'not known'}",
        f"{result.nodes:,} nodes sent {said_text}; {result.made_up:,} reports are made up",
    ]
    if result.unannounced:
        lines.append(
            f"{result.unannounced:,} machines were lost or vanished without a sign: no policy "
            "could have known"
        )
    return lines


def totals(result: Backtest) -> list[tuple[str, ...]]:
    """Say the numbers of both policies side by side: what, the candidate's, those of then."""
    lines: list[tuple[str, ...]] = []
    for name, words, form in ROWS:
        would, really = getattr(result.would, name), getattr(result.really, name)
        if isinstance(would, dict):
            lines.append((words, _counted(would), _counted(really)))
        else:
            lines.append((words, form.format(would), form.format(really)))
    return lines


def _counted(failing: dict[str, int]) -> str:
    return ", ".join(f"{name} ×{count}" for name, count in failing.items()) or "0"


# --- for programs ----------------------------------------------------------------------------


def document(result: Backtest) -> Json:
    """Say all of it; docs/policy.md names the keys."""
    counts = {each.value: 0 for each in Class if each is not Class.NOTHING}
    for each in result.compared:
        if each.classed is not Class.NOTHING:
            counts[each.classed.value] += 1
    return {
        "policy": {"name": result.policy, "digest": result.digest},
        "inUse": [
            {"name": each.name, "digest": each.digest, "since": _time(each.since)}
            for each in result.in_use
        ],
        "since": _time(result.since),
        "until": _time(result.until),
        "facts": result.facts,
        "nodes": result.nodes,
        "reports": result.reports,
        "events": result.events,
        "madeUpReports": result.made_up,
        "lostWithoutASign": result.unannounced,
        "differing": len(result.differing),
        "classes": counts,
        "candidate": _totals(result.would),
        "reality": _totals(result.really),
        "compared": [_compared(each) for each in result.compared],
    }


def _totals(numbers: Numbers) -> Json:
    return {_camel(name): getattr(numbers, name) for name in numbers.__struct_fields__}


def _compared(each: Comparison) -> Json:
    story = each.story
    return {
        "node": story.node_id,
        "pool": story.pool,
        "gpus": story.gpus,
        "class": each.classed.value,
        "differs": each.differs,
        "aheadSeconds": None if each.ahead is None else each.ahead / timedelta(seconds=1),
        "note": each.note,
        "signs": story.signs,
        "candidate": _side(story.would, each.would),
        "reality": {
            **_side(story.real, each.really),
            "end": story.end.value if story.end else None,
            "endedAt": _time(story.ended_at),
            "endBecause": story.end_because,
            "remarks": [
                {"at": _time(one.at), "what": one.what, "because": one.because}
                for one in story.remarks
            ],
        },
    }


def _side(side: Side, act: Act | None) -> Json:
    return {
        "action": None if act is None else _act(act),
        "actions": [_act(one) for one in side.acts],
        "verdicts": [
            {
                "at": _time(one.at),
                "status": one.status.value,
                "rule": one.rule,
                "event": one.event,
            }
            for one in side.changes
        ],
        "leftOut": side.left_out,
        "waitsFor": side.waits_for,
    }


def _act(act: Act) -> Json:
    return {
        "at": _time(act.at),
        "remedy": act.remedy.value,
        "rule": act.rule,
        "because": act.because,
        "withheld": act.withheld,
        "endedAt": _time(act.ended_at),
        "outcome": act.outcome,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else str(msgspec.to_builtins(moment))


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
