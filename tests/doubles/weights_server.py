"""A web server with files of models: ranges, ETags, a hub's API, and whatever can go wrong.

It counts what it was asked for, byte by byte: tests hold fetchers to not asking twice.
"""

from __future__ import annotations

import hashlib
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit


@dataclass
class Range:
    """A part of a file that was asked for."""

    path: str
    start: int
    end: int
    """Behind the last byte."""
    authorization: str


@dataclass
class WeightsServer:
    """The files, by path without the first slash, and how they are given."""

    files: dict[str, bytes] = field(default_factory=dict)
    url: str = ""
    asked: list[Range] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    has_ranges: bool = True
    has_tags: bool = True
    redirects: dict[str, str] = field(default_factory=dict)
    """Where a path leads."""
    broken_off: int = 0
    """How many of the next answers end in the middle."""
    refused: int = 0
    """How many of the next requests for content are answered by 503."""
    gate: threading.Event | None = None
    """What answers wait for in the middle; None: nothing."""
    reached: threading.Event = field(default_factory=threading.Event)
    """Set when an answer waits in the middle."""
    slow_chunk: int = 0
    """Bytes after which an answer lets others go first; 0: it does not."""
    sent: int = 0
    """Bytes of content that went out."""
    tripwire: tuple[int, Callable[[], None]] | None = None
    """After how many bytes in all something is done, and what."""
    repos: dict[str, dict[str, str]] = field(default_factory=dict)
    """Commits by branch or tag of each repository of a hub; files are ``repo/commit/path``."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tag(self, path: str) -> str:
        """Return the ETag of a file."""
        return f'"{hashlib.md5(self.files[path]).hexdigest()}"'  # noqa: S324 - as S3 does

    def bytes_asked(self, path: str = "") -> int:
        """Count the bytes that were asked for, of one file or of all; probes do not count."""
        with self.lock:
            return sum(
                each.end - each.start
                for each in self.asked
                if path in ("", each.path) and each.end - each.start > 1
            )

    def went_out(self, count: int) -> None:
        """Count what was sent, and do what is to be done at that point."""
        with self.lock:
            self.sent += count
            due = self.tripwire if self.tripwire and self.sent >= self.tripwire[0] else None
            if due is not None:
                self.tripwire = None
        if due is not None:
            due[1]()

    def listing(self, repo: str, revision: str) -> bytes | None:
        """Answer as the API of a hub does; None where there is no such model or revision."""
        commits = self.repos.get(repo, {})
        commit = commits.get(revision, revision if revision in commits.values() else "")
        if not commit:
            return None
        siblings = []
        prefix = f"{repo}/{commit}/"
        for path, content in sorted(self.files.items()):
            if not path.startswith(prefix):
                continue
            sibling: dict[str, object] = {
                "rfilename": path.removeprefix(prefix),
                "size": len(content),
                "blobId": hashlib.sha1(content).hexdigest(),  # noqa: S324 - as git does
            }
            if len(content) > 1000:
                sha256 = hashlib.sha256(content).hexdigest()
                sibling["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
            siblings.append(sibling)
        return json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that are killed are what the tests are about."""


@contextmanager
def serving_weights(files: dict[str, bytes] | None = None) -> Iterator[WeightsServer]:
    """Run a server on a free port of this machine."""
    double = WeightsServer(files=files or {})

    class Connection(_Connection):
        server_double = double

    server = _Server(("127.0.0.1", 0), Connection)
    double.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield double
    finally:
        if double.gate is not None:
            double.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_double: WeightsServer

    def do_GET(self) -> None:
        double = self.server_double
        path = unquote(urlsplit(self.path).path).lstrip("/")
        with double.lock:
            double.requests.append(self.path)
        if path in double.redirects:
            self._begin(302, 0, {"location": double.redirects[path], "x-repo-commit": "c0ffee"})
            return
        if path.startswith("api/models/"):
            repo, _, revision = path.removeprefix("api/models/").partition("/revision/")
            self._whole(double.listing(repo, revision))
            return
        if "/resolve/" in path:
            repo, _, rest = path.partition("/resolve/")
            commit = rest.partition("/")[0]
            self._content(f"{repo}/{rest}", {"x-repo-commit": commit})
            return
        self._content(path, {})

    def _content(self, path: str, headers: dict[str, str]) -> None:
        double = self.server_double
        content = double.files.get(path)
        if content is None:
            self._begin(404, 0)
            return
        if double.has_tags and "x-repo-commit" not in headers:
            headers["etag"] = double.tag(path)
        asked = self.headers.get("range")
        condition = self.headers.get("if-range")
        if asked and double.has_ranges and condition in (None, headers.get("etag")):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1, len(content))
            if start >= len(content):
                self._begin(416, 0, headers)
                return
            headers["content-range"] = f"bytes {start}-{end - 1}/{len(content)}"
            self._send(206, path, start, end, headers)
            return
        self._send(200, path, 0, len(content), headers)

    def _send(self, status: int, path: str, start: int, end: int, headers: dict[str, str]) -> None:
        double = self.server_double
        body = double.files[path][start:end]
        with double.lock:
            probing = end - start <= 1
            refused = not probing and double.refused > 0
            double.refused -= refused
            broken = not probing and not refused and double.broken_off > 0
            double.broken_off -= broken
            if not refused:
                authorization = self.headers.get("authorization", "")
                double.asked.append(Range(path, start, end, authorization))
        if refused:
            self._begin(503, 0)
            return
        self._begin(status, len(body), headers)
        if broken:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        if double.gate is not None and not probing:
            self.wfile.write(body[: len(body) // 2])
            double.reached.set()
            double.gate.wait(30)
            self.wfile.write(body[len(body) // 2 :])
            return
        step = double.slow_chunk or len(body) or 1
        for at in range(0, len(body), step):
            self.wfile.write(body[at : at + step])
            double.went_out(len(body[at : at + step]))

    def _whole(self, body: bytes | None) -> None:
        self._begin(200 if body is not None else 404, len(body or b""))
        self.wfile.write(body or b"")

    def _begin(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
        """Say nothing."""
