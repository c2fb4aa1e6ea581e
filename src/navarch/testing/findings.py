"""How a kit of checks is written, and how it is run: by pytest, or by a program.

A kit is a class whose methods are checks. pytest runs them as tests, with the fixture `make_plugin`
that the author writes; `findings_of` runs the same methods without pytest, and answers with a
`Finding` for each. A check is told from any other method by `checked`.

Rules that hold: each check gets a plugin that was made for it; a check that fails says what the
plugin answered and what was expected; one that cannot be shown here says why, and is no failure.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, ClassVar, Final, NoReturn, TypeAlias, TypeVar

from msgspec import Struct

from navarch.controlplane.clock import RealClock

TEXT_MAX: Final = 600
"""How many characters of a verdict are kept: a plugin may answer with megabytes."""


class Finding(Struct, frozen=True):
    """What came of one check."""

    check: str
    """What was to be shown, as a sentence."""
    ok: bool
    text: str = ""
    """Not ok: what the plugin did, and what was expected. Else a measurement, or nothing."""
    seconds: float = 0.0
    """How long the check took."""
    skipped: bool = False
    """Whether it could not be shown here; `text` says why, and `ok` is true."""


class Broken(AssertionError):
    """A plugin does not keep its contract."""


class NotShown(Exception):
    """A check means nothing for this plugin, or cannot be tried here."""


def expect(condition: object, text: str) -> None:
    """Say what is wrong unless `condition` holds. Raises `Broken`."""
    if not condition:
        raise Broken(text)


def not_shown(reason: str) -> NoReturn:
    """End a check that cannot be tried, and say why."""
    raise NotShown(reason)


# A plugin is any object; the kit of its kind says which protocol it is.
Plugin: TypeAlias = Any
MakePlugin: TypeAlias = Callable[[], Plugin]
"""Makes a new plugin. One that needs a loop makes it when it is first called."""


class PluginContract:
    """What every kit has. Subclass the kit of your kind, and add the fixture `make_plugin`."""

    kind: ClassVar[str] = ""
    """The word of `navarch.plugins.PluginKind`."""

    named: ClassVar[bool] = True
    """Whether plugins of this kind have a name."""

    has_priority: ClassVar[bool] = True
    """Whether plugins of this kind have a priority."""

    not_applicable: ClassVar[Mapping[str, str]] = {}
    """Checks that mean nothing for this plugin, by the names of their tests, each with its reason;
    skipped."""

    patience: ClassVar[timedelta] = timedelta(seconds=10)
    """How long one call may take, and a cancelled one may take to end."""

    samples: ClassVar[tuple[str, ...]] = ()
    """Attributes that hold what plugins are asked about: each check is given copies of its own, so
    that a plugin that changes them is found, and no later check is misled."""

    strict: bool = True
    """Whether the plugin's far end (its bucket, its server) is there. A program that finds a plugin
    on a disk does not know one; the author's test sets one up."""

    _make: MakePlugin | None = None

    def another(self) -> Plugin:
        """Make one more plugin, configured alike."""
        assert self._make is not None, "checks are run by pytest or by findings_of"
        return self._make()


C = TypeVar("C", bound=PluginContract)
Check: TypeAlias = Callable[[Any, Plugin], str | Awaitable[str | None] | None]
"""A check as it is written; it returns a measurement, or nothing."""


class CheckedTest:
    """Marks what `checked` has made, and carries what it was made of."""

    def __init__(self, check: Check) -> None:
        self.check = check


def checked(check: Check) -> Callable[[Any, MakePlugin], None]:
    """Make a test of a check; the check itself stays with it for `findings_of`."""

    def run(self: PluginContract, make_plugin: MakePlugin) -> None:
        import pytest  # noqa: PLC0415 - only whoever runs pytest has it

        if reason := self.not_applicable.get(check.__name__):
            pytest.skip(reason)
        self._make = make_plugin
        try:
            run_check(self, check)
        except NotShown as reason:
            pytest.skip(str(reason))

    run.__name__ = check.__name__
    run.__qualname__ = check.__qualname__
    run.__doc__ = check.__doc__
    run.__dict__["checked"] = CheckedTest(check)
    return run


def run_check(contract: PluginContract, check: Check) -> str:
    """Run one check on a plugin made for it; return what it measured.

    Raises `Broken`, `NotShown`, or what the plugin raises where it must not.
    """
    for name in contract.samples:
        setattr(contract, name, copy.deepcopy(getattr(type(contract), name)))
    if not inspect.iscoroutinefunction(check):
        answer = check(contract, contract.another())
        return answer if isinstance(answer, str) else ""

    async def scenario() -> str:
        made = contract.another()
        try:
            return await check(contract, made) or ""
        finally:
            await _close(made)

    return asyncio.run(scenario())


async def _close(plugin: Plugin) -> None:
    """Close a plugin that can be closed: what it holds belongs to the loop that ends now."""
    close = getattr(plugin, "close", None)
    if callable(close):
        closing = close()
        if inspect.isawaitable(closing):
            await closing


def checks_of(contract: type[PluginContract]) -> list[tuple[str, Check]]:
    """List the checks of a kit with the names of their tests, the general ones first."""
    found: dict[str, Check] = {}
    for page in reversed(contract.__mro__):
        for name, member in vars(page).items():
            marked = getattr(member, "checked", None)
            if isinstance(marked, CheckedTest):
                found[name] = marked.check
    return list(found.items())


def sentence(test: str) -> str:
    """Turn a test's name into what it says.

    >>> sentence("test_a_score_is_whole")
    'a score is whole'
    """
    return test.removeprefix("test_").replace("_", " ").replace(" s ", "'s ")


def findings_of(contract: PluginContract, make: MakePlugin) -> Iterator[Finding]:
    """Run all checks of a kit, one after the other; each is told when it is done.

    Never raises for what a plugin does; one that does not return holds the caller up, so that who
    does not trust it runs this in a process of its own.
    """
    contract._make = make
    clock = RealClock()
    for name, check in checks_of(type(contract)):
        if reason := contract.not_applicable.get(name):
            yield Finding(sentence(name), ok=True, text=reason, skipped=True)
            continue
        began = clock.now()
        ok, skipped = True, False
        try:
            text = run_check(contract, check)
        except NotShown as reason:
            text, skipped = str(reason), True
        except Broken as broken:
            ok, text = False, str(broken)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises is the finding
            ok, text = False, f"raised {told(error)}"
        seconds = (clock.now() - began).total_seconds()
        yield Finding(sentence(name), ok, text[:TEXT_MAX], seconds, skipped)


def told(error: BaseException) -> str:
    """Say on one line what was raised, and where in the plugin."""
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if "/navarch/testing/" not in code.co_filename:
            place = f" at {code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


def seconds_of(function: Callable[[], object]) -> float:
    """Measure how long a call takes, in seconds."""
    clock = RealClock()
    began = clock.now()
    function()
    return (clock.now() - began).total_seconds()
