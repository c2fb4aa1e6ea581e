"""Targets: whom an event or an assertion is about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from navarch.simulator.dice import Stream
from navarch.simulator.twin.blueprint import Owned
from navarch.simulator.twin.node import Node


class Scope(StrEnum):
    """What a target goes by."""

    NODE = "node"
    ALL = "all"
    FLEET = "fleet"
    """The nodes that nobody buys."""
    POOL = "pool"
    PROVIDER = "provider"
    REGION = "region"
    ZONE = "zone"
    LABEL = "label"
    ALIAS = "alias"


PREFIXES = (Scope.POOL, Scope.PROVIDER, Scope.REGION, Scope.ZONE, Scope.LABEL, Scope.ALIAS)


class Target(Struct, frozen=True):
    """A group of nodes, or one."""

    scope: Scope
    name: str = ""
    value: str = ""
    """Of a label."""
    one: bool = False
    """Whether one of them, by chance, is enough: ``any``."""

    def __str__(self) -> str:
        """Say it as it is written."""
        if self.one:
            return "any"
        if self.scope in (Scope.ALL, Scope.FLEET):
            return self.scope.value
        if self.scope is Scope.NODE:
            return self.name
        return f"{self.scope}:{self.name}" + (f"={self.value}" if self.value else "")


def parse(text: str) -> Target:
    """Read a target; nothing is all.

    Raises `ValueError` with the reason.
    """
    if text in ("", "all", "any"):
        return Target(Scope.ALL, one=text == "any")
    if text == "fleet":
        return Target(Scope.FLEET)
    scope, colon, name = text.partition(":")
    if not colon or scope not in PREFIXES:
        return Target(Scope.NODE, text)
    value = ""
    if scope == Scope.LABEL:
        name, equals, value = name.partition("=")
        if not equals:
            raise ValueError("a label is written label:KEY=VALUE")
    if not name:
        raise ValueError(f"{scope}: has no name")
    return Target(Scope(scope), name, value)


def members(
    target: Target, nodes: Mapping[str, Node], aliases: Mapping[str, Sequence[str]]
) -> list[str]:
    """Find the ids of those it is about, in the order in which they came.

    A group holds machines that are there; one node and an alias hold whoever they name. Cost: O(all
    nodes there ever were) for a group.
    """
    match target.scope:
        case Scope.NODE:
            return [target.name] if target.name in nodes else []
        case Scope.ALIAS:
            return list(aliases.get(target.name, ()))
        case _:
            return [
                id_
                for id_, node in nodes.items()
                if _fits(target, node) and node.machine_is_alive()
            ]


def is_about(target: Target, node: Node, aliases: Mapping[str, Sequence[str]]) -> bool:
    """Whether it is about a node, whether or not that has ended."""
    match target.scope:
        case Scope.NODE:
            return node.node_id == target.name
        case Scope.ALIAS:
            return node.node_id in aliases.get(target.name, ())
        case _:
            return _fits(target, node)


def fits_owned(target: Target, owned: Owned, aliases: Mapping[str, Sequence[str]]) -> bool:
    """Whether it is about a node that nobody buys, started or not."""
    match target.scope:
        case Scope.NODE:
            return owned.id == target.name
        case Scope.ALIAS:
            return owned.id in aliases.get(target.name, ())
        case _:
            return _describes(target, owned, pool="")


def _fits(target: Target, node: Node) -> bool:
    return _describes(target, node.described, pool=node.pool)


def _describes(target: Target, described: Owned, *, pool: str) -> bool:
    match target.scope:
        case Scope.ALL:
            return True
        case Scope.FLEET:
            return not pool
        case Scope.POOL:
            return pool == target.name
        case Scope.PROVIDER:
            return described.provider == target.name
        case Scope.REGION:
            return described.region == target.name
        case Scope.ZONE:
            return described.zone == target.name
        case _:
            return described.labels.get(target.name) == target.value


def some_of(
    ids: Sequence[str], rolls: Stream, *, count: int | None, percent: float | None
) -> list[str]:
    """Pick some by chance; all where nothing says how many."""
    if count is None and percent is None:
        return list(ids)
    if count is None:
        assert percent is not None
        count = math.ceil(len(ids) * percent / 100)
    return list(rolls.some(ids, count))
