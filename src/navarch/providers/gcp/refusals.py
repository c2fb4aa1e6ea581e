"""What Google means when it says no.

Compute Engine says no in two places: in the answer to a request, by its HTTP status and a *reason*
in camel case, and later in a finished operation, by a *code* in capitals. Stock-outs come in the
second as a rule. Both are read by one table here.

Sources, read November 2026: "Troubleshooting VM creation", "Compute Engine rate quotas" and
"Handling API responses", cloud.google.com; the codes that the Kubernetes cluster autoscaler tells
apart (cloudprovider/gce/autoscaling_gce_client.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from msgspec import Struct, field

from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Unauthorized,
    Unavailable,
)

MEANINGS: Final[tuple[tuple[str, type[ProviderError]], ...]] = (
    ("RESOURCE_POOL_EXHAUSTED", NoCapacity),  # ZONE_…, …_WITH_DETAILS
    ("INSUFFICIENTCAPACITY", NoCapacity),
    ("STOCKOUT", NoCapacity),
    ("IP_SPACE_EXHAUSTED", NoCapacity),  # of one subnetwork: another zone may have another
    ("RATELIMIT", Throttled),  # rateLimitExceeded, userRateLimitExceeded
    ("RATE_LIMIT", Throttled),
    ("RATE_EXCEEDED", Throttled),  # RESOURCE_OPERATION_RATE_EXCEEDED
    ("DAILYLIMIT", Throttled),
    ("QUOTA", QuotaExceeded),  # QUOTA_EXCEEDED, quotaExceeded
    ("LIMITEXCEEDED", QuotaExceeded),
    ("LIMIT_EXCEEDED", QuotaExceeded),
    ("PERMISSION", Unauthorized),  # PERMISSIONS_ERROR, insufficientPermissions
    ("FORBIDDEN", Unauthorized),
    ("ACCESSNOTCONFIGURED", Unauthorized),
    ("SERVICE_DISABLED", Unauthorized),
    ("BILLING", Unauthorized),
    ("RESOURCENOTREADY", Unavailable),
    ("RESOURCE_NOT_READY", Unavailable),
    ("RESOURCE_IN_USE", Unavailable),
    ("RESOURCEINUSE", Unavailable),
)
"""Parts of reasons and codes, in capitals; the first that is found decides. A used-up rate is
called a quota, too, so rates stand before."""

BY_STATUS: Final[Mapping[int, type[ProviderError]]] = {
    HTTPStatus.BAD_REQUEST: InvalidRequest,
    HTTPStatus.UNAUTHORIZED: Unauthorized,
    HTTPStatus.FORBIDDEN: Unauthorized,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Unavailable,
    HTTPStatus.PRECONDITION_FAILED: InvalidRequest,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: InvalidRequest,
    HTTPStatus.TOO_MANY_REQUESTS: Throttled,
}
"""What a status means where the words do not say it."""

TAKEN: Final = ("ALREADYEXISTS", "ALREADY_EXISTS")


class ComputeError(Exception):
    """What Google said against a request, kept as the cause of the error that we make of it."""

    def __init__(self, status: int | None, words: Iterable[str], message: str) -> None:
        """Carry the HTTP status, None where there was none, reasons or codes, and the message."""
        self.status = status
        self.words = tuple(words)
        self.message = message
        said = ", ".join(self.words) or "no reason"
        super().__init__(f"HTTP {status}: {said}: {message}" if status else f"{said}: {message}")


class _Reason(Struct):
    reason: str = ""


class _Error(Struct):
    message: str = ""
    status: str = ""
    errors: list[_Reason] = field(default_factory=list)
    details: list[_Reason] = field(default_factory=list)


class _Body(Struct):
    error: _Error


class Refusal(Struct, frozen=True):
    """What an answer says against a request."""

    words: tuple[str, ...]
    message: str

    @property
    def is_taken(self) -> bool:
        """Whether there is something of this name already."""
        return is_taken(self.words)


def refusal_of(body: bytes) -> Refusal | None:
    """Read the body of an answer; None where it is not Google's, a proxy's page for instance."""
    try:
        error = msgspec.json.decode(body, type=_Body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    words = [error.status, *(each.reason for each in (*error.errors, *error.details))]
    return Refusal(tuple(word for word in words if word), error.message)


def is_taken(words: Iterable[str]) -> bool:
    """Whether reasons or codes say that there is something of this name already."""
    said = " ".join(words).upper()
    return any(part in said for part in TAKEN)


def meaning(words: Iterable[str], status: int | None) -> type[ProviderError] | None:
    """Say which of our errors reasons or codes mean, or else the status; None: neither says."""
    said = " ".join(words).upper()
    for part, kind in MEANINGS:
        if part in said:
            return kind
    return None if status is None else BY_STATUS.get(status)
