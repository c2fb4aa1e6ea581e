"""The colours of the dashboard can be told apart, in both themes.

Contrast is that of WCAG 2.2, 1.4.3 and 1.4.11 (read November 2026): 4.5 for text, 3 for what is
drawn.
"""

from __future__ import annotations

import re

import pytest

from navarch.dashboard import shelf
from navarch.dashboard.rows import ORDER

PAIR = re.compile(r"--([\w-]+): light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\);")
COLOURS = {
    name: (light, dark)
    for name, light, dark in PAIR.findall(shelf.load()["theme.css"].body.decode())
}
GROUNDS = ("ground", "card", "raised")
STATES = [f"state-{state.value}" for state in ORDER]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str, theme: int) -> float:
    lights = sorted(luminance(COLOURS[name][theme]) for name in (one, other))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


TEXT = [
    *(
        (ink, ground)
        for ink in ("ink", "soft", "link", "good", "warn", "bad")
        for ground in GROUNDS
    ),
    *(("ink", f"{word}-ground") for word in ("bad", "warn", "good")),
    ("on-accent", "accent"),
    *(("on-state", state) for state in STATES if state != "state-active"),
]
DRAWN = [
    *((state, "card") for state in STATES),
    *((f"series-{number}", "card") for number in range(1, 7)),
    *((name, ground) for name in ("edge", "focus") for ground in ("card", "ground")),
]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_is_legible(theme: int) -> None:
    faint = {pair: round(contrast(*pair, theme), 2) for pair in TEXT}
    assert {pair: found for pair, found in faint.items() if found < 4.5} == {}


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_what_is_drawn_can_be_seen(theme: int) -> None:
    faint = {pair: round(contrast(*pair, theme), 2) for pair in DRAWN}
    assert {pair: found for pair, found in faint.items() if found < 3} == {}


def test_every_state_has_a_colour_and_a_letter_of_its_own() -> None:
    told = re.findall(r'\{ name: "(\w+)", letter: "(.*?)"', shelf.load()["states.js"].body.decode())
    assert [name for name, _ in told] == [state.value for state in ORDER]
    assert len({letter for _, letter in told}) == len(ORDER)
    for theme in (0, 1):
        assert len({COLOURS[state][theme] for state in STATES}) == len(ORDER)
