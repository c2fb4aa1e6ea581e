"""Codes of refused calls, as Connect names them, and what an agent makes of each."""

from __future__ import annotations

from typing import Final

AWAY: Final = frozenset({"unavailable", "deadline_exceeded", "canceled", "aborted", "unknown"})
"""Connect codes that say nothing about the request: nobody there, or in trouble."""

BUSY: Final = "resource_exhausted"
"""With advice when to come back: no room now. Without: the request itself is too large."""

USELESS_REPORT: Final = frozenset({"invalid_argument", "out_of_range"})
"""Codes that will refuse the same report for ever."""

PATIENT: Final = frozenset({"not_found", "unauthenticated", "resource_exhausted"})
"""Codes that refuse whatever is sent, for as long as something has to be put right first."""

USELESS_RESULT: Final = frozenset(
    {"not_found", "permission_denied", "invalid_argument", "failed_precondition", "out_of_range"}
)
"""Codes that will refuse the same result of a command for ever."""
