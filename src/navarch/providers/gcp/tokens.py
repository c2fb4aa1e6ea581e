"""Access tokens of Google Cloud: made of a credentials file, or asked of the metadata server.

google-auth knows the many kinds of credentials files, signs and exchanges; it is synchronous, so it
runs in a thread. Its requests come back into our event loop and go out by our own HTTP, so that a
deadline ends them and leaves nothing behind. The metadata server is one GET, which is made without
it.

Rules that hold:

- A file is read anew for each token, since keys rotate under us; a token is asked for once, however
  many wait for it, and used until shortly before it ends.
- A token that could not be renewed is used as long as it lasts.
- No token, key or assertion is in any error, and no library's error is kept as a cause.

Where credentials are looked for, in this order: "How Application Default Credentials works",
cloud.google.com, read November 2026.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from navarch.errors import ProviderError, Unauthorized, Unavailable
from navarch.peers.endpoint import Answer, Endpoint
from navarch.peers.unanswered import Unanswered
from navarch.providers.gcp.settings import GcpSettings
from navarch.providers.pace import Now

SCOPES: Final = ("https://www.googleapis.com/auth/compute",)
"""What tokens may do: Compute Engine, and nothing else."""

SCOPES_OF_PROJECTS: Final = ("https://www.googleapis.com/auth/cloudplatformprojects.readonly",)
"""What a token may do that asks for our own permissions: read of projects, and nothing else. The
metadata server gives tokens of the scopes that the VM was made with, whatever is asked."""

TOKEN_TIME_MAX: Final = timedelta(seconds=15)
"""How long a token may take, whoever gives it."""

REQUEST_TIME_MAX: Final = timedelta(seconds=10)
"""How long one request for it may take; google-auth makes up to three."""

BYTES_MAX: Final = 1024 * 1024
"""The longest answer that is read; a token has 2 KB."""

RENEWED_BEFORE: Final = timedelta(minutes=4)
"""How long before its end a token is replaced. The metadata server gives a new one five minutes
before ("About VM metadata", cloud.google.com, read November 2026): asked earlier, it repeats the
old one."""

LIFETIME_DEFAULT: Final = timedelta(minutes=10)
"""How long a token is used that does not say how long it lasts."""

METADATA_PATH: Final = "/computeMetadata/v1/instance/service-accounts/default/token"

KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "service_account": ("google.oauth2.service_account", "from_service_account_info"),
    "authorized_user": ("google.oauth2.credentials", "from_authorized_user_info"),
    "external_account": ("google.auth.identity_pool", "from_info"),
    "impersonated_service_account": (
        "google.auth.impersonated_credentials",
        "from_impersonated_service_account_info",
    ),
}
"""The ``type`` of a credentials file: the module whose ``Credentials`` read it, and how. A file
that runs a program (``credential_source.executable``) is not among them."""

HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]+")
SECRET_LIKE: Final = re.compile(r"[A-Za-z0-9_.\-/+=]{40,}")
"""What is blanked in a library's words: tokens, keys and assertions are as long, words are not."""

WORDS_MAX: Final = 200


class Token(Struct, frozen=True):
    """An access token, which proves who we are until it ends."""

    value: str
    ends_at: datetime

    def __repr__(self) -> str:
        """Show when it ends."""
        return f"Token(ends_at={self.ends_at.isoformat()})"


class _FromMetadata(Struct):
    access_token: str
    expires_in: Annotated[float, Meta(ge=0, le=1e9)]


class _Kind(Struct):
    type: str = ""


