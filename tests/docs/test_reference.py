"""The pages that are made from code are what their tools would write."""

from __future__ import annotations

from pathlib import Path

import pytest

import generate_docs

PAGES = sorted(generate_docs.PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    written = (generate_docs.REFERENCE / name).read_text(encoding="utf-8")
    assert written == generate_docs.PAGES[name](), "run: python tools/generate_docs.py"


def test_every_page_of_the_reference_is_made_or_the_list_of_them() -> None:
    there = {path.name for path in generate_docs.REFERENCE.glob("*.md")}
    assert there == {*PAGES, "index.md"}


def test_the_list_of_the_reference_has_every_page() -> None:
    text = (generate_docs.REFERENCE / "index.md").read_text(encoding="utf-8")
    assert [name for name in PAGES if f"({name})" not in text] == []


def test_what_is_not_up_to_date_is_named_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("old")
    monkeypatch.setattr(generate_docs, "ROOT", tmp_path)
    monkeypatch.setattr(generate_docs, "written", lambda: {page: "new"})
    monkeypatch.setattr("sys.argv", ["generate_docs.py", "--check"])
    assert generate_docs.main() == 1
    assert (page.read_text(), capsys.readouterr().out) == ("old", "stale: page.md\n")
    monkeypatch.setattr("sys.argv", ["generate_docs.py"])
    assert generate_docs.main() == 0
    assert (page.read_text(), capsys.readouterr().out) == ("new", "wrote: page.md\n")
