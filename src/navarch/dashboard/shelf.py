"""The files of the dashboard: read once, at the start, and sent with all that browsers need.

They are few and small, and are what they are for as long as the process runs. Each has an entity
tag of its content: a browser asks whether it has changed, and is told "no" in a hundred bytes, so
that after an upgrade nobody sees a page of the version before.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from msgspec import Struct

TYPES: Final[Mapping[str, str]] = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
"""What is served, by how its name ends."""

SMALL: Final = 1_000
"""Bytes below which compressing is not worth its header."""


class File(Struct, frozen=True):
    """One file."""

    body: bytes
    packed: bytes
    """The same, compressed; empty where that is not worth it."""
    content_type: str
    etag: str


def load() -> dict[str, File]:
    """Read all files, by their paths below ``/ui/assets/``."""
    return dict(_files(resources.files("navarch.dashboard") / "assets", ""))


def _files(folder: Traversable, prefix: str) -> list[tuple[str, File]]:
    found: list[tuple[str, File]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _files(entry, f"{prefix}{entry.name}/")
        elif (kind := TYPES.get(entry.name.rpartition(".")[2])) is not None:
            found.append((prefix + entry.name, file_of(entry.read_bytes(), kind)))
    return found


def file_of(body: bytes, content_type: str) -> File:
    """Make ready what is sent again and again."""
    packed = gzip.compress(body, 9, mtime=0) if len(body) >= SMALL else b""
    digest = hashlib.sha256(body).hexdigest()[:20]
    return File(body, packed, content_type, f'"{digest}"')
