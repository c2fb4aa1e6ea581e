"""What the checks of one text have said so far, and what follows from it.

Here findings become actions: a finding at or above the threshold of its check leads to the action
that the agent class has named. Of several the gravest wins.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from navarch.plugins.guardrails.audit import (
    LISTED,
    AuditedFinding,
    AuditRecord,
    CheckRun,
)
from navarch.plugins.guardrails.binding import Binding
from navarch.plugins.guardrails.contract import GRAVITY, Finding
from navarch.plugins.protocols import GuardrailRequest, GuardrailResult

FINDINGS_MAX = 10_000
"""Findings that are kept of one text; further ones are acted upon and counted."""


class Run(Struct):
    """What became of one check so far."""

    calls: int = 0
    seconds: float = 0.0
    failure: str = ""
    """Why it could not be done; the kind only, empty while it could."""


class Ledger:
    """All that is known of one text."""

    def __init__(self, bindings: Sequence[Binding]) -> None:
        """Begin with nothing found."""
        self._bindings = bindings
        self.runs = [Run() for _ in bindings]
        self.counted: list[tuple[Finding, int]] = []
        """Findings at or above their threshold, and of which check."""
        self.total = 0
        self.below = 0
        self.blocked_by = ""
        """The plugin whose word blocks; empty while none does."""
        self.said: list[str] = []
        """Reasons that plugins of the documents' form gave."""

    def weigh(self, finding: Finding, check: int) -> str:
        """Count a finding, and say which action it leads to; empty where it is below."""
        binding = self._bindings[check]
        if finding.score < binding.spec.threshold:
            self.below += 1
            return ""
        self.total += 1
        if len(self.counted) < FINDINGS_MAX:
            self.counted.append((finding, check))
        if binding.spec.action == "block":
            self.blocked_by = self.blocked_by or binding.name
        return binding.spec.action

    def fail(self, check: int, kind: str) -> None:
        """Note that a check could not be done; one that is closed blocks."""
        binding, run = self._bindings[check], self.runs[check]
        run.failure = run.failure or kind
        if binding.spec.on_error == "closed":
            self.blocked_by = self.blocked_by or binding.name

    @property
    def action(self) -> str:
        """The gravest action that follows."""
        if self.blocked_by:
            return "block"
        actions = (self._bindings[check].spec.action for _, check in self.counted)
        return max(actions, key=GRAVITY.__getitem__, default="allow")

    def actions(self) -> dict[str, str]:
        """Say the gravest action that followed from each type of check, where one did."""
        said: dict[str, str] = {}
        for _, check in self.counted:
            spec = self._bindings[check].spec
            said[spec.type] = max(spec.action, said.get(spec.type, "allow"), key=_gravity)
        if blocking := self.blocking:
            said[blocking] = "block"
        return said

    @property
    def blocking(self) -> str:
        """The type of the check that blocks; empty while none does."""
        for binding, run in zip(self._bindings, self.runs, strict=True):
            closed = run.failure and binding.spec.on_error == "closed"
            if binding.name == self.blocked_by and (closed or binding.alters):
                return binding.spec.type
        return ""

    def result(self, extra: dict[str, str]) -> GuardrailResult:
        """Say what becomes of the text. `extra` goes into the metadata."""
        action = self.action
        failed = self._failed()
        metadata = {"scan": "not_scanned" if failed else "complete"}
        if failed:
            metadata["not_scanned"] = "; ".join(f"{name}: {why}" for name, why in failed)
        types = sorted({finding.type for finding, _ in self.counted})
        if types:
            metadata["types"] = ",".join(types)
            metadata["findings"] = str(self.total)
        if self.blocked_by:
            metadata["blocked_by"] = self.blocked_by
        scores = [finding.score for finding, _ in self.counted]
        return GuardrailResult(
            passed=action not in {"block", "redact"},
            action=action,  # type: ignore[arg-type] # a key of GRAVITY, which are the actions
            reason=self._reason(types, failed),
            confidence=max(scores) if scores else (0.0 if failed else 1.0),
            metadata={**metadata, **extra},
        )

    def record(
        self, request: GuardrailRequest, *, characters: int, streamed: bool, redactions: int
    ) -> AuditRecord:
        """Write down what was done, without a word of the text."""
        action = self.action
        listed = sorted(self.counted)[:LISTED]
        return AuditRecord(
            agent_class=request.agent_class,
            request_id=request.request_id,
            session_id=request.session_id,
            direction=request.direction,
            characters=characters,
            streamed=streamed,
            passed=action not in {"block", "redact"},
            action=action,
            scan="not_scanned" if self._failed() else "complete",
            findings=tuple(self._audited(finding, check) for finding, check in listed),
            findings_total=self.total,
            below_threshold=self.below,
            redactions=redactions,
            checks=tuple(map(self._run, self._bindings, self.runs)),
        )

    def _audited(self, finding: Finding, check: int) -> AuditedFinding:
        binding = self._bindings[check]
        return AuditedFinding(
            finding.type,
            finding.start,
            finding.end,
            finding.score,
            binding.name,
            binding.spec.action,
        )

    def _run(self, binding: Binding, run: Run) -> CheckRun:
        missing = not run.calls and not run.failure
        return CheckRun(
            plugin=binding.name,
            type=binding.spec.type,
            outcome="not_scanned" if run.failure else "skipped" if missing else "scanned",
            seconds=run.seconds,
            calls=run.calls,
            reason=run.failure,
            on_error=binding.spec.on_error if run.failure else "",
        )

    def _failed(self) -> list[tuple[str, str]]:
        pairs = zip(self._bindings, self.runs, strict=True)
        return [(binding.name, run.failure) for binding, run in pairs if run.failure]

    def _reason(self, types: Sequence[str], failed: Sequence[tuple[str, str]]) -> str:
        parts = []
        if types:
            parts.append(f"{self.total} found: {', '.join(types)}")
        parts += self.said
        parts += [f"{name} did not scan: {why}" for name, why in failed]
        return "; ".join(parts)


def _gravity(action: str) -> int:
    return GRAVITY[action]
