"""The contract's harness for clouds whose double is an `HttpCloud`: the hooks that are alike.

Time is virtual, for the cloud as for its client, so that the limits which the clouds document are
kept in full and nobody waits for them. Only deadlines are real, since sockets are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

from doubles.http_cloud import HttpCloud, Said
from navarch.errors import ProviderError
from navarch.providers.base import Provider
from navarch.providers.fake import ManualTime
from navarch.testing import ProviderContract

DEADLINE = timedelta(milliseconds=700)
"""Of requests: long for a busy machine, and short for whoever waits for it to pass."""

SHOWN_BY_THE_QUICK_CLOUD = {
    f"test_{what}_without_an_answer_is_given_up": "a deadline passes as it does with a quick cloud"
    for what in ("a_launch", "a_list", "an_end")
}
"""Tests that wait for a deadline in real time, and that a second class need not repeat."""


class HttpHarness(ProviderContract):
    """A provider, its double, and a script of what goes wrong."""

    cancel_steps = 12

    launch_call: ClassVar[str]
    """How a launch's ``METHOD /path`` begins."""
    list_call: ClassVar[str]
    refusals: ClassVar[Mapping[type[ProviderError], tuple[str, Said]]]
    """Which call is answered how, for each kind of refusal."""
    secrets_known: ClassVar[Sequence[str]]
    cloud: HttpCloud
    time: ManualTime

    async def pause(self, provider: Provider) -> None:
        """Let ten seconds pass, and the double come to what it was asked."""
        await asyncio.sleep(0.005)
        await self.time.sleep(timedelta(seconds=10))

    def recover(self) -> None:
        self.cloud.heal()

    def lose_next_answer(self) -> None:
        self.cloud.fault(self.launch_call, acts=True, silence="hang up")

    def break_next_list(self) -> None:
        self.cloud.fault(self.list_call, silence="break off")

    def fail_next(self, kind: type[ProviderError]) -> None:
        call, said = self.refusals[kind]
        self.cloud.fault(call, said)

    def hang_next(self) -> None:
        self.cloud.hang()

    def secrets(self) -> Sequence[str]:
        return self.secrets_known
