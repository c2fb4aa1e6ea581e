"""How large a request may be, and what an id looks like.

A control plane that accepts anything can be filled by one broken agent, so every size is bounded
here, in one place, before a request becomes a message for the core.

A request that is too large in itself can never succeed, so it is `invalid_argument` and names the
field; repeating it unchanged is pointless. Only the body as a whole is `resource_exhausted`,
because that is how the Connect protocol answers it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from datetime import timedelta
from typing import Final

from msgspec import Struct

from navarch.core.model import ids
from navarch.core.model.command import OUTPUT_BYTES_MAX
from navarch.errors import WireError


class Limits(Struct, frozen=True):
    """The sizes that a request is held to. A count of exactly the limit is accepted."""

    body_bytes: int = 4 * 1024 * 1024
    """Bytes of a request's body, after decompression too.

    Four MiB: a batch of 10,000 heartbeats with 8 GPUs each is 2.4 MB.
    """
    string_bytes: int = 4 * 1024
    """UTF-8 bytes of any one string: longer than every line of a kernel log."""
    labels: int = 64
    """Entries of any one map: labels, metrics, parameters, details."""
    gpus: int = 64
    """GPUs of a node; indexes are below it. The largest machines on sale have 16."""
    events: int = 1_000
    """Events, and likewise check results, of one health report."""
    replicas: int = 256
    """Replicas that a node speaks of."""
    models: int = 256
    """Models that a node speaks of."""
    heartbeats: int = 10_000
    """Heartbeats of one batch."""
    config_bytes: int = 1024 * 1024
    """UTF-8 bytes of a configuration: what is read of a file, too."""
    output_bytes: int = OUTPUT_BYTES_MAX
    """Bytes that are kept of a command's output. More is no error: the tail is kept."""
    page_size: int = 1_000
    """Entries of one page, and events of one listing."""
    body_timeout: timedelta = timedelta(seconds=30)
    """How long a body may take to arrive, once its headers have."""


DEFAULT: Final = Limits()


class LimitExceeded(WireError):
    """A request is larger than a limit, or comes when there is no room for it.

    `limit` is the name of the field of `Limits`, or of a bound of `navarch.wire.admission`.
    """

    def __init__(
        self,
        limit: str,
        message: str,
        *,
        code: str = "invalid_argument",
        retry_after: timedelta | None = None,
    ) -> None:
        """Name the `limit` for the counters; the `message` names the field for people.

        `retry_after` is when there may be room; None: the same request is never taken.
        """
        self.limit = limit
        super().__init__(code, message, retry_after=retry_after)


def invalid(field: str, problem: str) -> WireError:
    """The error of a field whose value can not be used."""
    return WireError("invalid_argument", f"{field}: {problem}")


def inside(field: str, error: WireError) -> WireError:
    """The same error, of something that lies inside of `field`."""
    message = f"{field}.{error.message}"
    if isinstance(error, LimitExceeded):
        return LimitExceeded(error.limit, message, code=error.code)
    return WireError(error.code, message, retry_after=error.retry_after)


def check_count(field: str, values: Sized, limit: str, limits: Limits) -> None:
    """Refuse more values than the named limit allows.

    Raises `LimitExceeded`.
    """
    allowed: int = getattr(limits, limit)
    if len(values) > allowed:
        raise LimitExceeded(limit, f"{field}: {len(values)} entries, at most {allowed} allowed")


def check_text(field: str, text: str, limits: Limits, limit: str = "string_bytes") -> str:
    """Return the text, if the named limit allows its length.

    Raises `LimitExceeded`.
    """
    allowed: int = getattr(limits, limit)
    # A character takes 1 to 4 bytes, so most texts need not be encoded to be measured.
    if len(text) * 4 > allowed and (size := len(text.encode())) > allowed:
        raise LimitExceeded(limit, f"{field}: {size} bytes, at most {allowed} allowed")
    return text


def check_map(field: str, entries: Mapping[str, str], limits: Limits) -> dict[str, str]:
    """Copy a map whose keys and values are short enough and few enough.

    Raises `LimitExceeded`, and `WireError` when a key is empty.
    """
    check_count(field, entries, "labels", limits)
    copied = dict(entries)
    for key, value in copied.items():
        if not key:
            raise invalid(field, "has an empty key")
        if max(len(key), len(value)) * 4 > limits.string_bytes:
            check_text(f"{field} key", key, limits)
            check_text(f"{field}[{key[:40]!r}]", value, limits)
    return copied


def check_id(field: str, text: str) -> str:
    """Return the id, if it is one: 1 to 253 letters, digits and ``. _ : / -``.

    It begins with a letter or a digit. Raises `WireError` otherwise.
    """
    if not text:
        raise invalid(field, "is required")
    if ids.NODE_ID.fullmatch(text) is None:
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        raise invalid(
            field, f"{shown!r} is no id: 1 to 253 letters, digits and . _ : / - are allowed"
        )
    return text


def tail(text: str, limits: Limits) -> str:
    """The end of a command's output: at most `Limits.output_bytes`, and no broken character."""
    if len(text) * 4 <= limits.output_bytes:
        return text
    return text.encode()[-limits.output_bytes :].decode(errors="ignore")
