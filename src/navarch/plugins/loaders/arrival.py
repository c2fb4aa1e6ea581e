"""One model on its way into the cache: its room, its parts, and the moment when it becomes visible.

The order in which things happen is what makes a crash harmless:

1. ``plan.json`` reserves the room, before anything is fetched.
2. A file that is whole and verified is written down in ``done.jsonl``; then its content becomes a
   blob, then a link of the model's tree.
3. When all are there, the record is written, and the tree renamed to where programs see it.

What was interrupted is found by comparing: a file that is done and has no link gets one, a record
without a folder counts as none, and a blob that nobody links to is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import struct
import threading
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from navarch.core.model.resources import Model
from navarch.errors import CacheFull, ModelError
from navarch.plugins.loaders import eviction
from navarch.plugins.loaders.base import Manifest, ModelFile, checked, content_digest
from navarch.plugins.loaders.fetching import done_line
from navarch.plugins.loaders.part import Part
from navarch.plugins.loaders.shelf import (
    Kept,
    Lock,
    Plan,
    Record,
    Shelf,
    read_done,
    read_plan,
    replace,
    sync_folder,
)

STAGING = "staging"
"""Where a loader of the documents' form leaves its files."""
FILE_MODE = 0o444
"""The content of a file is shared by models and never changes."""


