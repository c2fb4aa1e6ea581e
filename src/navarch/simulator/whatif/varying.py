"""Variants of a configuration: the same file with other values under some keys.

A value takes its place among the file's nodes and is read with all others, so that types, limits
and messages are those of the configuration.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from msgspec import Struct

from navarch import documents
from navarch.config import document, load
from navarch.config.schema import Config
from navarch.errors import ConfigError

VARIANTS_MAX = 64
"""Variants at once: more would not fit a table, nor an evening."""

STEP = re.compile(r"(?P<name>[^.\[\]]+)|\[(?P<index>[0-9]{1,4})\]")
KEY = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[[0-9]{1,4}\])*")

NAMED = ("pools", "providers")
"""Below these stand names, and no variant adds one."""


class Vary(Struct, frozen=True):
    """A key, and the values it takes."""

    key: str
    values: tuple[str, ...]


class Variant(Struct, frozen=True):
    """One choice of values, by key; none: the file as it is."""

    values: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """What it is called: its values, by the last words of their keys."""
        short = _short([key for key, _ in self.values])
        said = (f"{short[key]}={value}" for key, value in self.values)
        return ", ".join(said) or "as it is"


def parse(text: str) -> Vary:
    """Read ``KEY=V1,V2,...``; a value with commas stands in brackets or quotes, as in YAML.

    Raises `ConfigError`.
    """
    key, equals, written = text.partition("=")
    values = _split(written)
    if not equals or KEY.fullmatch(key) is None or not all(values):
        example = "pools.training.max_nodes=16,20,24"
        raise ConfigError(f"{text!r} varies nothing, expected KEY=V1,V2 as in {example}")
    if len(set(values)) < len(values):
        raise ConfigError(f"{text!r} names a value twice")
    return Vary(key, values)


def _split(text: str) -> tuple[str, ...]:
    """Split at commas outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        else:
            depth += (sign in "[{") - (sign in "]}")
        if sign == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    return tuple(part.strip() for part in parts)


def variants(varied: Sequence[Vary]) -> tuple[Variant, ...]:
    """Return every combination of values, the first key changing most slowly.

    Raises `ConfigError` when there are too many, or a key comes twice.
    """
    keys = [vary.key for vary in varied]
    if len(set(keys)) < len(keys):
        raise ConfigError(f"a key is varied twice: {', '.join(keys)}")
    count = 1
    for vary in varied:
        count *= len(vary.values)
    if count > VARIANTS_MAX:
        raise ConfigError(f"{count} variants, expected at most {VARIANTS_MAX}")
    choices = itertools.product(*(vary.values for vary in varied))
    return tuple(Variant(tuple(zip(keys, chosen, strict=True))) for chosen in choices)


def config_of(
    text: str, path: Path, variant: Variant, environ: Mapping[str, str] = os.environ
) -> Config:
    """Read a configuration with a variant's values in it.

    Raises `ConfigError` with the first mistake, which says what of it is the variant's.
    """
    root = document.compose(text, file=str(path))
    for key, value in variant.values:
        root = _put(root, key, value, str(path))
    found = load.examine_node(root, path=path, environ=environ)
    if found.config is None:
        fault = found.faults[0]
        if not variant.values:
            raise fault
        said = " ".join(f"{key}={value}" for key, value in variant.values)
        message = f"{fault.message} (varied: {said})"
        raise ConfigError(message, file=fault.file, line=fault.line, key=fault.key)
    return found.config


def _put(root: yaml.Node, key: str, value: str, file: str) -> yaml.Node:
    """Put a value under a key, in copies of the nodes around it."""
    steps = [found["name"] or int(found["index"]) for found in STEP.finditer(key)]
    try:
        node = documents.compose(value, deepest=document.DEPTH_MAX)
    except documents.Unreadable as error:
        raise ConfigError(f"{value!r}: {error.message}", file=file, key=key) from error
    if node is None:
        raise ConfigError(f"{value!r} is no value", file=file, key=key)
    if steps[0] in NAMED and len(steps) > 1:
        _check_name(root, steps, file, key)
    return _placed(root, steps, node, file, key)


def _check_name(root: yaml.Node, steps: Sequence[str | int], file: str, key: str) -> None:
    """Demand that what is varied is there: a new pool is never a variant of an old one."""
    around = _entry(root, str(steps[0]))
    names = [one.value for one, _ in around.value] if isinstance(around, yaml.MappingNode) else []
    if steps[1] not in names:
        known = ", ".join(names) or "none"
        raise ConfigError(f"there is no {steps[1]!r} under {steps[0]}: {known}", file=file, key=key)


def _entry(node: yaml.Node, name: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for key, value in pairs if key.value == name), None)


def _placed(
    around: yaml.Node | None, steps: Sequence[str | int], node: yaml.Node, file: str, key: str
) -> yaml.Node:
    if not steps:
        if around is not None:
            node.start_mark, node.end_mark = around.start_mark, around.end_mark
        return node
    step, rest = steps[0], steps[1:]
    if isinstance(step, int):
        if not isinstance(around, yaml.SequenceNode) or step >= len(around.value):
            raise ConfigError(f"there is no [{step}] to vary", file=file, key=key)
        items = list(around.value)
        items[step] = _placed(items[step], rest, node, file, key)
        return yaml.SequenceNode(around.tag, items, around.start_mark, around.end_mark)
    if around is None:
        around = yaml.MappingNode("tag:yaml.org,2002:map", [], node.start_mark, node.end_mark)
    if not isinstance(around, yaml.MappingNode):
        raise ConfigError(
            f"there is nothing to vary: {step} would be below a value", file=file, key=key
        )
    pairs, found = [], False
    for name, value in around.value:
        is_it = name.value == step
        found = found or is_it
        pairs.append((name, _placed(value, rest, node, file, key) if is_it else value))
    if not found:
        mark = around.start_mark
        name = yaml.ScalarNode("tag:yaml.org,2002:str", step, mark, mark)
        pairs.append((name, _placed(None, rest, node, file, key)))
    return yaml.MappingNode(around.tag, pairs, around.start_mark, around.end_mark)


def _short(keys: Sequence[str]) -> dict[str, str]:
    """Name each key by as few of its last words as tell it from the others."""
    short = {}
    for key in keys:
        words = key.split(".")
        for count in range(1, len(words) + 1):
            tail = ".".join(words[-count:])
            if sum(f".{other}".endswith(f".{tail}") for other in keys) == 1:
                break
        short[key] = ".".join(words[-count:])
    return short
