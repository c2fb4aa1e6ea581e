"""The one failure of asking somebody."""

from __future__ import annotations

from navarch.errors import NavarchError


class Unanswered(NavarchError):
    """Somebody who was asked did not answer, or not with sense.

    Whoever asks makes of it what fits: a reading that is an ERROR, or an error of its own. So its
    text is for operators, and never holds a secret.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        """Say what happened; `status` is the HTTP status, None where there was none."""
        self.status = status
        super().__init__(message)
