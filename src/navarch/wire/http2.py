"""HTTP/2 beside HTTP/1.1, on one port.

A connection speaks HTTP/2 when TLS has agreed on it (ALPN), or when its first bytes are HTTP/2's
preface; any other speaks HTTP/1.1, by the same code as on a port that knows nothing else.

zttp parses, uvicorn makes ASGI of it, and `PatientHttp2` bounds what neither does. What bounds what
stands in docs/protocols.md. zttp (0.0.35) ends a connection hard at its 4,096th stream and at its
256th reset, so a connection is retired in good time before: its peer is told to make another, and
what is under way ends in peace.

This module is imported only where HTTP/2 is switched on: zttp is an optional dependency.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Mapping, MutableMapping
from typing import Any, ClassVar, Final, cast
from urllib.parse import unquote

import msgspec
import zttp
from uvicorn._types import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPResponseBodyEvent,
    HTTPScope,
    Scope,
)
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.zttp_h2_impl import RequestResponseCycle, ZttpH2Protocol
from uvicorn.protocols.utils import is_ssl
from uvicorn.server import ServerState

from navarch.telemetry.log import Log
from navarch.wire import connections, listener
from navarch.wire.asgi import Application
from navarch.wire.bodies import Receive
from navarch.wire.connections import POLITE_MAX, Place
from navarch.wire.frames import PREFACE, Frames
from navarch.wire.grpc_form import Send, in_form
from navarch.wire.listener import PatientProtocol

log = Log(__name__)

STREAMS_MAX: Final = 3_000
"""Requests that one connection carries, before its peer is told to make another."""

RESETS_MAX: Final = 128
"""Requests that one connection may give up, before its peer is told to make another. As many
again can be under way."""

RETIRE_SECONDS: Final = 1.0
"""How long a peer may still begin requests after it was told: they may be on their way."""

IDLE_FRAMES_BURST: Final = 1_000
"""Frames without a request (PING, SETTINGS, WINDOW_UPDATE, RST_STREAM, ...) that are taken at
once. The next ends the connection."""

IDLE_FRAMES_PER_SECOND: Final = 100
"""How many more each second. gRPC pings every 10 seconds at most, where it is not told else."""

IDLE_FRAMES_PER_ANSWER: Final = 4
"""How many more for each part of an answer: a reader gives credit for it on the stream and on
the connection, and may measure the line with a PING."""

BYTES_PER_IDLE_FRAME: Final = 4_096
"""For how many bytes of an answer one more: a quarter of the largest frame."""

PART_BYTES: Final = 64 * 1024
"""What is handed to zttp at once. It moves all that waits whenever a part of it leaves, so that a
large answer would take time in proportion to its square."""

_EVERY_STREAM: Final = 2**31 - 1
_NO_ERROR: Final = 0x0
_REFUSED_STREAM: Final = 0x7
_ENHANCE_YOUR_CALM: Final = 0xB


class EitherProtocol(asyncio.Protocol):
    """Finds out what a new connection speaks, and hands it over."""

    alpn_protocols: ClassVar[list[str]] = ["h2", "http/1.1"]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Take what uvicorn hands to every protocol."""
        self._made_with = (config, server_state, app_state, _loop)
        self._connections = server_state.connections
        self._loop = _loop or asyncio.get_event_loop()
        self._transport: asyncio.Transport | None = None
        self._due: asyncio.TimerHandle | None = None
        self._begun = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask TLS, or wait for the first bytes."""
        self._transport = transport
        if is_ssl(transport):
            spoken = transport.get_extra_info("ssl_object").selected_alpn_protocol()
            self._hand_over(transport, http2=spoken == "h2")
            return
        self._connections.add(self)  # type: ignore[arg-type]
        self._due = self._loop.call_later(listener.HEADER_SECONDS_MAX, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._forget()

    def data_received(self, data: bytes) -> None:
        """Hand over as soon as the bytes tell."""
        self._begun += data
        if len(self._begun) < len(PREFACE) and PREFACE.startswith(self._begun):
            return
        assert self._transport is not None, "bytes come after the connection was made"
        self._hand_over(self._transport, http2=self._begun.startswith(PREFACE))

    def shutdown(self) -> None:
        """End a connection that has said nothing."""
        if self._transport is not None:
            self._transport.close()

    def _hand_over(self, transport: asyncio.Transport, *, http2: bool) -> None:
        self._forget()
        protocol: asyncio.Protocol = (PatientHttp2 if http2 else PatientProtocol)(*self._made_with)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._begun:
            protocol.data_received(self._begun)

    def _forget(self) -> None:
        self._connections.discard(self)
        if self._due is not None:
            self._due.cancel()
            self._due = None


class PatientHttp2(ZttpH2Protocol):
    """uvicorn's HTTP/2, with an end to its patience."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Take what uvicorn hands to every protocol."""
        super().__init__(config, server_state, app_state, _loop)
        self._frames = Frames()
        self._unfinished = 0
        self._unfinished_due: asyncio.TimerHandle | None = None
        self._settings_due: asyncio.TimerHandle | None = None
        self._retire_due: asyncio.TimerHandle | None = None
        self._unread_due: asyncio.TimerHandle | None = None
        self._place: Place | None = None
        self._streams = self._resets = self._granted = 0
        self._allowed = float(IDLE_FRAMES_BURST)
        self._allowed_at = self.loop.time()
        self._credit = asyncio.Event()

    # --- the connection ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the peer's settings soon."""
        super().connection_made(transport)
        application = self.config.app
        if isinstance(application, Application):
            self._place = Place(transport, self.loop, application.admission)
            if self._place.beyond:  # refused for all that it asks
                self.app = _Crowd(application)
            if self._place.beyond > POLITE_MAX:
                transport.abort()
        self._settings_due = self.loop.call_later(listener.HEADER_SECONDS_MAX, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more, and let nobody wait for it."""
        dues = (self._settings_due, self._unfinished_due, self._retire_due, self._unread_due)
        for due in dues:
            if due is not None:
                due.cancel()
        if self._place is not None:
            self._place.lost()
        super().connection_lost(exc)
        self._credit.set()

    def data_received(self, data: bytes) -> None:
        """Take bytes, unless they are too many of the kind that brings no request."""
        if self.transport.is_closing():
            return
        self._spend(self._frames.feed(data))
        if not self.transport.is_closing():
            super().data_received(data)
        if self.transport.is_closing():  # now, not when the last byte is out: nobody reads it
            for cycle in self.cycles.values():
                cycle.disconnected = True
                cycle.message_event.set()
        self._expect_the_rest()
        self._credit.set()  # whoever waits looks again
        self._credit = asyncio.Event()
        if self.shutdown_requested and not self.cycles:
            self._close_connection()

    def handle_events(self) -> None:
        """Do what the frames say, and note what uvicorn passes over."""
        while (event := self.conn.next_event()) is not zttp.NEED_DATA:
            if self.transport.is_closing():
                return
            if isinstance(event, zttp.Request):
                self.handle_request(event)
            elif isinstance(event, zttp.Data):
                self._take_body(event)
            elif isinstance(event, zttp.EndOfMessage):
                if (cycle := self.cycles.get(event.stream_id)) is not None:
                    cycle.more_body = False
                    cycle.message_event.set()
            elif isinstance(event, zttp.RstStream):
                self._take_reset(event)
            elif isinstance(event, zttp.GoAway):
                self.shutdown_requested = True
            elif isinstance(event, zttp.WindowUpdate):
                self._granted += event.increment
            elif isinstance(event, zttp.Settings) and self._settings_due is not None:
                self._settings_due.cancel()
                self._settings_due = None

    def shutdown(self) -> None:
        """Tell the peer to go elsewhere; end when what is under way has ended."""
        if not self.transport.is_closing():
            self.conn.close(_NO_ERROR, _EVERY_STREAM)
            self.flush()
        super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that has been idle for too long, with what nobody fetched of it."""
        super()._close_connection()

    def _close_connection(self) -> None:
        """End the connection, once its peer has taken all that was answered."""
        if not self.conn.has_pending_send():
            super()._close_connection()

    def pause_writing(self) -> None:
        """Wait for the peer to read, but not for ever."""
        super().pause_writing()
        if self._place is not None:
            self._place.writing_paused()

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        if self._place is not None:
            self._place.writing_resumed()

    # --- patience ----------------------------------------------------------------------------

    def earn(self, size: int) -> None:
        """Take a few more frames without a request: so many bytes of an answer were written."""
        more = IDLE_FRAMES_PER_ANSWER + size / BYTES_PER_IDLE_FRAME
        self._allowed = min(self._allowed + more, IDLE_FRAMES_BURST)

    async def room(self, cycle: Exchange) -> None:
        """Wait until the peer has taken most of what was written on a stream.

        A stream of which its peer takes next to nothing for a while is given up.
        """
        unread = pending = cycle.stream.pending_bytes or 0
        due = self.loop.time() + connections.UNREAD_SECONDS_MAX
        while pending > HIGH_WATER_LIMIT and not cycle.disconnected:
            try:
                async with asyncio.timeout_at(due):
                    await self._credit.wait()
            except TimeoutError:
                self._count_unread()
                cycle.abort_stream()
            pending = cycle.stream.pending_bytes or 0
            if unread - pending >= connections.READ_BYTES_MIN:
                unread, due = pending, self.loop.time() + connections.UNREAD_SECONDS_MAX

    def expect_reading(self) -> None:
        """See to it that the peer takes what is complete and still waits for its credit."""
        if self._unread_due is None and self.conn.has_pending_send():
            seconds = 2 * connections.UNREAD_SECONDS_MAX  # by then `room` has given up its own
            self._unread_due = self.loop.call_later(seconds, self._look, self._granted)

    def _look(self, granted: int) -> None:
        self._unread_due = None
        if self._granted - granted >= connections.READ_BYTES_MIN:
            self.expect_reading()
        elif self.conn.has_pending_send():
            self._count_unread()
            self.transport.abort()

    def _count_unread(self) -> None:
        if isinstance(self.config.app, Application):
            self.config.app.admission.count("unread_answer")

    def _spend(self, frames: int) -> None:
        if not frames:
            return
        now = self.loop.time()
        gained = (now - self._allowed_at) * IDLE_FRAMES_PER_SECOND
        self._allowed = min(self._allowed + gained, IDLE_FRAMES_BURST) - frames
        self._allowed_at = now
        if self._allowed < 0:
            because = "too many frames without a request"
            log.warning("peer_hung_up_on", client=str(self.client), because=because)
            self.conn.close(_ENHANCE_YOUR_CALM)
            self.flush()
            self.transport.close()

    def _expect_the_rest(self) -> None:
        unfinished = self._frames.unfinished
        if unfinished == self._unfinished:
            return
        self._unfinished = unfinished
        if self._unfinished_due is not None:
            self._unfinished_due.cancel()
            self._unfinished_due = None
        if unfinished:
            seconds = listener.HEADER_SECONDS_MAX
            self._unfinished_due = self.loop.call_later(seconds, self.transport.close)

    def _retire(self) -> None:
        """Have the peer make another connection, before zttp ends this one."""
        if self._retire_due is None and not self.shutdown_requested:
            self.conn.close(_NO_ERROR, _EVERY_STREAM)
            self._retire_due = self.loop.call_later(RETIRE_SECONDS, self._retired)

    def _retired(self) -> None:
        self.shutdown_requested = True
        if not self.cycles:
            self._close_connection()

    # --- requests ----------------------------------------------------------------------------

    def handle_request(self, event: zttp.Request) -> None:
        """Begin to answer a request."""
        self._streams += 1
        if self._streams >= STREAMS_MAX:
            self._retire()
        if self.shutdown_requested:  # it was told, and can safely ask again elsewhere
            self.conn.stream(event.stream_id).reset(_REFUSED_STREAM)
            return
        headers = [(name.lower(), value) for name, value in event.headers]
        cycle = Exchange(
            scope=self._scope(event, headers),
            conn=self.conn,
            stream=self.conn.stream(event.stream_id),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            on_response=self.on_response_complete,
            resume_reading=self.resume_reading_if_idle,
        )
        cycle.protocol = self
        if event.end_stream:  # then no other event says so
            cycle.more_body = False
            cycle.message_event.set()
        self.cycles[event.stream_id] = cycle
        running = cycle.run_asgi(self._application(headers))
        task = self.loop.create_task(running, context=contextvars.Context())
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _scope(self, event: zttp.Request, headers: list[tuple[bytes, bytes]]) -> HTTPScope:
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "2",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "method": event.method.decode("latin-1"),
            "root_path": self.root_path,
            "path": unquote(event.path.decode("latin-1")),
            "raw_path": event.path,
            "query_string": event.query,
            "headers": headers,
            "state": self.app_state.copy(),
            "extensions": {"http.response.trailers": {}},
        }

    def _application(self, headers: list[tuple[bytes, bytes]]) -> ASGI3Application:
        if sum(len(name) + len(value) for name, value in headers) > listener.HEADER_BYTES_MAX:
            return _HEADERS_TOO_LARGE
        busy = self.limit_concurrency
        if busy is not None and max(len(self.connections), len(self.tasks)) >= busy:
            return _BUSY
        application: ASGI3Application = self.app
        return application

    def _take_body(self, event: zttp.Data) -> None:
        cycle = self.cycles.get(event.stream_id)
        if cycle is None:  # answered already: its sender was told, or is about to see the answer
            self._spend(1)
            return
        cycle.body += event.data
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def _take_reset(self, event: zttp.RstStream) -> None:
        if event.stream_id in self.cycles:
            self._resets += 1
            if self._resets >= RESETS_MAX:
                self._retire()
        else:
            self._spend(1)
        self.handle_rst_stream(event)


