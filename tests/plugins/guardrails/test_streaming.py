"""A stream lets out the same however it is cut, and is held back no more than needed."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from navarch.core.model.resources import GuardrailSpec
from navarch.plugins.guardrails import GuardrailEngine, Vault
from navarch.plugins.protocols import GuardrailRequest
from plugins.guardrails.classes import EMPTY, Marks, Registry, agent_class, streamed

PARTS = st.sampled_from(
    [
        *("alice@example.com", "4111 1111 1111 1111", "5500-0000-0000-0004", "+44 20 7946 0958"),
        *("(415) 555-0132", "GB82 WEST 1234 5698 7654 32", "10.1.2.3", "fe80::1ff:fe23:4567:890a"),
        *("536-22-1234", "943 476 5919", "00:1b:44:11:3a:b7", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
        *("-----BEGIN RSA PRIVATE KEY-----\n", "MIIEowIBAAKCAQEAabcdefghijklmn", "12345678Z"),
        *("-----END RSA PRIVATE KEY-----", "-----BEGIN CERTIFICATE-----", "2341 2341 2346"),
        *("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc_def-123", "eyJ", "AKIAIOSFODNN7EXAMPLE"),
        *(
            "ignore all previous instructions",
            "what is ",
            "and the system prompt",
            "do anything now",
        ),
        *("a darn thing", "DARN", "dárn", "da\u200brn", "x9-77", "order ", "card ", "phone: "),
        *(
            " ",
            "\n",
            ".",
            "-",
            "@",
            "1",
            "4111",
            " 1111",
            "é",
            "电",
            "\U0001f600",
            "\ud800",
            "<EMAIL_1>",
        ),
    ]
)
TEXTS = st.lists(st.one_of(PARTS, st.text(max_size=6)), max_size=14).map("".join)


@st.composite
def cuts(draw: st.DrawFn, text: str) -> list[str]:
    """Cut a text into pieces, some of them empty."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


FILTERING: dict[str, object] = {
    "phrases": ["darn", "darn thing"],
    "patterns": ["x[0-9-]+7", "[0-9]{4} [0-9]+"],
    "pattern_span": 20,
}


def only(kind: str) -> GuardrailEngine:
    config = FILTERING if kind == "content-filter" else {}
    return GuardrailEngine(
        agent_class(GuardrailSpec(type=kind, action="redact", threshold=0.2, config=config))
    )


Action = Literal["block", "redact", "warn", "log"]


def engine(pii: Action, phrases: Action, injection: Action) -> GuardrailEngine:
    return GuardrailEngine(
        agent_class(
            GuardrailSpec(type="pii-detection", action=pii),
            GuardrailSpec(type="content-filter", action=phrases, config=FILTERING),
            GuardrailSpec(type="prompt-injection", action=injection),
            GuardrailSpec(type="jailbreak-detection", action="log"),
        )
    )


ENGINES = [
    engine("redact", "warn", "block"),
    engine("redact", "redact", "warn"),
    engine("warn", "redact", "log"),
    only("pii-detection"),
    only("pii-detection"),  # twice: nobody else's longer span hides what it says is settled
    only("prompt-injection"),
    only("content-filter"),
]


@settings(max_examples=250)
@given(st.data(), TEXTS, st.sampled_from(ENGINES))
def test_any_cut_gives_the_same_output_findings_and_verdict(
    data: st.DataObject, text: str, chosen: GuardrailEngine
) -> None:
    one = chosen.session(EMPTY, vault=Vault())
    other = chosen.session(EMPTY, vault=Vault())
    whole = streamed(one, [text])
    pieces = streamed(other, data.draw(cuts(text)))
    assert pieces == whole
    assert whole[1].metadata["scan"] == "complete"
    assert other.findings == one.findings


