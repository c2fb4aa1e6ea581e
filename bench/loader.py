"""How quickly models come to a disk, beside obstore alone, from the same server in the same run.

    python bench/loader.py [--folder DIR] [--gigabytes 1] [--runs 3] [--s3] [--json FILE]

The server is a process of its own that gives ranges of one file by ``sendfile``. Each way
brings the whole file over HTTP to a file on the disk:

- ``obstore, no digest``: ranges of 8 MiB, 8 at a time, written at their places. Nothing else.
- ``obstore + sha256``: the same, then one pass over the file that hashes it.
- ``obstore S3 …``: the same through its S3 client, with signed requests (``--s3``).
- ``cache``: `ModelCache`, which records and checks each chunk, hashes while it fetches, has the
  disk keep it (fdatasync), and publishes. ``cache S3`` signs its requests too.

The disk is made to keep the file in all of them, so that all of them have paid for it. Prints
medians over the runs, which take turns; CPU is that of the client's process.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import socketserver
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple

import obstore
from figures import Figure, options, write
from obstore.store import HTTPStore, S3Store

from navarch.core.model.resources import Model, ModelSpec, ObjectMeta
from navarch.plugins.loaders.cache import ModelCache
from navarch.plugins.loaders.http_source import HttpSource
from navarch.plugins.loaders.s3_source import S3Source

PIECE = 8 * 1024 * 1024
WORKERS = 8
NAME = "model.safetensors"


class Cost(NamedTuple):
    """What one run took, in seconds."""

    wall: float
    cpu: float


class Connection(BaseHTTPRequestHandler):
    """Gives ranges of the files of a folder, and the listings that S3 would give of it."""

    protocol_version = "HTTP/1.1"
    root: Path

    def do_HEAD(self) -> None:
        """Say how long a file is."""
        self._begin(200, (self.root / NAME).stat().st_size, {})

    def do_GET(self) -> None:
        """Give a range of the file, or all of it."""
        with (self.root / NAME).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            asked = self.headers.get("range", "").removeprefix("bytes=")
            first, last = (int(each) for each in asked.split("-")) if asked else (0, size - 1)
            length = last - first + 1
            headers = {"content-range": f"bytes {first}-{last}/{size}"} if asked else {}
            self._begin(206 if asked else 200, length, headers)
            self.connection.sendfile(file, first, length)

    def _begin(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        headers = {"etag": '"bench"', "last-modified": "Fri, 01 May 2026 00:00:00 GMT", **headers}
        for name, value in {"content-length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
        """Say nothing."""


class Server(socketserver.ThreadingTCPServer):
    """Answers each connection in a thread of its own."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


def serve(root: Path) -> None:
    """Run the server in this process until it is killed; its port is the one line of output."""
    Connection.root = root
    server = Server(("127.0.0.1", 0), Connection)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


def by_obstore(store: Any, size: int, target: Path, *, digest: bool) -> None:  # noqa: ANN401
    """Bring the file by obstore's ranges alone."""
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def bring(start: int) -> None:
        piece = obstore.get_range(store, NAME, start=start, length=min(PIECE, size - start))
        os.pwrite(descriptor, memoryview(piece), start)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(bring, range(0, size, PIECE)))
    if digest:
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(0)
            hashlib.file_digest(file, "sha256")
    os.fdatasync(descriptor)
    os.close(descriptor)


def by_cache(source: object, uri: str, folder: Path) -> None:
    """Bring the file by the cache of a node."""
    model = Model(metadata=ObjectMeta(name="bench"), spec=ModelSpec(weights_uri=uri))

    async def bring() -> None:
        cache = ModelCache(folder, 0, [source], now=lambda: datetime.now(UTC))
        await cache.load(model)
        await cache.close()

    asyncio.run(bring())


def ways(url: str, size: int, folder: Path, *, s3: bool) -> dict[str, Callable[[], None]]:
    """Name each way to bring the file."""
    target = folder / "obstore.bin"
    plain = HTTPStore(url, client_options={"allow_http": True})
    found: dict[str, Callable[[], None]] = {
        "obstore, no digest": lambda: by_obstore(plain, size, target, digest=False),
        "obstore + sha256": lambda: by_obstore(plain, size, target, digest=True),
        "cache": lambda: by_cache(HttpSource(), f"{url}/{NAME}", folder / "cache"),
    }
    if s3:
        os.environ |= {"BENCH_KEY": "AKIAEXAMPLE", "BENCH_SECRET": "secret"}
        bucket = S3Store(
            "bench",
            endpoint=url,
            region="us-east-1",
            access_key_id="AKIAEXAMPLE",
            secret_access_key="secret",  # noqa: S106 - the server asks for none
            client_options={"allow_http": True},
            virtual_hosted_style_request=False,
        )
        ours = S3Source(
            S3Source.Config(
                endpoint=url,
                region="us-east-1",
                access_key_env="BENCH_KEY",
                secret_key_env="BENCH_SECRET",  # noqa: S106 - the name of a variable
            )
        )
        uri = f"s3://bench/{NAME}"
        found |= {
            "obstore S3, no digest": lambda: by_obstore(bucket, size, target, digest=False),
            "obstore S3 + sha256": lambda: by_obstore(bucket, size, target, digest=True),
            "cache S3": lambda: by_cache(ours, uri, folder / "cache"),
        }
    return found


def measured(work: Callable[[], None]) -> Cost:
    """Run `work` and return what it took, all threads together."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def main() -> None:
    """Measure and print one line for each way."""
    asked = options("how quickly models come to a disk")
    asked.add_argument("--folder", help="where to write; its disk is measured too")
    asked.add_argument("--gigabytes", type=float, default=1.0)
    asked.set_defaults(runs=3)
    asked.add_argument("--s3", action="store_true", help="also with signed requests")
    asked.add_argument("--serve", help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.serve:
        serve(Path(given.serve))
        return
    size = int(given.gigabytes * 1e9)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        with (folder / NAME).open("wb") as file:
            for _ in range(0, size, PIECE):
                file.write(os.urandom(PIECE))
            file.truncate(size)
        command = [sys.executable, __file__, "--serve", name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            costs: dict[str, list[Cost]] = {}
            for _ in range(given.runs):
                for way, work in ways(url, size, folder, s3=given.s3).items():
                    costs.setdefault(way, []).append(measured(work))
                    shutil.rmtree(folder / "cache", ignore_errors=True)
                    (folder / "obstore.bin").unlink(missing_ok=True)
            server.kill()
    print(f"{'way':<24} {'GB/s':>6} {'CPU s/GB':>9} {'runs, s':>28}")
    figures = []
    for way, found in costs.items():
        speed = Figure(f"{way}, speed", "GB/s", [size / each.wall / 1e9 for each in found])
        cpu = Figure(f"{way}, CPU", "s/GB", [each.cpu / size * 1e9 for each in found])
        figures += [speed, cpu]
        runs = " ".join(f"{each.wall:.2f}" for each in found)
        print(f"{way:<24} {speed.value:>6.2f} {cpu.value:>9.2f} {runs:>28}")
    write(figures, given.json)


if __name__ == "__main__":
    main()
