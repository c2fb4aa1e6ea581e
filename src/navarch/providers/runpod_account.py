"""What RunPod tells of an account before anything is bought: its balance and its limit an hour.

Version 2 of the REST API tells neither in a shape that is documented; the GraphQL API does, at the
same host and by the same key: ``myself { clientBalance currentSpendPerHr spendLimit }``, which is
what ``runpodctl user`` prints (docs.runpod.io, "runpodctl user", read November 2026). A key that
is narrowed to pods may not read it, and then nothing is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from navarch.errors import ProviderError, Unavailable
from navarch.providers.base import Finding, Wanted
from navarch.providers.rest import Rest

PATH: Final = "/graphql"
QUERY: Final = "query { myself { clientBalance currentSpendPerHr spendLimit } }"


class _Myself(Struct, rename="camel"):
    client_balance: float
    """US dollars."""
    current_spend_per_hr: float = 0.0
    spend_limit: float | None = None
    """US dollars an hour; None: there is none."""


class _Query(Struct):
    myself: _Myself


class _Answer(Struct):
    data: _Query


async def examined(rest: Rest, deadline: timedelta, wanted: Sequence[Wanted]) -> list[Finding]:
    """Say whether the balance is above nothing, and the limit enough for what pools want."""
    try:
        answer = await rest.change("POST", PATH, {"query": QUERY}, deadline=deadline)
        if answer.status != HTTPStatus.OK:
            raise Unavailable(f"{rest.name}: the account is not told: HTTP {answer.status}")
        told = rest.parsed(answer, _Answer, otherwise=Unavailable).data.myself
    except ProviderError as error:
        return [("balance", None, str(error)), ("quota", None, "the limit an hour is not told")]
    has = told.client_balance > 0
    now = f"{told.client_balance:.2f} US$, {told.current_spend_per_hr:.2f} an hour are spent now"
    return [("balance", has, now), ("quota", *_limit(told, wanted))]


def _limit(told: _Myself, wanted: Sequence[Wanted]) -> tuple[bool | None, str]:
    if told.spend_limit is None:
        return True, "no limit of what is spent an hour"
    allowed = f"{told.spend_limit:.2f} US$ an hour are allowed"
    unpriced = sorted({each.instance_type for each in wanted if each.price_per_hour is None})
    most = _most(wanted)
    could = f"{allowed}, {sum(most.values()):.2f} could be spent by {', '.join(most)}"
    if most and told.spend_limit < sum(most.values()):
        return False, f"{could}: have the limit raised"
    if unpriced:
        return None, f"{allowed}; there is no price of {', '.join(unpriced)}"
    return True, could if most else allowed


def _most(wanted: Iterable[Wanted]) -> dict[str, float]:
    """Say what each pool could spend an hour at most: all its nodes of its dearest type."""
    most: dict[str, float] = {}
    for each in wanted:
        if each.price_per_hour is not None:
            most[each.pool] = max(most.get(each.pool, 0.0), each.nodes * each.price_per_hour)
    return most
