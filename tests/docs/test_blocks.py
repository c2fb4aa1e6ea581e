"""Every block of every page is claimed by somebody who checks it, and holds."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from docs import claims, pythons, shells
from docs.fences import PROJECT, Fence, all_fences, fences, pages, typed

BY_PAGE = {page: list(found) for page, found in groupby(all_fences(), lambda fence: fence.page)}


@pytest.mark.parametrize("page", BY_PAGE)
def test_every_block_of_a_page_holds(page: str) -> None:
    assert {str(fence): found for fence in BY_PAGE[page] if (found := claims.faults(fence))} == {}


@pytest.mark.parametrize(
    "page", [page for page, found in BY_PAGE.items() if any(f.language == "python" for f in found)]
)
def test_the_python_of_a_page_means_something(page: str) -> None:
    lines = (PROJECT / page).read_text(encoding="utf-8").split("\n")
    known: set[str] = set()
    wrong = []
    for fence in (each for each in BY_PAGE[page] if each.language == "python"):
        known |= pythons.given("\n".join(lines[: fence.line - 1]))
        found, bound = pythons.faults(fence.text, known)
        wrong += [f"{fence}: {fault}" for fault in found]
        known |= bound
    assert wrong == []


def test_pages_that_a_test_is_said_to_run_are_run_by_it() -> None:
    for page, test in claims.SQL_RUN_BY.items():
        assert Path(page).name in (PROJECT / test).read_text(encoding="utf-8")


def test_the_blocks_that_are_looked_for_are_found() -> None:
    there = {fence.language for fence in all_fences()}
    assert {"console", "json", "python", "sh", "sql", "text", "yaml"} - there == set()
    assert len(pages()) > 80


# --- the checkers find what is wrong ------------------------------------------------------------


@pytest.mark.parametrize(
    "language,text,part",
    [
        ("rust", "fn main() {}", "nobody checks blocks of the language 'rust'"),
        ("", "indented", "nobody checks blocks of the language '(none)'"),
        ("text", "$ navarch list", "a command in a block of text"),
        ("py", "def f(): ...", "`py` is for generated pages"),
        ("console", "navarch list", "a session without a prompt"),
        ("console", "$ navarch lst", "there is no command lst"),
        ("sh", "$ navarch list", "a prompt"),
        ("sh", "navarch list --poool x", "No such option"),
        ("sh", "navarch pool scale training many", "is not a valid integer"),
        ("sh", "navarch cordon", "Missing argument"),
        ("sh", "navarch list -o xml", "'xml' is not one of"),
        ("sh", "navarch pool", "it needs a command"),
        ("sh", "cd x && navarch lst", "there is no command lst"),
        ("sh", "make everything", "the Makefile has no"),
        ("sh", "frobnicate --all", "nobody knows the program frobnicate"),
        ("sh", "pip install 'navarch[nothing]'", "there is no extra ['nothing']"),
        ("sh", "curl http://localhost:50051/navarch.ControlPlaneService/Nope", "no call Nope"),
        ("sh", "curl http://localhost:50051/secret", "the port serves no /secret"),
        ("sh", "python tools/nothing.py", "there is no tools/nothing.py"),
        ("json", "{", "Expecting"),
        ("toml", '[project.entry-points."navarch.nothing"]\na = "b:C"', "no group navarch.nothing"),
        ("ini", "[Sevice]\nExecStart=/opt/navarch/bin/navarch agnt", "there is no section Sevice"),
        ("ini", "[Service]\nExecStart=/opt/navarch/bin/navarch agnt", "there is no command agnt"),
        ("sql", "SELECT 1", "nobody runs the SQL"),
        ("ts", 'import { x } from "left-pad";', "left-pad is not what the tests use"),
        ("ts", "client.listNothing()", "there is no call listNothing"),
        ("promql", "sum by (pool (x)", "sum by (pool (x)"),
        ("yaml", "server: {adress: x}", "did you mean address"),
        ("yaml", "- a", "no mapping"),
        ("yaml", "colour: red", "no kind of file that we know has the keys ['colour']"),
        ("yaml", "a: [", "while parsing"),
        ("yaml", "version: v1\nrules: [{name: x, condition: evnt, result: bad}]", "evnt"),
        ("yaml", "scrape_configs: [{job: x}]", "a job has no job"),
        ("yaml", "name: x\nfleet: [{id: a}]\nevents: [{at: 0s, action: dance}]", "dance"),
        ("yaml", "autoscaling: {metrics: [{type: queue-depth, taget: 1}]}", "taget"),
        ("yaml", "jobs: [{name: a, pool: p, nodes: 1, work: 1h, hue: red}]", "hue"),
        (
            "yaml",
            "apiVersion: neuronetes.io/v1alpha1\nkind: Model\nmetadata: {name: a}\nspec: {uri: x}",
            "unknown key",
        ),
        (
            "yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [], contaners: []}",
            "contaners",
        ),
        ("yaml", "route: {receiver: a}\nreceivers: [{name: b}]", "there is no receiver a"),
    ],
)
def test_what_is_wrong_with_a_block_is_found(language: str, text: str, part: str) -> None:
    found = claims.faults(Fence("docs/page.md", 1, language, "", text))
    assert part in " ".join(found)


@pytest.mark.parametrize(
    "code,part",
    [
        ("import navarch.nothing", "there is no module navarch.nothing"),
        ("from navarch import Pol", "navarch has no Pol"),
        ("print(pool)", "nobody knows pool"),
        ("if", "invalid syntax"),
    ],
)
def test_what_is_wrong_with_python_is_found(code: str, part: str) -> None:
    found, _ = pythons.faults(code, known=())
    assert part in " ".join(found)


def test_a_later_block_knows_what_an_earlier_one_has_made_and_what_a_reader_brings() -> None:
    found, bound = pythons.faults("async with store as s:\n    x = await s.get(y)", {"store", "y"})
    assert (found, bound) == ([], {"s", "x"})
    assert pythons.given("text\n<!-- given: a, b -->\n\n") == {"a", "b"}
    assert pythons.given("<!-- given: a -->\n\ntext\n") == frozenset()


@pytest.mark.parametrize(
    "command",
    [
        "navarch -s http://127.0.0.1:1 list --pool training",
        "navarch simulate --config fleet.yaml --days 3  # and nothing below it",
        'TOKEN="$(cat x)" navarch inject NODE --xid 79 | head -3',
        "navarch pool scale training 4 --reason 'a demonstration' > out.txt",
        "navarch simulate replay out --explain pool training",
        "navarch delete -f examples/serving/",
    ],
)
def test_what_is_right_is_not_complained_of(command: str) -> None:
    assert shells.faults(command) == []


def test_blocks_are_found_wherever_they_stand() -> None:
    page = (
        '# x\n\n- a\n\n  ```sh\n  one\n  ```\n\n    indented\n\n```yaml title="a.yaml"\nb: 1\n```\n'
    )
    found = [(fence.language, fence.title, fence.text, fence.line) for fence in fences(page)]
    assert found == [("sh", "", "one\n", 5), ("yaml", "a.yaml", "b: 1\n", 11)]


def test_a_session_is_parted_into_commands_and_what_they_print() -> None:
    session = "$ a \\\n    --b\none\n\n$ c\n"
    assert [tuple(each) for each in typed(session)] == [("a --b", "one"), ("c", "")]
