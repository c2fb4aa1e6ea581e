"""A web server in the test's own process, whose answers the test writes.

Nothing between it and the code under test is left out: sockets, HTTP, and whatever can be wrong
with them. It is also the exporter that a real Prometheus scrapes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Asked:
    """One request, and the means to answer it."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """By name in lower case."""
    connection: BaseHTTPRequestHandler
    closing: threading.Event
    """Set when the server ends: whoever waits on purpose waits on this."""

    def answer(self, body: str | bytes, status: int = 200, **headers: str) -> None:
        """Answer with a whole body."""
        content = body.encode() if isinstance(body, str) else body
        self.connection.send_response(status)
        self.connection.send_header("content-length", str(len(content)))
        for name, value in headers.items():
            self.connection.send_header(name, value)
        self.connection.end_headers()
        self.connection.wfile.write(content)

    def start(self) -> None:
        """Begin an answer of unknown length; it ends with the connection."""
        self.connection.close_connection = True
        self.connection.send_response(200)
        self.connection.send_header("connection", "close")
        self.connection.end_headers()
        self.connection.wfile.flush()

    def go_on(self, content: str) -> None:
        """Send a part of the answer."""
        self.connection.wfile.write(content.encode())
        self.connection.wfile.flush()


@dataclass
class Web:
    """A running server: where it is, and what it was asked."""

    url: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def serving(answer: Callable[[Asked], None]) -> Iterator[Web]:
    """Run a server on a free port of this machine; each request is answered in its own thread."""
    closing = threading.Event()

    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(parts.path, dict(parse_qsl(parts.query)), headers, self, closing)
            web.asked.append(asked)
            try:
                answer(asked)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client has had enough

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Connection)
    web = Web(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
