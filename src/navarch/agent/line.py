"""The line to the control plane: one call at a time, to whichever of its addresses answers."""

from __future__ import annotations

from navarch.agent import calls
from navarch.agent.settings import AgentSettings
from navarch.agent.turns import Answer, CallFailed, Send
from navarch.agent.worker import Worker
from navarch.errors import ConfigError, WireError
from navarch.wire.client import ConnectClient

ELSEWHERE = frozenset({"unavailable", "deadline_exceeded"})
"""Connect codes after which another address may do better."""


class Line:
    """Makes the agent's calls in a thread of its own."""

    def __init__(self, settings: AgentSettings) -> None:
        """Connect nothing yet. Raises `ConfigError` for an address or a token that is none."""
        try:
            self._clients = [
                ConnectClient(
                    url,
                    settings.token,
                    timeout=settings.call_time_max.total_seconds(),
                    tls=settings.tls,
                )
                for url in settings.servers
            ]
        except WireError as error:
            raise ConfigError(error.message, key="server") from error
        self._chosen = 0
        self._worker = Worker("agent-calls")

    async def call(self, send: Send) -> Answer:
        """Make a call, and return the answer or how it failed."""
        method, body = calls.encode(send.request)
        client = self._clients[self._chosen]
        try:
            answer = await self._worker.do(lambda: client.call(method, body))
            return calls.decode(send.request, answer, call=send.call)
        except WireError as error:
            if error.code in ELSEWHERE:
                self._chosen = (self._chosen + 1) % len(self._clients)
            return CallFailed(send.call, error.code, error.message)
