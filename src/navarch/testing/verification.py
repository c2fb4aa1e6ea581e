"""Holds plugins of others against the kits of their kinds, in a process of its own.

Nothing of the plugin is imported here: the child finds it, makes it and runs the checks, and tells
of each on a line. One that hangs, crashes its process or floods its output costs a verdict and
nothing else. The deadline counts for each plugin; those behind one that hangs are still tried.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from typing import IO, Final

import msgspec
from msgspec import Struct

from navarch.errors import PluginError
from navarch.testing.findings import Finding
from navarch.testing.verification_child import Ask, Tell

DEADLINE: Final = timedelta(seconds=60)
"""How long all checks of one plugin may take, unless somebody says otherwise."""

LAST_WORDS: Final = 400
"""How many characters of the child's standard error are shown when it dies."""


class Verdict(Struct, frozen=True):
    """What came of one plugin."""

    plugin: str
    """Where it stands, as it was found."""
    kind: str
    name: str = ""
    """What it calls itself; empty: it could not be made."""
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it keeps its contract, as far as that was tried."""
        return bool(self.findings) and all(finding.ok for finding in self.findings)


def verify(
    target: str,
    *,
    kind: str = "",
    config: Mapping[str, object] | None = None,
    deadline: timedelta = DEADLINE,
) -> list[Verdict]:
    """Find the plugins that `target` means and try each; see `navarch.testing.plugin_search`.

    Raises `PluginError` when nothing can be found there, or finding it takes longer than the
    deadline.
    """
    return asyncio.run(_verify(Ask(target, kind, dict(config or {})), deadline))


async def _verify(ask: Ask, deadline: timedelta) -> list[Verdict]:
    verdicts: list[Verdict] = []
    while True:
        run = _Run(deadline)
        more = await run.run(msgspec.structs.replace(ask, skip=len(verdicts)))
        verdicts += run.verdicts
        if not more:
            return verdicts


class _Run:
    """One child, and what it told."""

    def __init__(self, deadline: timedelta) -> None:
        self.verdicts: list[Verdict] = []
        self._deadline = deadline
        self._check = ""
        self._left = 1
        """Plugins whose checks are not over; before the first is known, one."""

    async def run(self, ask: Ask) -> bool:
        """Run it to its end, or to the first plugin that hangs; whether there are more to try."""
        with tempfile.TemporaryFile() as errors:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "navarch.testing.verification_child"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
            try:
                assert child.stdin is not None
                child.stdin.write(msgspec.json.encode(ask))
                child.stdin.close()
                ended = await self._listen(child)
            finally:
                await _end(child)
            if ended and self._left:
                self._fail(f"its process ended with code {child.returncode}{_last_words(errors)}")
        return self._left > 0

    async def _listen(self, child: asyncio.subprocess.Process) -> bool:
        """Note what it tells; whether it ended by itself."""
        assert child.stdout is not None
        loop = asyncio.get_running_loop()
        until = loop.time() + self._deadline.total_seconds()
        while True:
            try:
                async with asyncio.timeout_at(until):
                    line = await child.stdout.readline()
            except TimeoutError:
                self._fail(f"no end within {self._deadline.total_seconds():g} s; it was stopped")
                return False
            if not line:
                return True
            tell = msgspec.json.decode(line, type=Tell)
            if tell.refused:
                raise PluginError(tell.refused)
            if tell.begins:
                until = loop.time() + self._deadline.total_seconds()
            self._note(tell)

    def _note(self, tell: Tell) -> None:
        if tell.begins:
            self.verdicts.append(Verdict(tell.begins, tell.kind))
            self._left = tell.left
        if tell.name:
            self._change(name=tell.name)
        if tell.check:
            self._check = tell.check
        if tell.finding is not None:
            self._add(tell.finding)
        if tell.done:
            self._left -= 1

    def _fail(self, text: str) -> None:
        """The plugin that was being tried has not come to its end."""
        if not self.verdicts:
            raise PluginError(f"{text.capitalize()} while the plugin was looked for")
        self._add(Finding(self._check or "it can be made", ok=False, text=text))
        self._left -= 1

    def _add(self, finding: Finding) -> None:
        self._change(findings=(*self.verdicts[-1].findings, finding))

    def _change(self, **changes: object) -> None:
        self.verdicts[-1] = msgspec.structs.replace(self.verdicts[-1], **changes)


async def _end(child: asyncio.subprocess.Process) -> None:
    """End the child and all that it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:  # it has ended, and left nobody behind
        await child.wait()
        return
    await child.wait()


def _last_words(errors: IO[bytes]) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(size - LAST_WORDS, 0))
    text = " ".join(errors.read().decode(errors="replace").split())
    return f": … {text}" if text else ""