class Tokens:
    """The tokens of one identity. Made outside of any event loop, used in one."""

    def __init__(
        self, name: str, settings: GcpSettings, *, now: Now, scopes: Sequence[str] = SCOPES
    ) -> None:
        """Take them from where `settings` say, for the provider called `name`."""
        self._scopes = tuple(scopes)
        self._name = name
        self._settings = settings
        self._now = now
        self._lock = asyncio.Lock()
        self._token: Token | None = None

    async def bearer(self, *, refused: str = "") -> str:
        """Return a token that is good for some minutes, and is not the one that was `refused`.

        :raises Unauthorized: there are no credentials, or they are not accepted
        :raises Unavailable: whoever gives tokens does not answer, or not with sense
        """
        async with self._lock:
            held = self._token
            if held is None or held.value == refused:
                self._token = held = await self._renewed()
            elif held.ends_at - self._now() <= RENEWED_BEFORE:
                try:
                    self._token = held = await self._renewed()
                except ProviderError:
                    if held.ends_at <= self._now():
                        raise
            return held.value

    async def _renewed(self) -> Token:
        within = TOKEN_TIME_MAX.total_seconds()
        try:
            async with asyncio.timeout(within):
                path = self._path()
                token = await (self._of_file(path) if path else self._of_metadata_server())
        except TimeoutError as cause:
            raise Unavailable(f"{self._name}: no access token within {within:g} s") from cause
        if not HEADER_VALUE.fullmatch(token.value):
            raise Unavailable(f"{self._name}: an access token that no header can carry")
        return token

    def _path(self) -> str:
        """Find the file of credentials; empty where the metadata server is to be asked."""
        if self._settings.use_metadata_server:
            return ""
        if self._settings.credentials_file:
            return self._settings.credentials_file
        if path := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", ""):
            return path
        folder = os.environ.get("CLOUDSDK_CONFIG", "")
        config = Path(folder) if folder else Path("~/.config/gcloud").expanduser()
        path = str(config / "application_default_credentials.json")
        return path if os.access(path, os.F_OK) else ""

    async def _of_metadata_server(self) -> Token:
        try:
            answer = await _asked(
                "GET",
                self._settings.metadata_url + METADATA_PATH,
                headers={"metadata-flavor": "Google"},
            )
        except Unanswered as failure:
            if self._settings.use_metadata_server or not _was_unsent(failure):
                raise Unavailable(f"{self._name}: {failure}") from failure
            raise Unauthorized(
                f"{self._name}: no credentials: give credentials_file, or set "
                f"GOOGLE_APPLICATION_CREDENTIALS ({failure})"
            ) from failure
        if answer.status == HTTPStatus.NOT_FOUND:
            raise Unauthorized(f"{self._name}: this machine has no service account")
        if answer.status != HTTPStatus.OK:
            raise Unavailable(f"{self._name}: the metadata server says HTTP {answer.status}")
        try:
            said = msgspec.json.decode(answer.body, type=_FromMetadata)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            text = f"{self._name}: the metadata server answers with no token"
            raise Unavailable(text) from None  # its words may hold one
        return Token(said.access_token, self._now() + timedelta(seconds=said.expires_in))

    async def _of_file(self, path: str) -> Token:
        line = _Line(asyncio.get_running_loop())
        try:
            return await asyncio.to_thread(self._exchanged, path, line)
        finally:
            line.cut()

    def _exchanged(self, path: str, line: _Line) -> Token:
        """Make a token of a file, in a thread of its own."""
        exceptions: Any = importlib.import_module("google.auth.exceptions")
        try:
            credentials = self._credentials(path)
            credentials.refresh(line)
            value, ends_at = credentials.token, credentials.expiry
        except exceptions.GoogleAuthError as error:
            is_passing = error.retryable or isinstance(error, exceptions.TransportError)
            kind = Unavailable if is_passing else Unauthorized
            said = SECRET_LIKE.sub("***", " ".join(str(error.args[:1]).split()))[:WORDS_MAX]
            raise kind(f"{self._name}: no access token by {path}: {said}") from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # The library takes for granted that files and answers have the form they should have.
            text = f"{self._name}: no access token by {path}: {type(error).__name__}"
            raise Unavailable(text) from None
        if not isinstance(value, str) or not isinstance(ends_at, datetime | None):
            raise Unavailable(f"{self._name}: no access token by {path}: the answer has none")
        if ends_at is None:
            return Token(value, self._now() + LIFETIME_DEFAULT)
        return Token(value, ends_at.replace(tzinfo=UTC))

    def _credentials(self, path: str) -> Any:  # noqa: ANN401 - google-auth's, which has no types
        try:
            content = Path(path).read_bytes()
            kind = msgspec.json.decode(content, type=_Kind).type
            described = msgspec.json.decode(content, type=dict[str, Any])
        except OSError as cause:
            raise Unauthorized(f"{self._name}: cannot read {path}: {cause.strerror}") from cause
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Unauthorized(f"{self._name}: {path} is no file of credentials") from None
        if kind not in KINDS:
            expected = ", ".join(KINDS)
            raise Unauthorized(f"{self._name}: {path}: type is {kind!r}, expected {expected}")
        module, reading = KINDS[kind]
        made: Any = getattr(importlib.import_module(module), "Credentials")  # noqa: B009
        try:
            return getattr(made, reading)(described, scopes=self._scopes)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            text = f"{self._name}: {path} is no whole {kind}: {type(error).__name__}"
            raise Unauthorized(text) from None  # its words may quote the key


class _Line:
    """What google-auth makes its requests by, from its thread: they are made in our event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._pending: Future[Answer] | None = None
        self._is_cut = False

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> SimpleNamespace:
        exceptions: Any = importlib.import_module("google.auth.exceptions")
        content = body.encode() if isinstance(body, str) else body or b""
        try:
            answer = self._begin(_asked(method, url, content, headers)).result()
        except Unanswered as failure:
            raise exceptions.TransportError(str(failure)) from failure
        except CancelledError as failure:
            raise exceptions.TransportError("given up") from failure
        return SimpleNamespace(status=answer.status, headers={}, data=answer.body)

    def _begin(self, request: Coroutine[Any, Any, Answer]) -> Future[Answer]:
        with self._lock:
            if self._is_cut:
                request.close()
                raise CancelledError
            self._pending = asyncio.run_coroutine_threadsafe(request, self._loop)
            return self._pending

    def cut(self) -> None:
        """End the request that is under way, and refuse those to come."""
        with self._lock:
            self._is_cut = True
            if self._pending is not None:
                self._pending.cancel()


async def _asked(
    method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    """Make one request to wherever tokens come from.

    :raises Unanswered: there was no whole answer
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise Unanswered("the credentials name an address that is none")
    endpoint = Endpoint(f"{parts.scheme}://{parts.netloc}", bytes_max=BYTES_MAX)
    try:
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        return await endpoint.send(
            method, path, body=body, headers=headers, deadline=REQUEST_TIME_MAX
        )
    finally:
        await endpoint.close()


def _was_unsent(failure: Unanswered) -> bool:
    """Whether no connection was made at all, as where there is no such server."""
    return isinstance(failure.__cause__, ConnectionError)
