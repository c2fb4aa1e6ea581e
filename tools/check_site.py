"""Build the site of the documentation, strictly, and compare it with the pages it is made of.

    .venv/bin/python tools/check_site.py        one line a fault; exits 1 when there is one

Any warning of mkdocs is a fault: a page that is not in the menu, a link that leads nowhere, an
anchor that is not there. So is a page that the site shows otherwise than the repository does (the
two read Markdown by different rules), and anything that a reader's browser would fetch elsewhere.
``--external`` prints the addresses outside that pages lead to, each once; nobody fetches them here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"

COUNTED: Final = ("h1", "h2", "h3", "h4", "li", "pre", "table", "tr", "blockquote")
"""What both views of a page must have equally many of."""
FETCHED: Final = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""What a browser loads by itself, and by which attribute."""
_NOT_LOADED: Final = frozenset({"canonical", "next", "prev", "alternate"})


class Article(HTMLParser):
    """Counts what is in a page's article, and collects what the whole page loads."""

    def __init__(self, text: str) -> None:
        """Read the HTML."""
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.loaded: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count a tag, or note what it loads."""
        values = dict(attrs)
        self._inside = self._inside or tag == "article"
        if self._inside and tag in COUNTED:
            self.counts[tag] += 1
        address = values.get(FETCHED.get(tag, ""))
        if address and (tag != "link" or values.get("rel") not in _NOT_LOADED):
            self.loaded.append(address)

    def handle_endtag(self, tag: str) -> None:
        """Leave the article."""
        if tag == "article":
            self._inside = False


def build(site: Path, config: Path = ROOT / "mkdocs.yml") -> str:
    """Build the site into a folder, and return what was complained of; empty: nothing."""
    # The notice of what comes after mkdocs: docs/decisions/0037-the-site.md.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    # Never --quiet: it hides warnings from --strict, too.
    command = ["-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)]
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=config.parent,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def shown_otherwise(source: str, html: str) -> list[str]:
    """Name what the site has more or less of than the repository's view of a page."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    ours = Article(f"<article>{parser.render(source)}</article>").counts
    theirs = Article(html).counts
    return [
        f"{tag}: {theirs[tag]} in the site, {ours[tag]} in the repository"
        for tag in COUNTED
        if ours[tag] != theirs[tag]
    ]


def fetched_elsewhere(html: str) -> list[str]:
    """Name the addresses outside that a browser would load with a page."""
    return [each for each in Article(html).loaded if re.match(r"(?:https?:)?//", each)]


def place_in(site: Path, page: Path, docs: Path = DOCS) -> Path:
    """Say which file of the site shows a page."""
    name = page.relative_to(docs)
    if name.stem in ("index", "README"):
        return site / name.parent / "index.html"
    return site / name.with_suffix("") / "index.html"


def faults(site: Path, docs: Path = DOCS) -> Iterator[str]:
    """Compare a site with the pages of a folder."""
    for page in sorted(docs.rglob("*.md")):
        html = place_in(site, page, docs).read_text(encoding="utf-8")
        for each in shown_otherwise(page.read_text(encoding="utf-8"), html):
            yield f"{page.relative_to(docs.parent)}: {each}"
    for path in sorted(site.rglob("*.html")):
        for address in fetched_elsewhere(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: the browser fetches {address}"


def external() -> list[str]:
    """List the addresses outside that pages lead to."""
    found: set[str] = set()
    for page in [*DOCS.rglob("*.md"), *ROOT.glob("*.md")]:
        for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
            for child in token.children or ():
                address = child.attrs.get("href", "")
                if str(address).startswith("http"):
                    found.add(str(address))
    return sorted(found)


def main() -> int:
    """Build and compare, or list."""
    if "--external" in sys.argv[1:]:
        print("\n".join(external()))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        complaint = build(site)
        found = [complaint] if complaint else list(faults(site))
    for fault in found:
        print(fault)
    print(f"site: {len(found) or 'no'} faults")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
