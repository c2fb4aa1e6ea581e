"""A cache that other nodes may fetch from: a small HTTP server that only reads.

::

    GET /v1/models/<identity>   which files a model has (`peering.Holding`)
    GET /v1/sums/<sha256>       the CRC-32 of each chunk, 4 bytes each, little-endian
    GET /v1/blobs/<sha256>      content, whole or one range

It serves whoever reaches it: bind it to an address of the cluster's own network.
"""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Final

import msgspec

from navarch.errors import ConfigError
from navarch.plugins.loaders.peering import Holding
from navarch.plugins.loaders.shelf import Record, Shelf

CONNECTIONS_MAX: Final = 64
IDLE_SECONDS: Final = 30
_PATH: Final = re.compile(r"/v1/(models|sums|blobs)/([0-9a-f]{64})")
_RANGE: Final = re.compile(r"bytes=(\d{1,18})-(\d{1,18})")


class CacheServer:
    """Serves a shelf from threads of its own, from when it is made until it is closed."""

    def __init__(self, shelf: Shelf, listen: str, models: Callable[[str], Record | None]) -> None:
        """Listen at ``HOST:PORT``; port 0 takes any. `models` finds one by its identity.

        Raises `ConfigError` when it cannot listen there.
        """
        host, _, port = listen.rpartition(":")
        if not host or not port.isdigit():
            raise ConfigError(f"{listen!r} is no place to listen at: expected HOST:PORT")
        places = threading.BoundedSemaphore(CONNECTIONS_MAX)

        class Connection(_Connection):
            pass

        Connection.shelf, Connection.models = shelf, staticmethod(models)
        Connection.places = places
        try:
            self._server = _Server((host.strip("[]"), int(port)), Connection)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"cannot serve models at {listen}: {error}") from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            daemon=True,
            name="model-cache-server",
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening; what is under way ends with its connection."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    shelf: Shelf
    models: Callable[[str], Record | None]
    places: threading.BoundedSemaphore

    def handle(self) -> None:
        """Serve one connection, if there is room for it."""
        if not self.places.acquire(blocking=False):
            return
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # the peer has had enough
        finally:
            self.places.release()

    def do_GET(self) -> None:
        """Answer one request."""
        match = _PATH.fullmatch(self.path)
        if match is None:
            self._refuse(404)
            return
        what, digest = match.groups()
        if what == "models":
            self._model(digest)
            return
        self._file((self.shelf.blobs if what == "blobs" else self.shelf.sums) / digest)

    def _model(self, identity: str) -> None:
        record = self.models(identity)
        if record is None:
            self._refuse(404)
            return
        body = msgspec.json.encode(Holding(record.chunk, record.files))
        self._begin(200, len(body))
        self.wfile.write(body)

    def _file(self, path: Path) -> None:
        try:
            file = path.open("rb")
        except OSError:
            self._refuse(404)
            return
        with file:
            size = file.seek(0, 2)
            asked = self.headers.get("range")
            first, last = 0, size - 1
            if asked is not None:
                match = _RANGE.fullmatch(asked)
                first, last = (int(match[1]), int(match[2])) if match else (size, 0)
                if first >= size or last < first:
                    self._refuse(416)
                    return
                last = min(last, size - 1)
            length = last - first + 1
            headers = {"content-range": f"bytes {first}-{last}/{size}"} if asked else {}
            self._begin(206 if asked else 200, length, headers)
            self.wfile.flush()
            if length:
                self.connection.sendfile(file, first, length)

    def _begin(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: int) -> None:
        self._begin(status, 0)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
        """Say nothing: each range would be a line."""
