"""Which path of the dashboard is answered by what.

``/`` is the page, ``/ui/assets/`` its parts; both are the same for everybody and say nothing of the
fleet. ``/ui/login``, ``/ui/logout`` and ``/ui/me`` are about who looks. ``/ui/stream`` is what
changes, and every other ``/ui/NAME`` is a view, for viewers alone.

Every answer forbids browsers what the page does not need: a script or a style of anybody else, a
frame around the page, a guess at what a file is.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import msgspec
from msgspec import Struct

from navarch.dashboard import reports, shelf
from navarch.dashboard.rows import Rows
from navarch.dashboard.seen import Seen
from navarch.dashboard.stream import Hub, Viewer, message
from navarch.dashboard.views import KEPT, VIEWS, View
from navarch.errors import NavarchError, WireError
from navarch.telemetry.log import Log
from navarch.version import VERSION
from navarch.wire import calls
from navarch.wire.admission import whole_seconds
from navarch.wire.asgi import Application
from navarch.wire.auth import ANONYMOUS, Principal, Role
from navarch.wire.bodies import Body, Event, Receive, Send, header
from navarch.wire.limits import Limits
from navarch.wire.pages import read_query, status_of
from navarch.wire.sessions import Session, Sessions, Visit, cookie_name

log = Log(__name__)

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
GUARDS: Final = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
"""Headers of every answer."""

PAGE_TYPE: Final = "text/html; charset=utf-8"
LOGIN_LIMITS: Final = Limits(body_bytes=8 * 1024)
PACKED_FROM: Final = 4 * 1024
"""Bytes from which an answer is compressed; in a thread from `THREAD_FROM` on."""
THREAD_FROM: Final = 64 * 1024
STREAM_SECONDS_MAX: Final = 3_600.0
"""How long a stream goes on before the browser has to call again."""


Headers = tuple[tuple[bytes, bytes], ...]


class Login(Struct, frozen=True):
    """What is sent to log in."""

    token: str


class Me(Struct, frozen=True):
    """Who looks, and at what."""

    name: str
    role: str
    """``viewer``, ``operator`` or ``admin``; empty: nobody has logged in."""
    open: bool
    """Whether nobody has to log in here."""
    csrf: str
    """What calls that change something repeat in the header ``x-navarch-csrf``."""
    version: str
    fleet: str
    """The fleet's tag."""
    standing: object


NOBODY: Final = Me(name="", role="", open=False, csrf="", version="", fleet="", standing=None)


class Reply(Struct, frozen=True):
    """An answer that is not a stream."""

    body: bytes
    content_type: str = "application/json"
    status: HTTPStatus = HTTPStatus.OK
    headers: Headers = ()
    guards: Headers = GUARDS


