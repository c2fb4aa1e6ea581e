"""Models from the caches of other nodes: asked first, believed never.

A peer says which files it has under an identity, and the CRC-32 of each of their chunks. A chunk
that does not fit its CRC is fetched elsewhere; a file whose SHA-256 is wrong in the end is fetched
anew without its peers. A peer that fails three times is not asked again for this model.
"""

from __future__ import annotations

import itertools
import struct
import threading
import zlib
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from navarch.errors import ModelError
from navarch.plugins.loaders.base import ModelFile
from navarch.plugins.loaders.part import chunks_of
from navarch.plugins.loaders.shelf import Kept
from navarch.plugins.loaders.web import Web
from navarch.telemetry.log import Log

log = Log(__name__)

PEERS_MAX: Final = 16
STRIKES_MAX: Final = 3
TIMEOUT_SECONDS: Final = 5.0
"""A neighbour that says nothing for so long is no help."""


class Holding(Struct, frozen=True):
    """What a cache says of a model that it has."""

    chunk: int
    files: tuple[Kept, ...]


class _Peer:
    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.files: dict[str, Kept] = {}
        self.sums: dict[str, tuple[int, ...]] = {}
        self.strikes = 0


class Peers:
    """Those that have a model. Blocking; any number of threads may use it."""

    def __init__(self, urls: Sequence[str], chunk: int) -> None:
        """Ask nobody yet; those with another size of chunks are not asked."""
        self._web = Web(timeout=TIMEOUT_SECONDS)
        self._chunk = chunk
        self._peers = [_Peer(url) for url in dict.fromkeys(urls)][:PEERS_MAX]
        self._lock = threading.Lock()
        self._turn = itertools.count()

    def find(self, identity: str) -> None:
        """Ask all of them who has a model; the others are forgotten."""
        kept = []
        for peer in self._peers:
            try:
                answer = self._web.get(f"{peer.url}/v1/models/{identity}")
                if answer.status != 200:
                    continue
                holding = msgspec.json.decode(answer.body, type=Holding)
            except (ModelError, msgspec.MsgspecError) as error:
                log.warning("peer_unusable", url=peer.url, error=str(error))
                continue
            if holding.chunk == self._chunk:
                peer.files = {file.path: file for file in holding.files}
                kept.append(peer)
        self._peers = kept

    def read(self, file: ModelFile, number: int, buffer: memoryview) -> bool:
        """Fill a buffer with a chunk of a file; False where no peer gives it as it should be."""
        for peer in self._candidates(file):
            try:
                crc = self._sum(peer, file, number)
                self._fill(peer, file, number * self._chunk, buffer)
            except ModelError as error:
                self._strike(peer, str(error))
                continue
            if zlib.crc32(buffer) == crc:
                return True
            self._strike(peer, f"chunk {number} of {file.path} is damaged there")
        return False

    def sha256(self, file: ModelFile) -> str:
        """Return the digest that peers tell of a file; empty where they do not agree on one."""
        told = {peer.files[file.path].sha256 for peer in self._candidates(file)}
        return told.pop() if len(told) == 1 else ""

    def have(self, file: ModelFile) -> bool:
        """Whether there is a peer that may be asked for a file."""
        return bool(self._candidates(file))

    def close(self) -> None:
        """Let go of all of them."""
        self._web.close()

    def _candidates(self, file: ModelFile) -> list[_Peer]:
        with self._lock:
            turn = next(self._turn)
            found = [
                peer
                for peer in self._peers
                if peer.strikes < STRIKES_MAX
                and (held := peer.files.get(file.path)) is not None
                and held.size == file.size
                and file.sha256 in ("", held.sha256)
            ]
        first = turn % len(found) if found else 0
        return found[first:] + found[:first]

    def _sum(self, peer: _Peer, file: ModelFile, number: int) -> int:
        with self._lock:
            sums = peer.sums.get(file.path)
        if sums is None:
            answer = self._web.get(f"{peer.url}/v1/sums/{peer.files[file.path].sha256}")
            count = chunks_of(file.size, self._chunk)
            if answer.status != 200 or len(answer.body) != 4 * count:
                raise ModelError(f"{peer.url} has no sums of {file.path}")
            sums = struct.unpack(f"<{count}I", answer.body)
            with self._lock:
                peer.sums[file.path] = sums
        return sums[number]

    def _fill(self, peer: _Peer, file: ModelFile, start: int, buffer: memoryview) -> None:
        url = f"{peer.url}/v1/blobs/{peer.files[file.path].sha256}"
        sent = {"range": f"bytes={start}-{start + len(buffer) - 1}"}
        incoming = self._web.open(url, sent)
        try:
            if incoming.status != 206:
                raise ModelError(f"{peer.url} answers {incoming.status}")
            done = 0
            while done < len(buffer):
                count = incoming.readinto(buffer[done:])
                if count == 0:
                    raise ModelError(f"{peer.url} broke off")
                done += count
        finally:
            incoming.close()

    def _strike(self, peer: _Peer, why: str) -> None:
        with self._lock:
            peer.strikes += 1
        log.warning("peer_chunk_refused", url=peer.url, error=why)
