"""Programs that are run for their answer: how they end, and that nothing of them is left."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from navarch.peers import program
from navarch.peers.program import Run
from navarch.peers.unanswered import Unanswered

SOON = timedelta(seconds=10)


def run(script: str, *, deadline: timedelta = SOON) -> Run:
    return asyncio.run(program.run(["sh", "-c", script], deadline=deadline, bytes_max=10))


def test_how_a_program_ends_is_an_answer() -> None:
    assert run("echo fine") == Run(0, b"fine\n", "")
    assert run("echo so; echo far >&2; exit 3") == Run(3, b"so\n", "far")
    assert run("kill -9 $$").status == -9


def test_only_success_has_an_output() -> None:
    command = ["sh", "-c", "echo no >&2; exit 3"]
    with pytest.raises(Unanswered, match="sh ended with 3: no"):
        asyncio.run(program.output(command, deadline=SOON, bytes_max=10))


def test_what_is_too_long_or_too_slow_or_not_there_is_no_answer() -> None:
    with pytest.raises(Unanswered, match="printed more than 10 bytes"):
        run("yes")
    with pytest.raises(Unanswered, match=r"no answer within 0\.15 s"):
        run("sleep 60", deadline=timedelta(milliseconds=150))
    with pytest.raises(Unanswered, match="cannot be run"):
        asyncio.run(program.run(["/no/such/program"], deadline=SOON, bytes_max=10))
