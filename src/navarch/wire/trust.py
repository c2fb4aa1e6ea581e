"""Whom a client of TLS trusts, and what it shows, read again when the files change.

A certificate of a day has to be renewed while its agent runs. The files are looked at whenever a
connection is opened; one that is open goes on. Files that can not be used are left alone: the old
ones stay, and the log says so once a change.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from navarch.errors import ConfigError
from navarch.telemetry.log import Log

log = Log(__name__)


class Trust:
    """The files of a client."""

    def __init__(
        self, *, ca: Path | None = None, cert: Path | None = None, key: Path | None = None
    ) -> None:
        """Trust the certificates in `ca`, else the system's; show `cert` with its `key`, if named.

        Raises `ConfigError` naming the file that cannot be used, or what is missing.
        """
        if (cert is None) != (key is None):
            missing = "tls-key" if key is None else "tls-cert"
            raise ConfigError("is missing: a certificate and its key go together", key=missing)
        self._ca = ca
        self._pair = None if cert is None or key is None else (cert, key)
        self._seen = self._state()
        self._context = self._read()

    def context(self) -> ssl.SSLContext:
        """What to connect with now; the same one for as long as the files are the same."""
        seen = self._state()
        if seen != self._seen:
            self._seen = seen
            try:
                self._context = self._read()
            except ConfigError as error:
                log.error("tls_not_reloaded", error=str(error))
        return self._context

    def _read(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except OSError as error:
            message = f"no certificates to trust: {_reason(error)}"
            raise ConfigError(message, file=str(self._ca)) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._pair is not None:
            cert, key = self._pair
            try:
                context.load_cert_chain(cert, key, _no_password)
            except (OSError, ValueError) as error:
                text = f"no certificate with the key {key}: {_reason(error)}"
                raise ConfigError(text, file=str(cert)) from error
        return context

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(file_state, (self._ca, *(self._pair or ()))))


def trust_of(
    *, ca: Path | None = None, cert: Path | None = None, key: Path | None = None
) -> Trust | None:
    """The `Trust` that these files make; None when none is named. Raises `ConfigError`."""
    if ca is cert is key is None:
        return None
    return Trust(ca=ca, cert=cert, key=key)


def file_state(path: Path | str | None) -> tuple[int, int, int] | None:
    """What is different once a file has changed, or a link leads to another; None: it is away."""
    if path is None:
        return None
    try:
        found = os.stat(path)  # noqa: PTH116 - a plain call, made all the time
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _no_password() -> str:
    """Refuse a key that is encrypted; OpenSSL would ask for its password on the terminal."""
    raise ValueError("it is encrypted, and nobody is asked for its password")


def _reason(error: OSError | ValueError) -> str:
    """Say what is wrong with a file of TLS: `ssl.SSLError` is an `OSError` too."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error)
