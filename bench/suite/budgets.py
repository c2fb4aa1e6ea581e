"""What is run, and what must come of it: `bench/budgets.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

PATH = Path(__file__).resolve().parent.parent / "budgets.toml"


class BudgetsError(Exception):
    """`budgets.toml` says what cannot be meant."""


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One script of the folder."""

    name: str
    args: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    """Arguments of a quick run, instead of `args`."""
    long: tuple[str, ...] = ()
    """Arguments of a long run, instead of `args`, where there are any."""
    only_long: bool = False

    def arguments(self, *, quick: bool, long: bool) -> tuple[str, ...]:
        """Choose what it is started with."""
        if quick and self.quick:
            return self.quick
        return self.long if long and self.long else self.args


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the table."""

    what: str
    script: str
    figure: str
    most: float | None = None
    """The budget, in the unit of the figure; None with `least` None: no budget."""
    least: float | None = None
    reference: str = ""
    source: str = ""
    """Whose figure the reference is: a name of `Budgets.sources`."""
    peers: tuple[str, ...] = ()
    """Figures of the same script: others, measured in the same run."""

    @property
    def more_is_better(self) -> bool | None:
        """Which way is good; None where there is no budget that says so."""
        if self.least is not None:
            return True
        return False if self.most is not None else None


class Budgets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    sources: dict[str, str]
    script: tuple[Script, ...]
    row: tuple[Row, ...]

    def chosen(self, only: list[str], *, long: bool) -> list[Script]:
        """Choose the scripts to run; raise `BudgetsError` for a name that there is not."""
        known = {each.name for each in self.script}
        for name in only:
            if name not in known:
                raise BudgetsError(
                    f"there is no benchmark {name}; there are {', '.join(sorted(known))}"
                )
        if only:
            return [each for each in self.script if each.name in only]
        return [each for each in self.script if long or not each.only_long]


def load(path: Path = PATH) -> Budgets:
    """Read the file; raise `BudgetsError` with what is wrong in it."""
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        budgets = msgspec.convert(raw, Budgets)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise BudgetsError(f"{path}: {error}") from error
    _check(budgets)
    return budgets


def _check(budgets: Budgets) -> None:
    names = [each.name for each in budgets.script]
    if len(set(names)) < len(names):
        raise BudgetsError("a script is named twice")
    rows = [each.what for each in budgets.row]
    if len(set(rows)) < len(rows):
        raise BudgetsError("two rows have the same text")
    for row in budgets.row:
        if row.script not in names:
            raise BudgetsError(f"{row.what}: there is no [[script]] {row.script}")
        if row.most is not None and row.least is not None:
            raise BudgetsError(f"{row.what}: a budget is `most` or `least`, not both")
        if bool(row.reference) != bool(row.source):
            raise BudgetsError(f"{row.what}: a reference has a source, and a source a reference")
        if row.source and row.source not in budgets.sources:
            raise BudgetsError(f"{row.what}: there is no source {row.source}")
