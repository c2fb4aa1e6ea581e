"""What the checks say when something does not hold: the end of a run."""

from __future__ import annotations

from navarch.errors import InvariantBroken


class Broken(InvariantBroken):
    """An invariant does not hold."""

    def __init__(self, kind: str, text: str) -> None:
        """Say which kind, from the table in `navarch.simulator.checks`, and what was seen."""
        self.kind = kind
        self.text = text
        super().__init__(f"{kind}: {text}")