class Exchange(RequestResponseCycle):
    """One request and its answer; it writes no faster than its peer reads."""

    protocol: PatientHttp2

    async def send(self, message: ASGISendEvent) -> None:
        """Write a part of the answer, and wait until there is room for another."""
        if message["type"] == "http.response.body":
            await self._write(memoryview(message.get("body", b"")), message)
        else:
            await super().send(message)
        if not self.response_complete:
            await self.protocol.room(self)
        elif self.stream.pending_bytes:
            self.protocol.expect_reading()
        elif self.more_body and not self.disconnected:
            # The answer is complete and the request is not: the rest of it is not wanted (RFC
            # 9113, section 8.1).
            self.stream.reset(_NO_ERROR)
            self.transport.write(self.conn.data_to_send())

    async def _write(self, body: memoryview, message: HTTPResponseBodyEvent) -> None:
        while len(body) > PART_BYTES and not self.disconnected:
            part = bytes(body[:PART_BYTES])
            await super().send({"type": message["type"], "body": part, "more_body": True})
            self.protocol.earn(PART_BYTES)
            await self.protocol.room(self)
            body = body[PART_BYTES:]
        more = message.get("more_body", False)
        await super().send({"type": message["type"], "body": bytes(body), "more_body": more})
        self.protocol.earn(len(body))


class _Crowd:
    """Refuses whatever a connection asks that is one too many from its address."""

    def __init__(self, application: Application) -> None:
        self._refuse = application.refuse_crowd

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        plain = cast("MutableMapping[str, Any]", scope)
        sending = in_form(plain, cast("Send", send))
        await self._refuse(plain, cast("Receive", receive), sending)


class _Refusing:
    """An application that refuses every request alike, without reading it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self._status = status
        self._body = msgspec.json.encode({"code": code, "message": message})

    async def __call__(self, scope: Scope, _receive: object, send: ASGISendCallable) -> None:
        sending = in_form(cast("Mapping[str, Any]", scope), cast("Send", send))
        length = str(len(self._body)).encode()
        told = [(b"content-type", b"application/json"), (b"content-length", length)]
        await sending({"type": "http.response.start", "status": self._status, "headers": told})
        await sending({"type": "http.response.body", "body": self._body})


_HEADERS_TOO_LARGE: Final = _Refusing(
    431, "resource_exhausted", f"more than {listener.HEADER_BYTES_MAX} bytes of headers"
)
_BUSY: Final = _Refusing(503, "unavailable", "too many requests are under way")
