"""The far end and the near end of the command line's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.connect_server import ConnectServer, Outcome, Run
from navarch.cli.main import main


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectServer]:
    """Start a server with prepared answers, to which the program goes by default."""
    far_end = ConnectServer()
    monkeypatch.setenv("NAVARCH_SERVER", far_end.url)
    yield far_end
    far_end.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the program in this process."""
    monkeypatch.delenv("NAVARCH_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def run_program(*arguments: str) -> Outcome:
        code = main(arguments)
        written = capsys.readouterr()
        return Outcome(code, written.out, written.err)

    return run_program
