"""Appends that wait together, and what they come to behind the last fact: a group commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import Struct, field

from navarch.errors import JournalConflict
from navarch.stores.base import Projection
from navarch.stores.postgres_journal import Written
from navarch.stores.postgres_link import Address
from navarch.stores.rows import Batch, Encoded, Row, Tail, tail_of


class Append(NamedTuple):
    """One caller's append, as it waits."""

    batch: Batch
    staged: Projection | None
    """The records that its facts have changed; None: not told."""
    answer: asyncio.Future[int]


class Continuation(Struct):
    """What a group adds to the journal."""

    tail: Tail
    """What stands behind it."""
    written: list[Written] = field(default_factory=list)
    changed: Projection | None = field(default_factory=Projection)
    """What its facts have changed; None: somebody did not tell."""
    answers: list[int | JournalConflict] = field(default_factory=list)
    """What each caller is told."""


def continuation(
    tail: Tail, group: Sequence[Append], address: Address, row_of: Callable[[Row, Encoded], Written]
) -> Continuation:
    """Say what a `group` adds behind `tail`. Who does not follow the fact before him is refused."""
    made = Continuation(tail)
    for append in group:
        if append.batch.after != made.tail.seq:
            made.answers.append(_conflict(address, append.batch.after, made.tail.seq))
            continue
        for fact in append.batch.facts:
            row = made.tail.then(fact.raw, fact.at_us)
            made.tail = tail_of(row)
            made.written.append(row_of(row, fact))
        made.changed = _together(made.changed, append)
        made.answers.append(made.tail.seq)
    return made


def _together(changed: Projection | None, append: Append) -> Projection | None:
    """Add what an append has changed; None once one of them did not tell."""
    if append.staged is None and append.batch.facts:
        return None
    if changed is not None and append.staged is not None:
        changed.add(append.staged)
    return changed


def _conflict(address: Address, after: int, last: int) -> JournalConflict:
    return JournalConflict(
        f"journal {address} ends at fact {last}, not at {after}: another control plane has "
        "written to it; start again to take up its facts"
    )
