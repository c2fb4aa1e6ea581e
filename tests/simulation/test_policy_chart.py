"""The picture of a policy's backtest: whole, harmless and of bounded size."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.simulator import policy_backtest, policy_chart
from simulation.judged_month import a_month, a_policy

HARSH = a_policy("harsh", xid31="unhealthy replace")


@pytest.fixture(scope="module")
def month() -> list[ev.Fact]:
    """Live through the month once."""
    return a_month().facts


class Tags(HTMLParser):
    """Checks that every element ends, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] += 1
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(month: list[ev.Fact]) -> None:
    result = policy_backtest.replay(month, HARSH)
    text = policy_chart.page(result, "A <month>")
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.counts["svg"] == 1
    assert "A &lt;month&gt;" in text
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert text.count(": extra</text>") == 2


def test_a_strangers_words_do_not_become_markup(month: list[ev.Fact]) -> None:
    evil = [
        replace(fact, because="</svg><script>") if isinstance(fact, ev.InstanceCondemned) else fact
        for fact in month
    ]
    assert "<script>" not in policy_chart.page(policy_backtest.replay(evil, a_policy()), "x")


def test_only_so_many_nodes_are_drawn_and_those_that_differ_first(
    month: list[ev.Fact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_chart, "ROWS_MAX", 2)
    text = policy_chart.drawing(policy_backtest.replay(month, HARSH))
    assert text.count(": extra</text>") == 2
    assert "and 3 more, which are not drawn" in text
