"""Sentences: every fact is said as an operator would say it, with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from factories import a_spec, at, name, releasing, requested
from navarch.core.model import events as ev
from navarch.core.model.finding import Remedy
from navarch.core.model.ladder import Outcome, Stage, Told
from navarch.core.sentences import sentence


@pytest.fixture(scope="module")
def facts(project: Path) -> list[ev.Fact]:
    """Return the facts of the golden journal, in which every kind has its sample."""
    lines = (project / "tests" / "golden" / "journal-0.1.jsonl").read_bytes().splitlines()
    return [ev.decode(line) for line in lines]


def test_every_kind_of_fact_has_its_sentence(facts: list[ev.Fact]) -> None:
    assert {type(fact) for fact in facts} == set(get_args(ev.Fact))
    said = [sentence(fact) for fact in facts]
    assert all(words and not words.endswith(".") for words in said)


def test_every_reason_is_said(facts: list[ev.Fact]) -> None:
    for fact in facts:
        assert getattr(fact, "because", "") in sentence(fact)


@pytest.mark.parametrize(
    "fact,expected",
    [
        (requested(1), f"instance {name(1)} is wanted from fake: too few"),
        (releasing(1), f"instance {name(1)} is drained to be ended: too many"),
        (
            ev.ReleaseRevoked(at(), name(1), "1 of 2 nodes: queue 7"),
            f"instance {name(1)} is kept after all: 1 of 2 nodes: queue 7",
        ),
        (
            ev.TargetChanged(at(), "training", 3, "queue: queue 12"),
            "pool training wants 3 nodes: queue: queue 12",
        ),
        (
            ev.PoolConfigured(at(), a_spec()),
            "pool training is configured for 0 to 10 nodes of fake",
        ),
        (
            ev.RepairStarted(at(), "n1", Remedy.RESET_GPU, "xid 95"),
            "node n1 is to have a GPU reset: xid 95",
        ),
        (
            ev.RepairAdvanced(at(), "n1", Stage.ACTING, "it is drained"),
            "node n1 is being repaired: it is drained",
        ),
        (
            ev.RepairAdvanced(at(), "n1", Stage.PROBATION, "reset GPU 3"),
            "node n1 is on probation: reset GPU 3",
        ),
        (
            ev.RepairEnded(at(), "n1", Outcome.FAILED, "sick again"),
            "node n1 was repaired: failed: sick again",
        ),
        (
            ev.RepairWithheld(at(), "n1", Remedy.INSPECT, "a dry run"),
            "node n1 would be handed to a person: a dry run",
        ),
        (ev.NodeHandedOver(at(), "n1", "xid 110"), "node n1 needs a person: xid 110"),
        (
            ev.WorkloadRefused(at(), "n1", Told.CORDONED, "no access"),
            "node n1 can not be cordoned: no access",
        ),
    ],
)
def test_sentences(fact: ev.Fact, expected: str) -> None:
    assert sentence(fact) == expected


def test_what_is_no_fact_has_no_sentence() -> None:
    with pytest.raises(TypeError, match="Event is no fact"):
        sentence(ev.Event(at()))
