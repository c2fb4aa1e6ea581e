"""Where the configuration says that a secret is, fetched from there.

Secrets are fetched when they are needed and never kept in a `Config`, so that printing one can not
show any. Messages name the variable or the file, never what is in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from navarch.config import document
from navarch.config.callers import Token
from navarch.errors import ConfigError
from navarch.telemetry import redaction

TOKEN_LENGTH_MIN = 16
"""Characters. Sixteen random ones of base64 are 96 bits, more than anybody can try over a wire."""


def token_text(token: Token, environ: Mapping[str, str] = os.environ) -> str:
    """Fetch the token of somebody who may call.

    Blanks around it are dropped: files end in a newline. Raises `ConfigError` when it is not
    there, too short to be safe, or holds what a header can not carry.
    """
    if token.token_file is not None:
        place = f"the file {token.token_file}"
        secret = document.read_text(token.token_file)
    else:
        place = f"environment variable {token.token_env}"
        secret = environ.get(token.token_env or "", "")
    secret = secret.strip()
    if not secret:
        raise ConfigError(f"token of {token.name}: {place} is not set or empty")
    if len(secret) < TOKEN_LENGTH_MIN:
        message = f"{place} holds fewer than {TOKEN_LENGTH_MIN} characters, which can be guessed"
        raise ConfigError(f"token of {token.name}: {message}")
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigError(f"token of {token.name}: {place} holds blanks or signs beyond ASCII")
    redaction.know(secret)
    return secret
