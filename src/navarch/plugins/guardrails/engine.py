"""The host of guardrails: it calls plugins, decides what their findings lead to, and redacts.

    engine = GuardrailEngine(agent_class)
    result = await engine.check(GuardrailRequest(content="mail alice@example.com"))

    session = engine.session(GuardrailRequest(content="", direction="output"))
    async for chunk in model:
        await send(session.feed(chunk))
    result = await session.finish()
    await send(session.tail)

A whole text and a stream go the same way: a whole text is a stream of one piece.
"""

from __future__ import annotations

from typing import Final

from navarch.core.model.resources import AgentClass
from navarch.plugins.calls import Caller, Direct
from navarch.plugins.guardrails.audit import AuditRecord, AuditTrail, Sink
from navarch.plugins.guardrails.binding import bound, bound_in_shadow
from navarch.plugins.guardrails.contract import Registered
from navarch.plugins.guardrails.shadowing import ShadowChecks
from navarch.plugins.guardrails.stream import Session
from navarch.plugins.guardrails.vault import Vault
from navarch.plugins.protocols import GuardrailRequest, GuardrailResult
from navarch.plugins.registry import get_global_registry
from navarch.plugins.shadow import Shadows

LENGTH_MAX: Final = 1 << 20
"""Characters of a text that is kept for checks that need the whole of it."""


class GuardrailEngine:
    """Checks texts as one agent class asks."""

    def __init__(
        self,
        agent_class: AgentClass,
        registry: Registered | None = None,
        *,
        caller: Caller | None = None,
        sink: Sink | None = None,
        length_max: int = LENGTH_MAX,
        shadows: Shadows | None = None,
    ) -> None:
        """Find and configure the plugins that the class names.

        Without a `registry` the global one is asked. `sink` is told each audit record. A text of
        more than `length_max` characters is not scanned by checks that need all of it at once.
        Plugins in shadow are asked when there are `shadows` to tell, and never have an effect.

        :raises ConfigError: a value of the class is out of range, no plugin has a type, or one
            does not understand its configuration
        """
        self.agent_class = agent_class
        asked = get_global_registry() if registry is None else registry
        self.bindings = bound(agent_class, asked)
        self._caller = caller or Direct()
        self._watching: ShadowChecks | None = None
        if shadows is not None and (watching := bound_in_shadow(agent_class, asked)):
            self._watching = ShadowChecks(watching, agent_class, self._caller, shadows, length_max)
        self._trail = AuditTrail(sink)
        self._length_max = length_max

    @property
    def records(self) -> tuple[AuditRecord, ...]:
        """The newest audit records, oldest first; a thousand at most."""
        return self._trail.records

    @property
    def untold_records(self) -> int:
        """How many records the sink did not take."""
        return self._trail.untold

    @property
    def plugins(self) -> tuple[object, ...]:
        """The plugins that the class uses, configured for it, in the order of their turns."""
        return tuple(binding.plugin for binding in self.bindings)

    async def settle(self) -> None:
        """Wait until the plugins in shadow have been asked about all texts that are finished."""
        if self._watching is not None:
            await self._watching.settle()

    async def check(
        self, request: GuardrailRequest, *, vault: Vault | None = None
    ) -> GuardrailResult:
        """Check a whole text.

        Where it is to be redacted, ``redacted_content`` of the metadata is what may go on. With a
        `vault` the labels are pseudonyms that it can take back.
        """
        session = self._session(request, vault, streamed=False)
        return await session.whole()

    def session(self, request: GuardrailRequest, *, vault: Vault | None = None) -> Session:
        """Check a text that comes in pieces; `request.content` is not looked at."""
        return self._session(request, vault, streamed=True)

    def _session(
        self, request: GuardrailRequest, vault: Vault | None, *, streamed: bool
    ) -> Session:
        return Session(
            self.bindings,
            request,
            caller=self._caller,
            trail=self._trail,
            labels=vault,
            length_max=self._length_max,
            streamed=streamed,
            watching=self._watching,
        )
