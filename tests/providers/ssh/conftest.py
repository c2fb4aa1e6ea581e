"""One rack for all tests of a worker; every test finds its machines as new."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.ssh.rack import SSHD, Rack


@pytest.fixture(scope="session")
def whole_rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """Start the sshd."""
    if not Path(SSHD).exists():
        pytest.skip(f"NOT TESTED: there is no {SSHD} (Debian: openssh-server)")
    rack = Rack(tmp_path_factory.mktemp("rack"), 4)
    try:
        yield rack
        rack.clean()
    finally:
        rack.stop()


@pytest.fixture
def rack(whole_rack: Rack) -> Iterator[Rack]:
    """Yield machines that nobody has."""
    whole_rack.clean()
    yield whole_rack
    whole_rack.clean()
