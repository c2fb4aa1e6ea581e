"""Which loader brings a model: the one that does it at the lowest cost, then the next.

Loaders of the documents' form know no cost; they come after those that do.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final, cast

from msgspec import Struct

from navarch.core.model.resources import Model
from navarch.errors import ModelError
from navarch.plugins.calls import About, Caller, Failed
from navarch.plugins.loaders.base import Manifest, checked
from navarch.plugins.protocols import PluginKind
from navarch.plugins.terms import TermsOf
from navarch.telemetry.log import Log

log = Log(__name__)

DOCUMENTED_COST: Final = 1_000.0
"""What a loader costs that says only whether it can."""
RESOLVING_MAX: Final = timedelta(minutes=2)
"""How long a source may take to say what there is, where nothing is said of it."""
LOADING_MAX: Final = timedelta(hours=24)
"""How long a loader of the documents' form may take for a model, where nothing is said of it."""


class Choice(Struct, frozen=True):
    """A loader that can bring a model."""

    plugin: Any
    name: str
    cost: float
    is_final: bool = False
    """Whether no other is tried where it fails."""
    deadline: timedelta | None = None
    """How long a call of it may take; None: as long as is usual."""

    @property
    def rich(self) -> bool:
        """Whether it answers a manifest, so that the cache fetches."""
        has_bytes = hasattr(self.plugin, "open") or hasattr(self.plugin, "stream")
        return hasattr(self.plugin, "resolve") and has_bytes


def choices(
    loaders: Sequence[object], model: Model, caller: Caller, terms: TermsOf
) -> tuple[Choice, ...]:
    """Ask each loader; the cheapest first, ties in the order in which they were given.

    Raises `ModelError` when none can, or one fails whose terms say ``fail_closed``: whether it
    should have brought the model is not known.
    """
    found: list[Choice] = []
    broken: list[str] = []
    for loader in loaders:
        name = str(getattr(loader, "name", type(loader).__name__))
        answer = _asked(loader, name, model, caller)
        said = terms(name)
        is_final = said.on_error == "fail_closed"
        if isinstance(answer, Failed):
            if is_final:
                raise ModelError(f"loader {name}: {answer.text}; it fails closed")
            broken.append(f"{name}: {answer.text}")
        elif answer is not None:
            found.append(Choice(loader, name, answer, is_final, said.deadline))
    if not found:
        names = ", ".join(str(getattr(each, "name", each)) for each in loaders) or "there is none"
        told = f"; {'; '.join(broken)}" if broken else ""
        uri = model.spec.weights_uri
        text = f"no loader can bring {uri!r} (of {names}){told}"
        raise ModelError(text, lasting=not broken)
    return tuple(sorted(found, key=lambda each: each.cost))


def _asked(loader: object, name: str, model: Model, caller: Caller) -> float | Failed | None:
    plugin = cast("Any", loader)
    rich = hasattr(loader, "cost")
    point = "cost" if rich else "can_load"
    about = _about(name, point, model)
    answer = caller.call(about, lambda: getattr(plugin, point)(model))
    log.debug(
        "loader_answered", loader=name, point=point, model=model.full_name, answer=str(answer)
    )
    if isinstance(answer, Failed) or answer is None or answer is False:
        return answer or None
    if not rich:
        return DOCUMENTED_COST
    if not isinstance(answer, int | float) or math.isnan(answer):
        return Failed(name, point, f"answers {answer!r}, expected a number or None")
    return float(answer)


async def resolve(choice: Choice, model: Model, caller: Caller) -> Manifest:
    """Ask a source what there is.

    Raises `ModelError`, that of the source if it raised one.
    """
    manifest = await _awaited(
        choice, "resolve", model, caller, lambda: choice.plugin.resolve(model), RESOLVING_MAX
    )
    if not isinstance(manifest, Manifest):
        text = f"loader {choice.name}: resolve answers {type(manifest).__name__}"
        raise ModelError(f"{text}, expected a Manifest", lasting=True)
    return checked(manifest)


async def release(choice: Choice, caller: Caller, model: Model) -> None:
    """Have a source let go of what it keeps between calls, where it keeps anything."""
    if hasattr(choice.plugin, "release"):
        about = _about(choice.name, "release", model)
        await asyncio.to_thread(caller.call, about, choice.plugin.release)


async def load(choice: Choice, model: Model, node: str, caller: Caller, folder: object) -> None:
    """Have a loader of the documents' form bring a model. Raises `ModelError`."""
    plugin = choice.plugin
    if hasattr(plugin, "load_into"):
        await _awaited(
            choice,
            "load_into",
            model,
            caller,
            lambda: plugin.load_into(model, folder),
            LOADING_MAX,
        )
        return
    await _awaited(choice, "load", model, caller, lambda: plugin.load(model, node), LOADING_MAX)


async def unload(loader: object, model: Model, node: str, caller: Caller, terms: TermsOf) -> None:
    """Tell a loader of the documents' form that a model goes. Raises `ModelError`."""
    name = str(getattr(loader, "name", type(loader).__name__))
    choice = Choice(loader, name, DOCUMENTED_COST, deadline=terms(name).deadline)
    plugin = choice.plugin
    await _awaited(
        choice, "unload", model, caller, lambda: plugin.unload(model, node), RESOLVING_MAX
    )


async def _awaited(
    choice: Choice,
    point: str,
    model: Model,
    caller: Caller,
    function: Callable[[], Awaitable[object]],
    usual: timedelta,
) -> object:
    raised: list[ModelError] = []

    async def call() -> object:
        try:
            return await function()
        except ModelError as error:
            raised.append(error)
            raise

    deadline = usual if choice.deadline is None else choice.deadline
    log.debug("loader_called", loader=choice.name, point=point, model=model.full_name)
    answer = await caller.call_async(_about(choice.name, point, model), call, deadline)
    outcome = "failed" if isinstance(answer, Failed) else "ok"
    log.debug(
        "loader_ended", loader=choice.name, point=point, model=model.full_name, outcome=outcome
    )
    if not isinstance(answer, Failed):
        return answer
    if raised:
        raise raised[0]
    raise ModelError(f"loader {choice.name}: {answer.text}")


def _about(name: str, point: str, model: Model) -> About:
    return About(PluginKind.MODEL_LOADER, name, point, subject=model.full_name)
