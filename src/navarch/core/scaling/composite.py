"""Scaling by several autoscalers at once: the highest, the lowest or the mean of their answers.

Signals have different strengths, and one of them fails sometimes. One that raises, or holds because
it cannot know, has no vote; and while there is such a one the pool does not shrink, since nobody
knows what it would have said. It is always named in the reason, and those that raised are counted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import ClassVar, Literal, get_args

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from navarch.core.scaling import limits
from navarch.core.scaling.base import Answer, Autoscaler, PoolState, ScaleRecommendation
from navarch.errors import InvariantBroken

Mode = Literal["max", "min", "avg"]


class CompositeAutoscaler(Struct, frozen=True):
    """Combines the answers of others.

    Raises `ValueError` for another mode and for an empty list.
    """

    mode: Mode
    """``max`` is generous, ``min`` is thrifty, ``avg`` is the mean, rounded up."""
    autoscalers: Sequence[Autoscaler]
    """At least one; asked in order, one after the other. Kept as a tuple."""

    name: ClassVar[str] = "composite"

    def __post_init__(self) -> None:
        """Refuse an unknown mode and nobody to ask."""
        force_setattr(self, "autoscalers", tuple(self.autoscalers))
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode {self.mode!r}: expected one of {', '.join(get_args(Mode))}")
        if not self.autoscalers:
            raise ValueError("autoscalers: expected at least one")

    def recommend(self, state: PoolState) -> Answer:
        """Propose the combination; to be awaited exactly when one of the answers is."""
        return limits.cooling(state) or self._ask(state, _Votes())

    def _ask(self, state: PoolState, votes: _Votes) -> Answer:
        """Ask everybody, and go over to asking asynchronously at the first who wants it."""
        for index, child in enumerate(self.autoscalers):
            try:
                answer = child.recommend(state)
                if isinstance(answer, Awaitable):
                    return self._ask_later(state, votes, answer, self.autoscalers[index:])
                votes.take(child, answer)
            except InvariantBroken:
                raise
            except Exception as error:  # noqa: BLE001 - a broken child is named, not fatal
                votes.fail(child, error)
        return self._counted(state, votes)

    async def _ask_later(
        self,
        state: PoolState,
        votes: _Votes,
        pending: Answer,
        children: Sequence[Autoscaler],
    ) -> ScaleRecommendation:
        """Wait for the first of `children`, whose answer is pending, and ask the rest."""
        for index, child in enumerate(children):
            try:
                answer = child.recommend(state) if index else pending
                votes.take(child, await answer if isinstance(answer, Awaitable) else answer)
            except InvariantBroken:
                raise
            except Exception as error:  # noqa: BLE001 - a broken child is named, not fatal
                votes.fail(child, error)
        return self._counted(state, votes)

    def _counted(self, state: PoolState, votes: _Votes) -> ScaleRecommendation:
        """Turn all votes into one answer."""
        faults = tuple(votes.faults)
        if not votes.targets:
            return replace(limits.hold(state, f"nobody can tell: {votes}"), faults=faults)
        wanted = self._combined(votes.targets)
        why = f"{self.mode} of {votes}"
        if votes.silent and wanted < state.current_nodes:
            wanted = state.current_nodes
            why = f"{why}; not below {wanted} while one cannot tell"
        return replace(limits.propose(state, wanted, why), faults=faults)

    def _combined(self, targets: list[int]) -> int:
        match self.mode:
            case "max":
                return max(targets)
            case "min":
                return min(targets)
            case "avg":
                return -(-sum(targets) // len(targets))


class _Votes:
    """What has been answered so far."""

    def __init__(self) -> None:
        self.targets: list[int] = []
        self.faults: list[str] = []
        self.silent = 0
        """How many failed or held."""
        self._words: list[str] = []

    def take(self, child: Autoscaler, answer: object) -> None:
        """Count an answer; `TypeError` for one that is none."""
        if not isinstance(answer, ScaleRecommendation) or not isinstance(answer.target_nodes, int):
            raise TypeError(f"answered {answer!r} instead of a ScaleRecommendation")
        self.faults += answer.faults
        if answer.held:
            self.silent += 1
            self._words.append(f"{child.name} holds ({answer.reason})")
        else:
            self.targets.append(answer.target_nodes)
            self._words.append(f"{child.name} {answer.target_nodes} ({answer.reason})")

    def fail(self, child: Autoscaler, error: Exception) -> None:
        """Count somebody who raised."""
        self.silent += 1
        self.faults.append(f"{child.name} failed: {type(error).__name__}: {error}")
        self._words.append(self.faults[-1])

    def __str__(self) -> str:
        """Write all answers, the failures counted."""
        count = f"; {len(self.faults)} failed" if self.faults else ""
        return ", ".join(self._words) + count
