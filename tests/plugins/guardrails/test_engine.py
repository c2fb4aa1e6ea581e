"""What findings lead to, what failures lead to, and what is written down of it."""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from msgspec import Struct

from factories import START
from navarch.controlplane.clock import stopwatch
from navarch.core.model.resources import GuardrailSpec
from navarch.errors import ConfigError
from navarch.plugins import exposition
from navarch.plugins.calls import Direct
from navarch.plugins.guardrails import AuditRecord, Finding, GuardrailEngine, ScanContext
from navarch.plugins.protocols import GuardrailRequest, GuardrailResult, PluginKind
from navarch.plugins.registry import Configured
from navarch.plugins.registry import Registry as Plugins
from navarch.plugins.shadow import Shadows
from navarch.plugins.traces import FAILURES_MAX, Traced
from plugins.guardrails.classes import (
    EMPTY,
    Documented,
    Hanging,
    Marks,
    Registry,
    agent_class,
    streamed,
)

Action = Literal["block", "redact", "warn", "log"]
GUARDRAIL = PluginKind.GUARDRAIL
QUICK = timedelta(milliseconds=30)


def checked(engine: GuardrailEngine, text: str) -> GuardrailResult:
    return asyncio.run(engine.check(GuardrailRequest(content=text, request_id="r1")))


def masked(request: GuardrailRequest) -> GuardrailResult:
    """Answer as the documents' example does."""
    if "bob" not in request.content:
        return GuardrailResult(passed=True, action="allow", confidence=1.0)
    content = request.content.replace("bob", "[NAME]")
    return GuardrailResult(
        passed=False,
        action="redact",
        reason="Found bob",
        confidence=0.95,
        metadata={"redacted_content": content},
    )


class Broken:
    """A scanner that quotes in its error what it has read."""

    name = type = "broken"
    span_max: int | None = 10

    def scan(self, text: str, context: ScanContext) -> list[Finding]:
        raise ValueError(f"cannot read {text}")


@pytest.mark.parametrize(
    "action,passed", [("block", False), ("redact", False), ("warn", True), ("log", True)]
)
def test_the_class_decides_what_a_finding_leads_to(
    action: Action,
    passed: bool,  # noqa: FBT001
) -> None:
    engine = GuardrailEngine(
        agent_class(GuardrailSpec(type="marks", action=action)), Registry(Marks())
    )
    result = checked(engine, "a bad word")
    assert (result.passed, result.action, result.confidence) == (passed, action, 0.9)
    expected = "a <MARKS> word" if action == "redact" else None
    assert result.metadata.get("redacted_content") == expected


def test_nothing_found_is_allowed() -> None:
    engine = GuardrailEngine(agent_class(GuardrailSpec(type="marks")), Registry(Marks()))
    assert checked(engine, "fine") == GuardrailResult(passed=True, metadata={"scan": "complete"})


def test_of_several_actions_the_gravest_wins() -> None:
    registry = Registry(Marks("one", kind="one"), Marks("two", kind="two"))
    engine = GuardrailEngine(
        agent_class(
            GuardrailSpec(type="one", action="redact"), GuardrailSpec(type="two", action="block")
        ),
        registry,
    )
    assert checked(engine, "one").action == "redact"
    assert checked(engine, "one and two").action == "block"


def test_a_finding_below_the_threshold_is_only_counted() -> None:
    engine = GuardrailEngine(
        agent_class(GuardrailSpec(type="marks", action="block", threshold=0.95)), Registry(Marks())
    )
    result = checked(engine, "bad")
    assert (result.action, engine.records[-1].below_threshold) == ("allow", 1)
    assert engine.records[-1].findings == ()


def test_spans_that_overlap_are_redacted_once() -> None:
    registry = Registry(Marks("abc", kind="first"), Marks("bcdef", kind="second"))
    engine = GuardrailEngine(
        agent_class(
            GuardrailSpec(type="first", action="redact"),
            GuardrailSpec(type="second", action="redact"),
        ),
        registry,
    )
    assert checked(engine, "x abcd bcdef y").metadata["redacted_content"] == "x <FIRST>d <SECOND> y"


def test_a_plugin_of_the_documents_form_redacts() -> None:
    engine = GuardrailEngine(
        agent_class(GuardrailSpec(type="documented", action="redact")),
        Registry(Documented(masked)),
    )
    result = checked(engine, "ask bob")
    assert (result.passed, result.action) == (False, "redact")
    assert result.metadata["redacted_content"] == "ask [NAME]"


