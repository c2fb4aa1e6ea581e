"""The folder of a node's cache of models: what is where, and who may change it.

::

    cache.lock         held for a moment by whoever changes what is listed here
    blobs/<sha256>     the content of a file, once, whatever models have it
    sums/<sha256>      the CRC-32 of each of its chunks, for other nodes
    models/<digest>/   a model as programs see it: hard links to blobs
    records/<name>     which model that is, where it is from, how long it stays (JSON)
    parts/<identity>/  a model on its way: plan.json, done.jsonl, parts, and `tree`

A model becomes visible by one rename of its `tree`, when every file of it was verified. Its folder
is locked (``flock``) by those who serve from it, and a folder of parts by the one who fetches; both
locks end with their process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from navarch.core.model.resources import CachePolicy
from navarch.errors import ConfigError, ModelError
from navarch.plugins.loaders.base import Manifest
from navarch.plugins.loaders.eviction import Resident

RESERVE_PART: Final = 20
"""Without a quota, a twentieth of the disk stays free: for logs, and for what runs."""
GONE: Final = ".gone"
"""How the name of a folder ends that is being removed."""
STEM_MAX: Final = 200
"""Characters of a model's name in the name of its record; longer ones are cut and hashed."""


class Kept(Struct, frozen=True):
    """A file of a model in the cache."""

    path: str
    size: int
    sha256: str


class Record(Struct, frozen=True, kw_only=True):
    """A model in the cache."""

    name: str
    """``namespace/name``."""
    uri: str
    loader: str
    identity: str
    digest: str
    """Of the content: also the name of its folder."""
    files: tuple[Kept, ...]
    policy: CachePolicy
    revision: str = ""
    since: datetime
    used_at: datetime
    chunk: int

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def resident(self) -> Resident:
        """What eviction has to know of it."""
        blobs = {file.sha256: file.size for file in self.files}
        return Resident(self.name, blobs, self.policy, self.used_at)


class Plan(Struct, frozen=True):
    """What is on its way: also the reservation of its room."""

    name: str
    manifest: Manifest
    chunk: int


