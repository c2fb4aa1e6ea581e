"""What a plugin said, in one line that may be shown: never a text that it was given or gave."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Final, get_args, get_type_hints

from msgspec import Struct

from navarch.plugins.protocols import GuardrailResult

_ACTIONS: Final = frozenset(get_args(get_type_hints(GuardrailResult)["action"]))
REASON_MAX: Final = 160
"""Characters of a reason."""


class Said(Struct, frozen=True):
    """An answer whose host says what it comes to, such as a column of numbers."""

    answer: object
    verdict: str


def verdict_of(result: object) -> str:
    """Say what a plugin answered: a number, how many of how many, what it decided and why."""
    if isinstance(result, Said):
        return result.verdict
    if result is None:
        return "done"
    if isinstance(result, bool | int | float):
        return f"{result:g}" if isinstance(result, float) else str(result).lower()
    if isinstance(result, str | bytes):
        return f"a text of {len(result)}"
    if isinstance(result, GuardrailResult):  # its reason may quote what it was given
        return result.action if result.action in _ACTIONS else "an action that is none"
    replicas = getattr(result, "replicas", None)
    if isinstance(replicas, int | float):
        return _with_reason(f"{replicas:g} replicas", result)
    if getattr(getattr(result, "dtype", None), "kind", "") == "b" and isinstance(result, Sized):
        return f"{int(result.sum())} of {len(result)}"  # type: ignore[attr-defined]
    if isinstance(result, Mapping | list | tuple | set | frozenset):
        return f"{len(result)} of them"
    return type(result).__name__


def _with_reason(decided: str, result: object) -> str:
    reason = getattr(result, "reason", "") or getattr(result, "because", "")
    if not isinstance(reason, str) or not reason:
        return decided
    return f"{decided}: {' '.join(reason.split())[:REASON_MAX]}"
