"""The certificates of a server, read again when their files change.

New connections are shown the new certificate, existing ones go on. Files that do not fit each
other, because one of them is not written yet or not written well, are left alone: the old
certificate stays, and the failure is logged and counted. So it is with the authorities that
clients' certificates are checked against.

Each reading makes a context of its own, which either works or is dropped. The context that listens
is the first one; it hands every new connection to the newest before a certificate is chosen (the
callback for the server's name, which OpenSSL asks whether or not a name was sent).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from msgspec import Struct

from navarch.errors import ConfigError
from navarch.telemetry.log import Log
from navarch.wire.trust import file_state

log = Log(__name__)

WATCH_SECONDS: Final = 5.0
"""How often the files are looked at: three calls of stat."""

EXPIRY_WARNED: Final = timedelta(days=14)
"""How long before its end a certificate is warned of, once a day. Certificates that live for 90
days are renewed when 30 are left (Let's Encrypt, "Integration Guide"), so by then something is
wrong."""

_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18


class Tls(Struct, frozen=True):
    """The files of a server that speaks TLS."""

    cert_file: str
    key_file: str
    client_ca_file: str | None = None
    """Who signs the certificates that clients must show; None lets clients come without."""


class _Reading(Struct, frozen=True):
    """What was read of the files."""

    context: ssl.SSLContext
    ends_at: datetime


class Certificates:
    """What a server shows, and whom it lets in."""

    def __init__(self, files: Tls, now: Callable[[], datetime], *, http2: bool = False) -> None:
        """Read the files; `now` tells the time with its zone.

        With `http2` clients may choose HTTP/2. Raises `ConfigError` when the files can not be used.
        """
        self._files = files
        self._now = now
        self._protocols = ["h2", "http/1.1"] if http2 else ["http/1.1"]
        self._seen = self._state()
        try:
            self._newest = self._read()
        except (OSError, ValueError) as error:
            message = f"cannot use the TLS files: {_problem(error)}"
            raise ConfigError(message, key="server.auth.tls") from error
        self._warned_at: datetime | None = None
        self.reloads = 0
        """How often other files have been taken into use since the start."""
        self.refused = 0
        """How often files have changed to what could not be used."""
        self.context = self._newest.context
        """What to listen with; it stays the same for ever."""
        self.context.sni_callback = self._choose
        self._warn_of_end()

    @property
    def ends_at(self) -> datetime:
        """The end of the certificate in use."""
        return self._newest.ends_at

    async def watch(self) -> None:
        """Look at the files every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.look()

    def look(self) -> bool:
        """Read the files if they have changed, and return whether others are in use now."""
        self._warn_of_end()
        return self._state() != self._seen and self.reload()

    def reload(self) -> bool:
        """Read the files, and return whether they are in use now; if not, the old ones are."""
        self._seen = self._state()  # before: what changes while we read is read again
        try:
            reading = self._not_worse(self._read())
        except (OSError, ValueError) as error:
            self.refused += 1
            log.error("tls_not_reloaded", error=_problem(error))
            return False
        self._newest = reading
        self._warned_at = None
        self.reloads += 1
        log.info("tls_reloaded", file=self._files.cert_file, ends_at=reading.ends_at)
        self._warn_of_end()
        return True

    def metrics(self) -> Iterator[str]:
        """Lines for ``/metrics``, in Prometheus' text format."""
        for name, kind, text, value in (
            (
                "navarch_tls_certificate_end_timestamp_seconds",
                "gauge",
                "When the server's certificate ends.",
                int(self.ends_at.timestamp()),
            ),
            (
                "navarch_tls_reloads_total",
                "counter",
                "How often other certificates were taken into use.",
                self.reloads,
            ),
            (
                "navarch_tls_reloads_refused_total",
                "counter",
                "How often changed files could not be used.",
                self.refused,
            ),
        ):
            yield f"# HELP {name} {text}"
            yield f"# TYPE {name} {kind}"
            yield f"{name} {value}"

    def _choose(
        self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        connection.context = self._newest.context

    def _read(self) -> _Reading:
        """Raises `OSError` (`ssl.SSLError` is one) and `ValueError`."""
        files = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(self._protocols)
        context.load_cert_chain(files.cert_file, files.key_file, _no_password)
        if files.client_ca_file is not None:
            context.load_verify_locations(files.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
            # A resumed session shows no certificate: it would outlive whoever vouched for it.
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
        return _Reading(context, certificate_end(Path(files.cert_file).read_text()))

    def _not_worse(self, reading: _Reading) -> _Reading:
        """Raises `ValueError` for a certificate that has ended where the one in use has not."""
        if reading.ends_at <= self._now() < self.ends_at:
            raise ValueError(f"{self._files.cert_file} has ended at {reading.ends_at}")
        return reading

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What changes whenever a file does; renamed links count too."""
        return tuple(
            file_state(path)
            for path in (self._files.cert_file, self._files.key_file, self._files.client_ca_file)
            if path is not None
        )

    def _warn_of_end(self) -> None:
        now = self._now()
        left = self.ends_at - now
        if left > EXPIRY_WARNED:
            return
        if self._warned_at is None or now - self._warned_at >= timedelta(days=1):
            self._warned_at = now
            log.warning(
                "certificate_expired" if left <= timedelta() else "certificate_expires",
                file=self._files.cert_file,
                ends_at=self.ends_at,
                days_left=left.days,
            )


def certificate_end(pem: str) -> datetime:
    """The end of validity of the first certificate in a PEM text.

    Raises `ValueError` when there is none. It is read by hand because the standard library tells
    it of a peer's certificate only.
    """
    begin = pem.find(ssl.PEM_HEADER)
    end = pem.find(ssl.PEM_FOOTER, begin)
    if begin < 0 or end < 0:
        raise ValueError("no certificate in PEM form")
    der = ssl.PEM_cert_to_DER_cert(pem[begin : end + len(ssl.PEM_FOOTER)])
    try:
        return _end_of(der)
    except IndexError as error:
        raise ValueError("the certificate is cut short") from error


def _end_of(der: bytes) -> datetime:
    """Certificate > to be signed > validity > notAfter (RFC 5280, section 4.1)."""
    _, certificate, _ = _element(der, _SEQUENCE)
    _, rest, _ = _element(certificate, _SEQUENCE)
    if rest[0] == _VERSION:
        _, _, rest = _element(rest)
    for _ in ("serial number", "algorithm", "issuer"):
        _, _, rest = _element(rest)
    _, validity, _ = _element(rest, _SEQUENCE)
    _, _, rest = _element(validity)
    kind, text, _ = _element(rest)
    forms = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}
    if kind not in forms:
        raise ValueError(f"the certificate's end has the unknown type {kind:#x}")
    return datetime.strptime(text.decode("ascii"), forms[kind]).replace(tzinfo=UTC)


def _element(der: bytes, expected: int | None = None) -> tuple[int, bytes, bytes]:
    """The type and content of the first element of DER, and what follows it (X.690, 8.1)."""
    kind, size, at = der[0], der[1], 2
    if expected is not None and kind != expected:
        raise ValueError(f"the certificate has {kind:#x} where {expected:#x} belongs")
    if size & 0x80:
        at += size & 0x7F
        size = int.from_bytes(der[2:at])
    if len(der) < at + size:
        raise ValueError("the certificate is cut short")
    return kind, der[at : at + size], der[at + size :]


def _no_password() -> str:
    """Refuse a key that is encrypted; OpenSSL would ask for its password on the terminal."""
    raise ValueError("the key is encrypted, and there is nobody to ask for its password")


def _problem(error: Exception) -> str:
    """What is wrong, with the file where the system knows it."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
