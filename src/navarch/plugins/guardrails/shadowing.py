"""Guardrails in shadow: asked about the texts that pass, without effect, and compared.

One in shadow is asked for each check of an agent class that has its type, with that check's
configuration, threshold and action, once the answer that counts is settled; a stream as a whole,
at its end. What it would have led to is held against what the check of that type did lead to.
Where another check has ended the text by a block there is nothing to compare.

Nobody waits for them. `TASKS_MAX` texts may be in work for one engine; those that come meanwhile
are not asked about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from navarch.core.model.resources import AgentClass
from navarch.plugins.calls import About, Caller, Failed
from navarch.plugins.guardrails.audit import AuditTrail
from navarch.plugins.guardrails.binding import Binding
from navarch.plugins.guardrails.stream import Session, Settled
from navarch.plugins.protocols import GuardrailRequest, PluginKind
from navarch.plugins.shadow import Shadows
from navarch.telemetry.log import Log

log = Log(__name__)

TASKS_MAX: Final = 16
"""Texts about which those in shadow of one engine are asked at a time."""


class ShadowChecks:
    """Asks the guardrails in shadow of one engine."""

    def __init__(
        self,
        bindings: Sequence[Binding],
        agent_class: AgentClass,
        caller: Caller,
        shadows: Shadows,
        length_max: int,
    ) -> None:
        """Ask those of `bindings`, and tell `shadows`."""
        self.length_max = length_max
        """Characters of a text that are kept for them; they are not asked about a longer one."""
        self._bindings = bindings
        self._agent_class = agent_class.full_name
        self._caller = caller
        self._shadows = shadows
        self._tasks: set[asyncio.Task[None]] = set()

    def hold(self, request: GuardrailRequest, text: str, settled: Settled) -> None:
        """Have them asked about a text, later and beside whatever else is done."""
        if len(self._tasks) >= TASKS_MAX or len(text) > self.length_max:
            return
        task = asyncio.get_running_loop().create_task(self._ask(request, text, settled))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def settle(self) -> None:
        """Wait until all that were begun have been asked."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("shadow_comparison_broke", raised=error)

    async def _ask(self, request: GuardrailRequest, text: str, settled: Settled) -> None:
        for binding in self._bindings:
            type_ = binding.spec.type
            if settled.blocked_by not in ("", type_):
                continue
            session = Session(
                (binding,),
                replace(request, content=text, metadata=dict(request.metadata)),
                caller=self._caller,
                trail=AuditTrail(None),
                labels=None,
                length_max=self.length_max,
                streamed=False,
            )
            result = await session.whole()
            about = About(
                PluginKind.GUARDRAIL,
                binding.name,
                "check",
                pool=request.agent_class or self._agent_class,
                subject=request.request_id,
            )
            failed = result.metadata.get("not_scanned", "")
            said = Failed(binding.name, "check", failed) if failed else result.action
            self._shadows.compare(about, settled.actions.get(type_, "allow"), said, shown=str)
