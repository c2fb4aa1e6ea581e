"""The tour of the quick start prints what the page says, and the README shows a part of it.

Every ``$ navarch`` command of its console blocks is run, in order, against a fleet of its own; what
differs between two fleets (tags, times, ages, places in the journal) is masked on both sides.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

from integration.conftest import Up, until

BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def commands(page: str) -> list[tuple[str, str]]:
    """Each command of the console blocks with the output that is shown below it."""
    found = []
    for block in BLOCK.findall(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def masked(text: str, tag: str) -> str:
    """Blank out what differs between two fleets, and the columns that follow from its width."""
    text = text.replace(tag, "TAG")
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME", text)
    text = re.sub(r"\b\d+s ago", "AGE", text)
    text = re.sub(r"silent for \d+ s", "silent for N s", text)
    text = re.sub(r"heard [\d.]+ s ago; it counts as lost after \d+ s", "heard AGE", text)
    text = re.sub(r"\b\d+ s ago", "AGE", text)
    text = re.sub(r"event \d+: ", "event N: ", text)
    text = re.sub(r"\([0-9a-f]{12}\)", "(DIGEST)", text)
    text = re.sub(r"heartbeats of \d+ s", "heartbeats of N s", text)
    text = re.sub(r"^ +\d+  TIME", "SEQ TIME", text, flags=re.MULTILINE)
    return text.strip()


def test_the_readme_shows_the_beginning_of_the_tour(project: Path) -> None:
    readme = commands((project / "README.md").read_text(encoding="utf-8"))
    tour = commands((project / "docs" / "quick-start.md").read_text(encoding="utf-8"))
    assert len(readme) >= 2
    assert readme == tour[: len(readme)]


def test_the_tour_prints_what_it_shows(start_up: Callable[..., Up], project: Path) -> None:
    page = (project / "docs" / "quick-start.md").read_text(encoding="utf-8")
    shown_tag = re.findall(r"local-(\w+)-0001", page)[0]
    fleet = start_up()
    fleet.wait_serving(3)
    tag = min(fleet.nodes()).split("-")[1]

    for command, shown in commands(page):
        words = shlex.split(command.replace(shown_tag, tag))
        if words[0] == "pkill":
            os.kill(fleet.agents()[words[-1].split()[-1]], signal.SIGKILL)
            until(
                lambda: (
                    f"local-{tag}-0004" in fleet.serving()
                    and f"local-{tag}-0001" not in fleet.serving()
                ),
                "the killed node is replaced",
            )
            until(
                lambda: (
                    {node.get("healthStatus") for node in fleet.serving().values()}
                    == {"HEALTH_STATUS_HEALTHY"}
                ),
                "its replacement has reported",
            )
            continue
        assert words[0] == "navarch"
        done = fleet.run(*words[1:])
        assert done.returncode == 0, done.stderr
        assert masked(done.stdout, tag) == masked(shown, shown_tag), command
        if words[1] == "inject":
            await_consequence(fleet, words[2], fatal="79" in words)


def await_consequence(fleet: Up, node_id: str, *, fatal: bool) -> None:
    """Wait until a fault is judged, and if it is a fatal one, until its node was replaced."""
    until(
        lambda: any(
            fact["kind"] == "health_judged" and "xid" in fact["because"]
            for fact in fleet.facts(subject=node_id)
        ),
        "the fault is judged",
    )
    if not fatal:
        return
    serving = len(fleet.serving())
    until(
        lambda: any(fact["kind"] == "instance_terminated" for fact in fleet.facts(subject=node_id)),
        "the sick node has ended",
    )
    until(
        lambda: (
            len(fleet.serving()) > serving
            and {node.get("healthStatus") for node in fleet.serving().values()}
            == {"HEALTH_STATUS_HEALTHY"}
        ),
        "its replacement has reported",
    )
