"""What mkdocs is told about our pages: which there are, and where their links lead in the site.

Pages are written for readers of the repository, so they lead to files outside of ``docs/``. Each of
these becomes a page of the site: a text as it is, a program or a configuration as a listing, a
folder as a list of its files. What is not led to is not there. ``mkdocs.yml`` names this file as a
hook; nothing calls it by hand.

In its ``nav`` an entry with ``*`` stands for all pages that it fits and that are named nowhere
else, and one that begins with ``?`` for what may not be there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parent.parent

ABOUT: Final = {
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "README.md": "index.md",
}
"""Pages beside ``docs/``, and where they are in the site."""
SOURCE: Final = "source"
"""Below which address other files of the repository are."""
LISTED_BYTES_MAX: Final = 200_000
"""Of a file that becomes a listing; a longer one is not led to by any page."""
LISTED_MAX: Final = 500
"""How many files of the repository may become pages."""

_PIECE: Final = re.compile(
    r"(?P<block>^(?P<indent> *)(?P<fence>```+|~~~+).*?^(?P=indent)(?P=fence)[ ]*$)"
    r"|(?P<code>`[^`\n]+`)"
    r"|\]\((?P<link>[^)\s]+)\)",
    re.DOTALL | re.MULTILINE,
)
_LANGUAGES: Final = {
    ".css": "css",
    ".js": "javascript",
    ".json": "json",
    ".proto": "protobuf",
    ".py": "python",
    ".sh": "sh",
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
}


def links(text: str) -> Iterator[str]:
    """Find the links of a page that lead to files, blocks and inline code left out."""
    for found in _PIECE.finditer(text):
        link = found["link"]
        if link and not re.match(r"[a-z]+:|#", link):
            yield link


def place_of(path: Path) -> str:
    """Say where a file or folder of the repository is in the site, as a page's source."""
    name = path.relative_to(ROOT).as_posix()
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    if name in ABOUT:
        return ABOUT[name]
    if path.is_dir():
        return f"{SOURCE}/{name}/index.md"
    return f"{SOURCE}/{name}" if path.suffix == ".md" else f"{SOURCE}/{name}.md"


def moved(text: str, source: Path) -> str:
    """Have the links of a page lead where their targets are in the site."""
    here = posixpath.dirname(place_of(source))

    def instead(found: re.Match[str]) -> str:
        link = found["link"]
        if not link or re.match(r"[a-z]+:|#", link):
            return found[0]
        path, hash_, anchor = link.partition("#")
        target = (source.parent / path).resolve()
        if not target.is_relative_to(ROOT) or not target.exists():
            return found[0]
        if target.is_dir() and target.is_relative_to(ROOT / "docs"):
            return found[0]
        return f"]({posixpath.relpath(place_of(target), here or '.')}{hash_}{anchor})"

    return _PIECE.sub(instead, text)


def led_to() -> dict[Path, str]:
    """Collect the files outside of ``docs/`` that pages lead to, each with the text of its page."""
    found: dict[Path, str] = {}
    for name, place in ABOUT.items():
        if not (ROOT / "docs" / place).exists():
            found[ROOT / name] = (ROOT / name).read_text(encoding="utf-8")
    looked = [*sorted((ROOT / "docs").rglob("*.md")), *found]
    while looked:
        page = looked.pop()
        text = found.get(page) or page.read_text(encoding="utf-8")
        for link in links(text):
            target = (page.parent / link.partition("#")[0]).resolve()
            inside = target.is_relative_to(ROOT) and not target.is_relative_to(ROOT / "docs")
            if not inside or not target.exists() or target in found or _has_page(target):
                continue
            found[target] = _text_of(target)
            if len(found) > LISTED_MAX:
                raise ValueError(f"pages lead to more than {LISTED_MAX} files; the last: {target}")
            if target.is_dir() or target.suffix == ".md":
                looked.append(target / "index.md" if target.is_dir() else target)
                found.setdefault(looked[-1], found[target])
    return {path: text for path, text in found.items() if path.name != "index.md"}


def _has_page(target: Path) -> bool:
    return target.relative_to(ROOT).as_posix() in ABOUT


def _text_of(target: Path) -> str:
    name = target.relative_to(ROOT).as_posix()
    if target.is_dir():
        return f"# `{name}`\n\n" + "".join(
            f"- [`{each.name}`]({each.name})\n"
            for each in sorted(target.iterdir())
            if _is_ours(each)
        )
    if target.suffix == ".md":
        return target.read_text(encoding="utf-8")
    text = target.read_text(encoding="utf-8")
    if len(text) > LISTED_BYTES_MAX:
        raise ValueError(f"{name} has more than {LISTED_BYTES_MAX} characters; lead elsewhere")
    fence = "`" * max(3, *(len(each) + 1 for each in re.findall(r"`{3,}", text)), 3)
    language = _LANGUAGES.get(target.suffix, "text")
    return f"# `{name}`\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


def _is_ours(path: Path) -> bool:
    made = ("__pycache__", "node_modules", "build", "dist")
    return not path.name.startswith(".") and path.name not in made and path.suffix != ".egg-info"


# --- what mkdocs calls --------------------------------------------------------------------------


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Write out the entries of ``nav`` that stand for several pages, or for none."""
    named = set(entries(config.nav))
    config.nav = written_out(config.nav, Path(config.docs_dir), named)
    return config


def entries(nav: Any) -> Iterator[str]:  # noqa: ANN401 - YAML
    """Name the pages of a menu, in its order."""
    if isinstance(nav, str):
        yield nav.removeprefix("?")
    elif isinstance(nav, dict):
        for below in nav.values():
            yield from entries(below)
    else:
        for below in nav or ():
            yield from entries(below)


def written_out(nav: Any, docs: Path, named: set[str]) -> list[Any]:  # noqa: ANN401 - YAML
    """Put in the place of each entry the pages that it stands for, those elsewhere `named` not."""
    result: list[Any] = []
    for entry in nav:
        if isinstance(entry, dict):
            for title, below in entry.items():
                if isinstance(below, str):
                    result += [{title: each} for each in _pages(below, docs, named)]
                elif inside := written_out(below, docs, named):
                    result.append({title: inside})
        else:
            result += _pages(entry, docs, named)
    return result


def _pages(entry: str, docs: Path, named: set[str]) -> list[str]:
    name = entry.removeprefix("?")
    if "*" in name:
        found = sorted(path.relative_to(docs).as_posix() for path in docs.glob(name))
        return [each for each in found if each not in named]
    there = not entry.startswith("?") or (docs / name).exists()
    return [name] if there else []


_origins: dict[str, Path] = {}
"""Of the pages that are made here: the file each is of, by its place in the site."""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what pages lead to."""
    _origins.clear()
    for path, text in led_to().items():
        place = place_of(path)
        _origins[place] = path / "index.md" if path.is_dir() else path
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Have the links of a page lead to pages of the site."""
    source = _origins.get(page.file.src_uri)
    return moved(markdown, source or Path(config.docs_dir) / PurePosixPath(page.file.src_uri))
