"""The line to the control plane: one call at a time, to whichever of its addresses takes it."""

from __future__ import annotations

from navarch.agent import calls
from navarch.agent.settings import AgentSettings
from navarch.agent.turns import Answer, CallFailed, Send
from navarch.agent.worker import Worker
from navarch.errors import ConfigError, WireError
from navarch.wire.servers import Servers


class Line:
    """Makes the agent's calls in a thread of its own.

    All of an agent's calls may be repeated, so each goes on to the next address until one takes
    it. Only what none of them took is a failure to the duties, which wait then.
    """

    def __init__(self, settings: AgentSettings) -> None:
        """Connect nothing yet. Raises `ConfigError` for an address or a token that is none."""
        try:
            self._servers = Servers(
                settings.servers,
                settings.token,
                timeout=settings.call_time_max.total_seconds(),
                tls=settings.tls,
            )
        except WireError as error:
            raise ConfigError(error.message, key="server") from error
        self._worker = Worker("agent-calls")

    async def call(self, send: Send) -> Answer:
        """Make a call, and return the answer or how it failed."""
        method, body = calls.encode(send.request)
        try:
            answer = await self._worker.do(lambda: self._servers.call(method, body))
            return calls.decode(send.request, answer, call=send.call)
        except WireError as error:
            return CallFailed(send.call, error.code, error.message, error.retry_after)