def test_it_is_given_what_scanners_have_left() -> None:
    plugin = Documented(masked)
    engine = GuardrailEngine(
        agent_class(
            GuardrailSpec(type="documented", action="redact"),
            GuardrailSpec(type="pii-detection", action="redact"),
        ),
        Registry(
            plugin, *GuardrailEngine(agent_class(GuardrailSpec(type="pii-detection"))).plugins
        ),
    )
    result = checked(engine, "bob is bob.b@example.com")
    assert plugin.asked == ["bob is <EMAIL>"]
    assert result.metadata["redacted_content"] == "[NAME] is <EMAIL>"


def test_one_that_objects_and_does_not_redact_blocks() -> None:
    def objects(request: GuardrailRequest) -> GuardrailResult:
        return GuardrailResult(passed=False, action="redact", confidence=0.9)

    engine = GuardrailEngine(
        agent_class(GuardrailSpec(type="documented", action="redact")),
        Registry(Documented(objects)),
    )
    result = checked(engine, "anything")
    assert (result.action, result.metadata["blocked_by"]) == ("block", "documented")
    assert "redacted_content" not in result.metadata


def test_a_cheap_block_spares_the_others() -> None:
    plugin = Documented(masked)
    engine = GuardrailEngine(
        agent_class(GuardrailSpec(type="documented"), GuardrailSpec(type="marks")),
        Registry(plugin, Marks()),
    )
    assert checked(engine, "bad bob").action == "block"
    assert plugin.asked == []
    assert {run.plugin: run.outcome for run in engine.records[-1].checks} == {
        "marks": "scanned",
        "documented": "skipped",
    }


@pytest.mark.parametrize("on_error", ["open", "closed"])
def test_a_check_without_an_answer_is_never_a_pass(on_error: Literal["open", "closed"]) -> None:
    engine = GuardrailEngine(
        agent_class(GuardrailSpec(type="hanging", deadline=QUICK, on_error=on_error)),
        Registry(Hanging()),
    )
    result = checked(engine, "anything")
    expected = (True, "allow") if on_error == "open" else (False, "block")
    assert (result.passed, result.action, result.confidence) == (*expected, 0.0)
    assert result.metadata["scan"] == "not_scanned"
    assert result.metadata["not_scanned"] == "hanging: timed out"
    record = engine.records[-1]
    assert (record.scan, record.checks[0].outcome, record.checks[0].on_error) == (
        "not_scanned",
        "not_scanned",
        on_error,
    )


def test_slow_checks_share_one_deadline() -> None:
    kinds = ("one", "two", "three")

    class Slow(Hanging):
        def __init__(self, kind: str) -> None:
            self.name = self.type = kind

    engine = GuardrailEngine(
        agent_class(*(GuardrailSpec(type=kind, deadline=QUICK, action="log") for kind in kinds)),
        Registry(*map(Slow, kinds)),
    )

    async def took() -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await engine.check(GuardrailRequest(content="x"))
        return loop.time() - before

    assert asyncio.run(took()) < 2.5 * QUICK.total_seconds()


