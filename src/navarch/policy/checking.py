"""Checking a policy file: everything that can be said about it at once."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from navarch.errors import ConfigError
from navarch.policy import document
from navarch.policy.document import Source
from navarch.policy.health_policy import HealthPolicy
from navarch.policy.rules import read_rules


class CheckReport(Struct, frozen=True):
    """What came of checking a policy."""

    policy: HealthPolicy | None
    """None when there are errors."""
    errors: tuple[ConfigError, ...] = ()
    """Every mistake in the order of the lines; as text each has its place and a drawing."""
    warnings: tuple[str, ...] = ()
    """What is probably not meant."""


def check_file(path: Path | str) -> CheckReport:
    """Check a policy file; never raises for the sake of what it holds, or that it is not there."""
    try:
        text = document.read_text(Path(path))
    except ConfigError as error:
        return CheckReport(None, (error,))
    return check_text(text, source=str(path))


def check_text(text: str, *, source: str) -> CheckReport:
    """Check a policy that is at hand; `source` is what messages call it."""
    written, mistakes = read_rules(Source(text, file=source))
    if written is None:
        return CheckReport(None, mistakes)
    policy = HealthPolicy(written)
    return CheckReport(policy, (), policy.warnings)
