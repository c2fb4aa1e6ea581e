"""What holds for every call: who is calling, may they, and how an error is told.

These are interceptors of the Connect library, so they work alike for JSON, protobuf, gRPC-Web and
streams, and no method of the service can forget them. In the order in which a call meets them:

1. `Accounting` sees how the call ends, and how long it took. It turns our errors into Connect's,
   hides what was not meant for the caller, and counts what was refused.
2. `Gate` authenticates, checks the role, and refuses who calls too often, before a byte of the
   body is read.
3. `Leading` refuses what only the leader may do, where another control plane leads.
4. `NodeBinding` checks, once the request is read, that a node speaks for itself.

Inside a method `current_principal()` tells who called.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Final, TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.request import RequestContext

from navarch.errors import WireError
from navarch.wire import auth
from navarch.wire.admission import NODE_COUNTED, Admission, whole_seconds
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.limits import LimitExceeded
from navarch.wire.request_log import HEADER, RequestLog
from navarch.wire.standing import Stands, check_leads
from navarch.wire.timing import Timing

CONNECT_UNARY: Final = frozenset({"application/json", "application/proto"})
"""Content types of Connect's plain calls, whose errors are answers of HTTP."""

STREAMS: Final = frozenset(
    method.name
    for method in pb.DESCRIPTOR.services_by_name["ControlPlaneService"].methods
    if method.server_streaming
)
"""Methods that are answered for as long as the caller likes."""

_CODES: Final = {code.value: code for code in Code}
_principal: ContextVar[auth.Principal] = ContextVar("principal")
visitor: ContextVar[auth.Principal | None] = ContextVar("visitor", default=None)
"""Who calls by a session, and was looked at already; None: nobody, so the token speaks."""

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
# What the library hands to every method and interceptor: the headers, and which method it is. Its
# two parameters are the types of request and answer, which nobody here needs.
Context = RequestContext[Any, Any]


def current_principal() -> auth.Principal:
    """Who made the call that is being answered.

    Raises `LookupError` outside of a call.
    """
    return _principal.get()


def caller_name() -> str:
    """The name of the token behind the call that is being answered, for the journal.

    Empty outside of a call, and where callers have no names.
    """
    principal = _principal.get(auth.ANONYMOUS)
    return "" if principal is auth.ANONYMOUS else principal.name


class Accounting:
    """Counts calls and how they ended, and keeps what is ours from leaking out."""

    def __init__(
        self,
        refused: Counter[str],
        answered: Counter[tuple[str, str]],
        log: RequestLog | None = None,
    ) -> None:
        """Count into `refused`, by the reason of the refusal, and into `answered`.

        What was answered is counted by method and by how it ended: ``ok``, or a Connect code.
        What was refused is told to `log`; None: to one of its own.
        """
        self._refused = refused
        self._answered = answered
        self._log = log or RequestLog()
        self.timing: Timing | None = None
        """Is told how long calls took, but for streams; None: nobody is."""

    async def on_start(self, ctx: Context) -> float:
        """Look at the clock."""
        return 0.0 if self.timing is None else self.timing.stopwatch()

    async def on_end(self, token: float, ctx: Context, error: Exception | None, /) -> None:
        """Count the call and its error, and raise the one that the caller shall see in its place.

        A caller that hung up was not refused, and is not counted.
        """
        if self.timing is not None and ctx.method.name not in STREAMS:
            self.timing.took(ctx.method.name, self.timing.stopwatch() - token)
        if error is None:
            self._answered[ctx.method.name, "ok"] += 1
            return
        answer = self._answer(error, ctx)
        self._answered[ctx.method.name, answer.code.value] += 1
        if isinstance(error, WireError) and error.retry_after is not None:
            tell_retry_after(error.retry_after, ctx)
        if answer.code is not Code.CANCELED:
            self._refused[reason(error, answer)] += 1
        if answer is not error:
            raise answer from error

    def _answer(self, error: Exception, ctx: Context) -> ConnectError:
        method, principal = ctx.method.name, _principal.get(None)
        caller = "" if principal is None else principal.name
        request = self._log.id_of(ctx.request_headers)
        ctx.response_headers[HEADER] = request
        answer = None
        if isinstance(error, ConnectError):
            answer = error
        elif isinstance(error, WireError) and error.code in _CODES:
            answer = ConnectError(_CODES[error.code], error.message)
        if answer is None:
            # Found by this id in the log; what went wrong inside is nobody's business outside.
            self._log.failed(request, method=method, caller=caller, error=error)
            text = f"internal error {request}: the log of the control plane has the details"
            return ConnectError(Code.INTERNAL, text)
        code, text = answer.code.value, answer.message
        self._log.refused(request, method=method, code=code, caller=caller, error=text)
        return answer