class Shelf:
    """The folder. Its methods block, and any number of threads and processes may use them."""

    def __init__(self, folder: Path, quota: int) -> None:
        """Make what is missing of it; `quota` 0: what the disk has, less a reserve.

        Raises `ConfigError` when it cannot be used.
        """
        self.folder = folder
        self._quota = quota
        self.blobs, self.sums = folder / "blobs", folder / "sums"
        self.models, self.records = folder / "models", folder / "records"
        self.parts = folder / "parts"
        try:
            for each in (self.blobs, self.sums, self.models, self.records, self.parts):
                each.mkdir(parents=True, exist_ok=True)
            with self.locked():
                self.tidy()
        except OSError as error:
            why = error.strerror or str(error)
            raise ConfigError(f"{folder} cannot be used for models: {why}") from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Change the shelf alone. Waits for whoever does; never held while anything is fetched."""
        with (self.folder / "cache.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def quota(self) -> int:
        """How many bytes may be here in all."""
        if self._quota:
            return self._quota
        disk = shutil.disk_usage(self.folder)
        return max(0, self.used() + disk.free - disk.total // RESERVE_PART)

    def free_on_disk(self) -> int:
        """How many bytes the disk has left."""
        return shutil.disk_usage(self.folder).free

    # --- records

    def all_records(self) -> list[Record]:
        """Read what is here whole, in the order of names."""
        found = (read_record(path) for path in sorted(self.records.glob("*.json")))
        return [each for each in found if each is not None and self.model(each.digest).is_dir()]

    def record(self, name: str) -> Record | None:
        """Read about one model; None where it is not here whole."""
        found = read_record(self.record_path(name))
        return found if found is not None and self.model(found.digest).is_dir() else None

    def write_record(self, record: Record, *, durable: bool = True) -> None:
        """Keep what is known of a model."""
        replace(self.record_path(record.name), msgspec.json.encode(record), durable=durable)

    def record_path(self, name: str) -> Path:
        """Where the record of a model is."""
        stem = quote(name, safe="")
        if len(stem) > STEM_MAX:
            stem = f"{stem[:100]}-{hashlib.sha256(name.encode()).hexdigest()}"
        return self.records / f"{stem}.json"

    def model(self, digest: str) -> Path:
        """Where the files of a model are."""
        return self.models / digest

    def blob(self, sha256: str) -> Path:
        """Where the content of a file is."""
        return self.blobs / sha256

    # --- room

    def used(self) -> int:
        """How many bytes blobs take, and what is on its way will take."""
        with os.scandir(self.blobs) as found:
            total = sum(each.stat().st_size for each in found)
        return total + sum(self.outstanding(folder) for folder in self.parts.iterdir())

    def outstanding(self, folder: Path) -> int:
        """How many bytes a folder of parts will take besides blobs."""
        plan = read_plan(folder)
        if plan is None:
            return 0
        done = set(read_done(folder))
        missing = {file.path: file.size for file in plan.manifest.files if file.path not in done}
        return sum(missing.values())

    def busy(self, digest: str) -> bool:
        """Whether somebody serves from a model."""
        try:
            lease = Lock.take(self.model(digest), shared=False)
        except FileNotFoundError:
            return False
        if lease is None:
            return True
        lease.free()
        return False

    # --- removal; all under `locked`

    def remove(self, record: Record) -> None:
        """Remove a model, and what of its content no other model has.

        Raises `ModelError` while somebody serves from it.
        """
        shared = [
            each
            for each in self.all_records()
            if each.digest == record.digest and each.name != record.name
        ]
        if shared:
            self.record_path(record.name).unlink(missing_ok=True)
            return
        if self.busy(record.digest):
            raise ModelError(f"{record.name} is in use")
        self.record_path(record.name).unlink(missing_ok=True)
        self._take_apart(self.model(record.digest))
        for file in record.files:
            self._release(file.sha256)

    def drop_parts(self, keep: str) -> bool:
        """Remove the folder of parts that was touched longest ago and that nobody fetches into.

        Returns whether there was one; `keep` is never taken.
        """
        folders = [each for each in self.parts.iterdir() if each.name != keep]
        for folder in sorted(folders, key=lambda each: each.stat().st_mtime):
            if self._take_apart(folder):
                self.collect()
                return True
        return False

    def forget(self, name: str) -> None:
        """Remove what has come of a model that is not fetched any more."""
        for folder in list(self.parts.iterdir()):
            plan = read_plan(folder)
            if plan is not None and plan.name == name:
                self._take_apart(folder)
        self.collect()

    def tidy(self) -> None:
        """Remove what a crash left: records and folders of models that never became visible."""
        for path in self.records.iterdir():
            found = read_record(path)
            if found is None or not self.model(found.digest).is_dir():
                path.unlink()
        records = self.all_records()
        published = {each.identity for each in records}
        for folder in list(self.parts.iterdir()):
            left = folder.name.endswith(GONE) or read_plan(folder) is None
            if left or folder.name in published:
                self._take_apart(folder)
        wanted = {each.digest for each in records}
        for folder in list(self.models.iterdir()):
            if folder.name not in wanted:
                self._take_apart(folder)
        self.collect()

    def collect(self) -> None:
        """Remove content that no model and nothing on its way has."""
        finishing = {
            sha256 for folder in self.parts.iterdir() for sha256 in read_done(folder).values()
        }
        with os.scandir(self.blobs) as found:
            lonely = [each.name for each in found if each.stat().st_nlink == 1]
        for sha256 in lonely:
            if sha256 not in finishing:
                self._release(sha256)
        with os.scandir(self.sums) as found:
            sums = [each.name for each in found]
        for name in sums:
            # Sums are written before their blob is there, by somebody who has said so.
            if name not in finishing and not self.blob(name).exists():
                (self.sums / name).unlink(missing_ok=True)

    def _release(self, sha256: str) -> None:
        blob = self.blob(sha256)
        with contextlib.suppress(FileNotFoundError):
            if blob.stat().st_nlink == 1:
                blob.unlink()
                (self.sums / sha256).unlink(missing_ok=True)

    def _take_apart(self, folder: Path) -> bool:
        """Remove a folder that nobody has locked; returns whether that was so.

        It is out of sight before its content goes, and nobody waits for the latter.
        """
        try:
            lock = Lock.take(folder, shared=False)
        except FileNotFoundError:
            return True
        if lock is None:
            return False
        gone = folder
        try:
            if not folder.name.endswith(GONE):
                gone = folder.with_name(f"{folder.name}{GONE}")
                shutil.rmtree(gone, ignore_errors=True)
                folder.rename(gone)
        finally:
            lock.free()
        shutil.rmtree(gone)
        return True


class Lock:
    """A lock on a folder: one alone, or any number together. It ends with its process."""

    def __init__(self, fd: int) -> None:
        """Hold a descriptor that carries the lock; use `take`."""
        self._fd = fd

    @classmethod
    def take(cls, folder: Path, *, shared: bool, wait: bool = False) -> Lock | None:
        """Lock a folder; None where others have it and it is not waited for.

        Raises `FileNotFoundError` when it is not there, or was removed meanwhile.
        """
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(fd, how if wait else how | fcntl.LOCK_NB)
            there = os.stat(folder)  # noqa: PTH116 - of the name, to compare with the descriptor
            if not os.path.samestat(there, os.fstat(fd)):
                raise FileNotFoundError(f"{folder} was replaced")
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError:
            os.close(fd)
            raise
        return cls(fd)

    def free(self) -> None:
        """Let go of it; doing it twice is an error."""
        os.close(self._fd)


def read_record(path: Path) -> Record | None:
    """Read a record; None where there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return None


def read_plan(folder: Path) -> Plan | None:
    """Read the plan of a folder of parts; None where there is none that can be read."""
    try:
        return msgspec.json.decode((folder / "plan.json").read_bytes(), type=Plan)
    except (OSError, msgspec.MsgspecError):
        return None


def read_done(folder: Path) -> dict[str, str]:
    """Read which files of a folder of parts were verified: SHA-256 by path."""
    try:
        lines = (folder / "done.jsonl").read_bytes().split(b"\n")
    except OSError:
        return {}
    done: dict[str, str] = {}
    for line in lines[:-1]:
        with contextlib.suppress(msgspec.MsgspecError):  # a line that a crash cut short
            path, sha256 = msgspec.json.decode(line, type=tuple[str, str])
            done[path] = sha256
    return done


def replace(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Give a file this content at once. Raises `OSError`; the old one then stays."""
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
