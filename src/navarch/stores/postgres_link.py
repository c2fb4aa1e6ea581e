"""Connections to PostgreSQL: where it is, how long to wait for it, and what its errors mean.

`Address` reads the URL of a store and never shows its password. `Link` is one connection that is
made when it is needed and made anew after it broke; whoever uses it has it alone meanwhile. Every
wait has an end: a network that is cut is an error within the time that the caller gives, never a
call that hangs.

asyncpg is an extra (``pip install 'navarch[postgres]'``), imported when the first connection is
made.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from msgspec import Struct

from navarch.errors import ConfigError, JournalConflict, JournalCorrupt, JournalError
from navarch.stores.faults import WHERE_UNKNOWN

SCHEMES = ("postgresql", "postgres")
SCHEMA = "navarch"
"""The schema that the tables lie in unless the URL says another: one schema, one fleet."""

_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_OURS = frozenset({"schema", "password_file", "password_env"})
_DRIVERS = frozenset(
    [
        *("host", "port", "user", "dbname", "database", "service", "passfile"),
        *("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version"),
        *("target_session_attrs", "krbsrvname", "gsslib"),
    ]
)
_KEEPALIVE_SECONDS = 1
LEAVE_SECONDS_MAX = 1.0
"""How long the end of a connection may take, its last question included."""


class Address(Struct, frozen=True):
    """Where a store is: a database, how to get in, and the schema of one fleet in it."""

    dsn: str
    """What the driver is given: without our own parameters and without a password."""
    schema: str
    password: str | None
    """None: what the environment (PGPASSWORD, PGPASSFILE) or the server's rules say."""

    @classmethod
    def parse(cls, url: str, *, with_password: bool = True) -> Address:
        """Read ``postgresql://user@host:port/database?schema=navarch&password_file=F``.

        A password may stand in the URL, in the file ``password_file`` or in the environment
        variable ``password_env``. Everything else in the query is libpq's, such as ``sslmode``.
        Without `with_password` neither is looked at: whoever checks a URL may stand elsewhere.

        Raises ConfigError, which does not quote a password, for anything that cannot be used.
        """
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError as error:
            raise _unusable("expected postgresql://USER@HOST:PORT/DATABASE") from error
        if parts.scheme not in SCHEMES:
            raise _unusable("expected postgresql://USER@HOST:PORT/DATABASE")
        asked = dict(parse_qsl(parts.query, keep_blank_values=True))
        for key in asked:
            if key not in _OURS | _DRIVERS:
                known = ", ".join(sorted(_OURS | _DRIVERS))
                raise _unusable(f"{key!r} is no parameter of its URL: expected one of {known}")
        schema = asked.get("schema", SCHEMA)
        if not _SCHEMA_NAME.fullmatch(schema):
            raise _unusable(
                f"schema {schema!r} is no plain name: expected lower-case letters, digits and "
                "underscores, at most 63"
            )
        account, at, place = parts.netloc.rpartition("@")
        user, _, written = account.partition(":")
        query = urlencode({k: v for k, v in asked.items() if k not in _OURS}, quote_via=quote)
        dsn = f"postgresql://{user}{at}{place}{parts.path}" + (f"?{query}" if query else "")
        secret = _password(unquote(written), asked) if with_password else None
        return cls(dsn, schema, secret)

    def __str__(self) -> str:
        """Name it for people: no password, and the schema where it is another."""
        if self.schema == SCHEMA:
            return self.dsn
        return f"{self.dsn}{'&' if '?' in self.dsn else '?'}schema={self.schema}"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"


class Limits(Struct, frozen=True):
    """How long a session may take for what."""

    connect: timedelta
    """To reach the server and log in."""
    statement: timedelta
    """For one statement, and for a transaction that stands still."""


