"""Charts: what is drawn can be told apart in both themes, and every tone that is used is there."""

from __future__ import annotations

import re
from typing import Final

import pytest

from dashboard.test_theme import COLOURS, PAIR, luminance
from navarch.dashboard import shelf
from navarch.dashboard.past.decisions import LETTERS

FILES: Final = {name: file.body.decode() for name, file in shelf.load().items()}
TONES: Final = {
    name.removeprefix("tone-"): (light, dark)
    for name, light, dark in PAIR.findall(FILES["chart.css"])
}


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_tone_is_seen_against_a_card(theme: int) -> None:
    ground = luminance(COLOURS["card"][theme])
    faint = {}
    for name, colours in TONES.items():
        lights = sorted((ground, luminance(colours[theme])))
        contrast = (lights[1] + 0.05) / (lights[0] + 0.05)
        if contrast < 3:
            faint[name] = round(contrast, 2)
    assert faint == {}


def test_every_kind_of_decision_has_a_tone_and_a_letter_of_its_own() -> None:
    assert set(LETTERS) <= set(TONES)
    assert len(set(LETTERS.values())) == len(LETTERS)


def test_every_tone_that_pages_name_has_a_class() -> None:
    named = set()
    for name in ("pages/pools.js", "pages/cost.js"):
        named |= set(re.findall(r'tone: "([a-z]+)"', FILES[name]))
        named |= set(re.findall(r"tone-([a-z]+)\b", FILES[name]))
        named |= set(re.findall(r'part\("[a-z ]+", "([a-z]+)"', FILES[name]))
    classes = set(re.findall(r"^\.tone-([a-z]+) ", FILES["chart.css"], re.MULTILINE))
    assert named - {""} <= classes
    assert {"healthy", "booting", "lost"} <= named
