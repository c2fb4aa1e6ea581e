"""Real processes that are killed while they load, at any byte and at any call of the system."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from doubles.weights_server import WeightsServer
from navarch.plugins.loaders.cache import ModelCache
from plugins.loaders import loading
from plugins.loaders.conftest import content, model, noise

RANGE = 16 * 1024
"""What all workers of the child ask for at a time."""


class Loader:
    """The program that loads."""

    def __init__(self, folder: Path) -> None:
        self._program = subprocess.Popen(
            [sys.executable, loading.__file__, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, line: str) -> int:
        """Have a process load, and return its id."""
        assert self._program.stdin is not None
        self._program.stdin.write(f"{line}\n")
        self._program.stdin.flush()
        return self._read()

    def end(self) -> int:
        """Wait for the process, and return how it ended."""
        return self._read()

    def close(self) -> None:
        self._program.communicate()

    def _read(self) -> int:
        assert self._program.stdout is not None
        return int(self._program.stdout.readline())


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[Loader]:
    program = Loader(tmp_path / "cache")
    yield program
    program.close()


def visible(folder: Path) -> list[dict[str, bytes]]:
    """Read the models that a program could be given now."""
    models = folder / "models"
    return [content(each) for each in models.iterdir()] if models.is_dir() else []


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(each, marks=pytest.mark.soak) for each in range(3, 60))]
)
async def test_a_killed_load_asks_again_for_one_range_at_most(
    loader: Loader,
    web: WeightsServer,
    tmp_path: Path,
    make_cache: Callable[..., ModelCache],
    seed: int,
) -> None:
    dice = iter(noise(1_000, 100 + seed))
    files = {"a.bin": noise(150_000, seed), "b/c.bin": noise(30_000, 7), "d": b"", "e": b"{}"}
    web.files.update(files)
    named = ", ".join(f'{{"path": "{path}"}}' for path in files)
    web.files["manifest.json"] = f'{{"files": [{named}]}}'.encode()
    web.slow_chunk = 512
    size = sum(map(len, files.values()))

    def asked() -> int:
        """Count the bytes of weights that were asked for; the list of them is read each time."""
        return sum(web.bytes_asked(path) for path in files)

    kills = 0
    for _ in range(12):
        before = asked()
        pid = loader.begin(f"{web.url}/")
        web.tripwire = (
            web.sent + next(dice) * 117 + next(dice),
            lambda pid=pid: os.kill(pid, signal.SIGKILL),
        )
        status = loader.end()
        assert status in (0, -signal.SIGKILL)
        assert visible(tmp_path / "cache") in ([], [files])
        if status == 0:
            assert asked() - before <= size
            break
        kills += 1
        assert asked() <= size + kills * RANGE
    web.tripwire = None
    cache = make_cache()
    folder = await cache.load(model(f"{web.url}/"))
    assert content(folder) == files
    assert kills >= 3
    assert size - 2 <= asked() <= size + kills * RANGE
    await cache.close()
    assert not list((tmp_path / "cache" / "parts").iterdir())


@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.soak)])
def test_a_load_that_dies_at_any_step_leaves_nothing_half_done(
    loader: Loader, tmp_path: Path, stride: int
) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "w.bin").write_bytes(noise(9_000))
    (source / "deep" / "config.json").write_bytes(b"{}")
    expected = content(source)
    status, steps = 0, 0
    while status != loading.CALLS_NOT_REACHED:
        steps += stride
        for limit in (steps, max(1, steps // 3)):  # and once more while it recovers
            loader.begin(f"file://{source} {limit}")
            status = max(status, loader.end())
            assert status in (9, loading.CALLS_NOT_REACHED)
            seen = visible(tmp_path / "cache")
            assert [each for each in seen if each != expected] == []
        loader.begin(f"file://{source}")
        assert loader.end() == 0
        assert visible(tmp_path / "cache") == [expected]
        assert content(tmp_path / "cache" / "parts") == {}
        if status != loading.CALLS_NOT_REACHED:
            status = 0
        shutil.rmtree(tmp_path / "cache")
    assert steps > 40
