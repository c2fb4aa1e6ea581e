"""What a source of models is: a loader that answers a cost and a manifest, and gives bytes.

The documents' form of a loader (``can_load``, ``load``, ``unload``) says nothing of sizes, digests
or progress, so a host can do no more than wait for it. The rich form leaves the work that is alike
for all of them to the cache: parallel fetching, resuming, verifying, publishing, evicting.

::

    class Vault(ModelSource):
        name = "vault"
        priority = 0

        def cost(self, model):
            return 5 if model.spec.weights_uri.startswith("vault://") else None

        async def resolve(self, model):
            return Manifest(files=(ModelFile(path="model.bin", size=7, tag="v1"),), revision="v1")

        def open(self, manifest, file, start, length):
            return a_file_like_object_with_readinto_and_close

A source that is asynchronous has ``stream(manifest, file, start, length)`` in place of `open`: an
asynchronous iterator of bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from navarch.core.model.resources import Model
from navarch.errors import ModelError, PluginError

FILES_MAX: Final = 100_000
"""Files of one model. The largest sharded ones have some hundred."""
NAME_BYTES_MAX: Final = 255
"""Bytes of one part of a path: what Linux' filesystems take (NAME_MAX)."""
PATH_BYTES_MAX: Final = 1024
"""Bytes of a whole path below the folder of a model."""
READ_BYTES: Final = 1024 * 1024

_STAGING: ContextVar[Path | None] = ContextVar("navarch_staging", default=None)


class ModelFile(Struct, frozen=True, omit_defaults=True):
    """One file of a model."""

    path: str
    """Below the folder of the model, with forward slashes."""
    size: int
    """Bytes."""
    sha256: str = ""
    """Of its content, 64 hexadecimal digits, as its source vouches for it; empty: not known."""
    tag: str = ""
    """What changes when the content does, such as an ETag; empty: nothing is known."""
    location: str = ""
    """Where it is, for the source that made this; empty: its path says it."""
    ranged: bool = True
    """Whether parts of it can be asked for. Others are fetched as a whole."""


class Manifest(Struct, frozen=True, omit_defaults=True):
    """Which files make up a model, as its source has them at one time."""

    files: tuple[ModelFile, ...]
    revision: str = ""
    """Something immutable: a commit, a version. A branch is not."""
    origin: str = ""
    """Where it was found, for people and for files without a digest."""

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def identity(self) -> str:
        """What is to be fetched, 64 hexadecimal digits, known before anything was fetched.

        Where the source vouches for all contents by digest it depends on paths and contents alone,
        so the same model from two places is the same. Otherwise the place and the tags count too.
        """
        vouched = all(file.sha256 for file in self.files)
        place = () if vouched else (self.origin, self.revision)
        files = sorted(
            (file.path, file.size, file.sha256, "" if vouched else file.tag) for file in self.files
        )
        return hashlib.sha256(msgspec.json.encode([place, files])).hexdigest()


