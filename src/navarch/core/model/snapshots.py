"""Snapshots in the form in which they are kept: JSON, packed, and written a slice at a time.

The snapshot of a hundred thousand nodes is 240 MB of JSON. Written in one call it would keep every
other thread waiting for half a second, and the journal's disk for longer. So it is written from a
copy, in slices of a few milliseconds between which others have their turn, and each slice is
compressed at once, which also lets others run: what is left is a tenth.

Snapshots of before were plain JSON, and are read as ever.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import msgspec

MAGIC: Final = b"navarch-snapshot-1\n"
"""What a packed snapshot begins with; plain ones begin with a brace."""
SLICE: Final = 500
"""Entries of a mapping that are written at once: 1.2 MB of nodes, in 1 to 2 ms."""
LEVEL: Final = 1
"""Of zlib: the quickest. Higher ones take three times as long for a fifth less."""

_json = msgspec.json.Encoder()


def packed(records: msgspec.Struct) -> bytes:
    """Write records as they are kept; they must not change meanwhile.

    Cost: O(everything), 7 µs an entry; meant for a thread of its own.
    """
    packing = zlib.compressobj(LEVEL)
    parts = [MAGIC]
    parts += [packing.compress(each) for each in written(records)]
    parts.append(packing.flush())
    return b"".join(parts)


def written(records: msgspec.Struct) -> Iterator[bytes]:
    """Write records slice by slice: together the bytes that msgspec would write at once."""
    begun = b"{"
    for name, told, default in _fields(type(records)):
        value = getattr(records, name)
        if value == default:
            continue
        yield begun + _json.encode(told) + b":"
        begun = b","
        if isinstance(value, dict):
            yield from _mapping(value)
        else:
            yield _json.encode(value)
    yield b"{}" if begun == b"{" else b"}"


def unpacked(raw: bytes) -> bytes:
    """Return the JSON of a snapshot, packed or not.

    Raises `msgspec.DecodeError` when it is packed and damaged.
    """
    if not raw.startswith(MAGIC):
        return raw
    try:
        return zlib.decompress(memoryview(raw)[len(MAGIC) :])
    except zlib.error as error:
        raise msgspec.DecodeError(f"the packed snapshot is damaged: {error}") from error


def _mapping(value: dict[str, Any]) -> Iterator[bytes]:
    entries = iter(value.items())
    begun = b"{"
    while some := dict(islice(entries, SLICE)):
        yield begun + _json.encode(some)[1:-1]
        begun = b","
    yield b"}"


def _fields(kind: type[msgspec.Struct]) -> Iterator[tuple[str, str, object]]:
    """The fields, the names they are written under, and the values that are left out."""
    for field in msgspec.structs.fields(kind):
        made = field.default_factory
        default = field.default if made is msgspec.NODEFAULT else made()
        yield field.name, field.encode_name, default
