"""Asking autoscalers: with a deadline, off the event loop, and never twice at the same time.

An autoscaler that somebody wrote may block, hang, raise or answer nonsense. None of it may stop the
loop that keeps the fleet, and one that hangs must not leave one more thread behind at every
evaluation. The threads are daemons: a question without an answer does not keep the process alive.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextlib import suppress
from datetime import timedelta

from navarch.core.scaling.base import Answer, Autoscaler, PoolState, ScaleRecommendation


class Asker:
    """Asks, and remembers who still owes an answer."""

    def __init__(self) -> None:
        self._owing: set[tuple[str, str]] = set()

    async def ask(
        self, autoscaler: Autoscaler, state: PoolState, deadline: timedelta
    ) -> ScaleRecommendation:
        """Return what an autoscaler answers, or what awaiting its answer brings.

        A plain function runs in a thread of its own; a coroutine is cancelled at the deadline.
        Raises `TimeoutError` after `deadline`, or at once while it still thinks about an earlier
        state of the pool, and whatever it raises.
        """
        who = (state.name, autoscaler.name)
        if who in self._owing:
            raise TimeoutError("it still thinks about an earlier question")
        try:
            async with asyncio.timeout(deadline.total_seconds()):
                answer: Answer
                if inspect.iscoroutinefunction(autoscaler.recommend):
                    answer = autoscaler.recommend(state)
                else:
                    answer = await self._in_thread(who, autoscaler, state)
                return await answer if inspect.isawaitable(answer) else answer
        except TimeoutError as error:
            raise TimeoutError(str(error) or f"no answer within {deadline}") from error

    async def _in_thread(
        self, who: tuple[str, str], autoscaler: Autoscaler, state: PoolState
    ) -> Answer:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer | Exception] = loop.create_future()

        def settle(outcome: Answer | Exception) -> None:
            self._owing.discard(who)
            if not answered.done():
                answered.set_result(outcome)

        def think() -> None:
            outcome: Answer | Exception
            try:
                outcome = autoscaler.recommend(state)
            except Exception as error:  # noqa: BLE001 - raised again where the answer is awaited
                outcome = error
            with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                loop.call_soon_threadsafe(settle, outcome)

        self._owing.add(who)
        threading.Thread(target=think, name=f"asking {who}", daemon=True).start()
        outcome = await answered
        if isinstance(outcome, Exception):
            raise outcome
        return outcome
