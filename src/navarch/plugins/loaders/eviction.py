"""Which models go when another one needs their room. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from navarch.core.model.resources import CachePolicy

RANKS: Final[Mapping[str, int]] = {"low": 0, "medium": 1, "high": 2, "critical": 3}
"""The priorities of cache policies, the lowest first."""


class Resident(Struct, frozen=True):
    """A model that is in the cache."""

    name: str
    blobs: Mapping[str, int]
    """Size by SHA-256 of each of its files."""
    policy: CachePolicy
    used_at: datetime
    """When it was last loaded or let go of."""


class Plan(Struct, frozen=True):
    """What is done to make room."""

    evicted: tuple[str, ...] = ()
    """By name, in order."""
    missing: int = 0
    """Bytes that are short all the same; then nobody is to be evicted."""
    kept: tuple[str, ...] = ()
    """Why each of the others stays, as far as room is missing."""


def plan(
    residents: Sequence[Resident],
    *,
    needed: int,
    wanted: CachePolicy,
    in_use: Collection[str],
    keep: Collection[str],
    now: datetime,
) -> Plan:
    """Choose models to evict until `needed` bytes come free; the lowest and longest unused first.

    `wanted` is the policy of the model that needs the room, `in_use` are the names of models that
    are served from, `keep` are digests of files that stay in any case. A file that several models
    share comes free with the last of them. Nobody is evicted when that would not be enough.
    """
    if needed <= 0:
        return Plan()
    users: dict[str, int] = {}
    for each in residents:
        for blob in each.blobs:
            users[blob] = users.get(blob, 0) + 1
    reasons = {each.name: _stays(each, wanted, in_use, now) for each in residents}
    order = sorted(
        (each for each in residents if not reasons[each.name]),
        key=lambda each: (RANKS[each.policy.priority], each.used_at, each.name),
    )
    evicted: list[str] = []
    freed = 0
    for each in order:
        if freed >= needed:
            break
        gain = 0
        for blob, size in each.blobs.items():
            users[blob] -= 1
            gain += size if users[blob] == 0 and blob not in keep else 0
        freed += gain
        evicted.append(each.name)
    if freed < needed:
        kept = tuple(f"{name} {why}" for name, why in sorted(reasons.items()) if why)
        return Plan(missing=needed - freed, kept=kept)
    return Plan(evicted=tuple(evicted))


def _stays(resident: Resident, wanted: CachePolicy, in_use: Collection[str], now: datetime) -> str:
    """Say why a model stays; empty: it may go."""
    policy = resident.policy
    if resident.name in in_use:
        return "is in use"
    if policy.eviction_policy == "never":
        return "is never evicted"
    if pinned(resident, now):
        until = resident.used_at + policy.pin_duration
        return f"is pinned until {until:%Y-%m-%dT%H:%M:%SZ}"
    ranks = RANKS[policy.priority], RANKS[wanted.priority]
    if policy.eviction_policy == "low-priority" and ranks[0] >= ranks[1]:
        return f"has priority {policy.priority} and gives way to a higher one only"
    return ""


def pinned(resident: Resident, now: datetime) -> bool:
    """Whether its last use is too recent."""
    pin = resident.policy.pin_duration
    return pin > timedelta() and now < resident.used_at + pin
