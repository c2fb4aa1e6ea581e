"""An account at a double of Lambda Cloud, and the key to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from doubles import lambda_bench
from doubles.lambda_bench import KEY, KEY_ENV, Bench


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Yield an account, the key to which is in the environment."""
    monkeypatch.setenv(KEY_ENV, KEY)
    with lambda_bench.bench() as running:
        yield running
