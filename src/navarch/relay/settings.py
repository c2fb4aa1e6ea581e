"""What a relay is told when it is started."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Final

from msgspec import Struct

from navarch.errors import ConfigError
from navarch.relay.roster import NODES_MAX
from navarch.wire.certificates import Tls
from navarch.wire.listener import is_loopback

TOKEN_VARIABLE: Final = "NAVARCH_RELAY_TOKEN"  # noqa: S105 - the name of a variable
"""Holds the relay's token, where no file does."""

INTERVAL_MIN: Final = timedelta(milliseconds=50)
"""More batches a second would save nothing."""

INTERVAL_MAX: Final = timedelta(seconds=5)
"""A sighting that waits longer is news of the past."""

_URL: Final = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")


class UpwardTls(Struct, frozen=True):
    """Certificates for the way up, as PEM.

    None where the system's are trusted, or none is shown.
    """

    ca_pem: bytes | None = None
    cert_pem: bytes | None = None
    key_pem: bytes | None = None


class RelaySettings(Struct, frozen=True, kw_only=True):
    """How one relay is started. Nothing in it changes while it runs."""

    servers: tuple[str, ...]
    """Addresses of the control plane; the next one is tried when one is away."""
    host: str
    """Where agents reach it; empty: on every interface."""
    port: int
    token: str | None = None
    """An operator's; None where the control plane asks for none. Never logged."""
    interval: timedelta = timedelta(seconds=1)
    """How often heartbeats go up."""
    nodes_max: int = NODES_MAX
    """Nodes that it speaks for at one time; calls of further ones are passed on one by one."""
    tls: Tls | None = None
    """What agents are shown; None: plain HTTP."""
    upward_tls: UpwardTls = UpwardTls()

    def check(self) -> None:
        """Raise `ConfigError`, naming the setting, where one cannot be used."""
        if not self.servers:
            raise ConfigError(
                "no address, expected one such as http://localhost:50051", key="server"
            )
        for url in self.servers:
            if _URL.fullmatch(url) is None:
                text = f"{url!r} is no address, expected one such as http://localhost:50051"
                raise ConfigError(text, key="server")
        if not INTERVAL_MIN <= self.interval <= INTERVAL_MAX:
            text = f"{self.interval.total_seconds():g} s is not between 0.05 s and 5 s"
            raise ConfigError(text, key="interval")
        if self.nodes_max < 1:
            raise ConfigError(f"{self.nodes_max}: expected one node or more", key="nodes-max")
        if self.token is None and not is_loopback(self.host):
            text = (
                f"{self.host or 'every interface'} can be reached by others, and without a token "
                "the relay speaks to an open control plane: name a token, or listen on 127.0.0.1"
            )
            raise ConfigError(text, key="listen")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise ConfigError("the token is not plain ASCII", key="token-file")


def read_pem(path: Path | None) -> bytes | None:
    """Read a file of certificates; None where none is named.

    Raises `ConfigError` when it cannot be read or is no PEM.
    """
    if path is None:
        return None
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from error
    if b"-----BEGIN " not in text:
        raise ConfigError("holds no certificate or key in the form of PEM", file=str(path))
    return text
