"""What is asked of plugins of every kind: a name, a priority, a summary; and of the pure ones more.

Kits of kinds are built on these; `navarch.testing.findings` is how they are run.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from navarch.testing.findings import Broken, Plugin, PluginContract, checked, expect
from navarch.testing.purity import Watched

NAME_MAX: Final = 63
"""Characters of a name: it stands in paths, labels of metrics and columns of tables."""

T = TypeVar("T")


class Manners(PluginContract):
    """Checks of every kind."""

    @checked
    def test_the_name_is_a_short_word_and_always_the_same(self, plugin: Plugin) -> str | None:
        """Traces, metrics and the configuration name the plugin."""
        name = getattr(plugin, "name", None)
        if not isinstance(name, str) or not name:
            raise Broken(f"name is {name!r}, expected a text")
        shown = repr(name)[:100]
        expect(name.split() == [name] and name.isprintable(), f"name {shown} is no single word")
        expect("/" not in name, f"name {shown} holds a slash, which stands between kind and name")
        expect(len(name) <= NAME_MAX, f"name {shown} is longer than {NAME_MAX} characters")
        other = self.another().name
        expect(other == name, f"another one made alike is called {other!r}, this one {name!r}")
        return name

    @checked
    def test_the_priority_is_a_whole_number(self, plugin: Plugin) -> str | None:
        """Plugins are asked in the order of their priorities, the highest first."""
        if not self.has_priority:
            return "this kind has none"
        priority = getattr(plugin, "priority", None)
        expect(type(priority) is int, f"priority is {priority!r}, expected a whole number")
        return str(priority)

    @checked
    def test_it_says_what_it_does(self, plugin: Plugin) -> str | None:
        """The first line of its docstring is its summary in lists of plugins."""
        said = (type(plugin).__doc__ or "").strip()
        expect(said, f"class {type(plugin).__name__} has no docstring; its first line is the text")
        return said.splitlines()[0]


def pure(asked: str, function: Callable[[], T]) -> T:
    """Call a method that may look at nothing but its arguments.

    Raises `Broken` that names what it reached for.
    """
    watched = Watched()
    try:
        with watched:
            return function()
    finally:
        if watched.culprit:
            text = f"{asked} calls {watched.culprit}; it may look at nothing but its arguments"
            raise Broken(text)


def same_twice(asked: str, function: Callable[[], T], other: Callable[[], T]) -> T:
    """Ask twice, the second time perhaps another plugin made alike; return the answer."""
    first, second = function(), other()
    expect(first == second, f"{asked} is {_short(first)}, and asked again {_short(second)}")
    return first


def untouched(asked: str, arguments: Sequence[object], function: Callable[[], T]) -> T:
    """Call a method, and see that its arguments are as before."""
    before = copy.deepcopy(arguments)
    answer = function()
    for was, now in zip(before, arguments, strict=True):
        name = type(now).__name__
        expect(was == now, f"{asked} changed its {name}: what is given is for reading only")
    return answer


def orders(count: int) -> list[list[int]]:
    """Some orders in which so many things can come: as they are, backwards, and shuffled."""
    straight = list(range(count))
    stride = next(each for each in (7, 11, 13, 17, 1) if count % each)
    return [straight, straight[::-1], [place * stride % count for place in straight]]


def is_word(value: object) -> bool:
    """Whether it is a text without blanks."""
    return isinstance(value, str) and value.split() == [value]


def is_number(value: object) -> bool:
    """Whether it is a finite number."""
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    return whole and math.isfinite(float(str(value)))


def expect_names(what: str, value: object) -> None:
    """See that it is a list of texts, each said once. Raises `Broken`."""
    if not isinstance(value, list):
        raise Broken(f"{what} is {value!r:.80}, expected a list of texts")
    odd = [name for name in value if not isinstance(name, str) or not name.strip()]
    expect(not odd, f"{what} holds {odd!r:.80}, expected texts")
    expect(len(set(value)) == len(value), f"{what} says a name twice: {value}")


def _short(answer: object) -> str:
    return repr(answer)[:120]
