"""Who calls, and what each caller may do.

Two kinds of callers exist. People and programs hold a token from the configuration, which gives
them a role. A node holds a token of its own, which was made for it when its machine was launched:
whoever steals it can speak for that one node and nothing else.

A node's token is not stored anywhere. It is the node's id with a code that only the holder of the
fleet's secret can make, so the control plane can check a hundred thousand of them without a table
and still after it has lost its memory. Changing the secret revokes all of them at once.

The rules:

- A token that is presented and wrong is refused, also where none is needed: its owner believes
  that it works.
- Tokens are compared in constant time, and against all of them, so that the time of an answer
  tells nothing about how close a guess was.
- A caller that was verified is recognised the next time by the same header, whole. That look-up
  compares nothing with a guess: it goes by a keyed hash of all of the header, and only one that
  has that very hash is compared at all. What was refused is never remembered.
- `ACCESS` says for each method who may call it. A method without an entry can not be called.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from navarch.errors import ConfigError, WireError

NODE_TOKEN_PREFIX: Final = "nvn1"  # noqa: S105 -- the public version mark of a token, not one
"""What node tokens of this form begin with: a later form will begin otherwise."""

SECRET_BYTES_MIN: Final = 16
"""128 bits: whoever holds one node's token can try secrets at leisure, and must not succeed."""

RECALLED_MAX: Final = 131_072
"""Headers that are known again: those of 100,000 nodes, in about 40 MB."""

_PURPOSE: Final = b"navarch node token 1\0"
"""Mixed into each code, so that no other use of the secret ever makes a valid token."""

_SESSION_PURPOSE: Final = b"navarch sessions 1\0"
"""Mixed into what signs sessions, for the same reason."""

_MARK_PURPOSE: Final = b"navarch mark of a node key 1\0"
"""Mixed into a key's mark, for the same reason."""


class Role(IntEnum):
    """What a caller may do; a higher role may do all that a lower one may."""

    NODE = 0
    """Nothing but what `Access.node` allows, for its own node."""
    VIEWER = 1
    """Read."""
    OPERATOR = 2
    """Change the fleet: cordon, drain, terminate, scale; speak for any node."""
    ADMIN = 3
    """Everything."""


class Principal(Struct, frozen=True):
    """Who calls."""

    name: str
    """For the journal and the log: the token's name, or the node's id."""
    role: Role
    node_id: str | None = None
    """The one node that it may speak for; None for people and programs."""

    def check_speaks_for(self, node_id: str) -> None:
        """Refuse a node that speaks for another.

        Raises `WireError` with ``permission_denied``.
        """
        if self.node_id is not None and self.node_id != node_id:
            raise WireError(
                "permission_denied",
                f"node_id: the token is for node {self.node_id!r} and not for {node_id[:253]!r}",
            )


class StaticToken(Struct, frozen=True):
    """A token from the configuration."""

    name: str
    role: Role
    token: str

    def __repr__(self) -> str:
        """Show everything but the token, for it may end up in a log."""
        return f"StaticToken(name={self.name!r}, role={self.role.name})"


class Access(Struct, frozen=True):
    """Who may call a method."""

    role: Role
    """The least role, for people and programs."""
    node: bool = False
    """Whether a node may call it for itself: the request then has a `node_id`."""


_OWN_NODE = Access(Role.OPERATOR, node=True)
_READ = Access(Role.VIEWER)
_CHANGE = Access(Role.OPERATOR)
_ADMINISTER = Access(Role.ADMIN)

