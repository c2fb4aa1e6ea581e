"""The pages of pools, cost and simulations in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect

from dashboard import pool_world, simulated
from dashboard.conftest import opened
from dashboard.served import Served
from navarch.controlplane.clock import RealClock
from navarch.controlplane.server_config import ServerConfig
from navarch.core.scaling.base import PoolMetrics, PoolState, ScaleRecommendation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the fleet, with the report of one simulation."""
    found = tmp_path_factory.mktemp("fleet")
    simulated.report(found / "reports" / "hour")
    return found


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    """A control plane with a past of six hours."""
    pools = (pool_world.TRAINING, pool_world.QUIET)
    patient = ServerConfig(heartbeat_interval_seconds=600)  # nobody speaks here, and nobody is lost
    running = Served(
        folder, pools=pools, names=("olaf", "vera"), config=patient, store=pool_world.store()
    )
    for name, price in (("cheap", 19.9), ("dear", 27.5)):
        running.control_plane.register_provider(pool_world.provider(name, price))
    history, now = running.control_plane.pool_manager.demand, RealClock().now()
    for minutes in range(0, 360, 5):
        metrics = PoolMetrics(60.0, minutes // 60, 20)
        state = PoolState("training", current_nodes=5, healthy_nodes=4, metrics=metrics)
        word = ScaleRecommendation(3 + minutes // 120, "a queue")
        history.note(now - timedelta(minutes=360 - minutes), state, word)
    with running:
        yield running


@pytest.fixture(scope="module")
def same(browser: Browser, served: Served) -> Iterator[Page]:
    """One page for the whole module; only what a report tries stands in its console."""
    with opened(browser, served, expects=("Content Security Policy",)) as found:
        yield found


@pytest.fixture
def page(same: Page) -> Page:
    """The same page, at the list of pools again."""
    go(same, "pools")
    return same


def go(page: Page, where: str) -> None:
    page.goto(re.sub(r"#.*|$", f"#/{where}", page.url, count=1))


def test_a_decision_is_a_mark_on_the_chart_and_opens_its_reason(page: Page) -> None:
    go(page, "pools/training?window=6h")
    marks = page.get_by_role("group", name=re.compile("decisions")).get_by_role("button")
    expect(marks).to_have_count(4)
    marks.nth(2).focus()
    page.keyboard.press("Enter")
    reason = page.locator(".chart-reason").first
    expect(reason).to_contain_text("target 5 → 4")
    expect(reason).to_contain_text("queue: 4 jobs wait, 3 for each node")
    page.keyboard.press("Escape")
    expect(reason).to_be_hidden()
    expect(marks.nth(2)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(marks.nth(1)).to_be_focused()


def test_a_chart_is_read_by_keyboard_and_has_a_table(page: Page) -> None:
    go(page, "pools/training?window=6h")
    plot = page.get_by_role("slider", name="Nodes of pool training")
    expect(plot).to_have_attribute("aria-valuetext", re.compile("target 6"))
    plot.focus()
    page.keyboard.press("Home")
    for _ in range(30):  # a quarter of six hours
        page.keyboard.press("ArrowRight")
    expect(plot).to_have_attribute("aria-valuetext", re.compile("serving 2.*target 2, demand 3"))
    page.get_by_text("Values as a table").first.click()
    table = page.get_by_role("table", name="Nodes of pool training")
    expect(table.get_by_role("row")).to_have_count(62)
    page.get_by_role("button", name="target").click()
    expect(page.locator(".chart-line.tone-target")).to_have_count(0)


def test_a_pool_page_shows_what_is_bought_next_the_offers_and_the_budget(page: Page) -> None:
    go(page, "pools/training")
    expect(page.get_by_text("Nothing is missing: 6 of 6 nodes")).to_be_visible()
    expect(page.locator(".next")).to_contain_text("3 × cheap/us-west-2")
    offers = page.get_by_role("region", name="Offers").get_by_role("row")
    expect(offers).to_have_count(4)
    expect(offers.nth(1)).to_contain_text("$19.90")
    expect(page.get_by_text("closed: repair works")).to_be_visible()
    expect(page.get_by_text("0 of 1 used")).to_be_visible()
    page.get_by_text("In words, as navarch explain pool says it").click()
    expect(page.get_by_text("pool training wants 6 nodes")).to_be_visible()


def test_scaling_from_the_page_is_in_the_journal_and_on_the_chart(
    page: Page, served: Served
) -> None:
    go(page, "pools/quiet")
    page.get_by_role("button", name="Scale", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Nodes").fill("3")
    dialog.get_by_label(re.compile("Reason")).fill("a test of the page")
    dialog.get_by_role("button", name="Scale").click()
    expect(page.locator(".decisions")).to_contain_text("a test of the page")
    expect(page.locator(".tile").first).to_contain_text("3")
    found = served.call("ListEvents", subject="quiet", newestFirst=True, limit=50)
    assert any("a test of the page" in each.get("because", "") for each in found["events"])


def test_another_window_is_another_address(page: Page) -> None:
    go(page, "pools/training")
    page.get_by_role("button", name="7 days").click()
    expect(page.get_by_role("heading", name="Decisions within 7 d")).to_be_visible()
    assert page.url.endswith("#/pools/training?window=7d")
    page.reload()
    expect(page.get_by_role("button", name="7 days")).to_have_attribute("aria-pressed", "true")


def test_the_list_of_pools_names_those_with_troubles_first(page: Page, served: Served) -> None:
    served.call("PausePool", poolName="training", paused=True, reason="an upgrade")
    try:
        go(page, "pools")
        rows = page.get_by_role("region", name="Pools").get_by_role("row")
        expect(rows.nth(1)).to_contain_text("training")
        expect(rows.nth(1)).to_contain_text("an upgrade")
        expect(page.locator(".lead")).to_contain_text("1 pool of 2 has troubles: training")
    finally:
        served.call("PausePool", poolName="training", paused=False, reason="done")
    expect(page.locator(".lead")).to_contain_text("Nothing is wrong")


def test_a_viewer_sees_the_actions_and_may_not_take_them(browser: Browser, served: Served) -> None:
    with opened(browser, served, by="vera") as page:
        go(page, "pools/training")
        scale = page.get_by_role("button", name="Scale", exact=True)
        expect(scale).to_have_attribute("aria-disabled", "true")
        expect(scale).to_have_attribute("title", re.compile("needs the role operator"))


def test_the_cost_says_what_is_not_known(page: Page) -> None:
    go(page, "cost?window=6h")
    expect(page.get_by_text(re.compile("price of [23] machines is not known"))).to_be_visible()
    pools = page.get_by_role("region", name="By pool").get_by_role("row")
    expect(pools.nth(1)).to_contain_text("$165.00")
    expect(pools.nth(2)).to_contain_text("unknown")
    expect(page.get_by_role("slider", name="Dollars an hour")).to_be_visible()


def framed(page: Page) -> FrameLocator:
    return page.frame_locator("iframe.report")


def test_a_report_is_shown_beside_the_fleet_and_knows_nothing_of_it(page: Page) -> None:
    go(page, "simulations")
    page.get_by_role("link", name="hour").click()
    expect(framed(page).get_by_role("heading", level=1)).to_have_text("an hour")
    expect(page.get_by_role("table", name="The fleet")).to_contain_text("GPU-hours good")
    expect(page.get_by_role("table", name="Pool training")).to_be_visible()
    frame = page.frames[-1]
    assert frame.evaluate("self.origin") == "null"
    assert (
        frame.evaluate("(() => { try { return document.cookie } catch { return 'none' } })()")
        == "none"
    )
    assert not frame.evaluate(
        "(() => { try { return !!parent.document } catch { return false } })()"
    )


def test_a_report_of_this_computer_is_shown_without_being_sent(
    page: Page, folder: Path, served: Served
) -> None:
    go(page, "simulations")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    files = [folder / "reports" / "hour" / name for name in ("report.html", "report.json")]
    page.set_input_files("input[type=file]", files)
    expect(framed(page).get_by_role("heading", level=1)).to_have_text("an hour")
    expect(page.locator(".compared")).to_contain_text("an hour, seed 7")
    expect(page.get_by_role("table", name="The fleet")).to_contain_text("not measured")
    assert "POST" not in sent
    page.set_input_files("input[type=file]", [files[1]])
    expect(page.get_by_role("alert")).to_contain_text("Choose report.html")


def test_a_report_cannot_reach_the_server(page: Page, served: Served) -> None:
    answer = page.request.get(f"{served.url}/ui/reports/hour/report.html")
    assert "sandbox allow-scripts" in answer.headers["content-security-policy"]
    go(page, "simulations/hour")
    expect(framed(page).get_by_role("heading", level=1)).to_have_text("an hour")
    reached = "fetch('/ui/me').then(() => 'reached', () => 'refused')"
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        assert page.frames[-1].evaluate(reached) == "refused"


def test_nothing_scrolls_the_page_sideways_on_a_telephone(browser: Browser, served: Served) -> None:
    with opened(browser, served, width=390, height=844, dark=True) as page:
        for where in ("pools", "pools/training?window=6h", "cost", "simulations/hour"):
            go(page, where)
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, where