def tell_retry_after(wait: timedelta, ctx: Context) -> None:
    """Say when to ask again: in a header of an answer, and in what ends a stream or gRPC call."""
    seconds = str(whole_seconds(wait))
    connect_unary = ctx.request_headers.get("content-type", "").split(";")[0].strip().lower()
    if connect_unary in CONNECT_UNARY:
        ctx.response_headers["retry-after"] = seconds
    else:
        ctx.response_trailers["retry-after"] = seconds


def reason(error: Exception, answer: ConnectError) -> str:
    """The word under which a refusal is counted: the limit's name, else the Connect code."""
    return error.limit if isinstance(error, LimitExceeded) else answer.code.value


class Gate:
    """Lets in whom the authenticator knows and whose role reaches."""

    def __init__(self, authenticator: auth.Authenticator, admission: Admission) -> None:
        """Ask this authenticator, and hold callers to the rates of `admission`."""
        self._authenticator = authenticator
        self._admission = admission

    async def on_start(self, ctx: Context) -> None:
        """Find out who calls, for `current_principal`.

        Raises `WireError` with ``unauthenticated``, ``permission_denied`` or
        ``resource_exhausted``.
        """
        method = ctx.method.name
        self._admission.check_lag(method)
        principal = visitor.get() or self._authenticator.authenticate(
            ctx.request_headers.get("authorization")
        )
        auth.check_access(principal, method)
        if principal.node_id is not None:
            self._admission.check_node(principal.node_id, asyncio.get_running_loop().time())
        elif principal is not auth.ANONYMOUS and method not in NODE_COUNTED:
            self._admission.check_caller(principal.name, asyncio.get_running_loop().time())
        # Each request runs in a context of its own (`listener.config`), so it ends with it.
        _principal.set(principal)

    async def on_end(self, token: None, ctx: Context, error: Exception | None, /) -> None:
        """Do nothing: only the start of a call matters."""


class Leading:
    """Lets a standby answer what only reads."""

    def __init__(self, stands: Stands) -> None:
        """Ask this whether we lead."""
        self._stands = stands

    async def on_start(self, ctx: Context) -> None:
        """Check, before the body is read. Raises `WireError` with ``unavailable``."""
        check_leads(self._stands, ctx.method.name)

    async def on_end(self, token: None, ctx: Context, error: Exception | None, /) -> None:
        """Do nothing: only the start of a call matters."""


class NodeBinding:
    """Holds a node's token to the node that the request names.

    Where a token speaks for many nodes, each of them is held to its rate here.
    """

    def __init__(self, admission: Admission) -> None:
        """Count calls for nodes here."""
        self._admission = admission

    async def intercept_unary(
        self,
        call_next: Callable[[_Request, Context], Awaitable[_Response]],
        request: _Request,
        ctx: Context,
        /,
    ) -> _Response:
        """Check, then call. Raises `WireError`."""
        self._check(request, ctx)
        with self._admission.working(ctx.method.name):
            return await call_next(request, ctx)

    def intercept_server_stream(
        self,
        call_next: Callable[[_Request, Context], AsyncIterator[_Response]],
        request: _Request,
        ctx: Context,
        /,
    ) -> AsyncIterator[_Response]:
        """Check, then stream, as one of a bounded number of watchers. Raises `WireError`."""
        self._check(request, ctx)
        return self._watched(call_next(request, ctx))

    async def _watched(self, answers: AsyncIterator[_Response]) -> AsyncIterator[_Response]:
        self._admission.begin_watch()
        try:
            async for answer in answers:
                yield answer
        finally:
            self._admission.end_watch()
            if isinstance(answers, AsyncGenerator):
                await answers.aclose()

    def _check(self, request: object, ctx: Context) -> None:
        principal = current_principal()
        if principal.node_id is not None:
            principal.check_speaks_for(_node_id(request))
        elif principal is not auth.ANONYMOUS and ctx.method.name in NODE_COUNTED:
            # An id has 253 characters at most: what is longer is refused when it is read.
            key = _node_id(request)[:253]
            self._admission.check_node(key, asyncio.get_running_loop().time())


def _node_id(request: object) -> str:
    """The node that a request names. A method for nodes whose request names none is our bug."""
    node_id = getattr(request, "node_id", None)
    assert isinstance(node_id, str), f"{type(request).__name__} has no node_id"
    return node_id
