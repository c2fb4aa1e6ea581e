"""What a condition may cost at worst, so that no policy can stall the control plane.

The library bounds the depth of an expression (32) and the steps of its loops (10,000 an
evaluation), but neither a regular expression nor a list that a loop builds. So the worst case is
worked out from the tree, in units of about 0.1 µs, and what is above the limit is refused when the
policy is read. Measured on cel-expr-python 0.1.3, two vCPUs of an AMD EPYC, November 2026: a step
of a tree 0.08 µs; a list of n that a loop builds 0.011 n² µs; ``(a?){250}b`` over 4 KiB 2.9 ms;
looking for n/2 characters in n 5 n² ps, so 22 s for a text that loops have doubled eight times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from navarch.policy.mistakes import Mistake, Mistakes
from navarch.policy.readings import METRICS_MAX, TEXT_MAX
from navarch.policy.syntax import Part, Tree

LENGTH_MAX: Final = 4096
"""Characters of one condition."""
COST_MAX: Final = 100_000
"""Units of one condition: about 10 ms."""
COST_SUM_MAX: Final = 1_000_000
"""Units of all conditions of a policy together: about 100 ms for the worst event."""
SIZE_MAX: Final = 4_000_000
"""Characters of a text or a list that a condition may build while it is evaluated."""
PATTERN_MAX: Final = 256
"""Characters of a regular expression."""
PATTERN_WEIGHT_MAX: Final = 200
"""Characters of a regular expression when its repetitions are written out."""

_SEARCH_COST: Final = 100
"""Looking for one text in another."""


def check_text(text: str) -> None:
    """Refuse a condition that is too long to be looked at; raises `Mistakes`."""
    if len(text) > LENGTH_MAX:
        message = f"has {len(text):,} characters, expected at most {LENGTH_MAX:,}"
        raise Mistakes([Mistake(message)])


def check_tree(tree: Tree) -> int:
    """Work out the worst cost of a condition; raises `Mistakes` if it is above the limit."""
    weight = _weigh(tree.root, {}, tree)
    if weight.cost > COST_MAX:
        message = (
            f"may take {weight.cost / COST_MAX:,.1f} times as long as one condition may;"
            " loop over less, or nest fewer loops"
        )
        raise Mistakes([Mistake(message)])
    return weight.cost


class _Weight(Struct, frozen=True):
    """The worst of one part: what it takes, and what it is when it is done."""

    cost: int
    size: int = 1
    """Characters of a text, or of all elements of a list together; 1 for anything small."""
    length: int | None = None
    """Elements of a list; None where they cannot be told."""
    element: int = 1
    """The size of the largest element."""


_TEXT: Final = TEXT_MAX + 1
_SIZES: Final = {
    **dict.fromkeys(("event.event_type", "event.system", "event.gpu_uuid", "event.message"), _TEXT),
    **dict.fromkeys(("known.name", "known.text", "known.advice"), 256),
}
_SMALL: Final = frozenset(
    [
        *("startsWith", "endsWith", "@in", "int", "uint", "double", "bool", "type"),
        *("_<_", "_<=_", "_>_", "_>=_", "count", "node_count", "duration", "timestamp"),
    ]
)
"""Functions whose answers are small, whatever they are given."""
_RESULT: Final = "@result"
"""What the library calls the value that a loop builds."""


def _weigh(part: Part, sizes: Mapping[str, int], tree: Tree) -> _Weight:
    """Weigh a part; `sizes` are those of the variables of the loops around it."""
    match part.kind:
        case "constant":
            return _Weight(1, len(part.value) + 1 if isinstance(part.value, str | bytes) else 1)
        case "name":
            if part.name == "event.metrics" and part.name not in sizes:
                return _Weight(1, METRICS_MAX * 2 * _TEXT, METRICS_MAX, _TEXT)
            return _Weight(1, sizes.get(part.name, _SIZES.get(part.name, 1)))
        case "loop":
            return _loop(part, sizes, tree)
        case _:
            weight = _made(part, [_weigh(each, sizes, tree) for each in part.parts], tree)
    if weight.size > SIZE_MAX:
        message = f"may build a text or a list of more than {SIZE_MAX:,} characters"
        raise Mistakes([Mistake(message, tree.places.get(part.number))])
    return weight


def _made(part: Part, of: Sequence[_Weight], tree: Tree) -> _Weight:
    """Weigh a part that is no loop by the weights of what it is made of."""
    cost = 1 + sum(each.cost for each in of)
    size = sum(each.size for each in of)
    largest = max((each.size for each in of), default=1)
    match part.name if part.kind == "call" else part.kind:
        case "list":
            return _Weight(cost, size + 1, len(of), largest)
        case "map":
            return _Weight(cost, size + 1, len(of) // 2, largest)
        case "select" | "_[_]":
            return _Weight(cost, min(of[0].size, _TEXT) if of[0].length else of[0].size)
        case "_+_":
            lengths = [each.length for each in of if each.length is not None]
            length = sum(lengths) if len(lengths) == len(of) else None
            return _Weight(cost + _copy(size), size, length, max(each.element for each in of))
        case "_?_:_":
            lengths = [each.length for each in of[1:] if each.length is not None]
            length = max(lengths) if len(lengths) == 2 else None
            return _Weight(cost, largest, length, max(each.element for each in of[1:]))
        case "dyn":
            return _Weight(cost, of[0].size, of[0].length, of[0].element)
        case "contains":
            return _Weight(cost + _SEARCH_COST + of[0].size * of[1].size // 10_000)
        case "matches":
            passes = -(-of[0].size // _TEXT)
            return _Weight(cost + passes * _pattern_cost(part, tree))
        case "_==_" | "_!=_":
            return _Weight(cost + min(each.size for each in of) // 1000)
        case "_&&_" | "_||_" | "!_" | "size":
            return _Weight(cost)
        case _ if part.name in _SMALL:
            return _Weight(cost + _copy(size))
        case _:
            return _Weight(cost + _copy(size), size + 64)


def _copy(size: int) -> int:
    """Moving texts: 1.5 KB a microsecond; comparing is seven times as quick."""
    return size // 150


def _loop(part: Part, sizes: Mapping[str, int], tree: Tree) -> _Weight:
    source, start, condition, step, result = part.parts
    over = _weigh(source, sizes, tree)
    if over.length is None:
        message = "loops over something whose length cannot be told; loop over event.metrics"
        raise Mistakes([Mistake(message, tree.places.get(source.number))])
    inner = {**sizes, part.name: over.element, _RESULT: 0}
    steps, once = over.length, _weigh(step, inner, tree)
    cost = over.cost + steps * (_weigh(condition, inner, tree).cost + once.cost)
    cost += _weigh(start, sizes, tree).cost + _weigh(result, inner, tree).cost
    if start.kind != "list":
        return _Weight(cost)
    size = steps * once.size
    if size > SIZE_MAX:
        message = f"may build a list of more than {SIZE_MAX:,} characters"
        raise Mistakes([Mistake(message, tree.places.get(part.number))])
    return _Weight(cost + steps * steps // 10, size, steps, once.size)


# --- regular expressions ----------------------------------------------------------------------


def _pattern_cost(part: Part, tree: Tree) -> int:
    place = tree.places.get(part.number)
    pattern = part.parts[-1].value
    if part.parts[-1].kind != "constant" or not isinstance(pattern, str):
        raise Mistakes([Mistake("matches: expected the pattern in quotes", place)])
    if len(pattern) > PATTERN_MAX:
        message = f"matches: the pattern has {len(pattern)} characters, at most {PATTERN_MAX} fit"
        raise Mistakes([Mistake(message, place)])
    weight = pattern_weight(pattern)
    if weight > PATTERN_WEIGHT_MAX:
        message = (
            f"matches: the pattern is {weight:,} characters long with its repetitions written out,"
            f" expected at most {PATTERN_WEIGHT_MAX}"
        )
        raise Mistakes([Mistake(message, place)])
    return 2 * weight * weight + _SEARCH_COST


_TOKEN = re.compile(
    r"\\[pP](?:\{\^?\w+\}|\w)"  # a class of Unicode: many ranges of bytes
    r"|\\Q.*?(?:\\E|$)"
    r"|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]?"
    r"|\{\d+(?:,\d*)?\}|\(\?[\w-]*:?|.",
    re.DOTALL,
)


def pattern_weight(pattern: str) -> int:
    """How long a regular expression is when its counted repetitions are written out.

    Never too little: an unknown sign counts as one, a class of Unicode as 25, and ignoring case
    doubles everything.
    """
    sums = [0]
    last = 0
    for sign in _TOKEN.findall(pattern):
        if sign.startswith("(") and (sign == "(" or sign[-1] == ":"):
            sums.append(0)
            last = 0
        elif sign == ")" and len(sums) > 1:
            last = sums.pop()
            sums[-1] += last
        elif found := re.fullmatch(r"\{(\d+)(,?)(\d*)\}", sign):
            times = max(int(found[1]) + bool(found[2]), int(found[3] or 0))
            sums[-1] += last * max(times - 1, 0)
            last *= max(times, 1)
        elif sign in ("*", "+", "?"):
            continue
        else:
            last = _weight(sign)
            sums[-1] += last
    doubled = re.search(r"\(\?[a-zA-Z]*i", pattern) is not None
    return sum(sums) * (2 if doubled else 1)


def _weight(sign: str) -> int:
    if sign.startswith(("\\p", "\\P")):
        return 25
    if sign.startswith("\\Q"):
        return len(sign)
    if sign.startswith("["):
        return 25 if re.search(r"\\[pP]|\[:", sign) else 2 + len(sign) // 8
    if sign == "." or not sign.isascii():
        return 3
    return 1
