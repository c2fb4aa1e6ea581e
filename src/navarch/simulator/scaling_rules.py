"""Rules of scaling: who may move a target, and how a machine that is too many is let go."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from navarch.core.model import events as ev
from navarch.core.model.messages import Recommended
from navarch.core.model.node import Intent
from navarch.core.settings import Settings
from navarch.simulator.autoscaling import Scaler
from navarch.simulator.books import Books, Bought
from navarch.simulator.broken import Broken

OVERDUE_MIN = timedelta(minutes=1)
"""How long after its deadline a machine that was to be taken away may be ended at the earliest."""


class Word(Struct, frozen=True):
    """A proposal that reached the control plane, and when."""

    said: Recommended
    at: datetime


def lets_sleep(books: Books, fact: ev.Event) -> None:
    """Check that nothing is bought, replaced or let go in a pool that is paused or retired."""
    match fact:
        case ev.LaunchRequested():
            pool = books.pools[fact.pool]
        case ev.ReleaseRequested() | ev.ReleaseRevoked() | ev.InstanceCondemned():
            pool = books.pools[books.instances[fact.instance_id].pool]
        case ev.RepairStarted() if fact.node_id in books.instances:
            pool = books.pools[books.instances[fact.node_id].pool]
        case _:
            return
    if pool.paused or pool.retired:
        raise Broken("unsafe", f"{ev.kind(fact)} in {pool.spec.name}, which is asleep")


def may_retarget(
    books: Books, fact: ev.TargetChanged, word: Word | None, scaler: Scaler | None
) -> None:
    """Check a change of a target that no operator has asked for in this step."""
    pool = books.pools[fact.pool]
    if pool.paused or pool.retired:
        raise Broken("unsafe", f"target {fact.target} of {fact.pool}, which is asleep")
    if word is None or scaler is None or word.said.held:
        raise Broken("unsafe", f"target {fact.target} of {fact.pool}: nobody asked for it")
    if pool.target_changed_at is not None and word.at <= pool.target_changed_at:
        raise Broken("unsafe", f"target {fact.target} of {fact.pool}: by a word of before")
    if fact.target != min(max(word.said.target, pool.spec.min_nodes), pool.spec.max_nodes):
        raise Broken("unsafe", f"target {fact.target} of {fact.pool}, said: {word.said.target}")
    if fact.target < pool.target and not scaler.may_lower(word.said, fact.target):
        text = f"target of {fact.pool} falls from {pool.target} to {fact.target}"
        raise Broken("unsafe", f"{text} without a fresh reading: {word.said.reason}")


def is_followed(books: Books, word: Word) -> bool:
    """Whether a pool wants what its autoscaler said, unless the target has moved since."""
    pool = books.pools[word.said.pool]
    moved_since = pool.target_changed_at is not None and pool.target_changed_at >= word.at
    target = min(max(word.said.target, pool.spec.min_nodes), pool.spec.max_nodes)
    return word.said.held or moved_since or target == pool.target


def targets_within_limits(books: Books) -> None:
    """Check every target against the limits of its pool."""
    for pool in books.pools.values():
        low, high = pool.spec.min_nodes, pool.spec.max_nodes
        if not low <= pool.target <= high:
            text = f"pool {pool.spec.name} wants {pool.target} of {low} to {high}"
            raise Broken("unsafe", text)


def may_let_go(books: Books, one: Bought) -> None:
    """Check that a machine which is not condemned is too many."""
    current, wanted = books.current(one.pool), books.pools[one.pool]
    if current <= wanted.target:
        raise Broken("unsafe", f"{one.id} is let go: {current} nodes, {wanted.target} wanted")


def may_end_unused(books: Books, one: Bought) -> None:
    """Check that a machine which ends without being drained is too many and serves nobody."""
    may_let_go(books, one)
    if one.serves:
        raise Broken("unsafe", f"{one.id} is ended without having been drained")


def may_end_released(one: Bought, now: datetime, settings: Settings, *, is_empty: bool) -> None:
    """Check that a released machine is empty, silent, or has had its time."""
    assert one.releasing_since is not None
    is_silent = one.lost_at is not None or not one.registered
    has_had_its_time = now - one.releasing_since > settings.drain_timeout
    if not (is_empty or is_silent or has_had_its_time or one.uncordoned_by_hand):
        raise Broken("unsafe", f"{one.id} is ended, and may have work")


def may_call_back(one: Bought) -> None:
    """Check that nobody counts on a machine that its seller takes away."""
    if one.interrupted_at is not None:
        raise Broken("unsafe", f"{one.id} is called back, and its seller takes it away")


def may_end_interrupted(one: Bought, now: datetime, *, is_empty: bool) -> None:
    """Check that a machine which its seller takes away is empty, silent, or overdue there."""
    is_silent = one.lost_at is not None or not one.registered
    deadline = one.interrupted_until
    is_overdue = deadline is not None and now - deadline > OVERDUE_MIN
    if not (is_empty or is_silent or is_overdue or one.uncordoned_by_hand):
        raise Broken("unsafe", f"{one.id} is ended before its seller takes it, and may have work")


def keeps_intent(books: Books, fact: ev.CommandIssued) -> None:
    """Check that calling a machine back does not undo what an operator wants of it."""
    one = books.instances.get(fact.node_id)
    if one is not None and one.intent is not Intent.IN_SERVICE:
        raise Broken("lost", f"{one.id} is uncordoned, and an operator wants it {one.intent}")
