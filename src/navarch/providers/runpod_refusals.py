"""What RunPod's refusals mean: problems of RFC 9457, without codes."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from msgspec import Struct

from navarch.errors import InvalidRequest, ProviderError, Unauthorized, Unavailable
from navarch.peers.endpoint import Answer


class Problem(Struct):
    """An error of RFC 9457; `title` tells it from the pages of others."""

    title: str
    detail: str = ""
    errors: list[str] = []


def meaning(
    problem: Problem | None,
    status: int,
    *,
    absent: type[ProviderError],
    unclear: type[ProviderError],
) -> type[ProviderError]:
    """Say what kind of failure an answer is; `absent` and `unclear` depend on what was asked.

    A 404 that is not RunPod's own is a wrong address or a proxy, never the absence of a pod.
    """
    is_refusal = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    if not is_refusal or status == HTTPStatus.REQUEST_TIMEOUT:
        return unclear
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Unauthorized
    if problem is None:
        return Unavailable
    return absent if status == HTTPStatus.NOT_FOUND else InvalidRequest


def problem_of(answer: Answer) -> Problem | None:
    """Read what RunPod has against a request; None where the answer is not RunPod's."""
    try:
        return msgspec.json.decode(answer.body, type=Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
