"""The page of exit codes, from the table of the command line and of the programs that run long."""

from __future__ import annotations

import re
from typing import Final

from navarch.cli import main as program
from reference.marking import NOTICE, table

PAGE: Final = "exit-codes.md"

_ROW: Final = re.compile(r"^(\d+) {2,}(.+?)(?=^\d|^=)", re.DOTALL | re.MULTILINE)


def codes(text: str = program.__doc__ or "") -> dict[int, str]:
    """Read the table of the program's own documentation.

    Raises `ValueError` when there is none.
    """
    found = {int(code): " ".join(means.split()) for code, means in _ROW.findall(text)}
    if not found:
        raise ValueError("navarch.cli.main has no table of exit codes any more")
    return found


def page() -> str:
    """Write the page."""
    rows = ((f"`{code}`", f"{means}.") for code, means in codes().items())
    return "\n".join(
        [
            NOTICE,
            "# Exit codes\n",
            (
                "Of every command of `navarch`. Commands that judge something (`config check`,"
                " `policy check`, `policy test`, `provider check`, `plugin verify`, `guardrail"
                " check`, `simulate run`, `store check`) end with 1 when it does not hold, and"
                " print what.\n"
            ),
            table(("code", "means"), rows),
            (
                "`navarch up`, `server`, `agent` and `relay` end with 0 when they were told to, by"
                " SIGTERM or Ctrl-C, and with 1 when they could not begin or carry on.\n"
            ),
        ]
    )
