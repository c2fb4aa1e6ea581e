"""The site: which pages it has, where their links lead, and that its checks find what is wrong.

The site itself is built and compared by ``make check``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import check_site
import site_pages
from docs.fences import PROJECT

DOCS = PROJECT / "docs"


@pytest.fixture(scope="module")
def nav() -> list[object]:
    """Return the menu as it is written."""
    text = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
    plain = text.replace("!!python/object/apply:", "!ignored ")
    yaml.SafeLoader.add_constructor("!ignored", lambda *_: None)
    yaml.SafeLoader.add_multi_constructor("!ignored ", lambda *_: None)
    found = yaml.safe_load(plain.replace("!ignored pymdownx.slugs.slugify", ""))["nav"]
    assert isinstance(found, list)
    return found


def in_menu(nav: list[object], docs: Path) -> list[str]:
    """Name the pages that a menu leads to, as the site writes it out."""
    named = set(site_pages.entries(nav))
    return list(site_pages.entries(site_pages.written_out(nav, docs, named)))


def test_every_page_is_in_the_menu_once(nav: list[object]) -> None:
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    shown = in_menu(nav, DOCS)
    assert sorted(pages - set(shown)) == []
    assert sorted(name for name in set(shown) if shown.count(name) > 1) == []
    assert set(shown) - pages == set(site_pages.ABOUT.values())


def test_a_planted_page_is_not_in_the_menu(nav: list[object], tmp_path: Path) -> None:
    (tmp_path / "planted.md").write_text("# Planted")
    (tmp_path / "decisions").mkdir()
    (tmp_path / "decisions" / "9999-planted.md").write_text("# Planted")
    shown = in_menu(nav, tmp_path)
    assert "planted.md" not in shown
    assert "decisions/9999-planted.md" in shown


def test_what_may_be_missing_is_left_out_of_the_menu(tmp_path: Path) -> None:
    (tmp_path / "here.md").write_text("# Here")
    nav = [{"A": ["?here.md", "?away.md"]}, {"B": ["?none/*.md"]}, "away.md"]
    assert site_pages.written_out(nav, tmp_path, set()) == [{"A": ["here.md"]}, "away.md"]


@pytest.mark.parametrize(
    "page,link,expected",
    [
        ("docs/library.md", "../examples/simple_pool.py", "source/examples/simple_pool.py.md"),
        ("docs/library.md", "../examples", "source/examples/index.md"),
        (
            "docs/providers/adding.md",
            "../../CONTRIBUTING.md#how-to-add",
            "../project/contributing.md#how-to-add",
        ),
        ("README.md", "docs/providers/README.md", "providers/README.md"),
        ("ARCHITECTURE.md", "docs/policy.md#cases", "../policy.md#cases"),
        ("docs/policy.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("docs/policy.md", "#cases", "#cases"),
        ("docs/policy.md", "../nowhere.md", "../nowhere.md"),
    ],
)
def test_links_lead_to_pages_of_the_site(page: str, link: str, expected: str) -> None:
    assert site_pages.moved(f"see [it]({link})", PROJECT / page) == f"see [it]({expected})"


def test_links_in_code_stay_as_they_are() -> None:
    text = "`[a](../README.md)`\n\n```text\n[a](../README.md)\n```\n"
    assert site_pages.moved(text, DOCS / "policy.md") == text


def test_files_that_pages_lead_to_become_pages_with_their_text() -> None:
    found = site_pages.led_to()
    listing = found[PROJECT / "examples" / "simple_pool.py"]
    assert listing.startswith("# `examples/simple_pool.py`\n\n```python\n")
    assert "- [`simple_pool.py`](simple_pool.py)" in found[PROJECT / "examples"]
    assert PROJECT / "examples" / "scenarios" / "plain.yaml" in found
    assert all(path.exists() for path in found)


# --- what the checks find -----------------------------------------------------------------------


def test_mkdocs_complains_of_what_is_wrong(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# Start\n\n[a](nowhere.md) [b](other.md#nowhere)\n")
    (docs / "other.md").write_text("# Other\n")
    (docs / "lost.md").write_text("# Lost\n")
    written = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
    validation = written[written.index("\nvalidation:") : written.index("\n# Files of")]
    config = tmp_path / "mkdocs.yml"
    config.write_text(
        f"site_name: x\ntheme: {{name: mkdocs}}\nnav: [index.md, other.md, gone.md]\n{validation}"
    )
    told = check_site.build(tmp_path / "site", config)
    for part in ("'nowhere.md'", "'#nowhere'", "gone.md", "lost.md"):
        assert part in told


@pytest.mark.parametrize(
    "source,html,fault",
    [
        ("a\n- b\n- c\n", "<p>a\n- b\n- c</p>", "li: 0 in the site, 2 in the repository"),
        ("a\n\n    code\n", "<p>a</p>", "pre: 0 in the site, 1 in the repository"),
        ("| a |\n|---|\n| b |\n", "<p>| a |</p>", "table: 0 in the site, 1 in the repository"),
        ("# a\n", "<h1>a</h1><h2>b</h2>", "h2: 1 in the site, 0 in the repository"),
    ],
)
def test_a_page_that_looks_otherwise_in_the_site_is_found(
    source: str, html: str, fault: str
) -> None:
    assert fault in check_site.shown_otherwise(source, f"<article>{html}</article>")


def test_a_page_that_looks_the_same_is_fine() -> None:
    html = "<nav><li>x</li></nav><article><h1>a</h1><ul><li>b</li></ul></article><h2>c</h2>"
    assert check_site.shown_otherwise("# a\n\n- b\n", html) == []


@pytest.mark.parametrize(
    "html,found",
    [
        ('<script src="https://cdn.example/x.js"></script>', ["https://cdn.example/x.js"]),
        ('<link rel="stylesheet" href="//fonts.example/a">', ["//fonts.example/a"]),
        ('<img src="a.svg"><link rel="canonical" href="https://docs.example/">', []),
        ('<a href="https://example.org">x</a>', []),
    ],
)
def test_what_a_browser_would_fetch_elsewhere_is_found(html: str, found: list[str]) -> None:
    assert check_site.fetched_elsewhere(html) == found


def test_links_outside_are_listed_and_not_fetched() -> None:
    found = check_site.external()
    assert "https://github.com/google/cel-spec" in found
    assert all(address.startswith("https://") for address in found)
