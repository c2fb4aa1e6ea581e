"""The page of all calls and messages, from the comments of their definition."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

from navarch.wire.auth import ACCESS, Access
from reference.marking import NOTICE, prose, table

PAGE: Final = "calls.md"

FOLDER: Final = Path(__file__).resolve().parents[2] / "src/navarch/wire/proto"
SERVICE: Final = "navarch.ControlPlaneService"

Place = tuple[int, ...]

_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6
"""Numbers of fields of a file, by which places in it are told (descriptor.proto)."""


@cache
def definition() -> FileDescriptorProto:
    """Read the definition with its comments.

    Raises `subprocess.CalledProcessError` when it is wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "definition.pb"
        subprocess.run(
            [
                *(sys.executable, "-m", "grpc_tools.protoc"),
                f"-I{FOLDER}",
                f"-I{resources.files('grpc_tools') / '_proto'}",
                "--include_source_info",
                f"--descriptor_set_out={target}",
                "navarch.proto",
            ],
            check=True,
        )
        return FileDescriptorSet.FromString(target.read_bytes()).file[0]


class Comments:
    """What is written above things, by their places, and what divides them into chapters."""

    def __init__(self, file: FileDescriptorProto) -> None:
        """Take them from `file`."""
        self.above: dict[Place, str] = {}
        self.chapters: dict[Place, str] = {}
        for each in file.source_code_info.location:
            place = tuple(each.path)
            if text := each.leading_comments or each.trailing_comments:
                self.above[place] = " ".join(text.split())
            for rule in each.leading_detached_comments:
                if found := re.match(r"\s*-+ (?P<title>.+?)[\s.]*$", rule):
                    self.chapters[place] = found["title"]

    def of(self, *place: int) -> str:
        """Return what is said about the thing at a place; empty: nothing."""
        return prose(self.above.get(place, ""))


def methods(file: FileDescriptorProto) -> list[str]:
    """Name every call."""
    return [method.name for method in file.service[0].method]


def unsaid(file: FileDescriptorProto) -> list[str]:
    """Name the calls that no comment describes."""
    comments = Comments(file)
    return [
        method.name
        for number, method in enumerate(file.service[0].method)
        if not comments.of(_SERVICES, 0, 2, number)
    ]


def page(file: FileDescriptorProto | None = None, access: Mapping[str, Access] = ACCESS) -> str:
    """Write the page."""
    file = file or definition()
    comments = Comments(file)
    return "\n".join(
        [
            NOTICE,
            "# Calls\n",
            (
                f"Every call of `{SERVICE}` and every message, from the comments of"
                " [navarch.proto](../../src/navarch/wire/proto/navarch.proto). How they are"
                " spoken, by Connect, gRPC-Web or gRPC, is in [protocols](../protocols.md); in"
                " JSON the names of fields are written `likeThis`.\n"
            ),
            *_service(file, comments, access),
            "## Messages\n",
            *_messages(file, comments),
            "## Words\n",
            *_enums(file, comments),
        ]
    )


def _service(
    file: FileDescriptorProto, comments: Comments, access: Mapping[str, Access]
) -> Iterator[str]:
    rows: list[tuple[str, ...]] = []
    head = ("call", "takes", "answers", "who may", "does")
    for number, method in enumerate(file.service[0].method):
        chapter = comments.chapters.get((_SERVICES, 0, 2, number))
        if chapter:
            if rows:
                yield table(head, rows)
            rows = []
            title, _, rest = chapter.partition(". ")
            yield f"## {title.partition(':')[0]}\n"
            if said := ". ".join(each for each in (title.partition(":")[2].strip(), rest) if each):
                yield f"{said[0].upper()}{said[1:]}.\n"
        said = comments.of(_SERVICES, 0, 2, number)
        rows.append((f"`{method.name}`", *_ends(method), _who(access.get(method.name)), said))
    yield table(head, rows)


def _ends(method: MethodDescriptorProto) -> tuple[str, str]:
    answer = _link(method.output_type)
    return _link(method.input_type), f"a stream of {answer}" if method.server_streaming else answer


def _who(access: Access | None) -> str:
    if access is None:
        return "nobody"
    return access.role.name.lower() + (", or the node itself" if access.node else "")


def _link(name: str) -> str:
    short = name.removeprefix(".navarch.")
    if name.startswith(".google."):
        return f"`{name.removeprefix('.')}`"
    return f"[`{short}`](#{short.lower().replace('.', '')})"


def _messages(file: FileDescriptorProto, comments: Comments) -> Iterator[str]:
    for number, message in enumerate(file.message_type):
        yield from _message(message, message.name, (_MESSAGES, number), comments)


def _message(
    message: DescriptorProto, name: str, place: Place, comments: Comments
) -> Iterator[str]:
    maps = {f".navarch.{name}.{each.name}": each for each in message.nested_type}
    yield f"### `{name}`\n"
    if said := comments.of(*place):
        yield f"{said}\n"
    rows = [
        (
            f"`{field.name}`",
            str(field.number),
            _type(field, maps),
            comments.of(*place, 2, number),
        )
        for number, field in enumerate(message.field)
    ]
    yield table(("field", "number", "type", "means"), rows) or "It is empty.\n"


_SCALARS: Final = FieldDescriptorProto.Type


def _type(field: FieldDescriptorProto, maps: Mapping[str, DescriptorProto]) -> str:
    if field.type_name in maps:
        key, value = maps[field.type_name].field
        return f"map of {_type(key, {})} to {_type(value, {})}"
    named = bool(field.type_name)
    plain = _link(field.type_name) if named else _SCALARS.Name(field.type)[5:].lower()
    return f"list of {plain}" if field.label == FieldDescriptorProto.LABEL_REPEATED else plain


def _enums(file: FileDescriptorProto, comments: Comments) -> Iterator[str]:
    for number, enum in enumerate(file.enum_type):
        yield from _enum(enum, (_ENUMS, number), comments)


def _enum(enum: EnumDescriptorProto, place: Place, comments: Comments) -> Iterator[str]:
    yield f"### `{enum.name}`\n"
    if said := comments.of(*place):
        yield f"{said}\n"
    rows = [
        (f"`{value.name}`", str(value.number), comments.of(*place, 2, number))
        for number, value in enumerate(enum.value)
    ]
    yield table(("word", "number", "means"), rows)
