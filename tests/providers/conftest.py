"""A bench for machines that are processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from machines import Bench, assert_no_process_is_left


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Yield a bench, and afterwards see that its test has left no process and no zombie."""
    yield Bench(tmp_path / "root")
    assert_no_process_is_left(tmp_path / "root")