def content_digest(files: Iterable[tuple[str, str]]) -> str:
    """Return the digest of a model of these (path, sha256): that of the lines of ``sha256sum``."""
    lines = sorted(f"{sha256}  {path}\n" for path, sha256 in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class Reader(Protocol):
    """Bytes of one file, in order, from where it was opened."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the beginning of a buffer; return how many bytes, 0 only at the end. Blocks.

        Raises `ModelError` or `OSError`.
        """
        ...

    def close(self) -> None:
        """Let go of it; may be called from another thread to end a `readinto` that waits."""
        ...


class ModelSource(ABC):
    """A model loader in its rich form. Nothing here has to be inherited; it only saves writing."""

    name: str
    priority: int = 0

    @abstractmethod
    def cost(self, model: Model) -> float | None:
        """Say what it costs to bring a model; the lowest is asked first. None: it cannot."""

    @abstractmethod
    async def resolve(self, model: Model) -> Manifest:
        """Find out which files there are. Raises `ModelError` or `OSError`."""

    @abstractmethod
    def open(self, manifest: Manifest, file: ModelFile, start: int, length: int) -> Reader:
        """Read `length` bytes from `start` on. Called from several threads at a time.

        Raises `ModelError` or `OSError`, here or while it is read: `ModelChanged` when the file is
        not the one of the manifest any more.
        """

    def can_load(self, model: Model) -> bool:
        """Whether it understands where the weights are."""
        return self.cost(model) is not None

    def release(self) -> None:  # noqa: B027 - only some keep anything
        """Let go of connections that are kept; called when a model has come, or does not."""

    async def load(self, model: Model, node: str) -> None:
        """Bring all files into the staging folder, one after the other.

        This is the documents' form; the cache fetches by itself. Raises `PluginError` where there
        is no staging folder.
        """
        folder = staging_folder()
        manifest = checked(await self.resolve(model))
        for file in manifest.files:
            await asyncio.to_thread(self._copy, manifest, file, folder)
        self.release()

    async def unload(self, model: Model, node: str) -> None:  # noqa: B027 - rarely overridden
        """Do nothing: the files are the cache's, and nothing else is kept."""

    def _copy(self, manifest: Manifest, file: ModelFile, folder: Path) -> None:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, buffer = hashlib.sha256(), memoryview(bytearray(READ_BYTES))
        with (
            target.open("wb") as out,
            closing(self.open(manifest, file, 0, file.size)) as reader,
        ):
            while (count := reader.readinto(buffer)) > 0:
                out.write(buffer[:count])
                digest.update(buffer[:count])
            size = out.tell()
        if size != file.size or file.sha256 not in ("", digest.hexdigest()):
            target.unlink()
            raise ModelError(f"{file.path}: {size} bytes came that are not what was promised")


def staging_folder() -> Path:
    """Where a loader of the documents' form leaves the files of the model that it loads.

    The folder is empty, private to this one call, and taken over when `load` returns. Raises
    `PluginError` outside of a call of `load` by a cache.
    """
    folder = _STAGING.get()
    if folder is None:
        text = "there is no staging folder: load() is called by a node's cache of models"
        raise PluginError(text)
    return folder


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Make a folder the one that `staging_folder` tells, in this task and what it starts."""
    token = _STAGING.set(folder)
    try:
        yield folder
    finally:
        _STAGING.reset(token)


def checked(manifest: Manifest) -> Manifest:
    """Return a manifest that can be laid out on a disk.

    What is refused comes from other people's listings: paths that leave the folder, names that no
    disk takes, a file that is also a folder, sizes and digests that are none. Raises `ModelError`.
    """
    if not manifest.files:
        raise ModelError(f"{manifest.origin or 'the source'} has no files", lasting=True)
    if len(manifest.files) > FILES_MAX:
        text = f"{len(manifest.files)} files, expected {FILES_MAX} at most"
        raise ModelError(text, lasting=True)
    paths: set[str] = set()
    folders: set[str] = set()
    for file in manifest.files:
        fault = _fault(file)
        if not fault and file.path in paths:
            fault = "is named twice"
        if fault:
            raise ModelError(f"the file {file.path[:200]!r} {fault}", lasting=True)
        paths.add(file.path)
        parts = file.path.split("/")
        folders.update("/".join(parts[:count]) for count in range(1, len(parts)))
    if both := paths & folders:
        raise ModelError(f"{min(both)!r} is a file and a folder", lasting=True)
    return manifest


def _fault(file: ModelFile) -> str:
    try:
        encoded = os.fsencode(file.path)
    except UnicodeEncodeError:
        return "has a path that no disk takes"
    parts = encoded.split(b"/")
    if not encoded.decode(errors="replace").isprintable() or b"\\" in encoded:
        return "has a path with signs that cannot be printed, or backslashes"
    if any(part in (b"", b".", b"..") for part in parts):
        return "has a path that leaves the folder of the model, or is none"
    if len(encoded) > PATH_BYTES_MAX or any(len(part) > NAME_BYTES_MAX for part in parts):
        return "has too long a path"
    if file.size < 0:
        return f"has {file.size} bytes"
    digits = set("0123456789abcdef")
    if file.sha256 and (len(file.sha256) != 64 or set(file.sha256) - digits):
        return "has a sha256 that is none"
    return ""
