"""What tests of the cache of models share."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from doubles.weights_server import WeightsServer, serving_weights
from navarch.core.model.resources import CachePolicy, Model, ModelSpec, ObjectMeta
from navarch.plugins.loaders import BUILT_IN
from navarch.plugins.loaders.cache import ModelCache
from navarch.plugins.loaders.fetching import Fetching

SMALL = Fetching(workers=4, range_bytes=16 * 1024, chunk_bytes=1024, backoff=0.001)
"""Pieces of 4 KB, so that small files have many of them."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine in an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.time = datetime(2026, 5, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def model(uri: str, name: str = "m", **policy: Any) -> Model:  # noqa: ANN401 - fields of a policy
    spec = ModelSpec(weights_uri=uri, cache_policy=CachePolicy(**policy))
    return Model(metadata=ObjectMeta(name=name), spec=spec)


def noise(size: int, seed: int = 1) -> bytes:
    """Return bytes that no other seed gives."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so; fail when it is not for ten seconds."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to be so")


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def web() -> Iterator[WeightsServer]:
    with serving_weights() as server:
        yield server


@pytest.fixture
def make_cache(tmp_path: Path, clock: Clock) -> Callable[..., ModelCache]:
    """Make caches in folders of their own, or of that name."""

    def make(name: str = "cache", quota: int = 0, **more: Any) -> ModelCache:  # noqa: ANN401
        more.setdefault("loaders", [loader() for loader in BUILT_IN])
        return ModelCache(tmp_path / name, quota, now=clock, how=SMALL, **more)

    return make
