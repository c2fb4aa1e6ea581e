"""A public name of Python as a chapter: its signature, what its docstring says, its members."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import cache, cached_property
from types import FunctionType
from typing import Any, Final

from msgspec import Struct

from reference.marking import block, prose, table

_WIDTH: Final = 100
_EMPTY: Final = inspect.Parameter.empty
_STARS: Final[Mapping[Any, str]] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


def chapter(name: str, thing: Any, level: str = "###") -> str:  # noqa: ANN401 - any public name
    """Write what is to be known of a public name."""
    parts = [f"{level} `{name}`\n"]
    if inspect.isclass(thing):
        parts += _class(name, thing)
    elif isinstance(thing, FunctionType):
        parts += [block("py", signature(name, thing)), text_of(thing)]
    elif type(thing).__module__.startswith("navarch"):
        parts += [block("py", signature(name, thing)), text_of(type(thing))]
    elif hasattr(thing, "__wrapped__"):
        parts += [block("py", signature(name, thing.__wrapped__)), text_of(thing)]
    else:
        parts.append(f"A type: `{_type(thing)}`.\n")
    return "\n".join(each for each in parts if each)


def text_of(thing: Any) -> str:  # noqa: ANN401 - as above
    """Return the docstring as Markdown; empty: it has none of its own."""
    text = inspect.getdoc(thing) if _own_doc(thing) else ""
    return f"{_marked(text)}\n" if text else ""


def _own_doc(thing: Any) -> bool:  # noqa: ANN401 - as above
    doc = getattr(thing, "__doc__", None)
    return bool(doc) and doc not in (Enum.__doc__, str.__doc__, int.__doc__, Struct.__doc__)


def _marked(text: str) -> str:
    lines = [re.sub(r"^(=+)( +=+)+$", "", line) for line in text.splitlines()]
    parts = re.split(r"\n(?=\n)", "\n".join(lines))
    return "\n".join(_paragraph(each) for each in parts)


def _paragraph(text: str) -> str:
    body = text.strip("\n")
    if body.startswith(":raises "):
        items = re.sub(r"\s*\n\s+", " ", body)
        return "\n" + re.sub(
            r"^:raises ([\w.]+):", r"- raises `\1`:", prose(items), flags=re.MULTILINE
        )
    if body.startswith("    ") or re.search(r"\S {3,}\S", body):
        return "\n" + block("text", textwrap.dedent(body)).rstrip("\n")
    return ("\n" if text.startswith("\n") else "") + prose(body).removesuffix("::")


def signature(name: str, function: Callable[..., Any]) -> str:
    """Write how a function is called, on one line or one line an argument."""
    found = inspect.signature(function)
    word = "async def " if inspect.iscoroutinefunction(function) else "def "
    answer = "" if found.return_annotation is _EMPTY else f" -> {_type(found.return_annotation)}"
    arguments = list(_arguments(found))
    line = f"{word}{name}({', '.join(arguments)}){answer}: ..."
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"{word}{name}(", *(f"    {each}," for each in arguments), f"){answer}: ..."])


def _arguments(found: inspect.Signature) -> Iterator[str]:
    starred = False
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        star = _STARS.get(parameter.kind, "")
        starred = starred or star == "*"
        text = f"{star}{parameter.name}"
        if parameter.annotation is not _EMPTY:
            text += f": {_type(parameter.annotation)}"
        if parameter.default is not _EMPTY:
            text += f"{' = ' if ':' in text else '='}{_default(parameter.default)}"
        yield text


def _type(annotation: Any) -> str:  # noqa: ANN401 - as above
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:navarch|collections|datetime|typing)(?:\.\w+)*\.", "", text)


def _default(value: Any) -> str:  # noqa: ANN401 - as above
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    text = repr(value).replace("datetime.", "")
    return text if re.fullmatch(r"[^<\n]{1,60}", text) else "..."


# --- classes --------------------------------------------------------------------------------------


def _class(name: str, thing: type[Any]) -> Iterator[str]:
    yield text_of(thing)
    if issubclass(thing, Enum):
        rows = [
            (f"`{each.name}`", f"`{each.value}`", docs(thing).get(each.name, "")) for each in thing
        ]
        yield table(("word", "value", "means"), rows)
        return
    if issubclass(thing, Struct):
        told = [
            (f"`{field}`", f"`{kind}`", default, docs(thing).get(field, ""))
            for field, kind, default in fields(thing)
        ]
        yield table(("field", "type", "default", "means"), told)
    elif not _is_protocol(thing) and not issubclass(thing, BaseException):
        yield block("py", signature(name, thing).replace("def ", "", 1).removesuffix(": ..."))
        yield text_of(thing.__init__) if isinstance(thing.__init__, FunctionType) else ""
    yield from _members(thing)


def _members(thing: type) -> Iterator[str]:
    if _is_protocol(thing):
        rows = [
            (f"`{name}`", f"`{kind}`", docs(thing).get(name, ""))
            for name, kind in inspect.get_annotations(thing).items()
        ]
        yield table(("attribute", "type", "means"), rows)
    names = public_members(thing)
    checks = [name for name in names if name.startswith("test_")]
    if checks:
        yield f"It checks that {'; '.join(_as_words(name) for name in checks)}.\n"
    for name in (each for each in names if each not in checks):
        member = inspect.getattr_static(thing, name)
        if isinstance(member, property | cached_property):
            getter = member.fget if isinstance(member, property) else member.func
            answer = inspect.signature(getter).return_annotation if getter else _EMPTY
            kind = "" if answer is _EMPTY else f": {_type(answer)}"
            yield f"**`{name}{kind}`**\n"
            yield text_of(getter)
        else:
            plain = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            mark = {classmethod: "@classmethod\n", staticmethod: "@staticmethod\n"}
            yield block("py", mark.get(type(member), "") + signature(name, plain))
            yield text_of(plain)


def _as_words(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def _is_protocol(thing: type) -> bool:
    return bool(getattr(thing, "_is_protocol", False))


def public_members(thing: type[Any]) -> list[str]:
    """Name the methods and properties of a class that are written in our own classes."""
    found: dict[str, None] = {}
    for each in thing.__mro__:
        if not each.__module__.startswith("navarch"):
            continue
        for name, member in vars(each).items():
            ours = isinstance(
                member, FunctionType | property | cached_property | classmethod | staticmethod
            )
            if ours and not name.startswith("_"):
                found.setdefault(name)
    return list(found)


def fields(struct: type[Struct]) -> Iterator[tuple[str, str, str]]:
    """Tell each field of a struct: its name, its type as it is written, and its default."""
    written = types_of(struct)
    defaults = dict(
        zip(
            reversed(struct.__struct_fields__),
            reversed(struct.__struct_defaults__),
            strict=False,
        )
    )
    for name in struct.__struct_fields__:
        value = defaults.get(name, _EMPTY)
        required = (
            value is _EMPTY or type(value).__name__ == "NODEFAULT" or repr(value) == "NODEFAULT"
        )
        made = type(value).__name__ == "Factory"
        default = "*required*" if required else f"`{_made(value) if made else _default(value)}`"
        yield name, written.get(name, ""), default


def _made(value: Any) -> str:  # noqa: ANN401 - msgspec's
    factory = value.factory
    return {dict: "{}", list: "[]", tuple: "()"}.get(
        factory, getattr(factory, "__name__", "...") + "()"
    )


@cache
def docs(thing: type) -> dict[str, str]:
    """Return the strings below the fields and members of a class, its parents' included."""
    found: dict[str, str] = {}
    for each in reversed(thing.__mro__):
        for name, _, text in _written(each):
            if text:
                found[name] = prose(" ".join(text.split()))
    return found


@cache
def types_of(thing: type) -> dict[str, str]:
    """Return the types of a class's fields, its parents' included, as they are written."""
    return {
        name: kind for each in reversed(thing.__mro__) for name, kind, _ in _written(each) if kind
    }


def _written(thing: type) -> list[tuple[str, str, str]]:
    if not thing.__module__.startswith("navarch"):
        return []
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(thing))).body
    assert isinstance(tree, ast.ClassDef)
    found: list[tuple[str, str, str]] = []
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                kind = ast.unparse(node.annotation)
            case ast.Assign(targets=[ast.Name(id=name)]):
                kind = ""
            case _:
                continue
        match after:
            case ast.Expr(value=ast.Constant(value=str(text))):
                found.append((name, kind, inspect.cleandoc(text)))
            case _:
                found.append((name, kind, ""))
    return found
