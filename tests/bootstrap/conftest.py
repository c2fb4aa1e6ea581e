"""A bare machine for each test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.ground import Ground


@pytest.fixture
def ground() -> Iterator[Ground]:
    """Yield a machine, and end what its test has left running there."""
    machine = Ground(Path(tempfile.mkdtemp(prefix="ground-")))
    yield machine
    machine.clean()
