"""Everything that can be used is documented, and one more thing without words would be found."""

from __future__ import annotations

import pytest

from docs.subjects import SUBJECTS, Subject
from reference import environment

EACH = pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS.keys())


@EACH
def test_everything_is_documented(subject: Subject) -> None:
    assert subject.missing() == [], "run tools/generate_docs.py, or write of it"


@EACH
def test_a_planted_one_is_found(subject: Subject) -> None:
    assert subject.with_one_more() == [subject.planted]


def test_every_variable_of_the_page_is_one_that_something_reads() -> None:
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in environment.SOURCE.rglob("*.*")
        if _is_text(path)
    )
    of_libraries = {"PGPASSFILE"}
    names = [name.rstrip("*") for name in environment.VARIABLES]
    assert [name for name in names if name not in code and name not in of_libraries] == []


def _is_text(path: object) -> bool:
    return str(path).endswith((".py", ".proto", ".sh", ".txt"))
