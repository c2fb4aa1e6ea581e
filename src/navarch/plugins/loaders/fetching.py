"""Bringing the files of a manifest to the disk: many ranges at a time, verified as they come.

Workers take *pieces*, which are what one request asks for: consecutive chunks that are missing. A
chunk counts as come when it is written and recorded (`navarch.plugins.loaders.part`). So whatever
ends the process, only what was asked for and not yet recorded is asked for again: as many pieces as
there are workers, which together are one range (`Fetching.range_bytes`).

Beside the workers each file has a follower, which reads it back from the disk in order and hashes
it: SHA-256 cannot be computed out of order, and what is vouched for is what the disk gives back.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol, cast

import msgspec
from msgspec import Struct

from navarch.errors import CacheFull, ModelChanged, ModelError
from navarch.plugins.loaders.base import Manifest, ModelFile, Reader
from navarch.plugins.loaders.part import CHUNK_BYTES, Part
from navarch.plugins.loaders.peering import Peers
from navarch.plugins.loaders.progress import Progress

FOLLOWERS: Final = 4
"""Files that are hashed at a time."""
OPEN_MAX: Final = 32
"""Files that are on their way at a time."""


class Fetching(Struct, frozen=True, kw_only=True):
    """How much is asked for at a time, and how often."""

    workers: int = 8
    range_bytes: int = 64 * 1024 * 1024
    """What is asked for at a time, by all workers together: what a crash may cost."""
    chunk_bytes: int = CHUNK_BYTES
    """What is recorded at a time."""
    attempts: int = 6
    """How often a piece is asked for in a row without any of it coming."""
    backoff: float = 0.2
    """Seconds after the first failure; each further one doubles it."""
    backoff_max: float = 10.0

    @property
    def piece_chunks(self) -> int:
        """Chunks in one request."""
        return max(1, self.range_bytes // self.workers // self.chunk_bytes)


class Opens(Protocol):
    """Gives the bytes of a file; `ModelSource.open`."""

    def __call__(self, manifest: Manifest, file: ModelFile, start: int, length: int) -> Reader:
        """Read a part of a file."""
        ...


class Stopped(Exception):
    """The fetch was cancelled."""


Finish = Callable[[ModelFile, Part, str], None]
"""Takes over a file that is whole, and its SHA-256."""


class _Active:
    """A file on its way."""

    def __init__(self, file: ModelFile, part: Part) -> None:
        self.file, self.part = file, part
        self.queue = part.missing()
        self.peers = True
        self.syncing: Future[None] | None = None
        missing = set(self.queue)
        self.kept = [number for number in range(part.count) if number not in missing]
        """What an earlier try has left: a source that was damaged then may be mended now."""

    def synced(self) -> None:
        """Wait until the disk has all of it for good."""
        if self.syncing is None:
            self.part.sync()
        else:
            self.syncing.result()


class Fetch:
    """Fetches what is missing of one model. `run` blocks; `stop` may be called from anywhere."""

    def __init__(
        self,
        manifest: Manifest,
        folder: Path,
        opens: Opens,
        *,
        how: Fetching,
        progress: Progress,
        finish: Finish,
        peers: Peers | None = None,
    ) -> None:
        """Fetch into parts in `folder`; each whole file is handed to `finish`."""
        self._manifest, self._folder, self._opens = manifest, folder, opens
        self._how, self._progress, self._finish, self._peers = how, progress, finish, peers
        self._lock = threading.Condition()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._active: list[_Active] = []
        self._opening = 0
        self._readers: set[Reader] = set()
        self._followers: ThreadPoolExecutor | None = None
        self._syncers: ThreadPoolExecutor | None = None

    def stop(self) -> None:
        """End it soon: `run` raises `Stopped`."""
        self._fail(Stopped())

    def run(self, files: list[tuple[int, ModelFile]]) -> None:
        """Fetch these files, each with its number in the manifest.

        Raises `Stopped`, `ModelError` or `OSError`. What has come stays.
        """
        waiting = iter(files)
        with (
            ThreadPoolExecutor(FOLLOWERS, "model-sync") as syncers,
            ThreadPoolExecutor(FOLLOWERS, "model-hash") as followers,
            ThreadPoolExecutor(self._how.workers, "model-fetch") as workers,
        ):
            self._syncers, self._followers = syncers, followers
            for _ in range(self._how.workers):
                workers.submit(self._work, waiting)
        for active in self._active:
            active.part.close()
        self._active.clear()
        if self._failure is not None:
            raise self._failure

    # --- workers

    def _work(self, waiting: Iterator[tuple[int, ModelFile]]) -> None:
        try:
            buffer = memoryview(bytearray(self._how.chunk_bytes))
            while (piece := self._next(waiting)) is not None:
                self._bring(*piece, buffer)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits in `run`
            self._fail(error)

    def _next(self, waiting: Iterator[tuple[int, ModelFile]]) -> tuple[_Active, list[int]] | None:
        """Take a piece; None when there is none left. Waits for files that may need another."""
        with self._lock:
            while not self._stop.is_set():
                for active in self._active:
                    if active.queue:
                        return active, self._piece(active)
                following = None
                if len(self._active) + self._opening < OPEN_MAX:
                    following = next(waiting, None)
                if following is not None:
                    self._opening += 1
                    self._lock.release()
                    try:
                        active = self._open(*following)
                    finally:
                        self._lock.acquire()
                        self._opening -= 1
                    self._active.append(active)
                    assert self._followers is not None, "workers run inside of `run`"
                    self._followers.submit(self._follow, active)
                    self._lock.notify_all()
                elif self._active or self._opening:
                    self._lock.wait()
                else:
                    return None
        return None

    def _open(self, number: int, file: ModelFile) -> _Active:
        """Open a part; what an earlier try has left of it is read back, which may take a while."""
        try:
            part = Part(self._folder, number, file.size, self._how.chunk_bytes)
        except OSError as error:
            raise _disk(error) from error
        if not file.ranged and part.missing():
            part.forget(list(range(part.count)))
        self._progress.came_before(part.bytes_done)
        return _Active(file, part)

    def _piece(self, active: _Active) -> list[int]:
        queue = active.queue
        most = self._how.piece_chunks if active.file.ranged else len(queue)
        count = 1
        while count < min(most, len(queue)) and queue[count] == queue[count - 1] + 1:
            count += 1
        piece, active.queue = queue[:count], queue[count:]
        return piece

    def _bring(self, active: _Active, piece: list[int], buffer: memoryview) -> None:
        """Bring one piece, with as many attempts as it takes."""
        failures = 0
        if active.peers and self._peers is not None and active.file.ranged:
            piece = self._from_peers(active, piece, buffer)
        while piece:
            try:
                piece = self._from_origin(active, piece, buffer)
                continue
            except ModelChanged:
                active.part.forget(list(range(active.part.count)))
                raise
            except (ModelError, OSError) as error:
                if isinstance(error, CacheFull) or getattr(error, "lasting", False):
                    raise
                came = len(piece)
                piece = [number for number in piece if not active.part.has(number)]
                if not active.file.ranged:
                    piece = list(range(active.part.count))
                failures = 1 if len(piece) < came else failures + 1
                if self._stop.is_set():
                    return
                if failures >= self._how.attempts:
                    raise
                self._progress.troubled(str(error))
            delay = min(self._how.backoff * 2 ** (failures - 1), self._how.backoff_max)
            self._stop.wait(delay)
            if self._stop.is_set():
                return

    def _from_peers(self, active: _Active, piece: list[int], buffer: memoryview) -> list[int]:
        """Bring what peers have; return the rest, in runs without gaps, the first of them."""
        assert self._peers is not None, "asked only where there are some"
        if not self._peers.have(active.file):
            return piece
        for done, number in enumerate(piece):
            if self._stop.is_set():
                return []
            chunk = buffer[: active.part.length(number)]
            if not self._peers.read(active.file, number, chunk):
                rest = piece[done + 1 :]
                if rest:
                    with self._lock:
                        active.queue = sorted([*active.queue, *rest])
                        self._lock.notify_all()
                return [number]
            self._write(active, number, chunk, from_peer=True)
        return []

    def _from_origin(self, active: _Active, piece: list[int], buffer: memoryview) -> list[int]:
        """Ask for one piece, and keep each chunk of it as it comes."""
        part = active.part
        length = sum(part.length(number) for number in piece)
        reader = self._opens(self._manifest, active.file, piece[0] * part.chunk, length)
        with self._lock:
            self._readers.add(reader)
        try:
            for number in piece:
                chunk = buffer[: part.length(number)]
                _fill(reader, chunk, self._stop)
                if self._stop.is_set():
                    return []
                self._write(active, number, chunk)
            if not active.file.ranged and reader.readinto(buffer[:1]):
                text = f"{active.file.path} is longer than its source said"
                raise ModelChanged(text, lasting=True)
        finally:
            with self._lock:
                self._readers.discard(reader)
            reader.close()
        return []

    def _write(
        self, active: _Active, number: int, chunk: memoryview, *, from_peer: bool = False
    ) -> None:
        if active.part.has(number):  # of a file without ranges, of which all had to come again
            if active.part.crc(number) != zlib.crc32(chunk):
                raise ModelChanged(f"{active.file.path} has changed", lasting=True)
            return
        try:
            active.part.write(number, chunk, from_peer=from_peer)
        except OSError as error:
            raise _disk(error) from error
        self._progress.came(len(chunk), from_peer=from_peer)
        with self._lock:
            if active.part.whole and self._syncers is not None:
                # The disk writes while the follower still hashes.
                active.syncing = self._syncers.submit(active.part.sync)
            self._lock.notify_all()

    # --- followers

    def _follow(self, active: _Active) -> None:
        try:
            while (digest := self._hash(active)) is not None:
                if self._expected(active) in ("", digest):
                    active.synced()
                    self._finish(active.file, active.part, digest)
                    break
                self._again(active, digest)
        except OSError as error:
            self._fail(_disk(error))
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits in `run`
            self._fail(error)
        else:
            with self._lock:
                if not self._stop.is_set():
                    self._active.remove(active)
                    active.part.close()
                self._lock.notify_all()

    def _expected(self, active: _Active) -> str:
        """Return what is vouched for: by the source, or else by those who gave a part of it."""
        if active.file.sha256 or self._peers is None or not active.part.from_peers():
            return active.file.sha256
        return self._peers.sha256(active.file)

    def _hash(self, active: _Active) -> str | None:
        """Hash a file as it comes; None when nobody wants it any more."""
        digest, part = hashlib.sha256(), active.part
        buffer = memoryview(bytearray(part.chunk))
        for number in range(part.count):
            with self._lock:
                while not part.has(number) and not self._stop.is_set():
                    self._lock.wait()
            if self._stop.is_set():
                return None
            digest.update(part.read_into(number, buffer))
        return digest.hexdigest()

    def _again(self, active: _Active, digest: str) -> None:
        """Have wrong content fetched anew: what peers gave and what an earlier try has left.

        Raises `ModelError` where all of it came from the source, and just now.
        """
        part = active.part
        wrong = sorted({*part.from_peers(), *active.kept})
        told = f"{active.file.path}: its SHA-256 is {digest}, another was expected"
        if not wrong:
            part.forget(list(range(part.count)))
            raise ModelError(f"{told}: it is damaged at its source", lasting=True)
        self._progress.troubled(f"{told}: what peers or an earlier try gave is fetched anew")
        with self._lock:
            active.peers, active.kept = False, []
            part.forget(wrong)
            active.queue = wrong
            self._progress.lost(sum(part.length(number) for number in wrong))
            self._lock.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error
            self._stop.set()
            readers = list(self._readers)
            self._lock.notify_all()
        for reader in readers:
            reader.close()


def _fill(reader: Reader, buffer: memoryview, stop: threading.Event) -> None:
    done = 0
    while done < len(buffer) and not stop.is_set():
        count = reader.readinto(buffer[done:])
        if count <= 0:
            raise ModelError("the source broke off")
        done += count


def _disk(error: OSError) -> ModelError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CacheFull(f"the disk of the cache is full: {error.strerror}")
    return ModelError(f"the disk of the cache: {error}")


class Streams(Protocol):
    """A source that gives bytes asynchronously."""

    def stream(
        self, manifest: Manifest, file: ModelFile, start: int, length: int
    ) -> AsyncIterator[bytes]:
        """Give a part of a file, in pieces of any length."""
        ...


class StreamReader:
    """Reads an asynchronous stream from a thread. Not for the thread of its event loop."""

    def __init__(self, stream: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        """Read what `stream` gives in `loop`."""
        self._stream, self._loop = stream, loop
        self._rest = memoryview(b"")
        self._waiting: Future[bytes | None] | None = None

    def readinto(self, buffer: memoryview) -> int:
        """Take what is left of the last piece, or wait for the next one."""
        while not self._rest:
            self._waiting = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            piece = self._waiting.result()
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """End the stream."""
        if self._waiting is not None:
            self._waiting.cancel()
        closing = getattr(self._stream, "aclose", None)
        if closing is not None:
            asyncio.run_coroutine_threadsafe(closing(), self._loop)

    async def _next(self) -> bytes | None:
        return await anext(self._stream, None)


def opens_of(source: object, loop: asyncio.AbstractEventLoop) -> Opens:
    """Return how the bytes of a source's files are read, whichever form it has."""
    plain = getattr(source, "open", None)
    if plain is not None:
        return cast("Opens", plain)
    streams = cast("Streams", source)

    def opens(manifest: Manifest, file: ModelFile, start: int, length: int) -> Reader:
        return StreamReader(streams.stream(manifest, file, start, length), loop)

    return opens


def done_line(path: str, sha256: str) -> bytes:
    """Write down that a file was verified."""
    return msgspec.json.encode((path, sha256)) + b"\n"
