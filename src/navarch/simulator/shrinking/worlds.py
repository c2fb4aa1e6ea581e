"""A world of the crash sweep that fails becomes a quieter one that fails in the same way.

A world is a seed, a plan and the boundaries where the control plane dies. The seed stays, so every
stream of chance rolls as before; each trait of the plan is replaced by its quiet default, lists get
shorter, numbers smaller, and crashes fewer. A crash is a number of a boundary: a quieter plan has
other boundaries, so a failure that needs a crash at one place may be lost on the way, and then the
trait stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from enum import Enum
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields, replace

from navarch.simulator.dice import Dice
from navarch.simulator.faults import Plan, draw_plan
from navarch.simulator.shrinking.failures import masked
from navarch.simulator.shrinking.reducing import Attempts, Limits, ddmin
from navarch.simulator.shrinking.scenarios import NothingFails
from navarch.simulator.world import Failed, World

ROUNDS_MAX: Final = 6
MINUTE: Final = timedelta(minutes=1)
PLAIN: Final = Limits()

SHORTENED: Final = frozenset({"faults_last", "min_nodes", "max_nodes"})
"""What is made smaller even where it is as usual."""

Candidate = tuple[Plan, tuple[int, ...]]


class ShrunkWorld(Struct, frozen=True):
    """What a world was shrunk to."""

    seed: int
    plan: Plan
    crashes: tuple[int, ...]
    message: str
    """How it fails, with the newest facts of its journal."""
    runs: int
    is_whole: bool
    """Whether nothing more could be tried, within any limits."""

    @property
    def text(self) -> str:
        """The world as Python, behind how it fails."""
        remarks = "\n".join(f"# {line}" for line in self.message.splitlines())
        made = f"World({self.seed}, {written(self.plan)}, crashes={self.crashes!r}).run()"
        return f"{remarks}\n{made}\n"


def shrink_world(
    seed: int,
    plan: Plan | None = None,
    crashes: Sequence[int] = (),
    *,
    limits: Limits = PLAIN,
    tell: Callable[[str], None] = lambda _line: None,
) -> ShrunkWorld:
    """Shrink a world that fails; without a plan, the one that its seed draws.

    Raises `NothingFails` where it does not.
    """
    plan = plan or draw_plan(Dice(seed))
    first = _run(seed, (plan, tuple(crashes)))
    if first is None:
        raise NothingFails(f"World({seed}, crashes={tuple(crashes)}) does not fail")
    target, message = first
    best: Candidate = (plan, tuple(crashes))
    messages = {_key(best): message}

    def fails(candidate: Candidate) -> bool:
        found = _run(seed, candidate)
        if found is None or found[0] != target:
            return False
        messages[_key(candidate)] = found[1]
        return True

    attempts: Attempts[Candidate] = Attempts(fails, _key, limits, tell)
    attempts.tell(f"it fails: {message.splitlines()[0]}")
    for _ in range(ROUNDS_MAX):
        before = best
        best = _with_fewer_crashes(best, attempts)
        best = _with_quieter_plan(best, attempts)
        if best == before or attempts.spent:
            break
    plan, left = best
    return ShrunkWorld(seed, plan, left, messages[_key(best)], attempts.runs, not attempts.spent)


def _run(seed: int, candidate: Candidate) -> tuple[str, str] | None:
    """Run a world; return how it fails, and what it says; None where it does not."""
    plan, crashes = candidate
    try:
        World(seed, plan, crashes=crashes).run()
    except Failed as failed:
        text = str(failed)
        return masked(text.split("\n", 1)[0]), text
    except Exception as error:  # noqa: BLE001 - how a run ends is what is looked at here
        text = f"{type(error).__name__}: {error}"
        return masked(text.split("\n", 1)[0]), text
    return None


def _key(candidate: Candidate) -> str:
    return repr(candidate)


def _with_fewer_crashes(best: Candidate, attempts: Attempts[Candidate]) -> Candidate:
    plan, crashes = best
    kept = ddmin(crashes, lambda some: attempts.fails((plan, tuple(some))))
    if len(kept) < len(crashes):
        attempts.tell(f"{len(kept)} of {len(crashes)} crashes are left")
    return plan, tuple(kept)


def _with_quieter_plan(best: Candidate, attempts: Attempts[Candidate]) -> Candidate:
    plan, crashes = best
    refused: set[str] = set()
    been = {_key(best)}
    is_new = True
    while is_new and not attempts.spent:
        is_new = False
        for what, quieter in simpler(plan):
            key = _key((quieter, crashes))
            if what in refused or key in been:
                continue
            if attempts.fails((quieter, crashes)):
                attempts.tell(what)
                been.add(key)
                plan, is_new = quieter, True
                break
            refused.add(what)
    return plan, crashes


# --- what is simpler -------------------------------------------------------------------------


def simpler(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Yield simpler versions of a plan, or of a part of one, each with what is simpler about it.

    The largest steps come first. What cannot be made, for its parts do not fit, is left out.
    """
    if isinstance(value, Struct):
        yield from _simpler_struct(value, name)
    elif isinstance(value, tuple):
        yield from _simpler_tuple(value, name)
    elif isinstance(value, timedelta):
        half = value // 2 // MINUTE * MINUTE
        if half >= MINUTE:
            yield f"{name}: {half}", half
    elif isinstance(value, int) and not isinstance(value, bool) and value > 1:
        yield f"{name}: {value // 2}", value // 2
        yield f"{name}: {value - 1}", value - 1


