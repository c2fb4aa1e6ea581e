"""Plain pages beside the calls: what people and Prometheus fetch with GET.

Whoever holds something to show registers a function for a path and all below it. Callers need a
token of a viewer where tokens are configured; a node's own is not enough. Pages are small and made
at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl

from msgspec import Struct

from navarch.errors import WireError
from navarch.wire.auth import Authenticator, Principal, Role

QUERY_MAX = 4_096
"""Bytes of a query."""


class Page(Struct, frozen=True):
    """What is answered."""

    body: bytes
    content_type: bytes = b"application/json"
    status: HTTPStatus = HTTPStatus.OK


Make = Callable[[str, Mapping[str, str]], Page]
"""Makes the page of a path, of which it is given what is below its own, and a query.

Raises `WireError` with ``not_found`` or ``invalid_argument``.
"""

Lines = Callable[[], Iterable[str]]
"""Writes metrics in Prometheus' text format."""

_STATUS: Mapping[str, HTTPStatus] = {
    "not_found": HTTPStatus.NOT_FOUND,
    "invalid_argument": HTTPStatus.BAD_REQUEST,
    "unauthenticated": HTTPStatus.UNAUTHORIZED,
    "permission_denied": HTTPStatus.FORBIDDEN,
}


class Pages:
    """The pages of one server."""

    def __init__(self) -> None:
        """Begin with none."""
        self._made: dict[str, Make] = {}
        self._metrics: list[Lines] = []

    def add(self, path: str, make: Make) -> None:
        """Answer for a path such as ``/debug/plugins``, and for all below it."""
        self._made[path] = make

    def add_metrics(self, lines: Lines) -> None:
        """Have these lines stand in ``/metrics`` as well."""
        self._metrics.append(lines)
        self._made.setdefault("/metrics", self._all_metrics)

    def has(self, path: str) -> bool:
        """Whether anybody answers for a path."""
        return self._owner(path) is not None

    def page(
        self,
        path: str,
        query: bytes,
        authorization: str | None,
        authenticator: Authenticator,
        visitor: Principal | None = None,
    ) -> Page:
        """Make the page of a path that somebody answers for.

        `visitor` calls by a session; None: nobody does. Raises `WireError` when the caller may not
        see it, or it cannot be.
        """
        principal = visitor or authenticator.authenticate(authorization)
        if principal.node_id is not None or principal.role < Role.VIEWER:
            raise WireError("permission_denied", f"{path[:200]}: a node's token may not see it")
        owner = self._owner(path)
        if owner is None:
            raise WireError("not_found", f"no such path: {path[:200]}")
        return self._made[owner](path[len(owner) :].strip("/"), read_query(query))

    def _owner(self, path: str) -> str | None:
        while path:
            if path in self._made:
                return path
            path = path.rpartition("/")[0]
        return None

    def _all_metrics(self, below: str, _query: Mapping[str, str]) -> Page:
        if below:
            raise WireError("not_found", "no such path: there is nothing below /metrics")
        lines = [line for each in self._metrics for line in each()]
        text = "".join(f"{line}\n" for line in lines)
        return Page(text.encode(), b"text/plain; version=0.0.4; charset=utf-8")


def read_query(query: bytes) -> dict[str, str]:
    """Read what stands behind the question mark. Raises `WireError` with ``invalid_argument``."""
    if len(query) > QUERY_MAX:
        raise WireError("invalid_argument", f"the query has more than {QUERY_MAX} bytes")
    try:
        return dict(parse_qsl(query.decode("ascii"), max_num_fields=16))
    except ValueError as error:
        raise WireError("invalid_argument", f"the query cannot be read: {error}") from error


def status_of(error: WireError) -> HTTPStatus:
    """The HTTP status of a refusal."""
    return _STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
