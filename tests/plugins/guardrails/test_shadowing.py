"""Guardrails in shadow: asked about what passes, compared, and never heard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from navarch.core.model.resources import AgentClass, GuardrailSpec
from navarch.plugins.guardrails import Finding, GuardrailEngine, ScanContext, shadowing
from navarch.plugins.protocols import GuardrailRequest, GuardrailResult, PluginKind
from navarch.plugins.registry import Registry
from navarch.plugins.shadow import Shadows, Tally
from plugins.guardrails.classes import Marks, agent_class

GUARDRAIL = PluginKind.GUARDRAIL
NOW = datetime(2026, 6, 1, tzinfo=UTC)
BLOCKING = agent_class(GuardrailSpec(type="marks", action="block"))
TEXTS = ("fine", "a bad word", "an awful word", "bad and awful")


class Candidate(Marks):
    """Looks for another word, under the same type."""

    def __init__(self, word: str = "awful") -> None:
        super().__init__(word)
        self.name = "candidate"


class Stage:
    """An engine with one guardrail that counts and one in shadow."""

    def __init__(
        self,
        candidate: object,
        spec: AgentClass = BLOCKING,
        effective: Sequence[object] = (Marks(),),
    ) -> None:
        self.shadows = Shadows(lambda: NOW)
        self.registry = Registry()
        for each in effective:
            self.registry.register(GUARDRAIL, each)
        self.registry.register(GUARDRAIL, candidate)
        self.registry.set(GUARDRAIL, "candidate", shadow=True)
        self.engine = GuardrailEngine(spec, self.registry, shadows=self.shadows)

    def checked(self, *texts: str) -> Sequence[str]:
        async def run() -> Sequence[str]:
            requests = (GuardrailRequest(content=text, request_id=text[:2]) for text in texts)
            found = [(await self.engine.check(each)).action for each in requests]
            await self.engine.settle()
            return found

        return asyncio.run(run())

    def streamed(self, *pieces: str) -> tuple[str, GuardrailResult]:
        async def run() -> tuple[str, GuardrailResult]:
            session = self.engine.session(GuardrailRequest(content=""))
            out = "".join([session.feed(piece) for piece in pieces])
            result = await session.finish()
            assert await session.finish() == result
            await self.engine.settle()
            return out + session.tail, result

        return asyncio.run(run())

    @property
    def tally(self) -> Tally:
        return self.shadows.tally(GUARDRAIL, "candidate")


def test_it_changes_nothing_and_is_held_against_what_counted() -> None:
    stage = Stage(Candidate())
    alone = GuardrailEngine(BLOCKING, of_these(Marks()))
    expected = [asyncio.run(alone.check(GuardrailRequest(content=text))).action for text in TEXTS]
    assert stage.checked(*TEXTS) == expected == ["allow", "block", "allow", "block"]
    assert (stage.tally.same, stage.tally.different, stage.tally.failed) == (2, 2, 0)
    first, second = stage.shadows.disagreements(GUARDRAIL)
    assert (first.effective, first.shadow, first.pool) == ("block", "allow", "default/c")
    assert (second.effective, second.shadow, second.subject) == ("allow", "block", "an")
    assert len(stage.engine.records) == 4  # those in shadow leave none


def of_these(*plugins: object) -> Registry:
    made = Registry()
    for each in plugins:
        made.register(GUARDRAIL, each)
    return made


def test_a_stream_is_asked_about_as_a_whole_at_its_end() -> None:
    stage = Stage(Candidate())
    assert stage.streamed("an aw", "ful ", "word")[0] == "an awful word"
    (differs,) = stage.shadows.disagreements(GUARDRAIL)
    assert (differs.effective, differs.shadow) == ("allow", "block")
    assert stage.streamed("a b", "ad awful", " end")[1].action == "block"
    assert stage.tally.same == 1


def test_a_check_that_fails_in_shadow_is_counted_as_failed_and_blocks_nothing() -> None:
    class Broken(Candidate):
        def scan(self, text: str, context: ScanContext) -> Sequence[Finding]:
            raise ValueError(text)

    stage = Stage(Broken())
    assert stage.checked("fine") == ["allow"]
    assert (stage.tally.failed, stage.tally.different) == (1, 0)


def test_one_that_hangs_delays_nobody() -> None:
    class Hangs:
        name, type = "candidate", "marks"

        async def check(self, request: GuardrailRequest) -> GuardrailResult:
            await asyncio.Event().wait()
            raise AssertionError

    quick = GuardrailSpec(type="marks", action="block", deadline=timedelta(milliseconds=30))
    stage = Stage(Hangs(), agent_class(quick))

    async def run() -> None:
        request = GuardrailRequest(content="fine")
        assert (await stage.engine.check(request)).action == "allow"
        assert stage.tally.failed == 0  # the answer was there first
        await stage.engine.settle()

    asyncio.run(run())
    assert stage.tally.failed == 1


def test_texts_that_come_while_too_many_are_asked_about_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shadowing, "TASKS_MAX", 0)
    stage = Stage(Candidate())
    assert stage.checked("an awful word") == ["allow"]
    assert stage.tally == Tally(GUARDRAIL, "candidate")


def test_a_check_whose_only_guardrail_is_in_shadow_has_no_effect() -> None:
    stage = Stage(Candidate(), effective=())
    assert stage.engine.plugins == ()
    assert stage.checked("an awful word", "fine") == ["allow", "allow"]
    assert (stage.tally.same, stage.tally.different) == (1, 1)


def test_a_text_that_another_check_has_ended_is_not_compared() -> None:
    spec = agent_class(
        GuardrailSpec(type="other", action="block"), GuardrailSpec(type="marks", action="block")
    )
    stage = Stage(Candidate(), spec, (Marks(), Marks("stop", kind="other")))
    assert stage.checked("stop: awful", "awful") == ["block", "allow"]
    assert (stage.tally.same, stage.tally.different) == (0, 1)


def test_a_configuration_that_it_does_not_take_leaves_it_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spec = agent_class(GuardrailSpec(type="marks", action="block", config={"word": "bad"}))

    class Fixed(Candidate):
        def __init__(self) -> None:
            super().__init__()

    with caplog.at_level(logging.WARNING):
        stage = Stage(Fixed(), spec)
    assert "shadow_not_asked kind=guardrail plugin=candidate" in caplog.text
    assert stage.checked("a bad word") == ["block"]
    assert stage.tally == Tally(GUARDRAIL, "candidate")
    configured: Any = stage.engine.plugins[0]
    assert configured.word == "bad"
