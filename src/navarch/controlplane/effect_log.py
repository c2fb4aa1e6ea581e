"""How effects and notices are told: what was asked of whom, because of what, and what came of it.

One event each: ``effect_performed`` where it went well, ``effect_failed`` where it did not, with
`outcome` and `error`. Whatever else is logged meanwhile, by a provider's library too, carries the
same `seq`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, assert_never

from navarch.controlplane.causes import Cause
from navarch.core.model import messages as msg
from navarch.core.model.actions import (
    Action,
    AskDrained,
    Launch,
    ListTypes,
    Purchase,
    TakeInventory,
    Tell,
    Terminate,
)
from navarch.telemetry import tracing
from navarch.telemetry.log import Log, bound

CALLS: Final[Mapping[type[Purchase], str]] = {
    Launch: "provision",
    Terminate: "terminate",
    TakeInventory: "list",
    ListTypes: "list_instance_types",
}
"""The method of a provider that an action comes to."""


@contextmanager
def caused_by(cause: Cause, action: Action) -> Iterator[tracing.Span]:
    """Do what an action asks inside of this: its logs and spans name the cause.

    The span lies where the cause was decided.
    """
    name, fields = _described(action)
    with (
        bound(seq=cause.seq),
        tracing.span(
            name, {**fields, "seq": cause.seq}, kind="client", within=cause.origin
        ) as span,
    ):
        yield span


def tell(log: Log, action: Purchase, outcome: msg.Message, seconds: float) -> str:
    """Log what came of an effect, and return what went wrong; empty when nothing did.

    Why a price list could not be read is known, and logged, only where it was tried.
    """
    if isinstance(outcome, msg.TypesListed) and outcome.types is None:
        return "it cannot be read"
    word, error = _outcome(outcome)
    routine = isinstance(action, TakeInventory | ListTypes)
    level = logging.WARNING if error else logging.DEBUG if routine else logging.INFO
    if log.tells(level):
        fields: dict[str, object] = {"call": CALLS[type(action)], **_described(action)[1]}
        if isinstance(outcome, msg.Launched):
            fields["ref"] = outcome.machine.ref
        fields |= {"outcome": word, "seconds": round(seconds, 3)}
        if error:
            log.warning("effect_failed", **fields, error=error)
        else:
            log.at(level, "effect_performed", **fields)
    return error


def _described(action: Action) -> tuple[str, dict[str, str]]:
    """The name of the span of an action, and whom it is about."""
    match action:
        case Launch():
            about = {"instance": action.instance_id, "pool": action.pool}
        case Terminate():
            about = {"instance": action.instance_id, "ref": action.ref}
        case TakeInventory() | ListTypes():
            about = {}
        case Tell():
            return "notifier.tell", {"node": action.node_id, "told": action.told.value}
        case AskDrained():
            return "notifier.drained", {"node": action.node_id}
        case _:
            assert_never(action)
    return f"provider.{CALLS[type(action)]}", {"provider": action.provider, **about}


def _outcome(outcome: msg.Message) -> tuple[str, str]:
    """A word for an outcome, and what went wrong."""
    match outcome:
        case msg.Launched():
            return "launched", ""
        case msg.LaunchRefused():
            return "refused", f"{outcome.failure}: {outcome.text}"
        case msg.LaunchLost():
            return "unknown", outcome.text
        case msg.TerminateAnswered() if outcome.error:
            return "failed", outcome.error
        case msg.InventoryFailed():
            return "failed", outcome.text
        case _:
            return "ok", ""
