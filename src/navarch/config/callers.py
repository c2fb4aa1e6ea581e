"""What may be written of callers: who they are (``auth``), how much they may (``limits``)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct

from navarch.config.key import VARIABLE, WORD, Key
from navarch.config.values import PATH

RATE_MIN, RATE_MAX = 0.1, 1_000_000.0
"""Calls a second: one in ten seconds is what an agent needs; a million turns the bound off."""
COUNT_MAX = 1_000_000
"""Calls at once, and connections: more than one machine holds."""


class Token(Struct, frozen=True):
    """Somebody who may call the API. The token itself is never in the file."""

    name: Annotated[str, Key("Who it is, as the journal will call them.", form=WORD)]
    role: Annotated[
        Literal["viewer", "operator", "admin"],
        Key("What they may do: read; also command and scale; everything."),
    ]
    token_env: Annotated[
        str | None, Key("The environment variable that holds the token.", form=VARIABLE)
    ] = None
    token_file: Annotated[
        Path | None, Key("The file that holds the token and nothing else.", form=PATH)
    ] = None


class Tls(Struct, frozen=True):
    """The files of a server that speaks TLS."""

    cert_file: Annotated[
        Path | None,
        Key("Its certificate, and those between it and the root. Absent: plain HTTP.", form=PATH),
    ] = None
    key_file: Annotated[Path | None, Key("The key of the certificate.", form=PATH)] = None
    client_ca_file: Annotated[
        Path | None,
        Key("Who signs the certificates that callers must show. Absent: none needed.", form=PATH),
    ] = None


class Auth(Struct, frozen=True):
    """Who may call the API."""

    tokens: Annotated[
        tuple[Annotated[Token, Key("Somebody who may call.")], ...],
        Key("Everybody who may call. None at all: the server listens on loopback only."),
    ] = ()
    tls: Annotated[Tls, Key("The files of a server that speaks TLS.")] = Tls()


class CallerLimits(Struct, frozen=True):
    """How often callers may ask, and how many may be connected; see docs/overload.md."""

    node_rate: Annotated[
        float,
        Key("Calls a second of one node, in the long run.", minimum=RATE_MIN, maximum=RATE_MAX),
    ] = 10.0
    node_burst: Annotated[int, Key("Calls of one node at once.", minimum=1, maximum=COUNT_MAX)] = 50
    caller_rate: Annotated[
        float,
        Key(
            "Calls a second of one token that are not for a single node, in the long run.",
            minimum=RATE_MIN,
            maximum=RATE_MAX,
        ),
    ] = 500.0
    caller_burst: Annotated[
        int, Key("Calls of one token at once.", minimum=1, maximum=COUNT_MAX)
    ] = 2_000
    connections_per_address: Annotated[
        int,
        Key(
            "Connections from one address. More where many agents sit behind one relay or NAT.",
            minimum=1,
            maximum=COUNT_MAX,
        ),
    ] = 4_096
    watchers: Annotated[
        int, Key("Callers of WatchEvents at one time.", minimum=1, maximum=COUNT_MAX)
    ] = 1_000
