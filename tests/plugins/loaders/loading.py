"""A program that loads a model in processes of its own, which tests kill: ``loading.py FOLDER``.

It reads lines ``URI [N]`` and forks for each: the child loads the model and ends with 0; with N it
ends itself, as if it was killed, before its Nth call of the system that changes a disk. Lines of
output: the child's process id, and how it ended.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from navarch.core.model.resources import Model, ModelSpec, ObjectMeta
from navarch.plugins.loaders.cache import ModelCache
from navarch.plugins.loaders.fetching import Fetching
from navarch.plugins.loaders.file_source import FileSource
from navarch.plugins.loaders.http_source import HttpSource

CALLS = ("pwrite", "write", "link", "rename", "replace", "unlink", "fsync", "fdatasync", "mkdir")
CALLS_NOT_REACHED = 77
"""How a child ends that came to its end before its Nth call."""


def dying(limit: int) -> None:
    """End this process before the call of that number."""
    lock = threading.Lock()
    count = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: object, **named: object) -> object:
            nonlocal count
            with lock:
                count += 1
                if count == limit:
                    os._exit(9)
            return real(*arguments, **named)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


async def load(folder: Path, uri: str) -> None:
    """Load a model, small range by small range."""
    cache = ModelCache(
        folder,
        0,
        [FileSource(), HttpSource()],
        now=lambda: datetime(2026, 5, 1, tzinfo=UTC),
        how=Fetching(workers=4, range_bytes=16 * 1024, chunk_bytes=1024, backoff=0.001),
    )
    await cache.load(Model(metadata=ObjectMeta(name="m"), spec=ModelSpec(weights_uri=uri)))
    await cache.close()


def main() -> None:
    """Serve lines until there are no more."""
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        uri, _, limit = line.strip().partition(" ")
        child = os.fork()
        if child == 0:
            if limit:
                dying(int(limit))
            asyncio.run(load(folder, uri))
            os._exit(CALLS_NOT_REACHED if limit else 0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
