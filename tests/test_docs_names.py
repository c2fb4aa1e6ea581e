"""What the pages name is there: links lead somewhere, commands, files and modules exist.

And what the pages of the serving plane show as output is what comes out.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import click
import pytest

from navarch import plugins
from navarch.cli.main import cli, main
from navarch.plugins.kinds import KINDS

PROJECT = Path(__file__).parent.parent
PAGES = sorted(
    [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("examples/**/*.md")]
)
"""Every page but the notes for a release, which are about the past."""

FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?:^|[\s$(`])navarch((?: [a-z][a-z-]*)+)")
SOURCE = re.compile(r"(?<![\w./-])((?:[\w-]+/)+[\w-]+\.(?:py|proto|yaml|sh))\b")
MODULE = re.compile(r"\bnavarch(?:\.[a-z_]+)+\b")

SEARCHED = ("", "src", "docs")
"""Below which folders a path is looked for; below the package any path may lack its beginning."""
MADE_UP = re.compile(r"NAME|test_x")
"""Parts of paths that stand for any."""
ELSEWHERE = frozenset(
    {
        "test/integration/scheduler_perf/misc/performance-config.yaml",  # of Kubernetes
        "navarch host key 1",  # what a start-up script prints
    }
)
NO_MODULES = frozenset(
    {"navarch.db", "navarch.dev", "navarch.proto", "navarch.rules.yml", "navarch.yaml"}
)
"""A domain, and files."""
GROUPS = frozenset(spec.group for spec in KINDS.values())
"""Of entry points."""


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(PROJECT)) for page in pages]


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_blocks(text: str) -> str:
    return FENCE.sub("", text)


def anchors(page: Path) -> set[str]:
    """Name the headings of a page as links do."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", without_blocks(text_of(page)), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(CODE.sub("code", without_blocks(text_of(page)))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors(target)
        ):
            broken.append(link)
    assert broken == []


def unknown_command(words: list[str]) -> str:
    """Name the first word that should be a command and is none; empty: all are."""
    here: click.Command = cli
    for word in words:
        if not isinstance(here, click.Group):
            return ""
        below = here.get_command(click.Context(here), word)
        if below is None:
            return "" if here.invoke_without_command else word
        here = below
    return ""


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_commands_that_are_named_exist(page: Path) -> None:
    text = text_of(page)
    said = [code for code in CODE.findall(without_blocks(text)) if code.startswith("navarch ")]
    for _, language, block in FENCE.findall(text):
        if language in ("console", "bash", "sh"):
            lines = (line.removeprefix("$ ") for line in block.splitlines())
            said += [line for line in lines if line.startswith("navarch ")]
    unknown = [
        line for line in said for words in COMMAND.findall(line) if unknown_command(words.split())
    ]
    assert [line for line in unknown if line not in ELSEWHERE] == []


@cache
def modules() -> tuple[str, ...]:
    return tuple(str(path) for path in (PROJECT / "src" / "navarch").rglob("*.*"))


def is_there(path: str, page: Path) -> bool:
    places = [page.parent, *(PROJECT / below for below in SEARCHED)]
    return any((place / path).exists() for place in places) or any(
        module.endswith(f"/{path}") for module in modules()
    )


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_files_that_are_named_exist(page: Path) -> None:
    said = {
        path
        for code in CODE.findall(without_blocks(text_of(page)))
        if "://" not in code and "<" not in code
        for path in SOURCE.findall(code)
    }
    real = (path for path in said - ELSEWHERE if not MADE_UP.search(path))
    assert sorted(path for path in real if not is_there(path, page)) == []


@cache
def is_a_module_or_in_one(name: str) -> bool:
    """Whether a dotted name is a module of ours, or ends with something that one has."""
    path = PROJECT / "src" / Path(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    parent = path.parent
    file = parent / "__init__.py" if parent.is_dir() else parent.with_suffix(".py")
    return file.exists() and re.search(rf"\b{path.name}\b", text_of(file)) is not None


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_modules_that_are_named_exist(page: Path) -> None:
    said = {
        name
        for code in CODE.findall(without_blocks(text_of(page)))
        for name in MODULE.findall(code)
        if not code.startswith(("navarch.io/", "/"))
    }
    said -= NO_MODULES | GROUPS
    assert sorted(name for name in said if not is_a_module_or_in_one(name)) == []


def test_the_serving_section_of_the_library_page_runs() -> None:
    page = text_of(PROJECT / "docs" / "library.md")
    section = page.partition("## Replicas, texts and plugins\n")[2].partition("\n## ")[0]
    blocks = FENCE.findall(section)
    program = "\n".join(block for _, language, block in blocks if language == "python")
    shown = "".join(block for _, language, block in blocks if language == "text")
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.rstrip() for line in done.stdout.splitlines()] == shown.splitlines()


def test_the_library_page_names_what_plugins_export() -> None:
    page = text_of(PROJECT / "docs" / "library.md")
    table = page.partition("| name in `navarch.plugins` |")[2].partition("\n\n")[0]
    said = {
        name
        for row in table.splitlines()
        for name in CODE.findall(row.split("|")[1] if "|" in row else "")
    }
    assert "Scheduler" in said
    assert sorted(said - set(plugins.__all__)) == []


def test_the_story_that_the_serving_page_tells_is_the_one_of_its_seed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = text_of(PROJECT / "docs" / "serving.md")
    shown = next(block for _, _, block in FENCE.findall(page) if " s  agent pool " in block)
    assert main(["simulate", "serving", "--seed", "7"]) == 0
    told = iter(capsys.readouterr().out.splitlines())
    assert [line for line in shown.splitlines() if line not in told] == []
