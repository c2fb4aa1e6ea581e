"""Trees: a scenario as plain lists and mappings, changed and written as YAML again.

What is written here means the same when it is read: `tree_of` makes sure of it, so whoever changes
a tree changes nothing but what they change.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from navarch.errors import ConfigError
from navarch.simulator.scenarios.reading import examine_text

Tree = dict[str, Any]
"""A scenario: mappings with text as keys, lists, texts, numbers, truth values and nothing."""

MICROSECOND = timedelta(microseconds=1)


class _Loader(yaml.SafeLoader):
    """Reads no dates: they are texts here."""


class _Dumper(yaml.SafeDumper):
    """Writes everything out, however often it is there."""

    def ignore_aliases(self, data: object) -> bool:
        """Write no references."""
        del data
        return True


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag != "tag:yaml.org,2002:timestamp"]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def tree_of(text: str, *, path: Path) -> Tree:
    """Read a scenario as a tree; `path` says where it is from.

    Raises `ConfigError` where it has mistakes, or says something that cannot be written again.
    """
    examined = examine_text(text, path=path)
    if examined.scenario is None:
        raise examined.faults[0]
    tree = yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a SafeLoader
    again = examine_text(text_of(tree), path=path).scenario
    if again is None or again.written != examined.scenario.written:
        message = "cannot be rewritten: it uses YAML that means something else when written plainly"
        raise ConfigError(message, file=str(path))
    assert isinstance(tree, dict)
    return tree


def text_of(tree: Mapping[str, Any], *, comment: str = "") -> str:
    """Write a tree as YAML, behind lines of comment."""
    text = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    remarks = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    return f"{remarks}{text}"


def written(duration: timedelta) -> str:
    """Write a duration as it is written in scenarios, to the microsecond."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        whole = timedelta(seconds=length)
        if duration and not duration % whole:
            return f"{duration // whole}{unit}"
    seconds = Decimal(duration // MICROSECOND).scaleb(-6).normalize()
    return f"{seconds:f}s"
