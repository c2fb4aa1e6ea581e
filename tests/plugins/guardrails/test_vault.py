"""Pseudonyms are taken back by the request that made them, and by nobody else."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.core.model.resources import GuardrailSpec
from navarch.plugins.guardrails import GuardrailEngine, Vault, Vaults
from navarch.plugins.guardrails import vault as vaults
from navarch.plugins.protocols import GuardrailRequest
from plugins.guardrails.classes import EMPTY, agent_class, streamed

ENGINE = GuardrailEngine(agent_class(GuardrailSpec(type="pii-detection", action="redact")))
TEXT = "alice@example.com wrote to bob@example.com, and alice@example.com called +44 20 7946 0958"


def hidden(text: str, vault: Vault) -> str:
    result = asyncio.run(ENGINE.check(GuardrailRequest(content=text), vault=vault))
    return result.metadata["redacted_content"]


def test_one_value_has_one_pseudonym_and_comes_back() -> None:
    vault = Vault()
    changed = hidden(TEXT, vault)
    assert changed == "<EMAIL_1> wrote to <EMAIL_2>, and <EMAIL_1> called <PHONE_1>"
    assert vault.restore(changed) == TEXT


def test_another_request_s_pseudonym_stays_one() -> None:
    one, other = Vault(), Vault()
    hidden("alice@example.com and bob@example.com", one)
    hidden("carol@example.com", other)
    assert other.restore("<EMAIL_1> or <EMAIL_2>") == "carol@example.com or <EMAIL_2>"


def test_the_same_value_of_two_tenants_is_in_two_vaults() -> None:
    kept = Vaults()
    hidden("alice@example.com", kept.of("acme", "r1"))
    assert kept.of("acme", "r1").restore("<EMAIL_1>") == "alice@example.com"
    assert kept.of("other", "r1").restore("<EMAIL_1>") == "<EMAIL_1>"
    kept.close("acme", "r1")
    assert kept.of("acme", "r1").restore("<EMAIL_1>") == "<EMAIL_1>"


def test_a_vault_of_no_request_is_refused() -> None:
    with pytest.raises(ValueError, match="request_id is empty"):
        Vaults().of("acme", "")


def test_open_vaults_are_bounded() -> None:
    kept = Vaults(most=2)
    hidden("alice@example.com", kept.of("t", "r1"))
    for request in ("r2", "r3"):
        kept.of("t", request)
    assert len(kept) == 2
    assert len(kept.of("t", "r1")) == 0


def test_values_of_a_vault_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vaults, "ENTRIES_MAX", 1)
    vault = Vault()
    assert hidden("alice@example.com, bob@example.com", vault) == "<EMAIL_1>, <EMAIL>"
    assert vault.restore("<EMAIL_1>, <EMAIL>") == "alice@example.com, <EMAIL>"


def test_a_vault_does_not_show_what_is_in_it() -> None:
    vault = Vault("acme", "r1")
    hidden(TEXT, vault)
    assert repr(vault) == "Vault(3 values)"


@given(
    st.lists(
        st.sampled_from(
            ["<EMAIL_1>", "<EMAIL_2>", "<EMAIL_9>", "<", ">", "x", "<E", "_1>", " <A_"]
        ),
        max_size=10,
    ).map("".join),
    st.integers(1, 5),
)
def test_a_stream_is_restored_as_the_whole_is(text: str, size: int) -> None:
    vault = Vault()
    hidden("alice@example.com, bob@example.com", vault)
    restorer = vault.restorer()
    pieces = [restorer.feed(text[at : at + size]) for at in range(0, len(text), size)]
    assert "".join(pieces) + restorer.finish() == vault.restore(text)


def test_what_was_hidden_in_a_stream_comes_back_in_another() -> None:
    vault = Vault()
    out, _ = streamed(ENGINE.session(EMPTY, vault=vault), list(TEXT))
    restorer = vault.restorer()
    assert "".join(map(restorer.feed, out)) + restorer.finish() == TEXT
