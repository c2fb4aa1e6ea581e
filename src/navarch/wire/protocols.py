"""Which protocols a port speaks."""

from __future__ import annotations

import asyncio

from navarch.errors import ConfigError
from navarch.wire.listener import PatientProtocol


def spoken(*, http2: bool) -> type[asyncio.Protocol]:
    """What `listener.config` wants: HTTP/1.1, or with `http2` that and HTTP/2 on one port.

    Raises `ConfigError` when what speaks HTTP/2 is not installed.
    """
    if not http2:
        return PatientProtocol
    try:
        from navarch.wire.http2 import EitherProtocol  # noqa: PLC0415 - it needs an extra
    except ImportError as error:
        raise ConfigError(
            f"HTTP/2 needs {error.name or 'zttp'}: pip install 'navarch[http2]'",
            key="server.http2",
        ) from error
    return EitherProtocol
