"""A server that speaks Connect with prepared answers, so that the command line has a far end.

It is real HTTP over a real socket: what is tested is what the command line sends and prints. What
the control plane itself answers is tested with the control plane.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

Json = dict[str, Any]


class Outcome(NamedTuple):
    """What a run of the program left."""

    code: int
    stdout: str
    stderr: str


Run = Callable[..., Outcome]


class Refusal(Exception):
    """An error in the form of the Connect protocol."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Answer with this HTTP status, code and message."""
        self.status = status
        self.body = {"code": code, "message": message}
        super().__init__(message)


class ConnectServer:
    """Answers by method; remembers what it was asked."""

    def __init__(self) -> None:
        """Listen on a free port of loopback."""
        self.answers: dict[str, Callable[[Json], Json]] = {}
        self.streams: dict[str, Callable[[Json], Iterable[Json]]] = {}
        self.requests: list[tuple[str, Json]] = []
        self.tokens: list[str] = []
        self.pages: dict[str, tuple[int, Json]] = {}
        """What is answered to GET, by path: the status and the body."""
        self.standby_of = ""
        """Where the leader is; empty: it leads itself. A standby refuses what is not prepared."""
        self.ended = threading.Event()
        far_end = self

        class Endpoint(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                far_end.answer(self)

            def do_GET(self) -> None:
                status, content = far_end.pages[self.path]
                far_end.send(self, status, content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def prepare(self, method: str, answer: Json) -> None:
        """Give this answer whatever is asked of the method."""

        def give(request: Json) -> Json:
            return answer

        self.answers[method] = give

    def close(self) -> None:
        """Stop listening and end every stream."""
        self.ended.set()
        self.http.shutdown()
        self.http.server_close()

    def answer(self, call: BaseHTTPRequestHandler) -> None:
        """Answer one call."""
        method = call.path.rpartition("/")[2]
        body = call.rfile.read(int(call.headers["Content-Length"]))
        self.tokens.append(call.headers.get("Authorization", ""))
        if call.headers["Content-Type"] == "application/connect+json":
            self.stream(call, method, json.loads(body[5:]))
            return
        request = json.loads(body)
        self.requests.append((method, request))
        try:
            status, content = 200, self.answers.get(method, self.refuse)(request)
        except Refusal as refusal:
            status, content = refusal.status, refusal.body
        self.send(call, status, content)

    def refuse(self, _: Json) -> Json:
        """Refuse what nobody has prepared, as a standby does."""
        assert self.standby_of, "an answer has to be prepared"
        text = f"this control plane is a standby; the leader is {self.standby_of}"
        raise Refusal(503, "unavailable", text)

    def send(self, call: BaseHTTPRequestHandler, status: int, content: Json) -> None:
        """Send a document."""
        text = json.dumps(content).encode()
        call.send_response(status)
        call.send_header("Content-Type", "application/json")
        call.send_header("Content-Length", str(len(text)))
        if self.standby_of:
            call.send_header("navarch-role", "standby")
            call.send_header("navarch-leader", self.standby_of)
        call.end_headers()
        call.wfile.write(text)

    def stream(self, call: BaseHTTPRequestHandler, method: str, request: Json) -> None:
        """Answer with one message after the other, then break off as a killed server does."""
        self.requests.append((method, request))
        call.send_response(200)
        call.send_header("Content-Type", "application/connect+json")
        call.send_header("Connection", "close")
        call.end_headers()
        for message in self.streams[method](request):
            text = json.dumps(message).encode()
            call.wfile.write(b"\0" + len(text).to_bytes(4, "big") + text)
            call.wfile.flush()
        call.close_connection = True
