"""Reading the fields of YAML mappings one by one, keeping every mistake.

A reading does not stop at the first mistake: a file with five gets five messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import yaml

from navarch.policy.document import PolicyError, Source
from navarch.policy.vocabulary import nearest

MISTAKES_MAX: Final = 50
"""Mistakes after which reading stops: nobody reads more."""

TEXT: Final = "tag:yaml.org,2002:str"
NOTHING: Final = "tag:yaml.org,2002:null"
SWITCH: Final = "tag:yaml.org,2002:bool"
WHOLE: Final = "tag:yaml.org,2002:int"
DECIMAL: Final = "tag:yaml.org,2002:float"
_LIST: Final = "tag:yaml.org,2002:seq"
_MAPPING: Final = "tag:yaml.org,2002:map"


class TooMany(Exception):
    """Enough mistakes were found."""


class Fields:
    """Reads one file, and keeps what is wrong with it."""

    def __init__(self, source: Source) -> None:
        """Start with nothing wrong."""
        self.source = source
        self.mistakes: list[PolicyError] = []

    def note(self, mistake: PolicyError) -> None:
        """Keep a mistake; raises `TooMany` when there are enough."""
        self.mistakes.append(mistake)
        if len(self.mistakes) >= MISTAKES_MAX:
            raise TooMany

    def wrong(
        self, message: str, key: str, node: yaml.Node | None = None, *, index: int | None = None
    ) -> None:
        """Keep a mistake at a node, or at a character."""
        self.note(self.source.error(message, key=key, node=node, index=index))

    def mapping(
        self, node: yaml.Node, key: str, known: Sequence[str], required: Sequence[str] = ()
    ) -> dict[str, yaml.Node]:
        """Read the keys of a mapping; what is unknown, doubled or missing is a mistake.

        Without `known` every key is fine.
        """
        if not isinstance(node, yaml.MappingNode) or node.tag != _MAPPING:
            self.wrong(f"expected a mapping, got {got(node)}", key, node)
            return {}
        entries: dict[str, yaml.Node] = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                self.wrong(f"expected a key that is text, got {got(name)}", key, name)
            elif name.value in entries:
                self.wrong(f"the key {quoted(name.value)} is written twice", key, name)
            elif known and name.value not in known:
                advice = nearest(name.value, known) or f"; expected one of {', '.join(known)}"
                self.wrong(f"unknown key {quoted(name.value)}{advice}", key, name)
            else:
                entries[name.value] = value
        for name in required:
            if name not in entries:
                self.wrong(f"the key {name} is missing", key, node)
        return entries

    def items(self, node: yaml.Node, key: str, expected: str, maximum: int) -> list[yaml.Node]:
        """Read a list; `expected` says of what."""
        if not isinstance(node, yaml.SequenceNode) or node.tag != _LIST:
            self.wrong(f"expected a list of {expected}, got {got(node)}", key, node)
            return []
        if len(node.value) > maximum:
            message = f"has {len(node.value):,} {expected}, expected at most {maximum:,}"
            self.wrong(message, key, node)
            return []
        return list(node.value)

    def text(self, node: yaml.Node, key: str, maximum: int) -> str:
        """Read any text, also one that YAML takes for a number or a switch."""
        if not isinstance(node, yaml.ScalarNode) or node.tag not in (TEXT, SWITCH, WHOLE, DECIMAL):
            self.wrong(f"expected text, got {got(node)}", key, node)
            return ""
        if len(node.value) > maximum:
            message = f"has {len(node.value):,} characters, expected at most {maximum:,}"
            self.wrong(message, key, node)
            return ""
        if not node.value.isascii():
            try:
                node.value.encode()
            except UnicodeEncodeError:
                self.wrong("holds half a character, expected Unicode text", key, node)
                return ""
        return str(node.value)

    def word(self, node: yaml.Node, key: str, words: Sequence[str]) -> str | None:
        """Read one of some words; None after a mistake."""
        if isinstance(node, yaml.ScalarNode) and node.tag == TEXT:
            if node.value in words:
                return str(node.value)
            advice = nearest(node.value.lower(), words) or ""
            message = f"expected one of {', '.join(words)}, got {quoted(node.value)}{advice}"
        else:
            message = f"expected one of {', '.join(words)}, got {got(node)}"
        self.wrong(message, key, node)
        return None

    def switch(self, node: yaml.Node, key: str) -> bool | None:
        """Read true or false; None after a mistake."""
        if isinstance(node, yaml.ScalarNode) and node.tag == SWITCH:
            return yaml.SafeLoader.bool_values[node.value.lower()]
        self.wrong(f"expected true or false, got {got(node)}", key, node)
        return None

    def number(self, node: yaml.Node, key: str, limits: tuple[int, int]) -> int | None:
        """Read a whole number within limits, both included; None after a mistake."""
        if isinstance(node, yaml.ScalarNode) and node.tag == WHOLE:
            digits = node.value
            sign = digits.removeprefix("-")
            if sign.isascii() and sign.isdigit() and len(sign) <= 18:
                number = int(digits)
                if limits[0] <= number <= limits[1]:
                    return number
        self.wrong(f"expected a number from {limits[0]} to {limits[1]}, got {got(node)}", key, node)
        return None


def got(node: yaml.Node) -> str:
    """Describe what stands there, in the words of people who write YAML."""
    match node:
        case yaml.MappingNode():
            return "a mapping"
        case yaml.SequenceNode():
            return "a list"
        case yaml.ScalarNode(tag="tag:yaml.org,2002:null"):
            return "nothing"
        case _:
            return quoted(str(node.value))


def quoted(text: str) -> str:
    """Put text on one line, in quotes, without control characters, at most 60 long."""
    cut = text if len(text) <= 60 else text[:57] + "..."
    shown = json.dumps(cut, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in shown)


def constants(node: yaml.Node) -> Mapping[str, str]:
    """The entries of a mapping of scalars, for what nobody reads but people."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {
        str(name.value): str(value.value)
        for name, value in node.value
        if isinstance(name, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode)
    }
