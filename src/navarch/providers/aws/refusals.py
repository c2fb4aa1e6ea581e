"""What EC2's errors mean to us, and the SDK's.

An error that says "not done" lets the control plane go on at once; `OutcomeUnknown` makes it look
first. So a code is believed only where EC2 surely refused, and the rest is decided by what is known
about the request: whether it left this machine, and whether it was to change anything.

Codes: EC2 API reference, "Error codes for the Amazon EC2 API", read November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Unauthorized,
    Unavailable,
)

CODES: Final[Mapping[str, type[ProviderError]]] = {
    **dict.fromkeys(
        (
            "InsufficientAddressCapacity",
            "InsufficientCapacity",
            "InsufficientCapacityOnHost",
            "InsufficientFreeAddressesInSubnet",
            "InsufficientHostCapacity",
            "InsufficientInstanceCapacity",
            "InsufficientReservedInstanceCapacity",
            "InsufficientVolumeCapacity",
            "ReservationCapacityExceeded",
            "SpotMaxPriceTooLow",
            "UnfulfillableCapacity",
        ),
        NoCapacity,
    ),
    **dict.fromkeys(
        (
            "AddressLimitExceeded",
            "InstanceLimitExceeded",
            "MaxIOPSLimitExceeded",
            "MaxSpotInstanceCountExceeded",
            "NetworkInterfaceLimitExceeded",
            "PendingVerification",
            "PrivateIpAddressLimitExceeded",
            "ResourceLimitExceeded",
            "VcpuLimitExceeded",
            "VolumeLimitExceeded",
        ),
        QuotaExceeded,
    ),
    **dict.fromkeys(
        (
            "EC2ThrottledException",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "TooManyRequestsException",
        ),
        Throttled,
    ),
    **dict.fromkeys(
        (
            "AccessDenied",
            "AccessDeniedException",
            "AuthFailure",
            "Blocked",
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidSecurityToken",
            "MissingAuthenticationToken",
            "NotAuthorized",
            "OptInRequired",
            "RequestExpired",
            "SignatureDoesNotMatch",
            "UnauthorizedOperation",
            "UnrecognizedClientException",
        ),
        Unauthorized,
    ),
    "InvalidInstanceID": NotFound,
    "InvalidInstanceID.Malformed": NotFound,
    "InvalidInstanceID.NotFound": NotFound,
    **dict.fromkeys(
        (
            "DryRunOperation",
            "IdempotentInstanceTerminated",
            "IncorrectInstanceState",
            "MissingParameter",
            "OperationNotPermitted",
            "Unsupported",
            "UnsupportedOperation",
            "VPCIdNotSpecified",
            "ValidationError",
        ),
        InvalidRequest,
    ),
    # May have been done: EC2 broke off, or a token came back before its first request was done.
    **dict.fromkeys(
        (
            "IdempotentParameterMismatch",
            "InternalError",
            "InternalFailure",
            "RequestTimeout",
            "ServerInternal",
            "ServiceUnavailable",
            "Unavailable",
        ),
        OutcomeUnknown,
    ),
}
"""What each code means for a launch."""

STALE: Final = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "RequestExpired",
        "UnrecognizedClientException",
    }
)
"""Refusals of credentials that newer ones may put right."""

QUOTING: Final = frozenset({"IncompleteSignature", "SignatureDoesNotMatch"})
"""Refusals whose words quote what was signed, which a session token is part of."""

OUTLINE: Final = (
    (re.compile(r"(?:Max)?[A-Z]\w*LimitExceeded"), QuotaExceeded),
    (re.compile(r"Insufficient\w*Capacity\w*"), NoCapacity),
    (re.compile(r"(?:Invalid|Missing|Malformed|Unknown)\w*(?:\.\w+)?"), InvalidRequest),
)
"""What codes mean that are not in the table, by how they are made."""

NEVER_SENT: Final = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError"}
)
"""Errors of the SDK that mean there was no connection."""

CREDENTIALS: Final = re.compile(
    r"(?:No|Partial)Credentials|NoAuthToken|(?:Credential|Token)Retrieval|ProfileNotFound|SSO|Login"
    r"|Config(?:Parse|NotFound)|InvalidConfig|InfiniteLoopConfig|MetadataRetrieval|RefreshWithMFA"
    r"|MissingDependency"
)
"""The names of errors of the SDK about credentials that are absent, or cannot be had."""

WRONG: Final = frozenset({"ParamValidationError", "ValidationError", "BaseEndpointResolverError"})
"""Errors of the SDK about parameters; they quote them."""

SAID_CHARS: Final = 300
"""How much of EC2's own words is quoted."""

