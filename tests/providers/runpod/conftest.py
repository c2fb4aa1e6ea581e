"""An account at a double of RunPod, and the key to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from doubles import runpod
from doubles.runpod import KEY, KEY_ENV, Bench
from navarch.controlplane.clock import RealClock


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Yield an account, the key to which is in the environment."""
    monkeypatch.setenv(KEY_ENV, KEY)
    clock = RealClock()
    with runpod.running(clock.now, clock.sleep) as bench:
        yield bench
