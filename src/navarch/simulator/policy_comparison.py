"""What a policy would have done about a node, held against what really became of it.

========  ====================================================================================
same      both did the same thing, within a minute and a half
earlier   the candidate would have acted before that happened which really did
later     it would have acted after it, or would still have waited when the machine was gone
missed    the machine really failed, or was repaired, and the candidate would have done nothing
extra     the candidate acts, and the machine went on for a day, or was said to be well
spared    something was done that an operator called a false alarm, and that it would not do
========  ====================================================================================

What really happened is the only truth there is. That a machine which was really replaced would
have lived on cannot be known from a journal: a policy that spares it has missed it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from navarch.core.model.finding import Remedy
from navarch.core.model.report import Health
from navarch.simulator.policy_stories import Act, End, Side, Story

SAME_WITHIN: Final = timedelta(seconds=90)
"""How far apart two equal acts may be to count as one: a report comes each minute."""

WELL_AFTER: Final = timedelta(hours=24)
"""How long a machine has to go on to show that there was nothing to repair."""


class Class(StrEnum):
    """How the candidate compares."""

    SAME = "same"
    EARLIER = "earlier"
    LATER = "later"
    MISSED = "missed"
    EXTRA = "extra"
    SPARED = "spared"
    NOTHING = "nothing"
    """Nobody did anything, and nothing was to be done."""


class Comparison(Struct, frozen=True):
    """One node, compared."""

    story: Story
    classed: Class
    differs: bool
    """Whether the two policies part."""
    would: Act | None
    """What the candidate would have done: replace it, else the first thing of all."""
    really: Act | None
    """What the policy in use has done, likewise."""
    ahead: timedelta | None
    """By how much the candidate is earlier, negative when later; None where that says nothing."""
    note: str = ""
    """What one has to know to understand it."""


def compare(story: Story, until: datetime) -> Comparison:
    """Compare what would have been done about a node with what happened to it.

    `until` is where the journal ends.
    """
    would, really = decisive(story.would), decisive(story.real)
    differs = not _are_alike(story)
    if would is None and really is None:
        classed = Class.MISSED if story.failed else Class.NOTHING
        return Comparison(story, classed, differs, None, None, None, _ended_text(story))
    if would is None:
        return _not_done(story, really, differs=differs)
    if wrong := why_wrong(story, would, until):
        classed = Class.EXTRA
        if really is not None and really.remedy is would.remedy and not differs:
            classed = Class.SAME
        return Comparison(story, classed, differs, would, really, None, wrong)
    happened = really.at if really is not None else story.ended_at
    if happened is None:
        return Comparison(
            story, Class.EARLIER, differs, would, None, None, "nothing was ever done about it"
        )
    ahead = happened - would.at
    classed = Class.SAME if really is not None else Class.EARLIER
    if abs(ahead) > SAME_WITHIN:
        classed = Class.EARLIER if ahead > timedelta() else Class.LATER
    return Comparison(story, classed, differs, would, really, ahead, _ended_text(story))


def _not_done(story: Story, really: Act | None, *, differs: bool) -> Comparison:
    assert really is not None
    note = _ended_text(story)
    if _is_cleared(story, really.at):
        return Comparison(story, Class.SPARED, differs, None, really, None, "a false alarm")
    if story.would.waits_for:
        note = f"it would still have waited: {story.would.waits_for}"
        return Comparison(story, Class.LATER, differs, None, really, None, note)
    return Comparison(story, Class.MISSED, differs, None, really, None, note)


def decisive(side: Side) -> Act | None:
    """Return the act that matters most: the first replacement, else the first act of all."""
    standing = [act for act in side.acts if act.stands]
    replaced = (act for act in standing if act.remedy is Remedy.REPLACE)
    return next(replaced, standing[0] if standing else None)


def _are_alike(story: Story) -> bool:
    """Whether both sides did the same things at the same times."""
    real, would = story.real.acts, story.would.acts
    return len(real) == len(would) and all(
        one.remedy is other.remedy and abs(one.at - other.at) <= SAME_WITHIN
        for one, other in zip(real, would, strict=True)
    )


def why_wrong(story: Story, act: Act, until: datetime) -> str:
    """Say why an act of the candidate was not needed; empty if it was, or nobody can know."""
    if _is_cleared(story, act.at):
        return "an operator said that it is well"
    limit = act.at + WELL_AFTER
    if story.end not in (None, End.RELEASED) and _failed_at(story) <= limit:
        return ""
    repaired = [
        each
        for each in story.real.acts
        if each.stands
        and each.at <= limit
        and not each.withheld
        and (each.remedy is act.remedy or each.remedy is not Remedy.INSPECT)
    ]
    if any(each.remedy is act.remedy for each in repaired):
        return ""
    if repaired and act.remedy is not Remedy.REPLACE:
        return ""
    end = min(limit, story.ended_at or until, until)
    if status_at(story.real, end) is Health.UNHEALTHY and not repaired:
        return ""
    if repaired:
        return f"{repaired[0].remedy.value} was enough"
    hours = f"{(end - act.at) / timedelta(hours=1):.0f} hours"
    if end == limit:
        return f"it went on for {hours} and more"
    return (
        f"it went on for {hours}, until {'the journal ends' if end == until else 'it was released'}"
    )


def wrong_real(story: Story, act: Act, until: datetime) -> bool:
    """Whether an act of the policy in use was not needed: by an operator's word.

    What a dry run only named is told by what became of the machine, like an act of the candidate.
    """
    if act.withheld:
        return bool(why_wrong(story, act, until))
    return _is_cleared(story, act.at)


def status_at(side: Side, moment: datetime) -> Health:
    """Return the verdict that stood at a moment; unknown before the first."""
    status = Health.UNKNOWN
    for change in side.changes:
        if change.at > moment:
            return status
        status = change.status
    return side.status if side.left_out else status


def _failed_at(story: Story) -> datetime:
    """When a machine that failed was given up, or gave up."""
    assert story.ended_at is not None
    if story.end is End.REPLACED:
        acts = (each.at for each in story.real.acts if each.remedy is Remedy.REPLACE)
        return min(acts, default=story.ended_at)
    return story.ended_at


def _is_cleared(story: Story, at: datetime) -> bool:
    """Whether an operator said within a day that nothing was wrong, and nothing failed after."""
    cleared = any(at <= when <= at + WELL_AFTER for when in story.cleared_at)
    return cleared and (story.end in (None, End.RELEASED) or _failed_at(story) > at + WELL_AFTER)


def _ended_text(story: Story) -> str:
    if story.end is None or story.end is End.RELEASED:
        return ""
    if story.end is End.REPLACED:
        return story.end_because
    return f"{story.end.value}: {story.end_because}"


# --- in numbers ------------------------------------------------------------------------------


class Numbers(Struct, frozen=True):
    """How one policy did."""

    replaced: int
    """Machines replaced, or that were to be."""
    replaced_right: int
    replaced_wrong: int
    reset: int
    rebooted: int
    handed_over: int
    """Nodes cordoned for a person."""
    withheld: int
    """Acts that a dry run only named; they are in the numbers above too."""
    missed: int
    """Machines that failed, or were repaired, without it."""
    too_late: int
    """Those of them, and of the replaced ones, that were lost or ended by hand before it acted."""
    gpu_hours_sick: float
    """From the first unhealthy verdict of either policy until it acted, or the machine was gone."""
    gpu_hours_wrong: float
    """Taken from work by what was not needed."""
    budget_hits: int
    breaker_openings: int
    unjudged_events: int
    failing_rules: dict[str, int]


def gpu_hours(length: timedelta, gpus: int) -> float:
    """Say a stretch of time of so many GPUs in hours."""
    return length / timedelta(hours=1) * gpus


def onset(story: Story, *acts: Act | None) -> datetime | None:
    """Return when the first policy called a node unhealthy that turned out to be so."""
    began = [act.sick_since for act in acts if act is not None]
    began += [story.real.sick_since, story.would.sick_since]
    return min((each for each in began if each is not None), default=None)


def sick_hours(compared: Comparison, act: Act | None, until: datetime) -> float:
    """Say for how many GPU-hours a node that was really ill stayed before an act.

    No act counts until the machine was gone or repaired, which is as long as anything is known.
    """
    story, really = compared.story, compared.really
    began = onset(story, compared.would, really)
    if began is None or compared.classed in (Class.EXTRA, Class.SPARED, Class.NOTHING):
        return 0.0
    if any(_is_cleared(story, each.at) for each in (compared.would, really) if each is not None):
        return 0.0
    known = story.ended_at or (really.ended_at if really is not None else None) or until
    ended = min(act.at, known) if act is not None else known
    return gpu_hours(max(ended - began, timedelta()), story.gpus)


def is_too_late(story: Story, act: Act | None) -> bool:
    """Whether a machine that had announced it was gone by itself, or by hand, before an act."""
    if story.end not in (End.LOST, End.VANISHED, End.TERMINATED) or not story.failed:
        return False
    return act is None or act.at > _failed_at(story)


def standing(sides: Iterable[Side], *remedies: Remedy) -> int:
    """Count the acts of these kinds that were not taken back."""
    return sum(act.stands and act.remedy in remedies for side in sides for act in side.acts)