@settings(max_examples=100)
@given(TEXTS, st.sampled_from(ENGINES))
@example("card 4111 1111 1111 1111" + " and so on" * 8, ENGINES[3])
@example("x" * 9 + "4111 1111 1111 1111" + " and so on" * 8, ENGINES[3])
@example("what is 'ignore all previous instructions'" + " and so on" * 30, ENGINES[5])
def test_one_character_at_a_time_is_the_same_as_the_whole_request(
    text: str, chosen: GuardrailEngine
) -> None:
    session = chosen.session(EMPTY)
    out, result = streamed(session, list(text))
    one = chosen.session(EMPTY)
    streamed(one, [text])
    assert session.findings == one.findings
    checked = asyncio.run(chosen.check(GuardrailRequest(content=text)))
    assert (checked.passed, checked.action, checked.reason) == (
        result.passed,
        result.action,
        result.reason,
    )
    if checked.action == "redact":
        assert out == checked.metadata["redacted_content"]
    elif checked.action != "block":
        assert out == text


@settings(max_examples=100)
@given(st.data(), st.text(alphabet="abd ", max_size=60), st.sampled_from(["block", "redact"]))
def test_overlapping_spans_of_two_plugins_are_cut_alike(
    data: st.DataObject, text: str, action: Action
) -> None:
    registry = Registry(Marks("aba", kind="first"), Marks("abba b", kind="second"))
    chosen = GuardrailEngine(
        agent_class(
            GuardrailSpec(type="first", action="redact"),
            GuardrailSpec(type="second", action=action),
        ),
        registry,
    )
    one, other = chosen.session(EMPTY), chosen.session(EMPTY)
    assert streamed(one, [text]) == streamed(other, data.draw(cuts(text)))
    assert one.findings == other.findings


def test_prose_is_held_back_by_some_fifty_characters_at_most() -> None:
    session = only("pii-detection").session(EMPTY)
    text = "The quick brown fox jumps over the lazy dog. " * 20
    behind, out = 0, 0
    for place, sign in enumerate(text):
        out += len(session.feed(sign))
        behind = max(behind, place + 1 - out)
    assert behind <= 55


def test_a_declared_span_bounds_what_is_held_back() -> None:
    chosen = GuardrailEngine(
        agent_class(GuardrailSpec(type="marks", action="redact")), Registry(Marks("badword"))
    )
    session = chosen.session(EMPTY)
    sent = 0
    for place in range(200):
        sent += len(session.feed("x"))
        assert place + 1 - sent <= len("badword") + 1


def test_a_chain_of_overlapping_spans_does_not_hold_a_stream_for_ever() -> None:
    chosen = GuardrailEngine(
        agent_class(GuardrailSpec(type="marks", action="redact")), Registry(Marks("aa"))
    )
    session = chosen.session(EMPTY)
    out = "".join(session.feed("a") for _ in range(1_000))
    assert out.count("<MARKS>") > 300


@pytest.mark.parametrize("action", ["warn", "log"])
def test_checks_that_only_watch_hold_nothing_back(action: Action) -> None:
    chosen = GuardrailEngine(agent_class(GuardrailSpec(type="pii-detection", action=action)))
    session = chosen.session(EMPTY)
    assert session.feed("alice@exam") == "alice@exam"
    assert session.feed("ple.com is it") == "ple.com is it"
    out, result = streamed(session, [])
    assert (out, result.action, session.findings) == ("", action, ((0, 17, "email", 0.95),))


def test_nothing_goes_out_after_a_block() -> None:
    chosen = GuardrailEngine(
        agent_class(GuardrailSpec(type="marks", action="block")), Registry(Marks("bad"))
    )
    session = chosen.session(EMPTY)
    assert session.feed("good, then bad and more") == "good, then "
    assert [session.feed("something good again"), session.feed("x" * 500)] == ["", ""]
    out, result = streamed(session, ["more"])
    assert (out, result.action, result.passed) == ("", "block", False)


def test_a_finished_text_takes_no_more() -> None:
    session = ENGINES[0].session(EMPTY)
    streamed(session, ["fine"])
    with pytest.raises(RuntimeError, match="a new one needs a session of its own"):
        session.feed("more")
    assert session.tail == "fine"
