"""The shell of the dashboard in a real browser."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from dashboard.conftest import opened
from dashboard.served import Served


def test_a_node_that_falls_ill_is_seen_on_the_fleet_page_with_its_reason(
    page: Page, served: Served
) -> None:
    served.register("node-1")
    expect(page.locator("main")).to_contain_text("1 active")
    served.xid("node-1")
    expect(page.locator("main")).to_contain_text("XID 79", timeout=2_000)


def test_whoever_has_not_logged_in_sees_nothing_of_the_fleet(
    browser: Browser, served: Served
) -> None:
    with opened(browser, served, by=None) as page:
        expect(page.get_by_label("Token")).to_be_focused()
        assert page.request.get(f"{served.url}/ui/fleet").status == 401
        page.get_by_label("Token").fill("a guess")