@pytest.mark.parametrize("on_error", ["open", "closed"])
def test_a_broken_scanner_in_a_stream(
    on_error: Literal["open", "closed"], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    engine = GuardrailEngine(
        agent_class(
            GuardrailSpec(type="broken", on_error=on_error),
            GuardrailSpec(type="marks", action="redact"),
        ),
        Registry(Broken(), Marks()),
    )
    out, result = streamed(engine.session(EMPTY), ["this is bad, ", "and so is that"])
    assert result.metadata["scan"] == "not_scanned"
    assert out == ("this is <MARKS>, and so is that" if on_error == "open" else "")
    assert result.passed is False


def test_nothing_of_the_text_is_in_the_record(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    told: list[AuditRecord] = []
    engine = GuardrailEngine(
        agent_class(
            GuardrailSpec(type="broken", on_error="open"),
            GuardrailSpec(type="marks", action="redact"),
        ),
        Registry(Broken(), Marks("secret")),
        sink=told.append,
    )
    result = checked(engine, "this is secret text")
    assert told == list(engine.records)
    assert "secret" not in repr(told)
    assert "secret" not in repr(result)
    assert told[0].checks[0].reason == "ValueError"
    assert [(each.type, each.start, each.end) for each in told[0].findings] == [("marks", 8, 14)]


class Quoting:
    """Quotes in its errors what it has read."""

    name = type = "quoting"

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        try:
            int(request.content)
        except ValueError as error:
            raise KeyError(f"cannot read {request.content}") from error
        raise AssertionError("it is no number")


class Naming(Quoting):
    """Quotes in its reason what it objects to."""

    name = type = "naming"

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        return GuardrailResult(passed=False, action="block", reason=f"found {request.content}")


@pytest.mark.parametrize("trusted", [True, False])
def test_a_plugin_that_quotes_the_text_leaks_it_nowhere(
    caplog: pytest.LogCaptureFixture,
    trusted: bool,  # noqa: FBT001
) -> None:
    caplog.set_level(logging.DEBUG)
    traced = Traced(lambda: START, stopwatch, trusts=lambda *_: trusted)
    told: list[AuditRecord] = []
    specs = [
        GuardrailSpec(type=each, on_error="open", action="warn")
        for each in ("quoting", "broken", "naming")
    ]
    for caller in (traced, Direct()):
        registry = Registry(Quoting(), Broken(), Naming())
        engine = GuardrailEngine(agent_class(*specs), registry, sink=told.append, caller=caller)
        for _ in range(FAILURES_MAX + 1):
            assert "alice" not in repr(checked(engine, "I am alice@example.com"))
    kept = [
        *(repr(each) for each in traced.traces()),
        *(repr(traced.summary(GUARDRAIL, each)) for each in ("quoting", "broken", "naming")),
        *traced.isolated().values(),
        *(repr(each) for each in told),
        *exposition.lines(traced, Shadows(lambda: START)),
        caplog.text,
    ]
    assert len(traced.isolated()) == 2
    assert [text for text in kept if "alice" in text] == []
    assert traced.summary(GUARDRAIL, "quoting").last_failure == "check: KeyError"
    assert "plugin_broke kind=guardrail plugin=quoting point=check error=KeyError" in caplog.text
    assert "plugin_broke kind=guardrail plugin=broken point=scan error=ValueError" in caplog.text


@pytest.mark.parametrize("configured", ["", "fail_open", "fail_closed"])
@pytest.mark.parametrize("of_class", ["", "open", "closed"])
def test_the_class_says_what_a_failure_means_and_else_the_configuration(
    of_class: Literal["", "open", "closed"], configured: str
) -> None:
    held = Plugins()
    held.register(GUARDRAIL, Hanging())
    said = Configured(on_error=configured, deadline=QUICK)
    held.configure(GUARDRAIL, "hanging", said)
    engine = GuardrailEngine(agent_class(GuardrailSpec(type="hanging", on_error=of_class)), held)
    expected = of_class or ("open" if configured == "fail_open" else "closed")
    result = checked(engine, "text")
    assert result.action == ("allow" if expected == "open" else "block")
    assert result.metadata["not_scanned"] == "hanging: timed out"
    assert engine.records[0].checks[0].on_error == expected


@pytest.mark.parametrize("configured,seconds", [(None, 0.5), (0.1, 0.1), (3, 0.5)])
def test_the_configuration_can_shorten_the_deadline_of_a_class(
    configured: float | None, seconds: float
) -> None:
    held = Plugins()
    held.register(GUARDRAIL, Hanging())
    deadline = None if configured is None else timedelta(seconds=configured)
    held.configure(GUARDRAIL, "hanging", Configured(deadline=deadline))
    engine = GuardrailEngine(agent_class(GuardrailSpec(type="hanging")), held)
    assert engine.bindings[0].spec.deadline == timedelta(seconds=seconds)


def test_a_sink_that_breaks_is_counted_and_the_check_stands(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(record: AuditRecord) -> None:
        raise OSError("no space left")

    engine = GuardrailEngine(agent_class(GuardrailSpec(type="marks")), Registry(Marks()), sink=full)
    assert checked(engine, "bad").action == "block"
    assert (engine.untold_records, len(engine.records)) == (1, 1)
    assert "audit_sink_broke" in caplog.text


def test_a_span_longer_than_declared_breaks_the_contract() -> None:
    class Longer(Marks):
        def scan(self, text: str, context: ScanContext) -> list[Finding]:
            return [Finding(0, 5, "marks")]

    engine = GuardrailEngine(
        agent_class(GuardrailSpec(type="marks", action="log")), Registry(Longer("bad"))
    )
    result = checked(engine, "a text that is longer")
    assert (result.action, result.metadata["not_scanned"]) == ("block", "marks: broke its contract")


def test_a_stream_waits_for_a_check_of_the_whole_that_may_block() -> None:
    engine = GuardrailEngine(
        agent_class(GuardrailSpec(type="documented", action="block")),
        Registry(Documented(masked)),
    )
    session = engine.session(EMPTY)
    assert [session.feed("ask "), session.feed("alice")] == ["", ""]
    out, result = streamed(session, [])
    assert (out, result.action) == ("ask alice", "allow")
    assert streamed(engine.session(EMPTY), ["ask ", "bob"])[0] == ""


def test_one_that_is_late_gives_a_verdict_only() -> None:
    engine = GuardrailEngine(
        agent_class(GuardrailSpec(type="documented", action="block")),
        Registry(Documented(masked, late=True)),
    )
    session = engine.session(EMPTY)
    assert session.feed("ask bob") == "ask bob"
    out, result = streamed(session, [])
    assert (out, result.passed, result.action) == ("", False, "block")


@pytest.mark.parametrize("on_error", ["open", "closed"])
def test_a_text_too_long_to_keep_is_not_scanned_by_those_who_need_all(
    on_error: Literal["open", "closed"],
) -> None:
    engine = GuardrailEngine(
        agent_class(
            GuardrailSpec(type="documented", action="block", on_error=on_error),
            GuardrailSpec(type="marks", action="redact"),
        ),
        Registry(Documented(masked), Marks()),
        length_max=20,
    )
    text = "this is bad and bad again"
    out, result = streamed(engine.session(EMPTY), [text[:12], text[12:]])
    assert out == ("this is <MARKS> and <MARKS> again" if on_error == "open" else "")
    assert result.metadata["not_scanned"] == "documented: the text is too long"


def test_a_whole_text_scanner_redacts_a_stream_at_its_end() -> None:
    engine = GuardrailEngine(
        agent_class(
            GuardrailSpec(type="whole", action="redact"),
            GuardrailSpec(type="marks", action="redact"),
        ),
        Registry(Marks("good", kind="whole", whole=True), Marks()),
    )
    out, result = streamed(engine.session(EMPTY), ["go", "od or b", "ad"])
    assert (out, result.action) == ("<WHOLE> or <MARKS>", "redact")


@pytest.mark.parametrize(
    "spec,expected",
    [
        (GuardrailSpec(type="nope"), "no guardrail plugin has the type 'nope'; there are: content"),
        (GuardrailSpec(type="pii-detection", threshold=1.5), "threshold 1.5, expected 0 to 1"),
        (GuardrailSpec(type="pii-detection", deadline=timedelta()), "deadline 0 s, expected more"),
        (GuardrailSpec(type="pii-detection", config={"typs": []}), "typs"),
        (GuardrailSpec(type="pii-detection", config={"types": ["emial"]}), "unknown type 'emial'"),
        (GuardrailSpec(type="content-filter", config={"patterns": ["("]}), "expected RE2 syntax"),
        (GuardrailSpec(type="content-filter", config={"phrases": [""]}), "expected 1 to 500"),
        (GuardrailSpec(type="safety-check", config={"url": "ftp://x"}), "is no address"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused_at_once(spec: GuardrailSpec, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GuardrailEngine(agent_class(spec))
    text = str(caught.value)
    assert expected in text
    assert text.startswith("AgentClass default/c: spec.guardrails[0]")


def test_a_plugin_is_configured_for_each_class_by_itself() -> None:
    class Limits(Struct, frozen=True):
        word: str = "bad"

    class Configured(Marks):
        Config = Limits

    registry = Registry(Configured())
    spec = GuardrailSpec(type="marks", config={"word": "worse"})
    one = GuardrailEngine(agent_class(spec), registry)
    other = GuardrailEngine(agent_class(GuardrailSpec(type="marks")), registry)
    assert [checked(one, "bad").action, checked(one, "worse").action] == ["allow", "block"]
    assert [checked(other, "bad").action, checked(other, "worse").action] == ["block", "allow"]


def test_the_page_s_own_plugin_works(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[object] = []
    monkeypatch.setattr("navarch.plugins.register_guardrail", registered.append, raising=False)
    page = (project / "docs" / "guardrails.md").read_text()
    *_, written = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(written, "docs/guardrails.md", "exec"), {})  # noqa: S102 - our own page
    engine = GuardrailEngine(
        agent_class(GuardrailSpec(type="codenames", action="redact")), Registry(*registered)
    )
    assert checked(engine, "so zephyr is").metadata["redacted_content"] == "so <CODENAME> is"


def test_a_second_finish_says_the_same() -> None:
    engine = GuardrailEngine(agent_class(GuardrailSpec(type="marks")), Registry(Marks()))

    async def twice() -> bool:
        session = engine.session(EMPTY)
        return await session.finish() is await session.finish()

    assert asyncio.run(twice())
    assert len(engine.records) == 1
