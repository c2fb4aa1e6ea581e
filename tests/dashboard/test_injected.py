"""A whole fleet on this machine, a fault in one of its nodes, and three pages that are open."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard.conftest import PATIENCE_MS
from integration.conftest import Up
from navarch.controlplane.clock import RealClock

LATE_MAX = timedelta(seconds=2)
"""From the verdict until it stands on all three pages."""


def shown(browser: Browser, url: str, path: str, said: list[str]) -> Page:
    """Open a page; no login is needed there."""
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{url}/#/{path}")
    page.locator(".connection[data-state=live]").wait_for()
    expect(page.locator("main h1")).to_be_visible()
    return page


@pytest.mark.soak
def test_a_fault_is_seen_live_on_three_pages_with_its_reason(
    browser: Browser, tmp_path: Path
) -> None:
    up = Up(tmp_path / "fleet", nodes=2)
    try:
        node = min(up.wait_serving(2))
        said: list[str] = []
        fleet = shown(browser, up.url, "fleet", said)
        one = shown(browser, up.url, f"nodes/{node}", said)
        pool = shown(browser, up.url, "pools/local", said)
        injected = up.run("inject", node, "--xid", "79")
        assert injected.returncode == 0, injected.stderr
        for page in (fleet, one, pool):
            expect(page.locator("main")).to_contain_text("XID 79")
        seen = RealClock().now()
        judged = [fact for fact in up.facts(subject=node) if "is unhealthy" in fact["text"]]
        assert seen - datetime.fromisoformat(judged[0]["at"]) < LATE_MAX
        assert said == []
    finally:
        up.client.close()
        up.interrupt()
        assert up.process.stdout is not None
        up.process.stdout.close()
