"""Texts that people see, compared to the letter with files under ``tests/golden``.

``NAVARCH_WRITE_GOLDEN=1`` writes them anew instead; read the difference before committing it.
"""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent / "golden"


def golden(actual: str, name: str) -> str:
    """Return what `actual` should be: the text of the golden file `name`."""
    path = GOLDEN / name
    if os.environ.get("NAVARCH_WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(actual, encoding="utf-8")
    return path.read_text(encoding="utf-8")
