"""A guard around rankers of others: a broken one costs its pool the order, never the control plane.

A ranker runs inside of deciding, where nothing may fail. One that raises, drops an offer or invents
one is not followed: its offers go by priority instead, and the reason of each launch says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from navarch.core.model.offer import Offer
from navarch.core.selection.base import Market, Ranker
from navarch.core.selection.priority import PriorityRanker
from navarch.errors import InvariantBroken

_FALLBACK = PriorityRanker()


class GuardedRanker(Struct, frozen=True):
    """Does what a ranker says, as long as it keeps its contract."""

    ranker: Ranker

    @property
    def name(self) -> str:
        """The ranker's own name."""
        return self.ranker.name

    def rank(self, offers: Sequence[Offer], market: Market) -> Sequence[Offer]:
        """Order as the ranker does, or by priority where it broke its contract."""
        order, fault = self._asked(offers, market)
        return _FALLBACK.rank(offers, market) if fault else order

    def because(self, offer: Offer, market: Market) -> str:
        """Give the ranker's reason, or say how it broke its contract."""
        _, fault = self._asked([offer], market)
        if not fault:
            try:
                return str(self.ranker.because(offer, market))
            except InvariantBroken:
                raise
            except Exception as error:  # noqa: BLE001 - a broken plugin is named, not fatal
                fault = _named(error)
        return f"broken ({fault}), so by {_FALLBACK.because(offer, market)}"

    def _asked(self, offers: Sequence[Offer], market: Market) -> tuple[list[Offer], str]:
        """Ask, and say what was wrong with the answer; empty when nothing was."""
        try:
            order = list(self.ranker.rank(offers, market))
            is_complete = Counter(order) == Counter(offers)
        except InvariantBroken:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            return [], _named(error)
        return order, "" if is_complete else "it dropped or invented offers"


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