def _simpler_struct(value: Struct, name: str) -> Iterator[tuple[str, Struct]]:
    place = f"{name}." if name else ""
    for each in fields(value):
        now, default = getattr(value, each.name), _default(each)
        is_larger = each.name in SHORTENED and default is not NODEFAULT and default > now
        if default is not NODEFAULT and now != default and not is_larger:
            made = _replaced(value, each.name, default)
            if made is not None:
                yield f"{place}{each.name}: {default!r:.60}", made
    for each in fields(value):
        now = getattr(value, each.name)
        if now == _default(each) and each.name not in SHORTENED:
            continue
        for what, part in simpler(now, f"{place}{each.name}"):
            made = _replaced(value, each.name, part)
            if made is not None:
                yield what, made


def _simpler_tuple(value: tuple[Any, ...], name: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for number in range(len(value) - 1, -1, -1):
        yield f"{name}[{number}] of {len(value)}", value[:number] + value[number + 1 :]
    for number, each in enumerate(value):
        if isinstance(each, Struct):
            for what, part in simpler(each, f"{name}[{number}]"):
                yield what, (*value[:number], part, *value[number + 1 :])


def _default(field: msgspec.structs.FieldInfo) -> Any:  # noqa: ANN401
    if field.default_factory is not NODEFAULT:
        return field.default_factory()
    return field.default


def _replaced(value: Struct, name: str, part: object) -> Struct | None:
    """Replace a field; None where the whole does not fit any more."""
    try:
        return replace(value, **{name: part})
    except ValueError:
        return None


# --- written as Python -----------------------------------------------------------------------


def written(value: object) -> str:
    """Write a plan, or a part of one, as Python that makes an equal one; defaults are left out.

    Names are those of the classes, and `timedelta`.
    """
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, Struct):
        said = []
        for each in fields(value):
            now, default = getattr(value, each.name), _default(each)
            if default is NODEFAULT or now != default:
                said.append(f"{each.name}={written(now)}")
        return f"{type(value).__name__}({', '.join(said)})"
    if isinstance(value, timedelta):
        return f"timedelta(seconds={value.total_seconds():g})" if value else "timedelta()"
    if isinstance(value, tuple):
        return f"({', '.join(map(written, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{written(k)}: {written(v)}' for k, v in value.items())}}}"
    return repr(value)
