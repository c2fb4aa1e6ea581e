"""A web server in the test's own process that is written to, and whose answers the test writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Sent:
    """One request, and the means to answer it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes
    connection: BaseHTTPRequestHandler
    closing: threading.Event
    """Set when the server ends: whoever waits on purpose waits on this."""

    def answer(self, status: int, body: str | bytes = b"", **headers: str) -> None:
        """Answer with a whole body; ``_`` in names of headers stands for ``-``."""
        content = body.encode() if isinstance(body, str) else body
        self.connection.send_response(status)
        self.connection.send_header("content-length", str(len(content)))
        for name, value in headers.items():
            self.connection.send_header(name.replace("_", "-"), value)
        self.connection.end_headers()
        self.connection.wfile.write(content)

    def hang_up(self) -> None:
        """End the connection without a word."""
        self.connection.close_connection = True


@dataclass
class Receiver:
    """A running server: where it is, and what it was sent."""

    url: str
    sent: list[Sent] = field(default_factory=list)


@contextmanager
def receiving(answer: Callable[[Sent], None]) -> Iterator[Receiver]:
    """Run a server on a free port of this machine; each request is answered in its own thread."""
    closing = threading.Event()

    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two packets

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            query = dict(parse_qsl(parts.query))
            sent = Sent(self.command, parts.path, query, headers, body, self, closing)
            receiver.sent.append(sent)
            try:
                answer(sent)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client has had enough

        do_POST = do_GET  # noqa: N815 - the names are the library's
        do_PATCH = do_GET  # noqa: N815 - as above

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Connection)
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
