"""Sessions of people at a browser: a token is shown once, and a signed cookie stands for it.

The cookie names the token by a mark (`Authenticator.mark`) and says until when it holds; the code
behind it can only be made by who holds the fleet's secret. So nothing is kept on the server, a
session outlives a restart, and it ends at once when its token leaves the configuration. What is
kept is which sessions were ended by their owners, until they would have ended by themselves.

A call that changes something has to repeat a second code of the session in the header
``x-navarch-csrf``: another page can make a browser send the cookie, but never read that code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from http.cookies import CookieError, SimpleCookie
from typing import Final

import msgspec
from msgspec import Struct

from navarch.errors import WireError
from navarch.wire.admission import RateLimits
from navarch.wire.auth import Authenticator, Principal, Role
from navarch.wire.browsers import SAFE_METHODS
from navarch.wire.limits import LimitExceeded

HOLDS: Final = timedelta(hours=12)
"""How long a session holds after it was last renewed: a working day."""
HOLDS_MAX: Final = timedelta(days=7)
"""How long it can be renewed after the token was shown: a screen on a wall needs nobody for a
week."""
ENDED_MAX: Final = 10_000
"""Sessions that were ended and are remembered; the oldest give way."""
COOKIE_BYTES_MAX: Final = 4_096
CSRF_HEADER: Final = b"x-navarch-csrf"

_SESSION: Final = b"navarch session 1\0"
_CSRF: Final = b"navarch csrf 1\0"


class Session(Struct, frozen=True, array_like=True):
    """What a cookie says."""

    id: str
    """Chance, in hexadecimal."""
    mark: str
    """Of the token."""
    born: int
    """When the token was shown, in seconds since 1970."""
    until: int
    """When it ends, likewise."""


class Visit(Struct, frozen=True):
    """A call by somebody at a browser."""

    principal: Principal
    session: Session


class Sessions:
    """Makes sessions, and knows them again."""

    def __init__(self, authenticator: Authenticator, now: Callable[[], datetime]) -> None:
        """Believe what this authenticator believes."""
        self._authenticator = authenticator
        self._now = now
        self._ended: dict[str, None] = {}
        # Only guesses count: colleagues behind one address may all log in at once.
        self._guesses = RateLimits(rate=0.2, burst=10)
        self._all_guesses = RateLimits(rate=5.0, burst=100)

    @property
    def open(self) -> bool:
        """Whether nobody has to show a token."""
        return self._authenticator.open

    def begin(self, token: str, peer: str, at: float) -> Visit:
        """Begin a session for who shows this token.

        `peer` is the address that the attempt comes from, `at` a moment in seconds of any clock
        that only goes forward. Raises `WireError`: ``unauthenticated``, ``permission_denied`` for a
        node's own token, ``resource_exhausted`` after too many guesses.
        """
        wait = max(self._guesses.wait(peer, at), self._all_guesses.wait("", at))
        if wait > 0:
            text = "too many attempts to log in: try again later"
            raise LimitExceeded(
                "logins",
                text,
                code="resource_exhausted",
                retry_after=timedelta(seconds=wait),
            )
        try:
            principal = self._authenticator.authenticate(f"Bearer {token}")
        except WireError:
            self._guesses.admit(peer, at)
            self._all_guesses.admit("", at)
            raise
        if principal.node_id is not None or principal.role < Role.VIEWER:
            raise WireError("permission_denied", "a node's own token is not for people")
        now = int(self._now().timestamp())
        until = now + int(HOLDS.total_seconds())
        session = Session(secrets.token_hex(16), self._authenticator.mark(token), now, until)
        return Visit(principal, session)

    def renewed(self, session: Session) -> Session | None:
        """The same session for longer, where half of its time is over; None: it need not be."""
        now = int(self._now().timestamp())
        until = min(now + int(HOLDS.total_seconds()), session.born + int(HOLDS_MAX.total_seconds()))
        if until - session.until < HOLDS.total_seconds() / 2:
            return None
        return msgspec.structs.replace(session, until=until)

    def end(self, session: Session) -> None:
        """Take a session for ended from now on."""
        if len(self._ended) >= ENDED_MAX:
            del self._ended[next(iter(self._ended))]
        self._ended[session.id] = None

    def cookie(self, session: Session) -> str:
        """Write a session as the value of a cookie."""
        told = base64.urlsafe_b64encode(msgspec.json.encode(session)).decode().rstrip("=")
        return f"{told}.{self._code(_SESSION, told)}"

    def csrf(self, session: Session) -> str:
        """The code that changes have to repeat."""
        return self._code(_CSRF, session.id)

    def read(self, cookie: str) -> Visit | None:
        """Tell whose session a cookie is; None: nobody's, or it has ended."""
        told, _, code = cookie.partition(".")
        if not cookie.isascii() or len(cookie) > COOKIE_BYTES_MAX:
            return None
        if not hmac.compare_digest(self._code(_SESSION, told), code):
            return None
        padded = told + "=" * (-len(told) % 4)
        session = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=Session)
        principal = self._authenticator.marked(session.mark)
        if principal is None or session.id in self._ended:
            return None
        return Visit(principal, session) if self.holds(session) else None

    def holds(self, session: Session) -> bool:
        """Whether a session has not ended by itself, nor was ended, nor lost its token."""
        return (
            session.until > self._now().timestamp()
            and session.id not in self._ended
            and self._authenticator.marked(session.mark) is not None
        )

    def visit(self, method: str, headers: list[tuple[bytes, bytes]], name: str) -> Visit | None:
        """Tell who calls by a cookie of this `name`; None: nobody does.

        A caller who shows a token is no visitor. Raises `WireError` with ``permission_denied``
        when what changes something lacks the second code.
        """
        said = dict(headers)
        if b"authorization" in said or b"cookie" not in said:
            return None
        values = [value for key, value in headers if key == b"cookie"]  # HTTP/2 may part them
        visit = self.read(_cookie(b"; ".join(values), name))
        if visit is None or method in SAFE_METHODS:
            return visit
        shown = said.get(CSRF_HEADER, b"").decode("latin-1")
        if not shown.isascii() or not hmac.compare_digest(self.csrf(visit.session), shown):
            raise WireError(
                "permission_denied", f"{CSRF_HEADER.decode()}: is not the code of this session"
            )
        return visit

    def _code(self, purpose: bytes, text: str) -> str:
        key = self._authenticator.session_key
        return hmac.new(key, purpose + text.encode(), hashlib.sha256).hexdigest()


def cookie_name(scope_scheme: str, port: int) -> str:
    """What the cookie is called: cookies are not kept apart by port, so the name does it.

    Under TLS the prefix has browsers refuse one that another host, or plain HTTP, has set.
    """
    return f"__Host-navarch-{port}" if scope_scheme == "https" else f"navarch-{port}"


def _cookie(header: bytes, name: str) -> str:
    """The value of a cookie; empty when there is none of the name."""
    if len(header) > 4 * COOKIE_BYTES_MAX:
        return ""
    try:
        found = SimpleCookie(header.decode("latin-1")).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value
