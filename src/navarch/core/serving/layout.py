"""How a node's GPUs lie to each other, and its taints, as its labels say.

===============================  ====================  ============================================
label                            such as               means
===============================  ====================  ============================================
``navarch.io/socket``            ``0-3;4-7``           GPUs by processor socket
``navarch.io/nvlink``            ``0-3;4-7``           GPUs by NVLink group
``navarch.io/nvlink-bandwidth``  ``450G``              bytes a second between two GPUs of a group
``navarch.io/mig.0``             ``1g.10gb=7``         slices of GPU 0; several go with commas
``navarch.io/taint.dedicated``   ``batch:NoSchedule``  a taint: value and effect; the effect may be
                                                       missing
===============================  ====================  ============================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Node
from navarch.core.serving.views import Taint

PREFIX: Final = "navarch.io/"
GPUS_MAX: Final = 256
"""The highest index of a GPU, and one."""
SLICES_MAX: Final = 64
"""Slices of one profile on one GPU."""
EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_RANGE = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")
_RATE = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)\s*([KMGT]?)(i?)(?:B/s|B)?")
_SLICES = re.compile(r"([\w.+]{1,40})=(\d{1,3})")


class Layout(Struct, frozen=True):
    """What the labels of a node say about its GPUs and taints."""

    labels: dict[str, str] = field(default_factory=dict)
    """All of them."""
    socket: dict[int, int] = field(default_factory=dict)
    """By the GPU's index."""
    nvlink: dict[int, int] = field(default_factory=dict)
    """The group of each GPU that is in one."""
    bandwidth: int = 0
    """Bytes a second; 0: not known."""
    mig: dict[int, dict[str, int]] = field(default_factory=dict)
    """Slices of each divided GPU, by profile."""
    taints: tuple[Taint, ...] = ()
    faults: tuple[str, ...] = ()
    """Labels that could not be understood, and what was expected."""


def layout(labels: Mapping[str, str]) -> Layout:
    """Read a node's labels."""
    socket: dict[int, int] = {}
    nvlink: dict[int, int] = {}
    mig: dict[int, dict[str, int]] = {}
    bandwidth, taints, faults = 0, [], []
    for key, value in labels.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        try:
            if name == "socket":
                socket = groups(value)
            elif name == "nvlink":
                nvlink = groups(value)
            elif name == "nvlink-bandwidth":
                bandwidth = rate(value)
            elif name.startswith("mig."):
                mig[_index(name.removeprefix("mig."))] = slices(value)
            elif name.startswith("taint."):
                taints.append(taint(name.removeprefix("taint."), value))
        except ValueError as error:
            faults.append(f"{key}: {value!r}: expected {error}")
    taints.sort(key=lambda each: (each.key, each.value, each.effect))
    return Layout(dict(labels), socket, nvlink, bandwidth, mig, tuple(taints), tuple(faults))


def layout_of(fleet: Fleet, machine: Node) -> Layout:
    """Read the labels of one of our nodes: its own go before those of its instance."""
    instance = fleet.instances.get(machine.id)
    return layout({**(instance.labels if instance else {}), **machine.metadata.labels})


def groups(text: str) -> dict[int, int]:
    """Read groups of indexes such as ``0-3;4-7`` or ``0,2;1,3``: the group of each, from 0.

    Raises `ValueError`, saying what was expected.
    """
    found: dict[int, int] = {}
    for group, part in enumerate(text.split(";")):
        for piece in part.split(","):
            match = _RANGE.fullmatch(piece.strip())
            if match is None:
                raise ValueError("indexes like 0-3;4-7")
            first = _index(match[1])
            last = _index(match[2]) if match[2] else first
            for index in range(first, last + 1):
                if index in found:
                    raise ValueError(f"GPU {index} in one group only")
                found[index] = group
    return found


def rate(text: str) -> int:
    """Read bytes a second such as ``900G`` or ``64GiB/s``.

    Raises `ValueError`, saying what was expected.
    """
    match = _RATE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise ValueError("bytes a second like 900G")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** " KMGT".index(match[2] or " "))


def slices(text: str) -> dict[str, int]:
    """Read slices of a GPU such as ``1g.10gb=3,2g.20gb=2``.

    Raises `ValueError`, saying what was expected.
    """
    found: dict[str, int] = {}
    for piece in text.split(","):
        match = _SLICES.fullmatch(piece.strip())
        if match is None or int(match[2]) > SLICES_MAX or match[1] in found:
            raise ValueError(f"profiles and counts up to {SLICES_MAX} like 1g.10gb=7")
        found[match[1]] = int(match[2])
    return found


def taint(key: str, text: str) -> Taint:
    """Read a taint such as ``batch:NoSchedule``, ``:NoExecute`` or ``batch``.

    Raises `ValueError`, saying what was expected.
    """
    value, colon, effect = text.rpartition(":")
    if not colon:
        value, effect = text, EFFECTS[0]
    if not key or effect not in EFFECTS:
        raise ValueError(f"a value and one of {', '.join(EFFECTS)} like batch:NoSchedule")
    match effect:
        case "PreferNoSchedule":
            return Taint(key, value, "PreferNoSchedule")
        case "NoExecute":
            return Taint(key, value, "NoExecute")
        case _:
            return Taint(key, value)


def _index(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:5]) >= GPUS_MAX:
        raise ValueError(f"GPU indexes below {GPUS_MAX}")
    return int(text)
