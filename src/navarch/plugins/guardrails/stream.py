"""One text on its way through the checks, in as many pieces as it comes.

What goes out and what is found is the same however the text is cut:

- Findings count in the order in which they start, and only once more text cannot change them.
- Text goes out up to the first character that a later finding could still begin at.
- A finding that blocks ends the text before its first character. Nothing after that goes out.

Checks that need the whole text are asked in `finish`. Where such a check may block or redact, all
text waits for it, unless the plugin says ``late = True``: then its word is a verdict afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from msgspec import Struct

from navarch.plugins.calls import Caller
from navarch.plugins.guardrails.asking import TOO_LONG, Asking, moment
from navarch.plugins.guardrails.audit import AuditTrail
from navarch.plugins.guardrails.binding import Binding
from navarch.plugins.guardrails.contract import Finding
from navarch.plugins.guardrails.ledger import Ledger
from navarch.plugins.guardrails.redaction import Labels, Redactor
from navarch.plugins.protocols import GuardrailRequest, GuardrailResult

PIECE: Final = 16_384
"""Characters of a whole text that are scanned before others in the process get their turn."""


class Settled(Struct, frozen=True):
    """What counted for one text."""

    actions: Mapping[str, str]
    """The gravest action by the type of the check, where one followed."""
    blocked_by: str
    """The type of the check that ended it; empty: none did."""


class Watching(Protocol):
    """Whoever is told of texts that are finished."""

    length_max: int
    """Characters that are kept for it."""

    def hold(self, request: GuardrailRequest, text: str, settled: Settled) -> None:
        """Take note of a text; nothing that is done with it changes the answer."""
        ...


class Session:
    """The checks of one text. Not for several tasks at a time."""

    def __init__(
        self,
        bindings: tuple[Binding, ...],
        request: GuardrailRequest,
        *,
        caller: Caller,
        trail: AuditTrail,
        labels: Labels | None,
        length_max: int,
        streamed: bool,
        watching: Watching | None = None,
    ) -> None:
        """Begin. Made by `GuardrailEngine.session`."""
        self._bindings = bindings
        self._request = request
        self._trail = trail
        self._length_max = length_max
        self._streamed = streamed
        self._watching = watching
        self._heard: list[str] = []
        self._ledger = Ledger(bindings)
        self._asking = Asking(bindings, request, self._ledger, caller)
        self._scanners = [at for at, each in enumerate(bindings) if not each.is_whole]
        self._whole = [at for at, each in enumerate(bindings) if each.is_whole]
        self._holds_all = any(each.holds_all for each in bindings)
        self._alters = any(each.alters for each in bindings)
        spans = [each.span_max for each in bindings if each.spec.action == "redact"]
        longest = None if None in spans else max((span or 0 for span in spans), default=None)
        self._redactor = Redactor(longest=longest, labels=labels)
        self._behind = max((each.look_behind for each in bindings), default=1)
        self._window = ""
        self._base = 0
        self._settled = 0
        self._length = 0
        self._all: list[str] = []
        self._to_redact: list[Finding] = []
        self._cut: int | None = None
        self._result: GuardrailResult | None = None
        self._until = 0.0
        self.tail = ""
        """What may go out after `finish`."""

    @property
    def findings(self) -> tuple[tuple[int, int, str, float], ...]:
        """What was found at or above its threshold: start, end, type and score, in order."""
        found = sorted({finding for finding, _ in self._ledger.counted})
        return tuple((each.start, each.end, each.type, each.score) for each in found)

    @property
    def blocked(self) -> bool:
        """Whether the text has ended by a block."""
        return self._ends()

    def _ends(self) -> bool:
        return bool(self._ledger.blocked_by)

    def feed(self, chunk: str) -> str:
        """Take a piece, and return what may go out now: redacted, and often a little behind.

        :raises RuntimeError: the text is finished
        """
        if self._result is not None and not self._ends():
            raise RuntimeError("this text is finished: a new one needs a session of its own")
        self._asking.begin()
        self._hear(chunk)
        return self._take(chunk)

    async def finish(self) -> GuardrailResult:
        """End the text, and say what became of it; `tail` is the rest that may go out.

        A second call gives the same answer again.
        """
        if self._result is None:
            self._asking.begin()
            self.tail = await self._end()
        result = self._conclude({})
        self._tell("".join(self._heard))
        return result

    async def whole(self) -> GuardrailResult:
        """Check `request.content` as a text of one piece."""
        content = self._request.content
        pieces = []
        self._asking.begin()
        for start in range(0, len(content), PIECE):
            pieces.append(self._take(content[start : start + PIECE]))
            if self._ends():
                break
            await asyncio.sleep(0)
        pieces.append(await self._end())
        changed = "".join(pieces)
        extra = {"redacted_content": changed} if self._ledger.action == "redact" else {}
        result = self._conclude(extra)
        self._tell(content)
        return result

    def _hear(self, chunk: str) -> None:
        """Keep the text for those in shadow: one that is longer by a character is too long."""
        if self._watching is None or self.blocked:
            return
        left = self._watching.length_max + 1 - self._length
        if left > 0:
            self._heard.append(chunk[:left])

    def _tell(self, text: str) -> None:
        """Have those in shadow asked about a text that is finished, once."""
        watching, self._watching = self._watching, None
        self._heard.clear()
        if watching is not None:
            watching.hold(
                self._request, text, Settled(self._ledger.actions(), self._ledger.blocking)
            )

    def _take(self, chunk: str) -> str:
        if self._ends() or not chunk:
            return ""
        self._length += len(chunk)
        if self._whole:
            self._keep(chunk)
        if self._ends():
            return self._stopped()
        self._window += chunk
        self._advance(final=False)
        return self._released()

    def _keep(self, chunk: str) -> None:
        """Keep the text for those who need all of it, within bounds."""
        if self._length <= self._length_max:
            self._all.append(chunk)
            return
        for check in self._whole:
            self._ledger.fail(check, TOO_LONG)
        if self._holds_all:  # those that may fail open have: nothing waits for them any more
            self._holds_all = False
            self._window, self._base = "".join(self._all), 0
            for finding in sorted(self._to_redact):
                self._redactor.add(finding)
        self._whole.clear()
        self._all.clear()

    def _advance(self, *, final: bool) -> None:
        """Find what has become certain."""
        window, end = self._window, self._base + len(self._window)
        settled = end + 1
        active = [check for check in self._scanners if not self._ledger.runs[check].failure]
        if not final:
            # An empty list: nobody looks for anything that could still begin here.
            settled = min(
                (self._base + self._asking.settled(check, window) for check in active),
                default=end,
            )
        if self._ends():
            self._cut = self._settled
            return
        if settled > self._settled:
            found = [
                (finding, check)
                for check in active
                for finding in self._found(check, window)
                if self._settled <= finding.start < settled
            ]
            if self._ends():  # a check that is closed has failed
                self._cut = self._settled
                return
            self._weigh(sorted(found))
            self._settled = settled
        self._trim()

    def _found(self, check: int, window: str) -> list[Finding]:
        base = self._base
        return [
            Finding(each.start + base, each.end + base, each.type, each.score, each.evidence)
            for each in self._asking.scan(check, window)
        ]

    def _weigh(self, found: list[tuple[Finding, int]]) -> None:
        """Turn findings into actions, in order; a block is the last one."""
        for finding, check in found:
            action = self._ledger.weigh(finding, check)
            if action == "block":
                self._cut = finding.start
                return
            if action == "redact" and self._holds_all:
                self._to_redact.append(finding)
            elif action == "redact":
                self._redactor.add(finding)

    def _trim(self) -> None:
        """Forget text that is out and that nobody needs to look back at."""
        keep = self._settled - self._behind
        if not self._holds_all:
            keep = min(keep, self._redactor.at)
        if keep > self._base:
            self._window = self._window[keep - self._base :]
            self._base = keep

    def _released(self) -> str:
        """Render what may go out."""
        if self._ends():
            return self._stopped()
        if self._holds_all:
            return ""
        limit = self._settled if self._alters else self._base + len(self._window)
        return self._redactor.rendered(self._window, self._base, limit)

    def _stopped(self) -> str:
        """Render what stands before the block, once."""
        cut, self._cut = self._cut, None
        if not self._streamed:
            self._conclude_nothing()
            return ""
        text = ""
        if cut is not None and not self._holds_all and cut > self._redactor.at:
            text = self._redactor.rendered(self._window, self._base, cut)
        self._conclude({})
        self._conclude_nothing()
        return text

    def _conclude_nothing(self) -> None:
        """Forget the text."""
        self._window = ""
        self._all.clear()
        self._to_redact.clear()

    async def _end(self) -> str:
        """Do what only the end of the text allows, and return the rest of what may go out."""
        if self._ends():
            return self._stopped()
        self._advance(final=True)
        if self._ends():
            return self._stopped()
        if not self._whole:
            return self._rest()
        content = "".join(self._all)
        await self._ask_whole(content)
        if self._ends():
            return self._stopped()
        if not self._holds_all:
            return self._rest()
        for finding in sorted(self._to_redact):
            self._redactor.add(finding)
        redacted = self._redactor.rendered(content, 0, len(content), final=True)
        return await self._redacted_by_plugins(redacted, len(content))

    def _rest(self) -> str:
        end = self._base + len(self._window)
        return self._redactor.rendered(self._window, self._base, end, final=True)

    async def _ask_whole(self, content: str) -> None:
        """Ask the checks that need all of it: scanners first, then all others at a time."""
        self._until = moment() + max(
            self._bindings[check].spec.deadline.total_seconds() for check in self._whole
        )
        found = []
        for check in self._whole:
            if self._bindings[check].scanner is not None:
                found += [(each, check) for each in self._asking.scan(check, content)]
        self._weigh(sorted(found))
        if self._ends():
            return
        others = [check for check in self._plain() if not self._rewrites(check)]
        await asyncio.gather(*(self._ask(check, content, len(content)) for check in others))

    def _plain(self) -> list[int]:
        """List the checks of the documents' form that have not failed."""
        return [
            check
            for check in self._whole
            if self._bindings[check].scanner is None and not self._ledger.runs[check].failure
        ]

    def _rewrites(self, check: int) -> bool:
        binding = self._bindings[check]
        return binding.spec.action == "redact" and binding.holds_all

    async def _redacted_by_plugins(self, text: str, length: int) -> str:
        """Have plugins of the documents' form redact, each what the one before has left."""
        for check in self._plain():
            if self._rewrites(check) and not self._ends():
                text = await self._ask(check, text, length)
        return self._stopped() if self._ends() else text

    async def _ask(self, check: int, content: str, length: int) -> str:
        """Ask one plugin of the documents' form; its word is a finding as long as the text."""
        binding = self._bindings[check]
        answer = await self._asking.check(check, content, self._until)
        if answer is None or answer.passed:
            return content
        finding = Finding(0, max(length, 1), binding.spec.type, answer.confidence)
        action = self._ledger.weigh(finding, check)
        if action and answer.reason:
            self._ledger.said.append(f"{binding.name} objects")
        if action != "redact" or not binding.holds_all:
            return content
        changed = answer.metadata.get("redacted_content")
        if changed is None:  # it objects, and does not say how to put it right
            self._ledger.blocked_by = self._ledger.blocked_by or binding.name
            return ""
        return changed

    def _conclude(self, extra: dict[str, str]) -> GuardrailResult:
        """Give the verdict, and write it down, once."""
        if self._result is None:
            self._result = self._ledger.result(extra)
            self._trail.add(
                self._ledger.record(
                    self._request,
                    characters=self._length,
                    streamed=self._streamed,
                    redactions=self._redactor.count,
                )
            )
        return self._result