class Connection(Protocol):
    """What is used of the driver's connection, whose own types are not published."""

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement; without arguments, several of them."""

    async def fetch(self, query: str, *args: object) -> list[Any]:
        """Return the rows of an answer: sequences, and mappings by the names of the columns."""

    async def fetchrow(self, query: str, *args: object) -> Any:  # noqa: ANN401 - the driver's
        """Return the first row of an answer, None without one."""

    async def fetchval(self, query: str, *args: object) -> Any:  # noqa: ANN401 - the driver's
        """Return the first value of the first row, None without one."""

    async def copy_records_to_table(
        self,
        table_name: str,
        *,
        records: Iterable[Sequence[object]],
        columns: Sequence[str] | None = None,
        schema_name: str | None = None,
    ) -> str:
        """Write rows by COPY."""

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False
    ) -> AbstractAsyncContextManager[object]:
        """Begin a transaction, which ends with the block."""

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None:
        """Have `callback` called with each notification."""

    def add_termination_listener(self, callback: Callable[..., None]) -> None:
        """Have `callback` called when the connection has ended."""

    def is_closed(self) -> bool:
        """Whether it has ended, from whichever side."""
        ...

    def terminate(self) -> None:
        """End it without a word."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the driver's
        """End it in order."""


class Link:
    """One connection, used by one caller at a time; made anew when the last one broke."""

    def __init__(self, address: Address, limits: Limits, name: str) -> None:
        """Connect nowhere yet; `name` is what the server's lists of sessions show."""
        self.address = address
        self._limits = limits
        self._name = name
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None

    def another(self) -> Link:
        """Another connection like this one, for another event loop."""
        return Link(self.address, self._limits, self._name)

    @asynccontextmanager
    async def use(self, within: timedelta | None = None) -> AsyncIterator[Connection]:
        """Give the connection, and have it alone. `within` bounds all of it; None: no such bound.

        Raises JournalError in place of the driver's errors. A connection that broke, or that was
        left in the middle of a statement, is not used again.
        """
        seconds = None if within is None else within.total_seconds()
        with translated(self.address):
            async with asyncio.timeout(seconds), self._turn:
                try:
                    yield await self._connected()
                except BaseException as error:
                    if not _is_answer(error):
                        self.drop()
                    raise

    def drop(self) -> None:
        """End the connection at once, whatever it is at; the next use makes another."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            connection.terminate()

    async def close(self) -> None:
        """Take leave of the server; one that does not answer is left alone."""
        connection: Connection | None = None
        try:
            async with asyncio.timeout(LEAVE_SECONDS_MAX), self._turn:
                connection, self._connection = self._connection, None
                if connection is not None and not connection.is_closed():
                    await connection.close(timeout=LEAVE_SECONDS_MAX)
        except (TimeoutError, OSError):
            self.drop()
            if connection is not None:
                connection.terminate()

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = None
            self._connection = await connect(self.address, self._limits, self._name)
        return self._connection


async def connect(address: Address, limits: Limits, name: str) -> Connection:
    """Make a connection that is durable, that gives up in time, and that UTC is the zone of.

    Raises the driver's own errors; `translated` puts them into words.
    """
    statement_ms = str(int(limits.statement.total_seconds() * 1000))
    connection: Connection = await driver().connect(
        address.dsn,
        password=address.password,
        timeout=limits.connect.total_seconds(),
        command_timeout=limits.statement.total_seconds() + 1,
        server_settings={
            "application_name": name,
            "timezone": "UTC",
            "statement_timeout": statement_ms,
            "lock_timeout": statement_ms,
            "idle_in_transaction_session_timeout": statement_ms,
            # The server's side of a network that is cut: it must not keep a dead session's locks.
            "tcp_keepalives_idle": str(_KEEPALIVE_SECONDS),
            "tcp_keepalives_interval": str(_KEEPALIVE_SECONDS),
            "tcp_keepalives_count": "4",
            "tcp_user_timeout": statement_ms,
        },
    )
    try:
        # What the administrator set may be more careful than "on", but not less.
        await connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
    except BaseException:
        connection.terminate()
        raise
    return connection


def driver() -> Any:  # noqa: ANN401 - it publishes no types
    """Import asyncpg. Raises ConfigError that names the extra when it is not installed."""
    try:
        import asyncpg  # noqa: PLC0415 - an extra, which only this store needs
    except ImportError as error:
        raise ConfigError(
            "a store in PostgreSQL needs asyncpg: pip install 'navarch[postgres]'"
        ) from error
    return asyncpg


class translated:  # noqa: N801 - used like a function
    """Turn every error of the driver inside into a JournalError of one clear line."""

    def __init__(self, address: Address) -> None:
        """`address` is named in the error."""
        self._address = address

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Translate what came; our own errors and cancellation pass as they are."""
        if isinstance(error, Exception) and not isinstance(error, JournalError | ConfigError):
            translation = _translate(self._address, error)
            if translation is not None:
                raise translation from error


