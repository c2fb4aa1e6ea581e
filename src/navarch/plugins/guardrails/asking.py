"""How checks are asked, timed and held to their promises."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from datetime import timedelta

from navarch.plugins.calls import About, Caller, Failed
from navarch.plugins.guardrails.binding import Binding
from navarch.plugins.guardrails.contract import Finding, ScanContext
from navarch.plugins.guardrails.ledger import Ledger
from navarch.plugins.protocols import GuardrailRequest, GuardrailResult, PluginKind

TIMED_OUT = "timed out"
BROKE_CONTRACT = "broke its contract"
TOO_LONG = "the text is too long"


class Asking:
    """Asks the checks of one text."""

    def __init__(
        self,
        bindings: Sequence[Binding],
        request: GuardrailRequest,
        ledger: Ledger,
        caller: Caller,
    ) -> None:
        """Ask for one request, and note in `ledger` what it took and what failed."""
        self._bindings = bindings
        self._context = ScanContext.of(request)
        self._request = request
        self._ledger = ledger
        self._caller = caller
        self._began: list[float] = []

    def begin(self) -> None:
        """Give every check its whole time anew."""
        self._began = [run.seconds for run in self._ledger.runs]

    def settled(self, check: int, text: str) -> int:
        """Ask from where on `text` is undecided; its begin where the plugin fails."""
        binding = self._bindings[check]
        ask = getattr(binding.plugin, "settled", None)
        if ask is None:
            longest = binding.span_max or 0
            return max(len(text) - longest - binding.look_ahead + 1, 0)
        answer = self._caller.call(self._about(binding, "settled"), lambda: ask(text))
        if isinstance(answer, Failed):
            self._ledger.fail(check, _kind(answer))
            return 0
        if not isinstance(answer, int):
            self._ledger.fail(check, BROKE_CONTRACT)
            return 0
        return max(0, min(answer, len(text)))

    def scan(self, check: int, text: str) -> Sequence[Finding]:
        """Scan a piece; nothing, and a note, where that fails or the time is used up."""
        binding, run = self._bindings[check], self._ledger.runs[check]
        scanner = binding.scanner
        if scanner is None or run.failure:
            return ()
        if run.seconds - self._began[check] >= binding.spec.deadline.total_seconds():
            self._ledger.fail(check, TIMED_OUT)
            return ()
        before = moment()
        about = self._about(binding, "scan")
        answer = self._caller.call(about, lambda: list(scanner.scan(text, self._context)))
        run.seconds += moment() - before
        run.calls += 1
        if isinstance(answer, Failed):
            self._ledger.fail(check, _kind(answer))
            return ()
        if not _honest(answer, len(text), scanner.span_max):
            self._ledger.fail(check, BROKE_CONTRACT)
            return ()
        return answer

    async def check(self, check: int, content: str, until: float) -> GuardrailResult | None:
        """Ask a plugin of the documents' form; None, and a note, where it has not answered."""
        binding, run = self._bindings[check], self._ledger.runs[check]
        before = moment()
        left = min(binding.spec.deadline.total_seconds(), until - before)
        if left <= 0:
            self._ledger.fail(check, TIMED_OUT)
            return None
        request = self._with(content)
        answer = await self._caller.call_async(
            self._about(binding, "check"),
            lambda: binding.plugin.check(request),
            timedelta(seconds=left),
        )
        run.seconds += moment() - before
        run.calls += 1
        if isinstance(answer, Failed):
            self._ledger.fail(check, _kind(answer))
            return None
        if not isinstance(answer, GuardrailResult) or not _is_share(answer.confidence):
            self._ledger.fail(check, BROKE_CONTRACT)
            return None
        return answer

    def _with(self, content: str) -> GuardrailRequest:
        request = self._request
        return GuardrailRequest(
            content=content,
            metadata=dict(request.metadata),
            agent_class=request.agent_class,
            session_id=request.session_id,
            request_id=request.request_id,
            direction=request.direction,
        )

    def _about(self, binding: Binding, point: str) -> About:
        return About(
            PluginKind.GUARDRAIL,
            binding.name,
            point,
            pool=self._request.agent_class,
            subject=self._request.request_id,
        )


def moment() -> float:
    """Read the event loop's clock, in seconds; 0 where no loop is running."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return 0.0


def _kind(failed: Failed) -> str:
    """Say what kind of failure it was. Its text may quote what the plugin has read."""
    if failed.timed_out:
        return TIMED_OUT
    kind = failed.text.partition(":")[0]
    return kind if kind.isidentifier() else "failed"


def _honest(found: Iterable[object], length: int, longest: int | None) -> bool:
    """Whether these are findings within the text and the declared span."""
    return all(
        isinstance(each, Finding)
        and 0 <= each.start < each.end <= length
        and (longest is None or each.end - each.start <= longest)
        and _is_share(each.score)
        for each in found
    )


def _is_share(score: float) -> bool:
    return math.isfinite(score) and 0 <= score <= 1
