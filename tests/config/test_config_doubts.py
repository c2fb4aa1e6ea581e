"""What is allowed and probably not meant is told with its line, and is no mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from golden_text import GOLDEN
from navarch.config import load

PROVIDERS = """
providers:
  fake: {type: fake}
  here: {type: process}
  free: {type: process, allow: [gpu_reset, reboot]}
"""
DRY = (
    "7: pools.a.health.dry_run: repair only says what it would do: sick and lost nodes stay as"
    " they are"
)
STUCK = (
    "without replace, sick nodes that the rest does not help wait for a person; auto_replace then"
    " holds for lost nodes alone"
)


def doubts(pools: str, defaults: str = "{}") -> list[str]:
    """Examine pools that hold no mistake, and return what is said of them, without the file."""
    text = f"defaults: {defaults}{PROVIDERS}pools:\n{pools}"
    found = load.examine_text(text, path=Path("navarch.yaml"), environ={})
    assert found.faults == ()
    assert found.config is not None
    return [str(warning).removeprefix("navarch.yaml:") for warning in found.warnings]


def refused(line: int, word: str, command: str) -> str:
    return (
        f"{line}: pools.a.health.repair: the agents of here refuse {word}: add {command} to"
        " providers.here.allow"
    )


@pytest.mark.parametrize(
    "health",
    [
        "{}",
        "{auto_replace: false}",
        "{repair: [reset_gpu, reboot, replace]}",
        "{repair: [reboot], auto_replace: false}",
        "{repair: [], auto_replace: false}",
        "{dry_run: false}",
    ],
)
def test_what_fits_together_is_not_doubted(health: str) -> None:
    assert doubts(f"  a: {{provider: free, max_nodes: 1, health: {health}}}\n") == []
    assert doubts("  a: {provider: free, max_nodes: 1}\n", f"{{health: {health}}}") == []


@pytest.mark.parametrize(
    "provider,health,expected",
    [
        ("free", "{repair: [reboot]}", [f"7: pools.a.health.repair: {STUCK}"]),
        ("free", "{repair: []}", [f"7: pools.a.health.repair: {STUCK}"]),
        (
            "free",
            "{repair: [replace], auto_replace: false}",
            ["7: pools.a.health.repair: replace is never done, since auto_replace is false"],
        ),
        (
            "fake",
            "{dry_run: true}",
            [DRY],
        ),
        (
            "here",
            "{repair: [reset_gpu, reboot, replace]}",
            [refused(7, "reset_gpu", "gpu_reset"), refused(7, "reboot", "reboot")],
        ),
    ],
)
def test_what_does_not_is_told_with_its_line(
    provider: str, health: str, expected: list[str]
) -> None:
    pool = f"  a: {{provider: {provider}, max_nodes: 1, health: {health}}}\n"
    assert doubts(pool) == expected


def test_what_pools_inherit_is_told_once() -> None:
    pools = "  a: {provider: here, max_nodes: 1}\n  b: {provider: here, max_nodes: 1}\n"
    told = doubts(pools, "{health: {repair: [reboot, replace]}}")
    assert told == [refused(1, "reboot", "reboot")]


def test_a_file_with_mistakes_is_not_doubted() -> None:
    text = "pools: {a: {provider: nobody, max_nodes: 1, health: {dry_run: true}}}"
    found = load.examine_text(text, path=Path("navarch.yaml"), environ={})
    assert (len(found.faults), found.warnings) == (1, ())


def test_the_file_with_every_key_is_doubted_where_it_should_be() -> None:
    found = load.examine(GOLDEN / "config" / "whole.yaml", {"TRAINING_MIN": "2"})
    assert [warning.key for warning in found.warnings] == ["pools.batch.health.dry_run"]
