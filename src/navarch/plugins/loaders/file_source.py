"""Models that are files of this node: a folder, a mounted share, or one file."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from navarch.core.model.resources import Model
from navarch.errors import ModelChanged, ModelError
from navarch.plugins.loaders.base import FILES_MAX, Manifest, ModelFile, ModelSource

COST: Final = 1.0
"""A disk is nearer than a network."""


class FileSource(ModelSource):
    """Brings models from a folder or file of the node: ``file:///models/llama``."""

    name = "file"
    version = "1"

    def cost(self, model: Model) -> float | None:
        """Take ``file:`` and paths that begin with a slash."""
        uri = model.spec.weights_uri
        return COST if uri.startswith(("file://", "/")) else None

    async def resolve(self, model: Model) -> Manifest:
        """List the folder. Links to files are followed, links to folders are not."""
        return await asyncio.to_thread(_listed, _path(model.spec.weights_uri))

    def open(self, manifest: Manifest, file: ModelFile, start: int, length: int) -> _Part:
        """Open a file at a place."""
        return _Part(Path(file.location), file, start, length)


class _Part:
    """A part of a file, which must stay as it was listed until it was read."""

    def __init__(self, path: Path, file: ModelFile, start: int, length: int) -> None:
        self._path, self._file, self._rest = path, file, length
        self._lock = threading.Lock()
        self._raw = path.open("rb", buffering=0)
        self._raw.seek(start)

    def readinto(self, buffer: memoryview) -> int:
        with self._lock:
            count = self._raw.readinto(buffer[: self._rest])
            self._rest -= count
            if _tag(os.fstat(self._raw.fileno())) != self._file.tag:
                raise ModelChanged(f"{self._path} changed while it was read", lasting=True)
        return count

    def close(self) -> None:
        with self._lock:
            self._raw.close()


def _path(uri: str) -> Path:
    if uri.startswith("/"):
        return Path(uri)
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        text = f"{uri!r} names no file of this node: expected file:///path"
        raise ModelError(text, lasting=True)
    return Path(unquote(parts.path))


def _listed(path: Path) -> Manifest:
    try:
        files = tuple(_files(path)) if path.is_dir() else (_file(path, path.name),)
    except OSError as error:
        why = error.strerror or str(error)
        raise ModelError(f"{error.filename or path}: {why}", lasting=True) from error
    return Manifest(files=files, origin=str(path))


def _files(root: Path) -> Iterator[ModelFile]:
    count = 0
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            count += 1
            if count > FILES_MAX:
                raise ModelError(f"{root} has more than {FILES_MAX} files", lasting=True)
            yield _file(path, path.relative_to(root).as_posix())


def _raise(error: OSError) -> None:
    raise error


def _file(path: Path, name: str) -> ModelFile:
    seen = path.stat()
    if not stat.S_ISREG(seen.st_mode):
        raise ModelError(f"{path} is neither a file nor a folder", lasting=True)
    return ModelFile(path=name, size=seen.st_size, tag=_tag(seen), location=str(path))


def _tag(seen: os.stat_result) -> str:
    return f"{seen.st_dev}-{seen.st_ino}-{seen.st_mtime_ns}-{seen.st_size}"