class Site:
    """The dashboard of one control plane."""

    def __init__(self, seen: Callable[[], Seen], application: Application) -> None:
        """Show what `seen` gives, to whom the application lets in."""
        self._seen = seen
        self._application = application
        self._files = shelf.load()
        self._kept: tuple[Rows, int, bytes, bytes] | None = None
        """Of the view in `KEPT`: rows and their version, the answer, and the same compressed."""
        self.hub = Hub(seen)
        """Who looks, and what they are told."""

    def owns(self, path: str) -> bool:
        """Whether a path is answered here."""
        return path == "/" or path.startswith("/ui/") or path in ("/favicon.ico", "/ui")

    async def close(self) -> None:
        """End all streams."""
        await self.hub.close()

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            if scope["path"] == "/ui/stream" and scope["method"] == "GET":
                await self._stream(scope, receive, send)
                return
            reply = await self._reply(scope, receive)
        except WireError as error:
            reply = _refusal(error)
        except NavarchError as error:
            log.warning("view_failed", path=scope["path"], error=str(error))
            reply = _refusal(WireError("unavailable", "the control plane is starting or stopping"))
        await _send(scope, send, reply)

    async def _reply(self, scope: Event, receive: Receive) -> Reply:
        path, method = scope["path"], scope["method"]
        if path in ("/ui/login", "/ui/logout"):
            if method != "POST":
                return _method_refused("POST")
            if path == "/ui/login":
                return await self._login(scope, receive)
            return self._logout(scope)
        if method not in ("GET", "HEAD"):
            return _method_refused("GET, HEAD")
        if path == "/":
            return self._file("index.html", scope)
        if path == "/favicon.ico":
            return self._file("icon.svg", scope)
        if path.startswith("/ui/assets/"):
            return self._file(path.removeprefix("/ui/assets/"), scope)
        if path == "/ui/me":
            return self._me(scope)
        principal = self._principal(scope)
        if principal is not ANONYMOUS:
            moment = asyncio.get_running_loop().time()
            self._application.admission.check_caller(principal.name, moment)
        if path.startswith("/ui/reports/"):
            return await self._report(path.removeprefix("/ui/reports/"), scope)
        return await self._view(path.removeprefix("/ui/"), scope)

    # --- who looks -----------------------------------------------------------------------

    @property
    def _sessions(self) -> Sessions:
        sessions = self._application.sessions
        assert sessions is not None, "a dashboard needs sessions"
        return sessions

    def _principal(self, scope: Event) -> Principal:
        """Who looks. Raises `WireError` when it is nobody who may."""
        token = header(scope, b"authorization")
        known = calls.visitor.get() if not token else None
        principal = known or self._application.authenticate(token or None)
        if principal.node_id is not None or principal.role < Role.VIEWER:
            raise WireError("permission_denied", "a node's token may not see the dashboard")
        return principal

    def _visit(self, scope: Event) -> Visit | None:
        return self._sessions.visit(scope["method"], scope["headers"], _cookie_name(scope))

    async def _login(self, scope: Event, receive: Receive) -> Reply:
        if header(scope, b"content-type").partition(";")[0].strip() != "application/json":
            raise WireError("invalid_argument", "content-type: application/json was expected")
        body = await _whole(Body(scope, receive, LOGIN_LIMITS))
        try:
            login = msgspec.json.decode(body, type=Login)
        except msgspec.DecodeError as error:
            raise WireError(
                "invalid_argument", f"JSON with a token was expected: {error}"
            ) from None
        peer = (scope.get("client") or ("", 0))[0]
        try:
            visit = self._sessions.begin(login.token, peer, asyncio.get_running_loop().time())
        except WireError as error:
            log.warning("login_refused", peer=peer, code=error.code)
            raise
        log.info("logged_in", caller=visit.principal.name, peer=peer)
        return self._told(scope, visit.principal, visit.session, fresh=visit.session)

    def _logout(self, scope: Event) -> Reply:
        visit = self._visit(scope)
        if visit is not None:
            self._sessions.end(visit.session)
        return Reply(b"{}", headers=((b"set-cookie", _set_cookie(scope, "", 0)),))

    def _me(self, scope: Event) -> Reply:
        """Say who looks; that it is nobody is an answer too, and tells nothing else."""
        try:
            principal = self._principal(scope)
        except WireError as error:
            if error.code != "unauthenticated":
                raise
            return Reply(msgspec.json.encode(NOBODY))
        visit = self._visit(scope)
        if visit is None:
            return self._told(scope, principal, None)
        return self._told(
            scope, principal, visit.session, fresh=self._sessions.renewed(visit.session)
        )

    def _told(
        self,
        scope: Event,
        principal: Principal,
        session: Session | None,
        *,
        fresh: Session | None = None,
    ) -> Reply:
        """Say who looks; a `fresh` session is given to the browser."""
        seen = self._seen()
        me = Me(
            name=principal.name,
            role=principal.role.name.lower(),
            open=principal is ANONYMOUS,
            csrf="" if session is None else self._sessions.csrf(session),
            version=VERSION,
            fleet=seen.fleet.tag,
            standing=seen.standing,
        )
        headers: Headers = ()
        if fresh is not None:
            seconds = fresh.until - int(seen.now.timestamp())
            cookie = _set_cookie(scope, self._sessions.cookie(fresh), seconds)
            headers = ((b"set-cookie", cookie),)
        return Reply(msgspec.json.encode(me), headers=headers)

    # --- what is seen --------------------------------------------------------------------

    def _file(self, name: str, scope: Event) -> Reply:
        file = self._files.get(name)
        if file is None:
            raise WireError("not_found", f"no such file: {name[:200]}")
        tags: Headers = ((b"etag", file.etag.encode()), (b"cache-control", b"no-cache"))
        if file.etag in header(scope, b"if-none-match"):
            return Reply(b"", file.content_type, HTTPStatus.NOT_MODIFIED, tags)
        if file.packed and "gzip" in header(scope, b"accept-encoding"):
            tags = (*tags, (b"content-encoding", b"gzip"), (b"vary", b"accept-encoding"))
            return Reply(file.packed, file.content_type, headers=tags)
        return Reply(file.body, file.content_type, headers=tags)

    async def _view(self, path: str, scope: Event) -> Reply:
        name, _, below = path.partition("/")
        view = VIEWS.get(name)
        if view is None:
            raise WireError("not_found", f"no such view: {name[:100]!r}")
        query = read_query(scope["query_string"])
        seen = self._seen()
        if seen.control_plane is not None:
            await seen.control_plane.runtime.settled()
            seen = self._seen()
        seen.rows = rows = self.hub.rows()
        if name in KEPT and not below and not query:
            return await self._kept_view(view, seen, rows, scope)
        body, headers = await _fitted(msgspec.json.encode(await view(seen, below, query)), scope)
        return Reply(body, headers=headers)

    async def _kept_view(self, view: View, seen: Seen, rows: Rows, scope: Event) -> Reply:
        """Answer with what was made last, as long as no row has changed since."""
        version = rows.version
        kept = self._kept
        if kept is None or kept[0] is not rows or kept[1] != version:
            body = msgspec.json.encode(await view(seen, "", {}))
            kept = self._kept = (rows, version, body, await _packed_aside(body))
        headers: Headers = ((b"cache-control", b"no-store"),)
        if "gzip" not in header(scope, b"accept-encoding"):
            return Reply(kept[2], headers=headers)
        headers = (*headers, (b"content-encoding", b"gzip"), (b"vary", b"accept-encoding"))
        return Reply(kept[3], headers=headers)

    async def _report(self, path: str, scope: Event) -> Reply:
        """Send the page of a simulation's report, which is a program of somebody else."""
        guards = reports.GUARDS
        if path == "frame":
            return Reply(reports.FRAME, PAGE_TYPE, guards=guards)
        name, _, file = path.rpartition("/")
        folder = self._seen().past.reports
        if file != reports.PAGE or folder is None:
            raise WireError("not_found", f"no such report: {path[:200]!r}")
        body, headers = await _fitted(await asyncio.to_thread(folder.page, name), scope)
        return Reply(body, PAGE_TYPE, headers=headers, guards=guards)

    # --- the stream ----------------------------------------------------------------------

    async def _stream(self, scope: Event, receive: Receive, send: Send) -> None:
        """Tell what changes until somebody hangs up: the viewer, or we."""
        principal = self._principal(scope)
        visit = self._visit(scope)
        viewer = self.hub.join(principal.name)
        told = [
            *GUARDS,
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": told})
            seen = self._seen()
            hello = {
                "seq": seen.seq,
                "now": seen.now,
                "name": principal.name,
                "role": principal.role.name.lower(),
                "standing": seen.standing,
            }
            first = b"retry: 2000\n\n" + message("hello", hello)
            await send({"type": "http.response.body", "body": first, "more_body": True})
            telling = asyncio.create_task(self._tell(viewer, visit, send))
            leaving = asyncio.create_task(_hung_up(receive))
            try:
                await asyncio.wait(
                    (telling, leaving),
                    timeout=STREAM_SECONDS_MAX,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                for task in (telling, leaving):
                    task.cancel()
                await asyncio.gather(telling, leaving, return_exceptions=True)
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.hub.leave(viewer)

    async def _tell(self, viewer: Viewer, visit: Visit | None, send: Send) -> None:
        while (told := await viewer.take()) is not None:
            if visit is not None and not self._sessions.holds(visit.session):
                return
            await send({"type": "http.response.body", "body": told, "more_body": True})


async def _hung_up(receive: Receive) -> None:
    """Wait until the peer is gone."""
    while (await receive())["type"] != "http.disconnect":
        continue


async def _whole(body: Body) -> bytes:
    parts: list[bytes] = []
    while True:
        event = await body.receive()
        if event["type"] != "http.request":
            raise WireError("canceled", "the caller hung up")
        parts.append(event.get("body", b""))
        if not event.get("more_body", False):
            return b"".join(parts)


async def _fitted(body: bytes, scope: Event) -> tuple[bytes, Headers]:
    """Compress a large body for whoever takes it so; nobody on the way keeps it."""
    headers: Headers = ((b"cache-control", b"no-store"),)
    if len(body) >= PACKED_FROM and "gzip" in header(scope, b"accept-encoding"):
        packed = _packed if len(body) < THREAD_FROM else _packed_aside
        body = await packed(body)
        headers = (*headers, (b"content-encoding", b"gzip"), (b"vary", b"accept-encoding"))
    return body, headers


async def _packed(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)


async def _packed_aside(body: bytes) -> bytes:
    return await asyncio.to_thread(gzip.compress, body, 1, mtime=0)


async def _send(scope: Event, send: Send, reply: Reply) -> None:
    headers = [
        *reply.guards,
        (b"content-type", reply.content_type.encode()),
        (b"content-length", str(len(reply.body)).encode()),
        *reply.headers,
    ]
    if not any(name == b"cache-control" for name, _ in reply.headers):
        headers.append((b"cache-control", b"no-store"))
    status = int(reply.status)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    body = b"" if scope["method"] == "HEAD" else reply.body
    await send({"type": "http.response.body", "body": body})


def _refusal(error: WireError) -> Reply:
    headers: Headers = ()
    status = status_of(error)
    if error.code in _STATUS:
        status = _STATUS[error.code]
    if error.retry_after is not None:
        headers = ((b"retry-after", str(whole_seconds(error.retry_after)).encode()),)
    body = msgspec.json.encode({"code": error.code, "message": error.message})
    return Reply(body, status=status, headers=headers)


_STATUS: Final = {
    "resource_exhausted": HTTPStatus.TOO_MANY_REQUESTS,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "deadline_exceeded": HTTPStatus.REQUEST_TIMEOUT,
}


def _method_refused(allowed: str) -> Reply:
    body = msgspec.json.encode({"code": "unimplemented", "message": f"{allowed} is possible here"})
    return Reply(
        body, status=HTTPStatus.METHOD_NOT_ALLOWED, headers=((b"allow", allowed.encode()),)
    )


def _cookie_name(scope: Event) -> str:
    return cookie_name(scope.get("scheme", "http"), (scope.get("server") or ("", 0))[1])


def _set_cookie(scope: Event, value: str, seconds: int) -> bytes:
    """Write the header that has a browser keep a session, and show it to no script."""
    # Where a proxy ends TLS only the browser knows that it speaks it.
    over_tls = scope.get("scheme") == "https" or header(scope, b"origin").startswith("https://")
    secure = "; Secure" if over_tls else ""
    text = f"{_cookie_name(scope)}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}"
    return (text + secure).encode()
