"""The options of `navarch relay`: what each becomes, and what it cannot begin with."""

from __future__ import annotations

import re
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from cli.connect_server import Run
from navarch import wiring
from navarch.cli.relaying import relay
from navarch.relay.roster import NODES_MAX
from navarch.relay.settings import TOKEN_VARIABLE, RelaySettings, UpwardTls
from navarch.wire.certificates import Tls

NEEDED = ("relay", "--server", "http://a:1")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "relay.md"


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[RelaySettings]:
    """Return the settings with which relays were begun; none begins really."""
    begun: list[RelaySettings] = []

    def begin(settings: RelaySettings) -> int:
        begun.append(settings)
        return 0

    monkeypatch.setattr(wiring, "run_relay", begin)
    monkeypatch.setenv(TOKEN_VARIABLE, "secret\n")
    return begun


def test_by_default_a_relay_serves_this_machine_alone(run: Run, begun: list[RelaySettings]) -> None:
    assert run(*NEEDED).code == 0
    expected = RelaySettings(
        servers=("http://a:1",), host="127.0.0.1", port=50052, token="secret", nodes_max=NODES_MAX
    )
    assert begun == [expected]
    expected.check()


def test_every_option_of_a_relay_becomes_a_setting(
    run: Run, begun: list[RelaySettings], tmp_path: Path
) -> None:
    pem = tmp_path / "a.pem"
    pem.write_text("-----BEGIN CERTIFICATE-----\n")
    token = tmp_path / "token"
    token.write_text("another\n")
    options = [
        *("--server", "https://b:2", "--listen", ":7000", "--token-file", str(token)),
        *("--interval", "250ms", "--nodes-max", "7", "--tls-cert", "c", "--tls-key", "k"),
        *("--client-ca", "ca", "--server-ca", str(pem), "--server-cert", str(pem)),
        *("--server-key", str(pem)),
    ]
    assert run(*NEEDED, *options).code == 0
    text = pem.read_bytes()
    expected = RelaySettings(
        servers=("http://a:1", "https://b:2"),
        host="",
        port=7000,
        token="another",
        interval=timedelta(milliseconds=250),
        nodes_max=7,
        tls=Tls("c", "k", "ca"),
        upward_tls=UpwardTls(text, text, text),
    )
    assert begun == [expected]
    expected.check()


@pytest.mark.parametrize(
    "words, code, expected",
    [
        (("--listen", ":0"), 1, "name a token, or listen on 127.0.0.1"),
        (("--listen", "nonsense"), 2, "is no address to listen on"),
        (("--interval", "1h"), 1, "not between 0.05 s and 5 s"),
        (("--server", "a:1"), 1, "is no address, expected one such as"),
        (("--tls-cert", "a.pem"), 2, "--tls-key is missing"),
        (("--server-key", "a.pem"), 2, "--server-cert is missing"),
        (("--client-ca", "a.pem"), 2, "--client-ca goes with --tls-cert"),
        (("--token-file", "/nowhere"), 1, "the token cannot be read"),
        (("--server-ca", "/nowhere"), 1, "cannot be read"),
        (("--server-ca", str(PAGE)), 1, "no certificate or key in the form of PEM"),
        (("--tls-cert", "/nowhere", "--tls-key", "/nowhere"), 1, "cannot use the TLS files"),
    ],
)
def test_what_a_relay_cannot_begin_with_is_said_on_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, expected: str
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    outcome = run(*NEEDED, *words)
    assert outcome.code == code
    assert expected in outcome.stderr
    assert len(outcome.stderr.strip().splitlines()) == 1


def test_a_relay_does_not_begin_where_somebody_listens_already(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        outcome = run(*NEEDED, "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert outcome.code == 1
    assert "is another server running there?" in outcome.stderr


def test_the_page_of_relays_names_every_option_and_no_other() -> None:
    named = set(re.findall(r"^\| `(--[a-z-]+)", PAGE.read_text(), re.MULTILINE))
    assert named == {option for each in relay.params for option in each.opts}
