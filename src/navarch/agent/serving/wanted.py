"""What a node is told to run, read from the parameters of commands, and the program it becomes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from navarch.agent import programs
from navarch.agent.deeds import Unfit
from navarch.agent.turns import Order
from navarch.core.model import ids
from navarch.core.model.resources import Model, Runtime
from navarch.core.serving import placeholders

GPUS: Final = re.compile(r"([0-9]{1,2}(,[0-9]{1,2})*)?")
"""Indexes of GPUs, such as ``0,1``; empty for none."""

PEER: Final = re.compile(r"https?://[^\s,]{1,300}")

VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
"""The name of a variable of the environment."""

_Document = TypeVar("_Document", Runtime, Model)

PEERS_MAX: Final = 64
PORT_MAX: Final = 65_535


class Wanted(Struct, frozen=True):
    """One replica, as the control plane wants it on this node."""

    replica: str
    agent_pool: str
    """``namespace/name``."""
    runtime: Runtime
    gpus: str = ""
    """Indexes, such as ``0,1``."""
    share: str = "1"
    """How much of each GPU, as it was written."""
    mig: str = ""
    model: str = ""
    """``namespace/name`` of its weights; empty: none."""


def read_start(order: Order) -> Wanted:
    """Read START_REPLICA. Raises `Unfit`."""
    given = order.parameters
    wanted = Wanted(
        replica=_id(given, "replica"),
        agent_pool=_id(given, "agent_pool"),
        runtime=_document(given, "runtime", Runtime),
        gpus=given.get("gpus", ""),
        share=given.get("share", "") or "1",
        mig=given.get("mig", ""),
        model=_id(given, "model") if given.get("model") else "",
    )
    if GPUS.fullmatch(wanted.gpus) is None:
        raise Unfit(f"gpus: {wanted.gpus[:40]!r} are no indexes, expected such as 0,1")
    try:
        share = float(wanted.share)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise Unfit(f"share: {wanted.share[:40]!r} is no share, expected above 0 and at most 1")
    _check_runtime(wanted)
    return wanted


def _check_runtime(wanted: Wanted) -> None:
    runtime = wanted.runtime
    if runtime.kind != "process":
        raise Unfit(f"runtime.kind: an agent runs processes, not {runtime.kind!r}")
    if not runtime.command or not runtime.command[0]:
        raise Unfit("runtime.command: is empty, expected a program and its arguments")
    if not 0 <= runtime.port <= PORT_MAX:
        raise Unfit(f"runtime.port: {runtime.port} is not from 0 to {PORT_MAX}")
    if text := placeholders.fault(runtime.command, has_model=bool(wanted.model)):
        raise Unfit(f"runtime.command: {text}")
    for name in runtime.env:
        if VARIABLE.fullmatch(name) is None:
            raise Unfit(f"runtime.env: {name[:40]!r} cannot name a variable")
    if any("\0" in text for text in (*runtime.command, *runtime.env.values())):
        raise Unfit("runtime: a command or a variable holds a zero byte")
    if not runtime.readiness.path.startswith("/") or not runtime.readiness.path.isprintable():
        path = runtime.readiness.path[:40]
        raise Unfit(f"runtime.readiness.path: {path!r} is no path, expected such as /healthz")


def read_stop(order: Order) -> str:
    """Read STOP_REPLICA: which one. Raises `Unfit`."""
    return _id(order.parameters, "replica")


def read_load(order: Order) -> tuple[Model, tuple[str, ...]]:
    """Read LOAD_MODEL: the model, and who has it already. Raises `Unfit`."""
    name = _id(order.parameters, "model")
    model = _document(order.parameters, "spec", Model)
    if model.full_name != name:
        raise Unfit(f"spec: it is of {model.full_name[:80]}, and not of {name}")
    peers = tuple(filter(None, order.parameters.get("peers", "").split(",")))
    for peer in peers:
        if PEER.fullmatch(peer) is None:
            raise Unfit(f"peers: {peer[:60]!r} is no address, expected http://…")
    return model, peers[:PEERS_MAX]


def read_unload(order: Order) -> str:
    """Read UNLOAD_MODEL: which one. Raises `Unfit`."""
    return _id(order.parameters, "model")


def _id(given: Mapping[str, str], name: str) -> str:
    text = given.get(name, "")
    if ids.NODE_ID.fullmatch(text) is None:
        shown = repr(text[:40]) if text else "nothing"
        raise Unfit(f"parameter {name}: {shown} is no id: 1 to 253 letters, digits and . _ : / -")
    return text


def _document(given: Mapping[str, str], name: str, kind: type[_Document]) -> _Document:
    try:
        return msgspec.json.decode(given.get(name, ""), type=kind)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Unfit(f"parameter {name}: no {kind.__name__}: {error}") from error


# --- the program -----------------------------------------------------------------------------


def arguments(wanted: Wanted, port: int, model_path: Path | None) -> programs.Arguments:
    """Fill in a replica's command; `model_path` None where it serves no model."""
    values = {
        "model_path": str(model_path or ""),
        "port": str(port),
        "gpus": wanted.gpus,
        "replica": wanted.replica,
        "pool": wanted.agent_pool,
    }
    return placeholders.filled(wanted.runtime.command, values)


def environment(
    ours: Mapping[str, str], wanted: Wanted, port: int, model_path: Path | None
) -> dict[str, str]:
    """Give a replica our variables but no secrets, its own, and where and what it is.

    Which GPUs it sees is not its own to say.
    """
    variables = {name: text for name, text in ours.items() if name not in programs.SECRETS}
    variables |= wanted.runtime.env
    variables |= {
        "CUDA_VISIBLE_DEVICES": wanted.gpus,
        "NAVARCH_AGENT_POOL": wanted.agent_pool,
        "NAVARCH_PORT": str(port),
        "NAVARCH_REPLICA": wanted.replica,
    }
    if float(wanted.share) < 1:
        variables["NAVARCH_GPU_SHARE"] = wanted.share
    if wanted.mig:
        variables["NAVARCH_MIG_PROFILE"] = wanted.mig
    if model_path is not None:
        variables["NAVARCH_MODEL_PATH"] = str(model_path)
    return variables
