"""The tutorials do what they say, from top to bottom."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.fences import PROJECT
from docs.walking import Walk

TUTORIALS = PROJECT / "docs" / "tutorials"
LONG = ("run-a-fleet", "simulate-before-you-buy", "write-a-policy")
"""Those that start programs which stay, or live through days."""
QUICK = sorted(path.stem for path in TUTORIALS.glob("*.md") if path.stem not in (*LONG, "index"))


@pytest.mark.parametrize("name", QUICK)
def test_a_tutorial_does_what_it_says(name: str, tmp_path: Path) -> None:
    assert Walk(TUTORIALS / f"{name}.md", tmp_path).go() >= 3


@pytest.mark.soak
@pytest.mark.parametrize("name", LONG)
def test_a_long_tutorial_does_what_it_says(name: str, tmp_path: Path) -> None:
    assert Walk(TUTORIALS / f"{name}.md", tmp_path).go() >= 3
