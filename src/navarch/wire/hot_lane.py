"""The quick way at the connection: HTTP/1.1 calls that are answered as their last byte arrives.

`HotLane` is uvicorn's HTTP/1.1 with two doors beside the usual one. A request for one of
`hot.METHODS` whose headers are plain (`HotPath.prepare`) is not given to the application: its body
is gathered here, and the answer written as soon as it is whole, without a task, a queue or an ASGI
cycle. Where there is no quick answer, the request is given to the application then, with its body,
as if it had just come. That is the first door.

An agent sends the same headers every time. So once a request was answered quickly, its head is
kept, and a later one that begins with the same bytes, but for the digits of its ``Content-Length``,
is not even parsed: equal bytes mean the same. That is the second door. Two heads are kept, since an
agent beats and polls by turns, and the body may come a moment after the head, as many clients send
it. If it does not, or if more comes than that body, all of it is parsed as if it came just then.

What stays as it is: answers go out in the order of the requests, for a door is open only while no
earlier request of the connection waits; who reads slowly, or is one connection too many, is left
to uvicorn; idle connections are closed; a stopping server lets a request under way be answered.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from msgspec import Struct
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from navarch.wire.hot import PASSED_ON, PATHS, Answer, Call, HotPath
from navarch.wire.limits import DEFAULT

BODY_SECONDS_MAX: Final = 1.0
"""How long a body is gathered here. A slower one is the application's, which has a limit of its
own for it and words its refusal."""

HEAD_BYTES_MAX: Final = 4 * 1024
"""Of a head that is kept."""

HEADS_MAX: Final = 2
"""Heads that a connection keeps: of heartbeats and of polls."""

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,7})[ \t]*\r\n", re.IGNORECASE)
_LENGTH_DIGITS_MAX: Final = 7
_END: Final = b"\r\n\r\n"
_UNLIMITED: Final = 2**31


class _Head(Struct, frozen=True):
    """The head of a request that was answered, but for the digits of its length."""

    before: bytes
    after: bytes
    call: Call

    def match(self, arrived: bytes) -> tuple[int, int] | None:
        """Return where the body begins and how long it is; None if this is another head."""
        if not arrived.startswith(self.before):
            return None
        at = len(self.before)
        end = arrived.find(b"\r\n", at, at + _LENGTH_DIGITS_MAX + 2)
        digits = arrived[at:end]
        if end < 0 or not digits.isdigit() or not arrived.startswith(self.after, end):
            return None
        return end + len(self.after), int(digits)


class _Part(Struct):
    """What has come of a request with a known head."""

    call: Call
    body_at: int
    missing: int
    """Bytes."""
    arrived: list[bytes]


class HotLane(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, which answers frequent calls by itself."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Serve one connection; without a `HotPath` of the application, as uvicorn does."""
        super().__init__(config, server_state, app_state, _loop)
        self._path: HotPath | None = getattr(config.app, "hot", None)
        limit: int | None = config.limit_concurrency
        self._most = _UNLIMITED if limit is None else limit
        self._heads: tuple[_Head, ...] = ()
        self._part: _Part | None = None
        """A request with a known head, of which the rest is waited for."""
        self._between = True
        """Whether the parser stands between two requests."""
        self._call: Call | None = None
        """The request whose body is gathered."""
        self._body: list[bytes] = []
        self._body_due: asyncio.TimerHandle | None = None
        self._first = b""
        """What was received when the parser stood between two requests last."""
        self._begun = 0
        """How many requests have begun since."""
        self._pass_on = False
        """Whether the request that is being parsed was looked at already."""
        self._answered_at = 0.0
        """When an answer was written here last; the timer of idle connections is not moved."""

    # --- what arrives ------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Answer a request with a known head; parse everything else."""
        if self._part is not None:
            self._go_on(data)
            return
        if self._between and self._path is not None:
            for head in self._heads:
                found = head.match(data)
                if found is None:
                    continue
                body_at, length = found
                missing = body_at + length - len(data)
                if missing < 0 or length > DEFAULT.body_bytes or not self._is_open():
                    break
                if missing:
                    self._begin(head.call, data, body_at, missing)
                else:
                    self._finish(self._path, head.call, data, body_at)
                return
        self._parse(data, pass_on=False)

    def _finish(self, path: HotPath, call: Call, data: bytes, body_at: int) -> None:
        """Answer a whole request with a known head, or have it parsed after all."""
        answer = path.answer(call, data[body_at:])
        if answer is not None:
            self._send(answer)
        else:
            self._parse(data, pass_on=True)

    def _begin(self, call: Call, data: bytes, body_at: int, missing: int) -> None:
        """Wait a moment for the rest of a body."""
        self._unset_keepalive_if_required()
        self._part = _Part(call, body_at, missing, [data])
        self._body_due = self.loop.call_later(BODY_SECONDS_MAX, self._parse_part)

    def _go_on(self, data: bytes) -> None:
        """Add what has come to the request that is waited for."""
        part = self._part
        assert part is not None, "nothing is waited for"
        part.arrived.append(data)
        part.missing -= len(data)
        if part.missing < 0:  # the next request, too
            self._parse_part(pass_on=False)
        elif part.missing == 0:
            whole = b"".join(part.arrived)
            self._part = None
            self._stop_gathering()
            if self._path is not None and self._is_open():
                self._finish(self._path, part.call, whole, part.body_at)
            else:
                self._parse(whole, pass_on=True)

    def _parse_part(self, *, pass_on: bool = True) -> None:
        """Have all that has come parsed, as if it had come just now."""
        part, self._part = self._part, None
        self._stop_gathering()
        if part is not None:
            self._parse(b"".join(part.arrived), pass_on=pass_on)

    def _parse(self, data: bytes, *, pass_on: bool) -> None:
        if self._between:
            self._first, self._begun = data, 0
        self._pass_on = pass_on
        super().data_received(data)
        self._pass_on = False
        if self._call is not None and self._body_due is None:
            self._body_due = self.loop.call_later(BODY_SECONDS_MAX, self._give_to_application)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what was gathered."""
        self._call = self._part = None
        self._stop_gathering()
        super().connection_lost(exc)

    # --- the parser's calls ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._between = False
        self._begun += 1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Keep the request here if it may be answered here."""
        if self._path is not None and not self._pass_on:
            method = PATHS.get(self.url)
            if method is not None and self._is_plain() and self._is_open():
                self._call = self._path.prepare(method, self.headers)
                if self._call is not None:
                    return
        if self._pass_on:
            self.scope[PASSED_ON] = True  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Gather the body, or pass it on."""
        if self._call is not None:
            self._body.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer, or give the request to the application."""
        self._between = True
        first, self._first = self._first, b""
        call = self._call
        if call is None or self._path is None:
            super().on_message_complete()
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        answer = self._path.answer(call, body)
        if answer is None:
            self._give_to_application()
            super().on_message_complete()
            return
        self._call = None
        self._stop_gathering()
        self._send(answer)
        if self._begun == 1:
            self._keep_head(call, first, len(body))

    # --- answering ---------------------------------------------------------------------------

    def _is_open(self) -> bool:
        """Whether an answer may be written now: it is this request's turn, and the peer reads."""
        cycle: RequestResponseCycle | None = self.cycle
        return (
            (cycle is None or cycle.response_complete)
            and not self.flow.write_paused
            and not self.transport.is_closing()
            and len(self.connections) < self._most
            and len(self.tasks) < self._most
        )

    def _is_plain(self) -> bool:
        """Whether the connection goes on after a request, whose length is said and not too large.

        That the length is said once, in digits, and that no other one stands beside it, the parser
        has made sure of.
        """
        parser = self.parser
        return (
            parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and bool(parser.should_keep_alive())
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and not self.root_path
            and any(
                name == b"content-length" and len(value) <= _LENGTH_DIGITS_MAX
                for name, value in self.headers
            )
        )

    def _send(self, answer: Answer) -> None:
        lines = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        self.transport.write(b"".join((STATUS_LINE[200], *lines, answer.text)))
        self.server_state.total_requests += 1
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._await_next(self.timeout_keep_alive)

    def _keep_head(self, call: Call, data: bytes, length: int) -> None:
        """Know the head of a request again, with whose first byte `data` began."""
        end = data.find(_END, 0, HEAD_BYTES_MAX) + len(_END)
        if end < len(_END) or not data.startswith(b"POST "):
            return
        found = _LENGTH.search(data, 0, end)
        if found is not None and int(found[1]) == length:
            head = _Head(data[: found.start(1)], data[found.end(1) : end], call)
            line = data[: data.find(b"\r\n") + 2]
            others = (each for each in self._heads if not each.before.startswith(line))
            self._heads = (head, *others)[:HEADS_MAX]

    def _give_to_application(self) -> None:
        """Have the application answer, as if the request had just come."""
        body = b"".join(self._body)
        self._call = None
        self._stop_gathering()
        self.scope[PASSED_ON] = True  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        if body:
            super().on_body(body)

    def _stop_gathering(self) -> None:
        self._body = []
        if self._body_due is not None:
            self._body_due.cancel()
            self._body_due = None

    # --- idle and stopping -------------------------------------------------------------------

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it was idle; what was answered here has not moved the timer."""
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._await_next(left)
        else:
            super().timeout_keep_alive_handler()

    def _await_next(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def shutdown(self) -> None:
        """Let a request that is under way be answered, then close."""
        if self._part is not None:
            self._parse_part()
        if self._call is not None:
            self._give_to_application()
        super().shutdown()