ACCESS: Final[Mapping[str, Access]] = MappingProxyType(
    {
        "RegisterNode": _OWN_NODE,
        "Heartbeat": _OWN_NODE,
        "SendHeartbeat": _OWN_NODE,
        "ReportHealth": _OWN_NODE,
        "PollCommands": _OWN_NODE,
        "GetNodeCommands": _OWN_NODE,
        "AckCommand": _OWN_NODE,
        # It speaks for many nodes, so no node's own token is enough.
        "HeartbeatBatch": _CHANGE,
        "IssueCommand": _CHANGE,
        "ScalePool": _CHANGE,
        "PausePool": _CHANGE,
        "ClearHealth": _CHANGE,
        "ApplyResources": _CHANGE,
        "DeleteResource": _CHANGE,
        "ListResources": _READ,
        "ListReplicas": _READ,
        "SetPlugin": _CHANGE,
        "ListNodes": _READ,
        "GetNode": _READ,
        "ListInstances": _READ,
        "GetInstance": _READ,
        "GetBootstrapLog": _READ,
        "ListPools": _READ,
        "GetPool": _READ,
        "ListEvents": _READ,
        "WatchEvents": _READ,
        "Explain": _READ,
        "PushMetrics": _CHANGE,
        "ListPlugins": _READ,
        "ListPluginTraces": _READ,
        # It may name plugins, which are code.
        "ApplyConfig": _ADMINISTER,
    }
)
"""Every method of the service, by the name on the wire."""


def check_access(principal: Principal, method: str) -> None:
    """Refuse a caller whose role does not reach.

    Raises `WireError` with ``permission_denied``.
    """
    access = ACCESS.get(method)
    if access is None:
        raise WireError("permission_denied", f"{method}: nobody may call it")
    if principal.node_id is not None:
        if not access.node:
            raise WireError("permission_denied", f"{method}: a node's token may not call it")
    elif principal.role < access.role:
        raise WireError(
            "permission_denied",
            f"{method}: needs the role {access.role.name.lower()}, and {principal.name!r} has "
            f"{principal.role.name.lower()}",
        )


def mint_node_token(secret: bytes, node_id: str) -> str:
    """Make the token with which `node_id` may speak for itself. The same input gives the same.

    Raises `ConfigError` when the secret is shorter than 16 bytes.
    """
    _check_secret(secret)
    code = hmac.new(secret, _PURPOSE + node_id.encode(), hashlib.sha256).hexdigest()
    name = base64.urlsafe_b64encode(node_id.encode()).decode().rstrip("=")
    return f"{NODE_TOKEN_PREFIX}.{name}.{code}"


def verify_node_token(secret: bytes, token: str) -> str | None:
    """The id of the node that the token was made for; None when it is no such token."""
    prefix, _, rest = token.partition(".")
    name, _, _ = rest.partition(".")
    if prefix != NODE_TOKEN_PREFIX or not name:
        return None
    try:
        node_id = base64.b64decode(name + "=" * (-len(name) % 4), altchars=b"-_", validate=True)
        # Made again and compared as a whole: of several spellings of one token one is valid.
        expected = mint_node_token(secret, node_id.decode())
    except ValueError:
        return None
    return node_id.decode() if hmac.compare_digest(_digest(expected), _digest(token)) else None


