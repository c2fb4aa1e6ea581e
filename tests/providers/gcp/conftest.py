"""A project of a double, and a provider that buys in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from doubles.compute_engine import compute_engine
from doubles.gcp_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Yield a bench."""
    with compute_engine() as double:
        yield Bench(double, tmp_path)