ENCODED: Final = re.compile(r"\s*Encoded authorization failure message:.*", re.DOTALL)
"""What EC2 adds for those who may decode it: a screenful."""


class Garbled(Exception):
    """An answer that does not say what it must."""


def code_of(error: BaseException) -> str:
    """Return the code with which EC2 refused; empty when it did not."""
    return str(_said(error).get("Code") or "")


def meaning(code: str, status: int) -> type[ProviderError]:
    """Say what a code with an HTTP status means for a launch."""
    code = code.removeprefix("Server.").removeprefix("Client.")
    known = CODES.get(code)
    if known is not None:
        return known
    for pattern, kind in OUTLINE:
        if pattern.fullmatch(code):
            return kind
    # A bare number is the SDK's way of saying that the body was not EC2's: it may be a proxy's.
    if 400 <= status < 500 and code and not code.isdigit():
        return InvalidRequest
    return OutcomeUnknown


def translated(
    error: BaseException, subject: str, *, sent: bool, changes: bool
) -> tuple[ProviderError, BaseException | None]:
    """Put an error of the SDK into our words; the second is its cause, None where that is secret.

    `sent` tells whether a request left this machine, `changes` whether it was to change something.
    """
    if _said(error):
        return _refused(error, subject, sent=sent, changes=changes)
    names = {each.__name__ for each in type(error).__mro__}
    kind = type(error).__name__
    if not sent and names & WRONG:
        return InvalidRequest(f"{subject}: it does not fit what EC2 takes ({kind})"), None
    if not sent and CREDENTIALS.match(kind):
        return Unauthorized(f"{subject}: no usable credentials: {_brief(str(error))}"), None
    why = f"{subject}: {kind}: {_brief(str(error))}"
    no_connection = names & NEVER_SENT or "CERTIFICATE_VERIFY_FAILED" in str(error)
    if changes and sent and not no_connection:
        return OutcomeUnknown(why), error
    return Unavailable(why), error


def _refused(
    error: BaseException, subject: str, *, sent: bool, changes: bool
) -> tuple[ProviderError, BaseException | None]:
    said = _said(error)
    code = code_of(error)
    if not sent:
        # It comes from another service, which was asked for credentials.
        asked = getattr(error, "operation_name", "")
        why = f"no credentials: {asked} was refused with {_brief(code)}"
        return Unauthorized(f"{subject}: {why}"), None
    answer: Any = getattr(error, "response", {})
    about = answer.get("ResponseMetadata", {})
    kind = meaning(code, int(about.get("HTTPStatusCode") or 0))
    if kind is OutcomeUnknown and not changes:
        kind = Unavailable
    text = f"{subject}: {_brief(code)}"
    if code in QUOTING:
        return kind(text), None
    words = _brief(ENCODED.sub("", str(said.get("Message") or "")))
    request_id = _brief(str(about.get("RequestId") or ""))
    text += f": {words}" if words else ""
    return kind(f"{text} (request {request_id})" if request_id else text), error


def _said(error: BaseException) -> Mapping[str, object]:
    answer = getattr(error, "response", None)
    said = answer.get("Error") if isinstance(answer, dict) else None
    return said if isinstance(said, dict) else {}


def _brief(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= SAID_CHARS else words[:SAID_CHARS] + "…"
