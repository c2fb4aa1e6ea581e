"""Stores, rankers and the fleet's secret, made from what the plan says."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from navarch.core.selection import BUILT_IN
from navarch.errors import ConfigError, PluginError
from navarch.plugins.protocols import PluginKind
from navarch.telemetry import redaction
from navarch.wiring import plugins

if TYPE_CHECKING:
    from navarch.config import values as config
    from navarch.core.model.pool import PoolSpec
    from navarch.core.selection.base import Ranker
    from navarch.stores.archive import Source
    from navarch.stores.base import Store


def store_of(written: config.Store, *, with_password: bool = True) -> str:
    """Say where a configuration keeps its journal, as `open_store` takes it.

    Without `with_password` the file or the variable that has it is not looked at.

    Raises `ConfigError` for the URL of a database that cannot be used; nothing is reached.
    """
    if written.url:
        from navarch.stores.postgres_link import Address

        try:
            Address.parse(written.url, with_password=with_password)
        except ConfigError as error:
            raise ConfigError(error.message, key="server.store") from error
        return written.url
    return "memory" if written.path is None else str(written.path)


def open_store(where: str, url: str = "") -> Store:
    """Make the store that a plan names; nothing is opened yet.

    `url` is where our API is: a database that others reach tells them.

    Raises `ConfigError` when the URL of a database cannot be used, or what it needs is missing.
    """
    from navarch.controlplane.founding import holder

    if where.startswith(("postgresql://", "postgres://")):
        from navarch.controlplane.clock import uptime
        from navarch.core.sentences import sentence
        from navarch.stores.postgres import PostgresStore

        return PostgresStore(
            where, stopwatch=uptime, holder=holder(), api_url=url, describe=sentence
        )
    if where == "memory":
        from navarch.stores.memory import MemoryStore

        return MemoryStore(holder=holder())
    from navarch.stores.sqlite import SqliteStore

    return SqliteStore(where, holder=holder())


async def read_store(where: str) -> Source:
    """Open a store to read from it beside whoever writes: nothing is held, nothing is changed.

    Raises `JournalError` when it is not there or cannot be used.
    """
    if where.startswith(("postgresql://", "postgres://")):
        from navarch.controlplane.clock import uptime
        from navarch.stores.postgres import PostgresStore

        database = PostgresStore(where, stopwatch=uptime, make=False)
        await database.connect()
        return database
    from navarch.stores.sqlite import SqliteReading

    return SqliteReading(where)


def fleet_secret(data: Path) -> bytes:
    """Read the secret behind the nodes' tokens; make one where there is none.

    Raises `ConfigError` when the file cannot be read or written, or others may read it.
    """
    path = data / "node-tokens.key"
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if data.is_file() else error.strerror
        raise ConfigError(f"cannot be the data folder: {reason}", file=str(data)) from error
    try:
        if not path.exists():
            _make_secret(path)
        text = path.read_text(encoding="ascii").strip()
        mode = stat.S_IMODE(path.stat().st_mode)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"the secret of the nodes' tokens: {reason}", file=str(path)) from error
    if mode & 0o077:
        raise ConfigError("may be read by others: chmod 600 it", file=str(path))
    if not text:
        raise ConfigError("is empty: delete it to have a new one made", file=str(path))
    redaction.know(text)
    return text.encode()


def _make_secret(path: Path) -> None:
    """Write a new secret, whole or not at all."""
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


RANKERS = plugins.kind(PluginKind.RANKER)


def foreign_rankers(pools: Iterable[PoolSpec]) -> list[Ranker]:
    """Load the rankers that pools name as their strategy and that are not built in.

    Raises `PluginError` that says which one does not fit, and how.
    """
    names = dict.fromkeys(pool.strategy for pool in pools if pool.strategy not in BUILT_IN)
    rankers: list[Ranker] = []
    for name in names:
        ranker: Ranker = plugins.make(RANKERS, name)
        if ranker.name != name:
            raise PluginError(f"ranker {name} calls itself {ranker.name}: expected the same name")
        rankers.append(ranker)
    return rankers