class Authenticator:
    """Tells who presents a token."""

    def __init__(
        self, tokens: Iterable[StaticToken] = (), fleet_secret: bytes | None = None
    ) -> None:
        """Know the configured tokens, and the secret behind the nodes' tokens.

        Without `fleet_secret` there are no node tokens. Raises `ConfigError` when a token is
        empty, not plain ASCII, or given twice, or when the secret is shorter than 16 bytes.
        """
        self._digests: dict[bytes, Principal] = {}
        # Without a secret sessions end with the process, as everything else does.
        base = fleet_secret or secrets.token_bytes(32)
        self.session_key = hmac.new(base, _SESSION_PURPOSE, hashlib.sha256).digest()
        """What sessions are signed with (`navarch.wire.sessions`)."""
        self._marks: dict[str, Principal] = {}
        self._recalled: dict[bytes, Principal] = {}
        """Who has sent which header and was verified. Tokens do not change: whoever wants other
        ones makes another authenticator, which has seen nobody."""
        for static in tokens:
            self._add(static)
        if fleet_secret is not None:
            _check_secret(fleet_secret)
        self._fleet_secret = fleet_secret

    @property
    def open(self) -> bool:
        """Whether callers without a token are let in, as admins.

        So it is when no token is configured; the caller must then listen on loopback only.
        """
        return not self._digests

    @property
    def node_key(self) -> str:
        """A mark by which two keys of node tokens can be told apart, which says nothing of them.

        Empty when there is none.
        """
        if self._fleet_secret is None:
            return ""
        return hmac.new(self._fleet_secret, _MARK_PURPOSE, hashlib.sha256).hexdigest()[:8]

    def authenticate(self, authorization: str | None) -> Principal:
        """Tell who sends this ``Authorization`` header; None means that there was none.

        Raises `WireError` with ``unauthenticated``. Cost: O(configured tokens).
        """
        if authorization is None:
            if self.open:
                return ANONYMOUS
            raise _unauthenticated("a token is required: send 'Authorization: Bearer TOKEN'")
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unauthenticated("the Authorization header is not 'Bearer TOKEN'")
        principal = self._holder(token.strip())
        if principal is None:
            raise _unauthenticated("the token is not valid")
        return principal

    def recall(self, authorization: bytes | None) -> Principal | None:
        """Tell the same as `authenticate` does, and None in place of its errors.

        Cost: O(1) for a header that was verified before, less than a microsecond.
        """
        if authorization is None:
            return ANONYMOUS if self.open else None
        known = self._recalled.get(authorization)
        if known is not None:
            return known
        try:
            principal = self.authenticate(authorization.decode())
        except (WireError, UnicodeDecodeError):
            return None
        if len(self._recalled) >= RECALLED_MAX:
            self._recalled.clear()  # all are verified anew, once
        self._recalled[authorization] = principal
        return principal

    def mark(self, token: str) -> str:
        """A mark by which a token is known again, which says nothing of it."""
        return hmac.new(self.session_key, _digest(token), hashlib.sha256).hexdigest()[:32]

    def marked(self, mark: str) -> Principal | None:
        """Whose configured token has this mark; None: nobody's, or not any more."""
        return self._marks.get(mark)

    def _holder(self, token: str) -> Principal | None:
        presented = _digest(token)
        holder: Principal | None = None
        for known, principal in self._digests.items():
            if hmac.compare_digest(known, presented):
                holder = principal
        if holder is None and self._fleet_secret is not None:
            node_id = verify_node_token(self._fleet_secret, token)
            if node_id is not None:
                holder = Principal(name=node_id, role=Role.NODE, node_id=node_id)
        return holder

    def _add(self, static: StaticToken) -> None:
        if not static.token or not static.token.isascii() or not static.token.isprintable():
            raise ConfigError(f"the token of {static.name!r} is empty or not plain ASCII")
        if static.role is Role.NODE:
            raise ConfigError(f"the token of {static.name!r}: nodes get tokens of their own")
        digest = _digest(static.token)
        if digest in self._digests:
            taken = self._digests[digest].name
            raise ConfigError(f"{taken!r} and {static.name!r} have the same token")
        self._digests[digest] = Principal(name=static.name, role=static.role)
        self._marks[self.mark(static.token)] = self._digests[digest]


ANONYMOUS: Final = Principal(name="anonymous", role=Role.ADMIN)
"""Everybody, where no token is configured."""


def _digest(token: str) -> bytes:
    """Of equal length for all tokens, so that a comparison does not tell how long one is."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def _check_secret(secret: bytes) -> None:
    if len(secret) < SECRET_BYTES_MIN:
        raise ConfigError(
            f"the fleet secret has {len(secret)} bytes; at least {SECRET_BYTES_MIN} are needed"
        )


def _unauthenticated(message: str) -> WireError:
    return WireError("unauthenticated", message)
