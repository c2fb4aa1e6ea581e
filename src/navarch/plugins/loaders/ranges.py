"""Ranges of files over HTTP: asked for, and held against the file that the manifest means.

``If-Range`` (RFC 9110, 13.1.5) alone is not enough: a server may ignore it, and a weak ETag may not
stand in it. So what comes back is compared as well: the ETag or date, and the whole length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from navarch.errors import ModelChanged, ModelError
from navarch.plugins.loaders.base import ModelFile
from navarch.plugins.loaders.web import Incoming, Web, refused, shown

CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


def tag_of(headers: Mapping[str, str]) -> str:
    """Return what identifies a version of a file: its ETag, or else its date; may be empty."""
    return headers.get("etag", "") or headers.get("last-modified", "")


def open_range(
    web: Web,
    url: str,
    file: ModelFile,
    start: int,
    length: int,
    *,
    headers: Mapping[str, str] | None = None,
    tag_name: str = "",
) -> Incoming:
    """Ask for a part of a file, or for all of one that has no parts.

    The answer's own tag, in the header `tag_name` or where `tag_of` finds it, must be the file's.
    Raises `ModelChanged` when it is not the file of the manifest, and `ModelError`.
    """
    sent = dict(headers or {})
    if file.ranged:
        sent["range"] = f"bytes={start}-{start + length - 1}"
        if file.tag and not tag_name and not file.tag.startswith("W/"):
            sent["if-range"] = file.tag
    incoming = web.open(url, sent)
    try:
        _check(incoming, url, file, start, length, tag_name)
    except ModelError:
        incoming.close()
        raise
    return incoming


def _check(
    incoming: Incoming, url: str, file: ModelFile, start: int, length: int, tag_name: str
) -> None:
    status, headers = incoming.status, incoming.headers
    if status in (412, 416):
        raise ModelChanged(f"{shown(url)} has changed: its server says {status}", lasting=True)
    if status not in (200, 206):
        raise refused(status, url)
    tag = headers.get(tag_name, "") if tag_name else tag_of(headers)
    if file.tag and tag and tag != file.tag:
        text = f"{shown(url)} has changed: it is {tag} now, and was {file.tag}"
        raise ModelChanged(text, lasting=True)
    if status == 200:
        size = headers.get("content-length", "")
        if file.ranged and (start, length) != (0, file.size):
            text = f"{shown(url)}: all of it came, a range was asked for: it has changed"
            raise ModelChanged(text, lasting=True)
        if size.isascii() and size.isdigit() and int(size) != file.size:
            text = f"{shown(url)} has changed: {size} bytes, and was {file.size}"
            raise ModelChanged(text, lasting=True)
        return
    match = CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if match is None:
        raise ModelError(f"{shown(url)}: a range came that does not say which", lasting=True)
    first, last, whole = match.groups()
    if whole not in ("*", str(file.size)):
        text = f"{shown(url)} has changed: {whole} bytes, and was {file.size}"
        raise ModelChanged(text, lasting=True)
    if (int(first), int(last)) != (start, start + length - 1):
        raise ModelError(f"{shown(url)}: another range came than was asked for", lasting=True)
