"""What is logged of calls that were not answered with what they asked for.

Each such call has a *request id*, which stands in the log, and in the ``x-request-id`` header of
the answer; one that the caller has sent in that header is kept. A caller may be refused very often,
so each kind of refusal is logged sparingly.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections.abc import Mapping
from typing import Final

from navarch.telemetry.log import Log
from navarch.telemetry.sparing import Sparing

log = Log(__name__)

HEADER: Final = "x-request-id"
_SOUND: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{7,63}")


class RequestLog:
    """Gives ids to requests that failed, and logs them."""

    def __init__(self) -> None:
        """Begin; ids differ from those of other processes."""
        self._begin = os.urandom(4).hex()
        self._serial = itertools.count(1)
        self._sparing = Sparing(_seconds)

    def id_of(self, headers: Mapping[str, str]) -> str:
        """Return the id that the caller sent, where it is one, or a new one."""
        sent = headers.get(HEADER, "")
        return sent if _SOUND.fullmatch(sent) else f"{self._begin}-{next(self._serial):06d}"

    def refused(self, request: str, *, code: str, error: str, method: str, caller: str) -> None:
        """Log a call that was refused; of those alike, a few and then one a second.

        `method` and `caller` are empty where the request did not get so far.
        """
        left_out = self._sparing.take((method, code))
        if left_out is None:
            return
        fields = {"request": request, "method": method, "code": code, "caller": caller}
        if left_out:
            fields["left_out"] = str(left_out)
        log.info("call_refused", **fields, error=error)

    def failed(self, request: str, *, method: str, caller: str, error: BaseException) -> None:
        """Log a mistake of ours, with its traceback."""
        log.error("call_failed", request=request, method=method, caller=caller, raised=error)


def _seconds() -> float:
    return asyncio.get_running_loop().time()
