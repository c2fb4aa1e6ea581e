"""A real browser before a real dashboard; a test skips where no Chromium is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from dashboard.served import TOKENS, Served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-quic", "--disable-background-networking", "--disable-component-update"),
    "--disable-sync",
]
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A control plane with its dashboard, shared by the tests of a module."""
    with Served(tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a module."""
    if CHROMIUM is None:
        pytest.skip("NOT TESTED: the dashboard in a real browser: Debian's chromium is absent")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@contextmanager
def opened(
    browser: Browser,
    served: Served,
    *,
    by: str | None = "olaf",
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    expects: tuple[str, ...] = (),
) -> Iterator[Page]:
    """A page of the dashboard, logged in as `by`; None: nobody logs in.

    At the end nothing may stand in its console but what `expects` some words of.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: _note(said, message))
    page.on("pageerror", lambda error: said.append(str(error)))
    if by is not None:  # as the page does it; that it does is tested once
        answer = context.request.post(f"{served.url}/ui/login", data={"token": TOKENS[by][1]})
        assert answer.ok, answer.text()
    page.goto(served.url)
    if by is not None:
        page.locator(".connection[data-state=live]").wait_for()
    yield page
    context.close()
    unexpected = [each for each in said if not any(words in each for words in expects)]
    assert unexpected == []


def _note(said: list[str], message: ConsoleMessage) -> None:
    if message.type in ("error", "warning"):
        said.append(message.text)


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """The dashboard at 1280 px, logged in as an operator; its console has to stay empty."""
    with opened(browser, served) as found:
        yield found
