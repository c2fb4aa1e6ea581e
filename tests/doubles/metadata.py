"""The metadata servers of Amazon EC2 and Google Compute Engine on one loopback socket.

What they answer is from the pages that `navarch.agent.interruption` names. The test says what is
announced, and what goes wrong.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class MetadataServers:
    """Both servers, and what they were asked."""

    def __init__(self) -> None:
        self.instance_action: bytes | None = None
        """What EC2 announces; None while it announces nothing."""
        self.preempted = b"FALSE"
        """What Google says."""
        self.flavor = "Google"
        """What Google's answers carry."""
        self.status = 0
        """What is answered in the place of everything; 0: nothing is."""
        self.raw: bytes | None = None
        """Bytes that are said in the place of any HTTP; None: there is HTTP."""
        self.silent = threading.Event()
        """Whether requests are taken and not answered."""
        self.gives_tokens = True
        self.asked: list[str] = []
        """Method and path of each request."""
        self.tokens: list[str] = []
        """Those that were given, the last one being valid."""
        self.lifetimes: list[str] = []
        """What they were asked to live, in seconds."""
        self.closing = threading.Event()
        self._heard = threading.Condition()

    def wait_for(self, count: int) -> None:
        """Wait until so many requests have come."""
        with self._heard:
            assert self._heard.wait_for(lambda: len(self.asked) >= count, 10), self.asked

    def announce(self, action: str, time: str) -> None:
        """Announce on EC2 that the machine ends."""
        self.instance_action = json.dumps({"action": action, "time": time}).encode()

    def expire_tokens(self) -> None:
        """Make every token that was given invalid."""
        self.tokens.append("")

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve in a thread, and yield the address."""

        class Connection(BaseHTTPRequestHandler):
            double = self

            def do_GET(self) -> None:
                self.double.take(self)

            def do_PUT(self) -> None:
                self.double.take(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
                """Keep the output of the tests clean: `asked` has it all."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Connection)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            self.closing.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def take(self, connection: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        with self._heard:
            self.asked.append(f"{connection.command} {connection.path}")
            self._heard.notify_all()
        if self.silent.is_set():
            self.closing.wait(20)
            return
        if self.raw is not None:
            connection.wfile.write(self.raw)
            return
        status, body = self._answer(connection)
        connection.send_response(self.status or status)
        connection.send_header("content-length", str(len(body)))
        if connection.path.startswith("/computeMetadata/") and self.flavor:
            connection.send_header("metadata-flavor", self.flavor)
        connection.end_headers()
        connection.wfile.write(body)

    def _answer(self, connection: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        headers = connection.headers
        match connection.command, connection.path:
            case "PUT", "/latest/api/token":
                lifetime = headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
                if not lifetime.isdigit() or not 1 <= int(lifetime) <= 21_600:
                    return 400, b""
                if not self.gives_tokens:
                    return 403, b""
                self.lifetimes.append(lifetime)
                self.tokens.append(f"token-{len(self.tokens)}==")
                return 200, self.tokens[-1].encode()
            case "GET", "/latest/meta-data/spot/instance-action":
                token = headers.get("x-aws-ec2-metadata-token", "")
                if not token or token != self.tokens[-1]:
                    return 401, b""
                if self.instance_action is None:
                    return 404, b"<html>Not Found</html>"
                return 200, self.instance_action
            case "GET", "/computeMetadata/v1/instance/preempted":
                if headers.get("metadata-flavor") != "Google":
                    return 403, b"Missing Metadata-Flavor:Google header."
                return 200, self.preempted
            case _:
                return 404, b""
