"""An engine on a Unix socket, and what asks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from doubles.docker_bench import Bench
from doubles.docker_engine import DockerEngine


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Yield an engine without containers."""
    engine = DockerEngine()
    with engine.serving(tmp_path) as host:
        yield Bench(engine, host)
