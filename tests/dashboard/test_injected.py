"""A whole fleet on this machine, a fault in one of its nodes, and three pages that are open."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard.conftest import PATIENCE_MS
from integration.conftest import Up

SECONDS_MAX = 2.0
"""From the fault until it stands on the pages."""


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
        begun = time.monotonic()
        expect(fleet.locator("main")).to_contain_text("XID 79")
        known = time.monotonic()
        expect(one.locator("main")).to_contain_text("XID 79", timeout=SECONDS_MAX * 1000)
        expect(pool.locator("main")).to_contain_text(node, timeout=SECONDS_MAX * 1000)
        expect(pool.locator("main")).to_contain_text(re.compile("XID 79"), timeout=2_000)
        judged = [fact for fact in up.facts(subject=node) if fact["kind"] == "health_judged"]
        assert judged
        assert time.monotonic() - known < SECONDS_MAX, "all three at about one moment"
        assert known - begun < SECONDS_MAX, "counted from the command, agent and all"
        assert said == []
    finally:
        up.client.close()
        up.interrupt()
        assert up.process.stdout is not None
        up.process.stdout.close()
