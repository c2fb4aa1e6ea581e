"""Each check of the kits finds the flaw that it is there for, and a sound plugin has none."""

from __future__ import annotations

from typing import ClassVar

import pytest

from navarch.testing import (
    Finding,
    GuardrailContract,
    MetricsProviderContract,
    ModelLoaderContract,
    PluginContract,
    ReplicaAutoscalerContract,
    SchedulerContract,
    findings_of,
)
from navarch.testing.findings import checks_of, sentence
from testing import flawed_plugins as flawed


class Quick(GuardrailContract):
    """Gives up on a slow one earlier than in earnest."""

    seconds_per_100_kb: ClassVar[float] = 1.0


class Scanning(Quick):
    """The same, for the rich form, of texts in which the sound one finds something."""

    found = ("write to me@here, or you@there",)


class Hasty(SchedulerContract):
    """Gives up on a slow one earlier than in earnest."""

    seconds_per_1000_nodes: ClassVar[float] = 0.2


SOUND: dict[type[PluginContract], type] = {
    Hasty: flawed.Scheduler,
    ReplicaAutoscalerContract: flawed.Autoscaler,
    ModelLoaderContract: flawed.Loader,
    MetricsProviderContract: flawed.Provider,
    Quick: flawed.Guardrail,
    Scanning: flawed.Scanner,
}

FLAWS = [
    (flawed.ScoresTooHigh, "a whole number from 0 to 100", "130"),
    (flawed.ScoresFractions, "a whole number from 0 to 100", "0.5"),
    (flawed.AnswersNone, "true or false", "None"),
    (flawed.WantsLabels, "says nothing is borne", "KeyError"),
    (flawed.Remembers, "same answer", "asked again"),
    (flawed.Remembers, "order of the nodes", "in another"),
    (flawed.Writes, "nothing that it is given", "changed its Node"),
    (flawed.LooksAtTheClock, "neither clock", "datetime.now() in score (flawed_plugins.py:"),
    (flawed.Waits, "quickly", "s per 1,000 nodes, expected at most 0.2 s"),
    (flawed.Fractions, "whole number of at least 0", "0.0, expected a whole"),
    (flawed.Negative, "whole number of at least 0", "-1"),
    (
        flawed.Backwards,
        "never means fewer",
        "queue-depth 0.9 gives 50 replicas and queue-depth 1 gives 49",
    ),
    (flawed.TakesAbsentForZero, "take nothing away", "propose pool.status.replicas"),
    (flawed.WantsTheSignal, "take nothing away", "no signal: KeyError"),
    (flawed.BreaksOnNoNumber, "cannot be", "inf: OverflowError"),
    (flawed.DrawsLots, "neither clock", "random.randrange() in wanted"),
    (flawed.SplitsWithoutLooking, "any address", "IndexError"),
    (flawed.LoadsNothing, "refused with words", "nothing can be there"),
    (flawed.TellsZero, "nobody has", "is 0.0, expected LookupError"),
    (flawed.TellsZero, "nobody knows", "is 0.0, expected none"),
    (flawed.TellsNoNumber, "finite number", "nan, expected a finite number"),
    (flawed.Unquoted, "no part of a query", "vector"),
    (flawed.ListsNothing, "each said once", "empty"),
    (flawed.KeepsOneCall, "at once", "RuntimeError: busy"),
    (flawed.CannotEncode, "no text breaks it", "UnicodeEncodeError"),
    (flawed.TellsTheSecret, "told on", "'536-22-8765'"),
    (flawed.RedactsNothing, "redacts is gone", "as it was"),
    (flawed.TooSure, "sound", "confidence = 1.5"),
    (flawed.BlocksAndPasses, "sound", "passed, and block"),
    (flawed.Quadratic, "twice the time", "times as long"),
    (flawed.Exponential, "twice the time", "characters of 'a'"),
    (flawed.MixesTexts, "do not mix", "among others"),
    (flawed.LooksFurther, "cut anywhere", "is found only in a piece, cut at"),
    (flawed.FindsNothingAtAll, "lies in the text", "no span of it"),
    (flawed.LongerThanItSays, "lies in the text", "longer than its span_max of 3"),
    (flawed.ShowsEvidence, "lies in the text", "evidence repeats"),
    (flawed.NeverTheSame, "same answer", "asked twice"),
]


def tried(plugin: type, check: str = "") -> list[Finding]:
    """Hold a plugin against the checks, of the kit of its sound relative, that hold these words."""
    kit = next(kit for kit, sound in SOUND.items() if issubclass(plugin, sound))
    contract = kit()
    others = [name for name, _ in checks_of(kit) if check not in sentence(name)]
    contract.not_applicable = dict.fromkeys(others, "another check")  # type: ignore[misc]
    found = findings_of(contract, plugin)
    return [finding for finding in found if finding.text != "another check"]


@pytest.mark.parametrize("plugin", SOUND.values(), ids=lambda plugin: str(plugin.__name__))
def test_a_sound_plugin_has_no_flaw(plugin: type) -> None:
    findings = tried(plugin)
    assert [finding for finding in findings if not finding.ok] == []
    assert sum(not finding.skipped for finding in findings) >= 6


@pytest.mark.parametrize("plugin,check,text", FLAWS)
def test_a_flaw_is_found_by_the_check_for_it(plugin: type, check: str, text: str) -> None:
    (finding,) = tried(plugin, check)
    assert not finding.ok
    assert text in finding.text


def test_a_check_that_does_not_apply_is_skipped_with_its_reason() -> None:
    class Excused(SchedulerContract):
        not_applicable: ClassVar = {
            name: "asks a model"
            for name, _ in checks_of(SchedulerContract)
            if name != "test_the_priority_is_a_whole_number"
        }

    found = list(findings_of(Excused(), flawed.Waits))
    assert [each.check for each in found if not each.skipped] == ["the priority is a whole number"]
    assert {each.text for each in found if each.skipped} == {"asks a model"}
    assert all(each.ok for each in found)


def test_an_exception_of_the_plugin_is_a_finding_with_its_place() -> None:
    class Raises(flawed.Scheduler):
        """Cannot."""

        def filter(self, *_: object) -> bool:
            raise ZeroDivisionError("no nodes")

    (finding,) = tried(Raises, "true or false")
    assert finding.text.startswith("raised ZeroDivisionError: no nodes at test_kits.py:")