class Arrival:
    """A model that is fetched. Its methods block; one process has it at a time."""

    def __init__(
        self, shelf: Shelf, model: Model, loader: str, manifest: Manifest, chunk: int
    ) -> None:
        """Bring what `manifest` says, found by the loader of that name."""
        self.manifest = manifest
        self.folder = shelf.parts / manifest.identity
        self._shelf, self._model, self._loader, self._chunk = shelf, model, loader, chunk
        self._tree = self.folder / "tree"
        self._lock = threading.Lock()

    def occupy(self) -> Lock | None:
        """Take the folder for this process; None while another one has it."""
        self.folder.mkdir(exist_ok=True)
        try:
            return Lock.take(self.folder, shared=False)
        except FileNotFoundError:  # somebody has just published it
            return None

    def prepare(self, now: datetime) -> list[tuple[int, ModelFile]]:
        """Reserve the room and return what is to be fetched, each with its number.

        Raises `CacheFull` when there is no room; then nothing was evicted.
        """
        with self._shelf.locked():
            self._begin()
            missing = [
                (number, file)
                for number, file in enumerate(self.manifest.files)
                if not self._linked(file)
            ]
            self.make_room(sum(file.size for _, file in missing), now)
            plan = Plan(self._model.full_name, self.manifest, self._chunk)
            replace(self.folder / "plan.json", msgspec.json.encode(plan))
        return missing

    def make_room(self, mine: int, now: datetime) -> None:
        """Evict what may go until `mine` more bytes fit. Under the shelf's lock.

        Raises `CacheFull` when they never will; then nothing was evicted.
        """
        short = self._short(mine)
        while short > 0 and self._shelf.drop_parts(self.folder.name):
            short = self._short(mine)
        if short <= 0:
            return
        records = {each.name: each for each in self._shelf.all_records()}
        chosen = eviction.plan(
            [each.resident() for each in records.values()],
            needed=short,
            wanted=self._model.spec.cache_policy,
            in_use={each.name for each in records.values() if self._shelf.busy(each.digest)},
            keep={file.sha256 for file in self.manifest.files if file.sha256},
            now=now,
        )
        if chosen.missing:
            kept = f"; {', '.join(chosen.kept[:10])}" if chosen.kept else ""
            name, quota = self._model.full_name, self._shelf.quota()
            text = f"no room for {name}: {mine} bytes are needed, {chosen.missing} are missing"
            raise CacheFull(f"{text} of a quota of {quota} or on the disk{kept}")
        for name in chosen.evicted:
            self._shelf.remove(records[name])

    def adopt(self, record: Record) -> None:
        """Use what another model of the same identity has, although no digests were known."""
        known = {kept.path: kept for kept in record.files}
        with self._shelf.locked():
            self._begin()
            for file in self.manifest.files:
                if (kept := known.get(file.path)) is not None and kept.size == file.size:
                    self._note(file.path, kept.sha256)
                    self._linked(file)

    def finish(self, file: ModelFile, part: Part, sha256: str) -> None:
        """Take over a file that is whole and verified."""
        crcs = part.crcs()
        self._take(file.path, part.path, sha256, crcs)
        part.remove_log()

    def publish(self, now: datetime) -> Record:
        """Make the model visible, all of it at once."""
        done = read_done(self.folder)
        files = tuple(Kept(file.path, file.size, done[file.path]) for file in self.manifest.files)
        spec = self._model.spec
        record = Record(
            name=self._model.full_name,
            uri=spec.weights_uri,
            loader=self._loader,
            identity=self.manifest.identity,
            digest=content_digest((each.path, each.sha256) for each in files),
            files=files,
            policy=spec.cache_policy,
            revision=self.manifest.revision,
            since=now,
            used_at=now,
            chunk=self._chunk,
        )
        with self._shelf.locked():
            for folder, _, _ in os.walk(self._tree):
                sync_folder(Path(folder))
            sync_folder(self._shelf.blobs)
            before = self._shelf.record(record.name)
            self._shelf.write_record(record)
            target = self._shelf.model(record.digest)
            if not target.is_dir():
                self._tree.rename(target)
                sync_folder(self._shelf.models)
            shutil.rmtree(self.folder)
            if before is not None and before.digest != record.digest:
                self._shelf.tidy()  # nobody's record names the old folder any more
        return record

    # --- loaders of the documents' form

    def stage(self) -> Path:
        """Return an empty folder for the loader's files."""
        folder = self.folder / STAGING
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self._tree, ignore_errors=True)
        (self.folder / "done.jsonl").unlink(missing_ok=True)
        folder.mkdir(parents=True)
        self._tree.mkdir()
        return folder

    def take_over(self, folder: Path, now: datetime) -> None:
        """Hash what a loader has left in a folder, and make the model of it.

        Raises `ModelError` when it left nothing, or what is no file.
        """
        files = tuple(_files(folder))
        if not files:
            text = f"loader {self._loader} left nothing in its staging folder"
            raise ModelError(f"{text} (navarch.plugins.staging_folder)", lasting=True)
        identity = self.manifest
        self.manifest = checked(
            Manifest(files=files, origin=identity.origin, revision=identity.revision)
        )
        with self._shelf.locked():
            # The bytes are on the disk by now: what counts is whether they may stay.
            self.make_room(0 if self._planned() else self.manifest.size, now)
        for file in files:
            path = folder / file.path
            sha256, crcs = _hashed(path, self._chunk)
            self._take(file.path, path, sha256, crcs)

    def _planned(self) -> bool:
        plan = read_plan(self.folder)
        return plan is not None and plan.manifest.size >= self.manifest.size

    # --- steps

    def _begin(self) -> None:
        self._tree.mkdir(parents=True, exist_ok=True)
        known = read_plan(self.folder)
        if known is None or known.chunk != self._chunk:
            for each in self.folder.iterdir():
                if each.suffix in (".part", ".chunks"):
                    each.unlink()

    def _linked(self, file: ModelFile) -> bool:
        """Whether a file is in the tree; it is put there where its content is in the cache."""
        target = self._tree / file.path
        done = read_done(self.folder).get(file.path, "")
        if done and target.is_file() and target.stat().st_size == file.size:
            return True
        sha256 = done or file.sha256
        if not sha256:
            return False
        blob = self._shelf.blob(sha256)
        if not blob.is_file() or blob.stat().st_size != file.size:
            return False
        if not done:
            self._note(file.path, sha256)
        self._link(blob, target)
        return True

    def _take(self, path: str, content: Path, sha256: str, crcs: list[int]) -> None:
        sums = struct.pack(f"<{len(crcs)}I", *crcs)
        self._note(path, sha256)
        with self._shelf.locked():
            replace(self._shelf.sums / sha256, sums, durable=False)
            content.chmod(FILE_MODE)
            blob = self._shelf.blob(sha256)
            with contextlib.suppress(FileExistsError):  # another model has the same file
                os.link(content, blob)
            self._link(blob, self._tree / path)
            content.unlink()

    def _note(self, path: str, sha256: str) -> None:
        with self._lock, (self.folder / "done.jsonl").open("ab") as file:
            file.write(done_line(path, sha256))
            file.flush()
            os.fsync(file.fileno())

    def _link(self, blob: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        os.link(blob, target)

    def _short(self, mine: int) -> int:
        """How many bytes are missing: of the quota, or on the disk, whichever is more."""
        shelf = self._shelf
        others = shelf.used() - shelf.outstanding(self.folder)
        written = sum(
            each.stat().st_blocks * 512 for each in self.folder.iterdir() if each.suffix == ".part"
        )
        return max(others + mine - shelf.quota(), mine - written - shelf.free_on_disk())


def _files(root: Path) -> Iterator[ModelFile]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            seen = path.lstat()
            if not stat.S_ISREG(seen.st_mode):
                raise ModelError(f"{path.relative_to(root)} is no regular file", lasting=True)
            yield ModelFile(path=path.relative_to(root).as_posix(), size=seen.st_size)


def _hashed(path: Path, chunk: int) -> tuple[str, list[int]]:
    digest, crcs = hashlib.sha256(), []
    with path.open("rb") as file:
        while content := file.read(chunk):
            digest.update(content)
            crcs.append(zlib.crc32(content))
        os.fsync(file.fileno())
    return digest.hexdigest(), crcs