def damage(address: Address, seq: int, what: str) -> JournalCorrupt:
    """Return the error for a record `seq` that is not as it was written; `what` says how."""
    return JournalCorrupt(
        f"journal {address} is damaged at fact {seq}: {what}; the last good fact is {seq - 1}. "
        "Keep a copy, then restore the database from a backup",
        seq=seq,
    )


# SQLSTATE classes and codes: PostgreSQL 15, appendix A (read 2026-11).
_ADVICE = {
    "28": "the server refuses the user or the password; check pg_hba.conf and the password",
    "3D": "there is no such database; make it with createdb",
    "42501": "the role may not do this; grant it CREATE on the database, or give it the schema",
    "25006": "the server is a read-only replica; name the primary",
    "53100": "the disk is full, nothing was kept; free some space and start again",
    "53300": "the server has no connection left; raise max_connections",
    "57": "the server stopped the session or did not answer in time",
    "55P03": "another session holds a lock for too long",
    "08": "the connection broke",
    "42P01": "a table is missing; restore the schema from a backup, or name another",
    "3F": "the schema is missing; restore it from a backup, or name another",
}
_DAMAGED = {"XX001", "XX002"}
_DRIVER_ERRORS = {"InterfaceError", "InternalClientError"}
_RIVAL = {"23505", "40001", "40P01"}


def _translate(address: Address, error: Exception) -> JournalError | None:
    if isinstance(error, TimeoutError):
        return JournalError(
            f"journal {address}: PostgreSQL did not answer in time; check that it runs and that "
            "the network lets us through"
        )
    if isinstance(error, OSError):
        reason = error.strerror or str(error) or type(error).__name__
        return JournalError(
            f"journal {address}: PostgreSQL cannot be reached: {reason}; check that it runs there"
        )
    asyncpg = driver()
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return JournalError(f"journal {address}: the connection broke ({error})")
    if not isinstance(error, asyncpg.PostgresError):
        return None
    code, said = _code(error), " ".join(str(error).split())
    if code in _DAMAGED:
        return JournalCorrupt(
            f"journal {address} is damaged and cannot be read ({said}). Keep a copy, then restore "
            "the database from a backup",
            seq=WHERE_UNKNOWN,
        )
    if code in _RIVAL:
        return JournalConflict(
            f"journal {address}: another control plane has written to it ({said}); start again "
            "to take up its facts"
        )
    advice = _ADVICE.get(code) or _ADVICE.get(code[:2]) or "PostgreSQL refused"
    return JournalError(f"journal {address}: {advice} ({said})")


def is_broken(error: JournalError) -> bool:
    """Tell whether `error` came of a connection, so that a new one may fare better."""
    cause = error.__cause__
    if isinstance(cause, OSError):  # TimeoutError is one
        return True
    return _code(cause).startswith(("08", "57")) or type(cause).__name__ in _DRIVER_ERRORS


def is_taken(error: JournalError) -> bool:
    """Tell whether `error` says that a row with this key is there already."""
    return _code(error.__cause__) == "23505"


def _is_answer(error: BaseException) -> bool:
    """Tell whether the connection is sound after `error`: it was an answer, or ours."""
    if isinstance(error, JournalError | ConfigError):
        return True
    code = _code(error)
    return bool(code) and not code.startswith(("08", "57"))


def _code(error: BaseException | None) -> str:
    """Return the SQLSTATE of the driver's error, empty for others."""
    return str(getattr(error, "sqlstate", "") or "")


def _password(written: str, asked: dict[str, str]) -> str | None:
    sources = [each for each in ("password_file", "password_env") if each in asked]
    if len(sources) + bool(written) > 1:
        raise _unusable("it has more than one password: expected one source for it")
    if "password_env" in asked:
        name = asked["password_env"]
        if name not in os.environ:
            raise _unusable(f"its password_env names {name}, which is not set")
        return os.environ[name]
    if "password_file" in asked:
        path = Path(asked["password_file"])
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise _unusable(f"its password_file {path} cannot be read: {reason}") from error
    return written or None


def _unusable(what: str) -> ConfigError:
    return ConfigError(f"the store's URL cannot be used: {what}")
