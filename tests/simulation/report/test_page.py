"""The page of a report: whole, harmless, and read in a real browser."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from msgspec.structs import replace

from infra.chromium import Chromium
from navarch.simulator.report import Report
from navarch.simulator.report.page import page
from navarch.simulator.report.recorder import Recorder
from navarch.simulator.twin.blueprint import Blueprint
from navarch.simulator.twin.twin import Twin
from simulation.report.lived import HOUR, STORMY, recorded

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u2028\"'&<!--"
WIDTHS = (1280, 390)


class Tags(HTMLParser):
    """Checks that every element ends, counts them, and keeps what a page could run or ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: Counter[str] = Counter()
        self.asked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._see(tag, attrs)
        if tag not in {"meta", "input"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._see(tag, attrs)

    def _see(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] += 1
        for name, value in attrs:
            if name in {"src", "href", "style"} or name.startswith("on"):
                self.asked.append(f"{tag} {name}={value}")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(text: str) -> Tags:
    """Read a page."""
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    return tags


def embedded(text: str) -> str:
    """What stands in a page for its script to read."""
    _, found, rest = text.partition('<script type="application/json" id="data">')
    assert found
    return rest.partition("</script>")[0]


def renamed(report: Report, name: str) -> Report:
    """Put a stranger's words into every place where a stranger's words may stand."""
    timeline = report.timeline
    entries = [
        replace(each, text=name, because=name, subject=name, kind=name) for each in timeline.entries
    ]
    chains = [
        replace(each, title=name, pool=name, outcome=name, subjects=(name,))
        for each in timeline.chains
    ]
    return replace(
        report,
        blueprint=name,
        policy=name,
        pools=tuple(replace(each, name=name) for each in report.pools),
        costs=tuple(replace(each, provider=name, pool=name) for each in report.costs),
        purchases=tuple(
            replace(each, provider=name, refused={name: 1}) for each in report.purchases
        ),
        failures=tuple(replace(each, label=name) for each in report.failures),
        rules=tuple(replace(each, name=name, status=name) for each in report.rules),
        rates=tuple(replace(each, label=name, source=name, pools=(name,)) for each in report.rates),
        timeline=replace(timeline, entries=tuple(entries), chains=tuple(chains)),
    )


@pytest.fixture(scope="module")
def report() -> Report:
    """Live through a stormy morning once."""
    return recorded(replace(STORMY, lasts=5 * HOUR), seed=2).report()


@pytest.fixture(scope="module")
def small() -> Report:
    """Live through an hour of it."""
    return recorded(replace(STORMY, lasts=HOUR), seed=2).report()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Start a browser once."""
    with Chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="module")
def written(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the page into a file."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(report))
    return path


def test_the_page_is_whole_and_needs_nothing_else(report: Report) -> None:
    text = page(report)
    tags = read(text)
    assert tags.counts["h1"] == 1
    assert tags.counts["script"] == 2
    assert tags.counts["style"] == 1
    assert tags.asked == []
    assert "default-src 'none'" in text
    assert set(re.findall(r"https?://[^\s\"';]+", text)) == {"http://www.w3.org/2000/svg"}


def test_a_run_without_anything_has_a_page_too() -> None:
    twin = Twin(Blueprint(lasts=0 * HOUR))
    recorder = Recorder(twin)
    text = page(recorder.report())
    assert "Nothing failed." in text
    assert "Nothing was bought." in text
    read(text)


def test_a_strangers_words_do_not_become_markup(small: Report) -> None:
    evil, plain = read(page(renamed(small, EVIL))), read(page(renamed(small, "node")))
    assert evil.counts == plain.counts
    assert evil.asked == plain.asked


@examples(max_examples=12)
@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_words_come_back_out_of_the_page_as_they_were(small: Report, words: str) -> None:
    raw = embedded(page(renamed(small, words)))
    data = json.loads(raw)
    assert {chain["title"] for chain in data["chains"]} == {words}
    assert {entry["because"] for entry in data["entries"]} == {words}
    assert "<" not in raw


def test_the_page_holds_only_so_much(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("navarch.simulator.report.page.CHAINS_MAX", 5)
    monkeypatch.setattr("navarch.simulator.report.page.POOLS_DRAWN_MAX", 1)
    monkeypatch.setattr("navarch.simulator.report.page.BARS_MAX", 3)
    text = page(report)
    data = json.loads(embedded(text))
    assert [chain["number"] for chain in data["chains"]] == [
        chain.number for chain in report.timeline.chains[-5:]
    ]
    assert f"{len(report.timeline.chains) - 5} older ones did not fit" in text
    assert "2 more pools are not drawn" in text
    assert "others</span>" in text


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_draws_it_and_nothing_sticks_out(
    browser: Chromium,
    written: Path,
    width: int,
    dark: bool,  # noqa: FBT001
) -> None:
    browser.show(written, width=width, dark=dark)
    assert browser.said == []
    assert browser.run("document.documentElement.scrollWidth") == width
    plots = browser.run(
        "[...document.querySelectorAll('main > figure svg.plot, section svg.plot')].map(each => {"
        "const box = each.getBoundingClientRect();"
        "return [box.width, box.height, each.querySelectorAll('polygon, polyline').length]})"
    )
    assert len(plots) >= 5
    assert all(w > width * 0.3 and h > 100 and shapes for w, h, shapes in plots)
    assert browser.run("document.querySelectorAll('.chains > li').length") > 3


def test_the_search_leaves_the_rows_that_match(
    browser: Chromium, written: Path, report: Report
) -> None:
    browser.show(written, width=1280)
    rows = "document.querySelectorAll('.chains > li').length"
    troubles = [chain for chain in report.timeline.chains if chain.kind == "trouble"]
    assert browser.run(rows) == len(troubles)
    title = next(chain.title for chain in troubles if chain.title.startswith("xid 79"))
    browser.run("document.getElementById('search').focus()")
    browser.write(title.upper())
    assert 1 <= browser.run(rows) < len(troubles)
    assert browser.run("document.querySelector('.head .title').textContent") == title
    browser.write(" and nothing has this")
    assert browser.run(rows) == 0
    assert browser.run("document.getElementById('found').textContent").startswith("0 of ")


def test_a_row_explains_itself_to_a_keyboard(
    browser: Chromium, written: Path, report: Report
) -> None:
    browser.show(written, width=390)
    browser.run("document.querySelector('.kinds label:last-child input').focus()")
    browser.press("Tab", 9)
    assert browser.run("document.activeElement.className") == "head"
    browser.press("Enter", 13, "\r")
    assert browser.run("document.activeElement.getAttribute('aria-expanded')") == "true"
    told = browser.run("document.querySelector('.steps').textContent")
    chain = next(chain for chain in report.timeline.chains if chain.kind == "trouble")
    entries = {entry.number: entry for entry in report.timeline.entries}
    for number in chain.steps:
        assert entries[number].text in told
        assert entries[number].because in told
    assert browser.run("document.documentElement.scrollWidth") == 390
    browser.press("Enter", 13, "\r")
    assert browser.run("document.querySelectorAll('.steps').length") == 0


def test_a_chart_reads_its_values_out(browser: Chromium, written: Path, report: Report) -> None:
    browser.show(written, width=1280)
    browser.run("document.querySelector('svg.plot').focus()")
    browser.press("ArrowLeft", 37)
    said = browser.run("document.querySelector('output').textContent")
    assert "serving" in said
    assert any(f"serving {nodes}" in said for nodes in report.fleet.series.serving[-4:])


def test_evil_names_do_nothing_in_a_browser(
    browser: Chromium, small: Report, tmp_path: Path
) -> None:
    path = tmp_path / "evil.html"
    path.write_text(page(renamed(small, EVIL)))
    browser.show(path, width=390)
    assert browser.said == []
    assert (
        browser.run("document.images.length + document.querySelectorAll('main script').length") == 0
    )
    assert browser.run("document.querySelector('h1').textContent") == EVIL
    assert browser.run("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("dark", [False, True])
def test_words_stand_out_from_their_ground(
    browser: Chromium,
    written: Path,
    dark: bool,  # noqa: FBT001
) -> None:
    """Contrast of at least 4.5 for words, as WCAG 2.2 AA demands, and of 3 for shapes."""
    browser.show(written, width=1280, dark=dark)
    names = ("ink", "soft", "link", "good", "bad")
    shapes = ("serving", "undetected", "booting", "unhealthy", "held", "silent", "ending")
    read_style = "getComputedStyle(document.documentElement).getPropertyValue('--{}').trim()"
    colour = {
        name: browser.run(read_style.format(name)) for name in (*names, *shapes, "ground", "card")
    }
    for ground in ("ground", "card"):
        for name in names:
            assert contrast(colour[name], colour[ground]) >= 4.5, (name, ground)
    for name in shapes:
        assert contrast(colour[name], colour["ground"]) >= 2.8, name


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2.2 defines it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """The relative luminance of a colour like ``#1b1f27``."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_page_has_the_timeline_of_the_document(report: Report) -> None:
    data = json.loads(embedded(page(report)))
    document = json.loads(msgspec.json.encode(report))
    assert data["chains"] == document["timeline"]["chains"]
    assert data["entries"] == document["timeline"]["entries"]
