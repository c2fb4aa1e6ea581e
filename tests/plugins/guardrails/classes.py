"""Agent classes and plugins that the tests of guardrails share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from navarch.core.model.resources import AgentClass, AgentClassSpec, GuardrailSpec, ObjectMeta
from navarch.plugins.guardrails import Finding, ScanContext, Session
from navarch.plugins.protocols import GuardrailRequest, GuardrailResult

EMPTY = GuardrailRequest(content="", direction="output", request_id="r1", agent_class="default/c")


def agent_class(*specs: GuardrailSpec) -> AgentClass:
    """Make a class with these checks."""
    return AgentClass(metadata=ObjectMeta(name="c"), spec=AgentClassSpec(guardrails=specs))


class Registry:
    """A registry of just these plugins."""

    def __init__(self, *plugins: object) -> None:
        self.guardrails = plugins


class Marks:
    """Finds each occurrence of a word, and has a declared span."""

    span_max: int | None

    def __init__(self, word: str = "bad", *, kind: str = "marks", whole: bool = False) -> None:
        self.name = self.type = kind
        self.word = word
        self.span_max = None if whole else len(word)
        self.calls = 0

    def scan(self, text: str, context: ScanContext) -> Sequence[Finding]:
        self.calls += 1
        found = []
        at = text.find(self.word)
        while at >= 0:
            found.append(Finding(at, at + len(self.word), self.type, 0.9, "a word"))
            at = text.find(self.word, at + 1)
        return found


class Documented:
    """A plugin of the documents' form, which answers what it is told."""

    def __init__(
        self,
        answer: Callable[[GuardrailRequest], GuardrailResult],
        *,
        kind: str = "documented",
        late: bool = False,
    ) -> None:
        self.name = self.type = kind
        self.late = late
        self.asked: list[str] = []
        self._answer = answer

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        self.asked.append(request.content)
        return self._answer(request)


class Hanging:
    """A plugin that never answers."""

    name = type = "hanging"

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        await asyncio.Event().wait()
        raise AssertionError


def streamed(session: Session, pieces: Sequence[str]) -> tuple[str, GuardrailResult]:
    """Let a text through, and return all that went out, and the verdict."""

    async def run() -> tuple[str, GuardrailResult]:
        out = "".join([session.feed(piece) for piece in pieces])
        result = await session.finish()
        return out + session.tail, result

    return asyncio.run(run())
