"""The process in which plugins of others are tried: ``python -m``, one question on standard input.

It answers with a line of JSON for each thing that happens. What the plugin itself prints goes to
standard error.
"""

from __future__ import annotations

import os
import sys
from typing import IO

import msgspec
from msgspec import Struct, field

from navarch.errors import PluginError
from navarch.plugins import checks
from navarch.plugins.kinds import kind_of, word_of
from navarch.plugins.protocols import PluginKind
from navarch.testing.findings import Finding, checks_of, findings_of, sentence, told
from navarch.testing.plugin_search import Found, search
from navarch.testing.suites import BY_PYTEST, SUITES

FITS = "it has what its kind must have"


class Ask(Struct, frozen=True):
    """What is to be tried."""

    target: str
    kind: str = ""
    config: dict[str, object] = field(default_factory=dict)
    skip: int = 0
    """So many of the plugins were tried by a process before this one."""


class Tell(Struct, frozen=True, omit_defaults=True):
    """Something that happened."""

    refused: str = ""
    """Why nothing can be tried."""
    begins: str = ""
    """The plugin that is tried from now on."""
    kind: str = ""
    left: int = 0
    """With `begins`: how many plugins are to be tried, this one included."""
    name: str = ""
    check: str = ""
    """The check that begins now."""
    finding: Finding | None = None
    done: bool = False
    """All of the plugin's checks are over."""


class _Child:
    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def tell(self, tell: Tell) -> None:
        self._out.write(msgspec.json.encode(tell) + b"\n")
        self._out.flush()

    def run(self, ask: Ask) -> None:
        """Try all plugins that are meant."""
        try:
            found = search(ask.target, kind_of(ask.kind) if ask.kind else None)
        except PluginError as error:
            self.tell(Tell(refused=str(error)))
            return
        if ask.config and len(found) > 1:
            names = ", ".join(each.label for each in found)
            text = f"a config is for one plugin, {ask.target} holds {names}"
            self.tell(Tell(refused=text))
            return
        for number, each in enumerate(found[ask.skip :]):
            left = len(found) - ask.skip - number
            self.tell(Tell(begins=each.label, kind=word_of(each.kind), left=left))
            self._try(each, ask)
            self.tell(Tell(done=True))

    def _try(self, found: Found, ask: Ask) -> None:
        self.tell(Tell(check=FITS))
        try:
            plugin = found.make(ask.config)
            checks.check(found.kind, plugin)
        except PluginError as error:
            self.tell(Tell(finding=Finding(FITS, ok=False, text=str(error))))
            return
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises is the verdict
            self.tell(Tell(finding=Finding(FITS, ok=False, text=told(error))))
            return
        name = str(getattr(plugin, "name", ""))
        self.tell(Tell(name=name, finding=Finding(FITS, ok=True, text=checks.summary_of(plugin))))
        self._hold_against_kit(found, ask)

    def _hold_against_kit(self, found: Found, ask: Ask) -> None:
        suite = SUITES.get(found.kind)
        if suite is None:
            self.tell(Tell(finding=_without_kit(found.kind)))
            return
        contract = suite()
        contract.strict = False
        left = [sentence(name) for name, _ in checks_of(suite)]
        self.tell(Tell(check=left[0]))
        for finding in findings_of(contract, lambda: found.make(ask.config)):
            left.pop(0)
            self.tell(Tell(finding=finding, check=left[0] if left else ""))


def _without_kit(kind: PluginKind) -> Finding:
    suite = BY_PYTEST.get(kind)
    text = (
        f"its kit needs its far end: subclass navarch.testing.{suite} in a test of yours"
        if suite
        else "this kind has no kit"
    )
    return Finding("it keeps the contract of its kind", ok=True, text=text, skipped=True)


def main() -> None:
    """Answer the question on standard input."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _Child(out).run(msgspec.json.decode(sys.stdin.buffer.read(), type=Ask))


if __name__ == "__main__":
    main()
