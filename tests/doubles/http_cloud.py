"""The part that doubles of HTTP clouds share: a socket, a request log, and scripted faults.

A double is what a cloud is to its client: bytes on a socket. It runs in a thread of its own, so
that the real client waits for it as it waits for the real cloud.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

T = TypeVar("T")

Silence = Literal["", "hang", "hang up", "break off"]
"""Not to answer: for long, by ending the connection, or by ending it in mid-sentence."""


class Closable(Protocol):
    """What gives up its connections."""

    async def close(self) -> None: ...


P = TypeVar("P", bound=Closable)


def run(make: Callable[[], P], story: Callable[[P], Awaitable[T]]) -> T:
    """Run a story with a new provider, and close that afterwards."""

    async def whole() -> T:
        provider = make()
        try:
            return await story(provider)
        finally:
            await provider.close()

    return asyncio.run(whole())


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes
    at: datetime
    """In the time of the cloud."""

    @property
    def call(self) -> str:
        return f"{self.method} {self.path}"

    def json(self) -> Any:  # noqa: ANN401 - whatever JSON holds
        return json.loads(self.body)


@dataclass(frozen=True)
class Said:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def said_json(value: object, status: int = 200, **headers: str) -> Said:
    """Answer in JSON; ``_`` in names of headers stands for ``-``."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Said(status, json.dumps(value).encode(), {"content-type": "application/json", **named})


@dataclass
class Fault:
    """What is to go wrong with the next requests of one kind."""

    call: str
    """How ``METHOD /path`` begins."""
    said: Said | None
    """What is answered; None: what would be answered anyway."""
    acts: bool
    """Whether the cloud does what it was asked all the same."""
    silence: Silence


@dataclass
class Limit:
    """So many of one kind of request in a while, and no more."""

    every: timedelta
    latest: datetime | None = None

    def wait(self, now: datetime) -> timedelta:
        """How long one more request has to wait; it counts only when that is nothing."""
        wait = self.latest + self.every - now if self.latest else timedelta()
        if wait <= timedelta():
            self.latest = now
        return wait


class HttpCloud:
    """A cloud on a socket. Subclasses say what `answer` a request gets."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.asked: list[Asked] = []
        """Every request, oldest first."""
        self._healed = threading.Event()
        """Set for those who hang when all is well again; each time it is another one."""
        self._is_silent = False
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def answer(self, asked: Asked) -> Said:
        raise NotImplementedError

    def fault(
        self,
        call: str,
        said: Said | None = None,
        *,
        acts: bool = False,
        silence: Silence = "",
        times: int = 1,
    ) -> None:
        """Let the next requests go wrong whose ``METHOD /path`` begins with `call`."""
        with self._lock:
            self._faults += [Fault(call, said, acts, silence)] * times

    def hang(self) -> None:
        """Do nothing and answer nobody until all is well again."""
        self._is_silent = True

    def heal(self) -> None:
        """Forget the script, and let go of those who hang."""
        with self._lock:
            self._faults.clear()
            self._is_silent = False
            self._healed.set()
            self._healed = threading.Event()

    def wait_until_healed(self) -> None:
        """Hang: until all is well again, the end of the double, or for half a minute."""
        self._healed.wait(30)

    def count(self, call: str) -> int:
        """How many requests of this kind have come."""
        return sum(1 for each in self.asked if each.call.startswith(call))

    def times(self, call: str) -> list[datetime]:
        """When requests of this kind came."""
        return [each.at for each in self.asked if each.call.startswith(call)]

    def receive(self, asked: Asked) -> tuple[Said, Silence]:
        """Take a request: the script first, then the cloud."""
        with self._lock:
            self.asked.append(asked)
            if self._is_silent:
                return Said(), "hang"
            fault = next((each for each in self._faults if asked.call.startswith(each.call)), None)
            if fault is None:
                return self.answer(asked), ""
            self._faults.remove(fault)
            said = self.answer(asked) if fault.acts or fault.said is None else Said()
            return fault.said or said, fault.silence

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Run on a free port of this machine, and yield the address."""
        server = _server(self)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            self.heal()
            server.shutdown()
            thread.join()
            server.server_close()


def _server(cloud: HttpCloud) -> ThreadingHTTPServer:
    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two packets

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            query = dict(parse_qsl(parts.query))
            path = unquote(parts.path)
            asked = Asked(self.command, path, query, headers, body, cloud.now())
            said, silence = cloud.receive(asked)
            if silence == "hang":
                cloud.wait_until_healed()
            if silence == "break off":
                said = replace(said, body=said.body[: len(said.body) // 2])
                self.close_connection = True
            elif silence:
                self.close_connection = True
                return
            try:
                self._send(said, silence)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client has had enough

        do_POST = do_GET  # noqa: N815 - the names are the library's
        do_DELETE = do_GET  # noqa: N815 - as above

        def _send(self, said: Said, silence: Silence) -> None:
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            if said.status != 204:
                self.send_header("content-length", str(len(said.body) + (silence != "")))
            self.end_headers()
            self.wfile.write(b"" if said.status == 204 else said.body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    return Server(("127.0.0.1", 0), Connection)
