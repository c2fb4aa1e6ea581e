"""Plugins with one flaw each, and the words of the check that must find it."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import os
import random
import re
import time
import uuid
from collections.abc import Mapping
from typing import NamedTuple

from navarch.plugins import AgentPool, GuardrailRequest, GuardrailResult, Model, Node, Pod


class Scheduler:
    """Sound; the flawed ones are made of it."""

    name = "flawed"
    priority = 1

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        return True

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        return min(len(node.labels) * 10, 100)


class ScoresTooHigh(Scheduler):
    """Has no bound."""

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        return 50 + len(node.gpus) * 10


class ScoresFractions(Scheduler):
    """Answers a number that is not whole."""

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        return 0.5  # type: ignore[return-value]  # the flaw


class AnswersNone(Scheduler):
    """Forgets to answer."""

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        return node.labels.get("zone") and True  # type: ignore[return-value]  # the flaw


class WantsLabels(Scheduler):
    """Takes it for granted that a label is there."""

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        return 80 if node.labels["performance-tier"] == "high" else 50


class Remembers(Scheduler):
    """Prefers whatever it is asked about first."""

    def __init__(self) -> None:
        self._asked = itertools.count()

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        return max(100 - next(self._asked), 0)


class Writes(Scheduler):
    """Leaves a note on the node."""

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        node.labels["seen"] = "yes"
        return 50


class LooksAtTheClock(Scheduler):
    """Is better at night."""

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        return 60 if dt.datetime.now(tz=dt.UTC).hour >= 0 else 40


class Waits(Scheduler):
    """Takes its time for each node."""

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        began = time.perf_counter()
        while time.perf_counter() < began + 0.0003:
            continue
        return 50


class Hangs(Scheduler):
    """Never answers."""

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        while True:
            time.sleep(1)


class Exits(Scheduler):
    """Ends its process."""

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        print("good bye")
        os._exit(3)


class Autoscaler:
    """Sound; the flawed ones are made of it."""

    name = "flawed"
    priority = 1

    @property
    def metric_names(self) -> list[str]:
        return ["queue-depth"]

    def wanted(self, depth: float) -> object:
        return int(min(depth, 1e6) // 10) if depth == depth and depth > 0 else 0  # noqa: PLR0124

    def calculate_replicas(self, pool: AgentPool, values: Mapping[str, float]) -> int:
        if "queue-depth" not in values:
            return pool.status.replicas
        return self.wanted(values["queue-depth"])  # type: ignore[return-value]  # may be flawed


class Fractions(Autoscaler):
    """Proposes parts of replicas."""

    def wanted(self, depth: float) -> object:
        return depth / 10


class Negative(Autoscaler):
    """Proposes fewer than none."""

    def wanted(self, depth: float) -> object:
        return -1


class Backwards(Autoscaler):
    """Takes more load for less."""

    def wanted(self, depth: float) -> object:
        return max(50 - int(min(max(depth, 0), 1e6)), 0) if depth == depth else 0  # noqa: PLR0124


class TakesAbsentForZero(Autoscaler):
    """Scales to zero when its source is dead."""

    def calculate_replicas(self, pool: AgentPool, values: Mapping[str, float]) -> int:
        return 1 if values.get("queue-depth", 0) > 0 else 0


class WantsTheSignal(Autoscaler):
    """Raises when its source is dead."""

    def calculate_replicas(self, pool: AgentPool, values: Mapping[str, float]) -> int:
        return 1 if values["queue-depth"] > 0 else 0


class BreaksOnNoNumber(Autoscaler):
    """Rounds what cannot be rounded."""

    def wanted(self, depth: float) -> object:
        return max(round(depth), 0)


class DrawsLots(Autoscaler):
    """Adds one or not."""

    def wanted(self, depth: float) -> object:
        return 5 + random.randrange(1)


class Loader:
    """Sound as far as addresses go; the flawed ones are made of it."""

    name = "flawed"
    priority = 1

    def can_load(self, model: Model) -> bool:
        return model.spec.weights_uri.startswith("s3://")

    async def load(self, model: Model, node: str) -> None:
        raise ValueError(f"cannot load {model.spec.weights_uri}")

    async def unload(self, model: Model, node: str) -> None:
        await asyncio.sleep(0)


class SplitsWithoutLooking(Loader):
    """Raises for addresses without a scheme."""

    def can_load(self, model: Model) -> bool:
        return model.spec.weights_uri.split("://")[1] != ""


class LoadsNothing(Loader):
    """Says nothing when it can do nothing."""

    async def load(self, model: Model, node: str) -> None:
        await asyncio.sleep(0)


class Provider:
    """Sound; the flawed ones are made of it."""

    name = "flawed"

    def list_metrics(self) -> list[str]:
        return ["queue-depth"]

    async def get_metric(self, pool: AgentPool, metric_type: str) -> float:
        if pool.name != "chat" or metric_type != "queue-depth":
            raise LookupError(metric_type)
        return 7.0


class TellsZero(Provider):
    """Takes absent for zero."""

    async def get_metric(self, pool: AgentPool, metric_type: str) -> float:
        return 7.0 if pool.name == "chat" and metric_type == "queue-depth" else 0.0


class TellsNoNumber(Provider):
    """Hands on what its source says."""

    async def get_metric(self, pool: AgentPool, metric_type: str) -> float:
        return await super().get_metric(pool, metric_type) * float("nan")


class Unquoted(Provider):
    """Builds its query of the name as it stands."""

    async def get_metric(self, pool: AgentPool, metric_type: str) -> float:
        if metric_type == "queue-depth" and re.search("vector", pool.name):
            return 1.0
        return await super().get_metric(pool, metric_type)


class ListsNothing(Provider):
    """Has nothing to give."""

    def list_metrics(self) -> list[str]:
        return []


class KeepsOneCall(Provider):
    """Can answer one at a time."""

    def __init__(self) -> None:
        self._busy = False

    async def get_metric(self, pool: AgentPool, metric_type: str) -> float:
        if self._busy:
            raise RuntimeError("busy")
        self._busy = True
        try:
            await asyncio.sleep(0)
            return await super().get_metric(pool, metric_type)
        finally:
            self._busy = False


class Guardrail:
    """Sound; the flawed ones are made of it."""

    name = "flawed"
    type = "flawed"

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        return GuardrailResult(passed=True)


class CannotEncode(Guardrail):
    """Breaks on what is no proper text."""

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        return GuardrailResult(passed=len(request.content.encode()) >= 0)


class TellsTheSecret(Guardrail):
    """Repeats what it has found."""

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        if found := re.search(r"\d{3}-\d\d-\d{4}", request.content):
            return GuardrailResult(passed=False, action="block", reason=f"found {found[0]}")
        return GuardrailResult(passed=True)


class RedactsNothing(Guardrail):
    """Says redact, and hands the text back as it was."""

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        if "@" not in request.content:
            return GuardrailResult(passed=True)
        clean = {"redacted_content": request.content}
        return GuardrailResult(passed=False, action="redact", reason="an address", metadata=clean)


class TooSure(Guardrail):
    """Is more than certain."""

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        return GuardrailResult(passed=True, confidence=1.5)


class BlocksAndPasses(Guardrail):
    """Contradicts itself."""

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        return GuardrailResult(passed=True, action="block")


class Quadratic(Guardrail):
    """Looks at every pair of letters."""

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        text = request.content
        found = sum(text.count(text[:1], place) for place in range(len(text)))
        return GuardrailResult(passed=found >= 0)


class Exponential(Guardrail):
    """Has a pattern that tries everything."""

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        return GuardrailResult(passed=re.match(r"(a|a)*$", request.content[:28]) is None)


class MixesTexts(Guardrail):
    """Keeps the text in itself while it waits."""

    def __init__(self) -> None:
        self._text = ""

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        self._text = request.content
        await asyncio.sleep(0)
        return GuardrailResult(passed=True, metadata={"length": str(len(self._text))})


class NeverTheSame(Guardrail):
    """Numbers its answers."""

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        return GuardrailResult(passed=True, metadata={"id": uuid.uuid4().hex})


class Span(NamedTuple):
    """What a scanner finds."""

    start: int
    end: int
    type: str = "word"
    score: float = 1.0
    evidence: str = ""


class Scanner:
    """Sound, in the rich form; the flawed ones are made of it."""

    name = "flawed"
    type = "flawed"
    span_max: int | None = 30
    look_behind = 1
    look_ahead = 1
    pattern = re.compile(r"(?<![A-Za-z.])[a-z]{1,20}@[a-z]{1,9}(?![A-Za-z])")

    def scan(self, text: str, context: GuardrailRequest) -> list[Span]:
        return [Span(*match.span()) for match in self.pattern.finditer(text)]


class LooksFurther(Scanner):
    """Looks behind further than it says."""

    pattern = re.compile(r"(?<!please note)(?<![a-z])[a-z]{1,20}@[a-z]{1,9}(?![a-z])")
    look_behind = 0


class FindsNothingAtAll(Scanner):
    """Finds places without a text."""

    def scan(self, text: str, context: GuardrailRequest) -> list[Span]:
        return [Span(len(text), len(text))]


class LongerThanItSays(Scanner):
    """Finds more than its longest span."""

    span_max = 3


class ShowsEvidence(Scanner):
    """Tells what it has found."""

    pattern = re.compile(r"[a-z.]{1,20}@[a-z.]{1,15}")

    def scan(self, text: str, context: GuardrailRequest) -> list[Span]:
        return [found._replace(evidence=text) for found in super().scan(text, context)]
