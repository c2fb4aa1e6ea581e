"""Calls as spans: one for each call that is answered, in the trace that the caller is in.

Calls of agents that only say that they live, or ask for commands, are not traced: of ten thousand
nodes there would be nothing else, and most are answered before any of this is reached.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from connectrpc.errors import ConnectError

from navarch.telemetry import tracing
from navarch.wire.calls import Context

UNTRACED: Final = frozenset(
    {"Heartbeat", "SendHeartbeat", "HeartbeatBatch", "PollCommands", "GetNodeCommands"}
)

Begun = tuple[AbstractContextManager[tracing.Span], tracing.Span]
"""A span that is open, and how it is ended."""


class Spans:
    """An interceptor; it has to be the first, so that it sees how the caller is answered."""

    async def on_start(self, ctx: Context) -> Begun | None:
        """Begin a span, in the caller's own trace where it sent one (W3C ``traceparent``)."""
        tracer = tracing.active
        if tracer is None or ctx.method.name in UNTRACED:
            return None
        about = {"rpc.system": "connect_rpc", "rpc.method": ctx.method.name}
        within = tracer.from_headers(ctx.request_headers)
        opened = tracer.span(f"rpc {ctx.method.name}", about, kind="server", within=within)
        return opened, opened.__enter__()

    async def on_end(self, token: Begun | None, ctx: Context, error: Exception | None, /) -> None:
        """End it, with the code of the answer."""
        if token is None:
            return
        opened, span = token
        code = "ok" if error is None else "unknown"
        if isinstance(error, ConnectError):
            code = error.code.value
        span.set(code=code)
        if error is not None:
            span.fail(code)
        opened.__exit__(None, None, None)


def interceptors() -> tuple[Spans, ...]:
    """What a new application needs for spans: nothing while nobody keeps any."""
    return () if tracing.active is None else (Spans(),)
