"""Conditions in CEL: compiled with their types checked, bounded, and evaluated without surprises.

A thin layer over ``cel-expr-python`` 0.1.3 (Google's C++ CEL), whose habits it hides:

- A failed evaluation returns an *error value*, which is truthy, or raises. Here it is a `Failure`,
  and only the Boolean True itself is true.
- It raises bare ``RuntimeError`` for a mistake in an expression, as text that holds the places.
  Here it is a `Mistake` for each, with line and column.
- ``event.temperature`` of a map is found out at run time only. Variables are therefore declared by
  their full names (``event.message``), so an unknown one is a mistake at once.
- Its limits, a depth of 32 and 10,000 steps of loops for an evaluation, do not bound regular
  expressions or growing lists: `navarch.policy.bounds` does, from the tree.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from cel_expr_python import cel  # type: ignore[import-untyped] # its .pyi are not marked
from msgspec import Struct

from navarch.policy import bounds
from navarch.policy.mistakes import Mistake, Mistakes, at
from navarch.policy.reads import Reads, reads_of
from navarch.policy.syntax import Part, Tree, parse_tree, walk
from navarch.policy.vocabulary import EVENT_FIELDS, FUNCTIONS, nearest
from navarch.policy.windows import parse_window

Counted = Mapping[tuple[str, str, timedelta], int]
"""Function, kind and window to the count, for the event that is judged."""

VARIABLES: Final[dict[str, cel.Type]] = {
    "event.event_type": cel.Type.STRING,
    "event.system": cel.Type.STRING,
    "event.gpu_index": cel.Type.INT,
    "event.gpu_uuid": cel.Type.STRING,
    "event.message": cel.Type.STRING,
    "event.metrics": cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
    "event.timestamp": cel.Type.TIMESTAMP,
    "known.found": cel.Type.BOOL,
    "known.code": cel.Type.INT,
    "known.name": cel.Type.STRING,
    "known.text": cel.Type.STRING,
    "known.action": cel.Type.STRING,
    "known.severity": cel.Type.STRING,
    "known.advice": cel.Type.STRING,
    "known.verdict": cel.Type.STRING,
    "known.linked": cel.Type.BOOL,
    "known.fatal": cel.Type.BOOL,
}
"""Each variable by its full name. What they hold: `navarch.policy.knowing`, docs/policy.md."""

KNOWN_FIELDS: Final = tuple(name.partition(".")[2] for name in VARIABLES if name[0] == "k")


class Failure(Struct, frozen=True):
    """Why an expression gave no answer."""

    why: str


class Expression(Struct, frozen=True, eq=False):
    """A condition, ready to be evaluated as often as wanted."""

    text: str
    tree: Tree
    program: cel.Expression
    reads: Reads
    """What it looks at: the answer depends on nothing else."""
    cost: int
    """At worst, in units of about 0.1 µs."""

    def ask(self, variables: Activation) -> bool | Failure:
        """Evaluate it; never raises for the sake of a value."""
        return _asked(self.program, variables)


class Activation:
    """The variables of one event, and its counts, for any number of expressions."""

    __slots__ = ("counted", "native")

    def __init__(self, values: Mapping[str, object], counted: Counted) -> None:
        """Hold `values` by the full names of `VARIABLES`; what is absent fails when it is read."""
        self.native = _ENVIRONMENT.Activation(values)
        self.counted = counted


def compile_condition(text: str) -> Expression:
    """Compile a condition.

    Raises `Mistakes`, never anything else: it is no CEL, its types do not fit, it gives no Boolean,
    or it could take too long.
    """
    bounds.check_text(text)
    program = _compiled(text)
    if program.return_type() != cel.Type.BOOL:
        gives = program.return_type().name().lower()
        raise Mistakes([Mistake(f"gives {gives}, expected a condition that is true or false")])
    try:
        tree = parse_tree(program.serialize())
        cost = bounds.check_tree(tree)
        _check_patterns(tree)
        return Expression(text, tree, program, reads_of(tree), cost)
    except (ValueError, RuntimeError) as error:
        raise Mistakes([Mistake(f"cannot be analysed: {error}")]) from error


def alone(expression: Expression, part: Part) -> Callable[[Activation], bool | Failure]:
    """Make a program of one part of an expression."""
    program = _ENVIRONMENT.deserialize(expression.tree.alone(part))
    return lambda variables: _asked(program, variables)


def conjuncts(part: Part) -> Sequence[Part]:
    """List what all has to be true for a part to be: the sides of its ``&&``.

    If any of them is false the whole is false, even if another fails (cel-spec, "Logical
    Operators").
    """
    if part.kind == "call" and part.name == "_&&_":
        return [each for side in part.parts for each in conjuncts(side)]
    return [part]


# --- evaluation -------------------------------------------------------------------------------

WHY_MAX: Final = 200
"""Characters of a reason."""


class _Counting(threading.local):
    """The counts of the event that this thread judges now.

    The library's functions get no other context.
    """

    counted: Counted = {}  # noqa: RUF012  # replaced as a whole, never changed


_counting = _Counting()


def _asked(program: cel.Expression, variables: Activation) -> bool | Failure:
    _counting.counted = variables.counted
    try:
        answer = program.eval(variables.native).value()
    except (RuntimeError, TypeError) as error:
        return Failure(_reason(str(error)))
    if answer is True or answer is False:
        return answer
    return Failure(_reason(answer) if isinstance(answer, str) else f"gave {answer!r:.80}")


def _reason(text: str) -> str:
    """Put the library's words into ours: ``NOT_FOUND: Key not found in map : "x"``."""
    said = re.sub(r"^[A-Z_]+: ", "", " ".join(text.split()))
    said = re.sub(r" \[[A-Z_]+\]$", "", said)
    if found := re.fullmatch(r'Key not found in map : "(.*)"', said):
        said = f"there is no metric {found[1]}"
    elif "event.timestamp" in said and "No value" in said:
        said = "the event has no timestamp"
    elif said.startswith("No matching overloads found : "):
        said = f"cannot apply {said.removeprefix('No matching overloads found : ')}"
    elif said == "Iteration budget exceeded":
        said = "loops take more than 10,000 steps"
    return said[:WHY_MAX]


def _function(name: str) -> cel.FunctionDecl:
    def of(kind: str, window: str | timedelta) -> int:
        length = window if isinstance(window, timedelta) else parse_window(window)
        return _counting.counted[name, kind, length]

    return cel.FunctionDecl(
        name,
        [
            cel.Overload(
                f"{name}_{form.name().lower()}",
                return_type=cel.Type.INT,
                parameters=[cel.Type.STRING, form],
                is_member=False,
                impl=of,
            )
            for form in (cel.Type.STRING, cel.Type.DURATION)
        ],
    )


_ENVIRONMENT = cel.NewEnv(variables=VARIABLES, functions=[_function(name) for name in FUNCTIONS])

_PATTERN_PROBE = cel.NewEnv(variables={"pattern": cel.Type.STRING}).compile("''.matches(pattern)")


def _check_patterns(tree: Tree) -> None:
    """Refuse regular expressions that are none: the library finds out when it evaluates them."""
    for part in walk(tree.root):
        if part.kind == "call" and part.name == "matches":
            answer = _PATTERN_PROBE.eval(data={"pattern": part.parts[-1].value}).value()
            if isinstance(answer, str):
                message = f"matches: {_reason(answer)}"
                raise Mistakes([Mistake(message, tree.places.get(part.number))])


# --- mistakes ---------------------------------------------------------------------------------

_MISTAKE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")


def _compiled(text: str) -> cel.Expression:
    try:
        return _ENVIRONMENT.compile(text)
    except TypeError as error:
        raise Mistakes([Mistake("holds half a character, expected Unicode text")]) from error
    except RuntimeError as error:
        raise Mistakes(_mistakes(str(error), text)) from error


def _mistakes(said: str, text: str) -> Sequence[Mistake]:
    """Read the library's complaints: one text, each with a place and a drawing of it."""
    found = []
    for line, column, words in _MISTAKE.findall(said):
        place = at(text, int(line), int(column)) if int(line) > 0 else None
        mistake = Mistake(_worded(words), place)
        if mistake not in found:
            found.append(mistake)
    if not found:
        deep = "recursion" in said
        short = said.partition(" [")[0][:WHY_MAX]
        found.append(Mistake("nested more than 32 levels deep" if deep else short))
    return found


def _worded(words: str) -> str:
    """Put a complaint of the library into words for people."""
    words = words.replace(" (in container '')", "").replace(" [INVALID_ARGUMENT]", "")
    words = re.sub(r",? expecting \{.*", "", words)
    if found := re.search(r"undeclared reference to '([^']*)'", words):
        return f"nothing is called {found[1]}{_meant(found[1])}"
    if found := re.search(r"no matching overload for '([^']*)' applied to '(.*)'", words):
        name = found[1].strip("@").replace("_", " ").strip() if _sign(found[1]) else found[1]
        return f"{name} cannot be applied to {found[2]}"
    if "'<EOF>'" in words:
        return "Syntax error: the expression ends too early"
    if "max recursion depth" in words or "recursion limit" in words:
        return "nested more than 32 levels deep"
    return words[:WHY_MAX]


def _sign(function: str) -> bool:
    return function.startswith(("_", "@", "!", "-"))


def _meant(name: str) -> str:
    root, _, field = name.partition(".")
    match root:
        case "event":
            if not field:
                return f"; expected one of its fields, such as event.{EVENT_FIELDS[0]}"
            near = nearest(field, EVENT_FIELDS)
            if near:
                return near.replace("mean ", "mean event.")
            return f"; if it is a metric, write event.metrics.{field}"
        case "known":
            return nearest(field, KNOWN_FIELDS).replace("mean ", "mean known.")
        case _:
            fields = [f"event.{each}" for each in EVENT_FIELDS]
            if name in EVENT_FIELDS:
                return f"; did you mean event.{name}?"
            return nearest(name, [*FUNCTIONS, *fields, "known", "event"])
