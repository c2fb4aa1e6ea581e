"""A whole comparison: a file, what varies in it, and the world it is put into."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct, structs

from navarch.config import document
from navarch.config.schema import Config
from navarch.errors import ConfigError
from navarch.simulator.whatif import comparing, running, varying
from navarch.simulator.whatif.preparing import World, blueprint_of
from navarch.simulator.whatif.running import Done, Task
from navarch.simulator.whatif.telling import Outcome
from navarch.simulator.whatif.varying import Variant, Vary


class Question(Struct, frozen=True):
    """What is asked."""

    config: Path
    world: World
    varied: tuple[Vary, ...] = ()
    seeds: int = 5
    """How many runs of each variant, each by a seed of its own, the same for all variants."""
    first_seed: int = 1
    reported: bool = False
    """Whether the first run of each variant comes with its whole report."""


class Plan(Struct, frozen=True):
    """A question that can be answered: every variant was read, and can be run."""

    question: Question
    variants: tuple[Variant, ...]
    configs: tuple[Config, ...]
    warnings: tuple[str, ...]
    sources: tuple[str, ...]
    places: int
    """For how many nodes hazards are rolled in every variant, so that all suffer the same."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that every variant lives through."""
        first = self.question.first_seed
        return tuple(range(first, first + self.question.seeds))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All runs, variant by variant."""
        world = structs.replace(self.question.world, places=self.places)
        return tuple(
            Task(variant.name, config, world, seed, self._is_reported(seed))
            for variant, config in zip(self.variants, self.configs, strict=True)
            for seed in self.seeds
        )

    def _is_reported(self, seed: int) -> bool:
        return self.question.reported and seed == self.question.first_seed


def planned(question: Question) -> Plan:
    """Read every variant, and see that it can be run; nothing is run.

    Raises `ConfigError` with the first mistake.
    """
    if not 1 <= question.seeds <= running.SEEDS_MAX:
        message = f"{question.seeds} seeds, expected from 1 to {running.SEEDS_MAX}"
        raise ConfigError(message)
    text = document.read_text(question.config)
    variants = varying.variants(question.varied)
    configs = tuple(varying.config_of(text, question.config, each) for each in variants)
    prepared = [blueprint_of(config, question.world) for config in configs]
    warnings = dict.fromkeys(warning for each in prepared for warning in each.warnings)
    sources = dict.fromkeys(hazard.source for each in prepared for hazard in each.blueprint.hazards)
    places = max(sum(2 * pool.max_nodes for pool in each.blueprint.pools) for each in prepared)
    return Plan(question, variants, configs, tuple(warnings), tuple(sources), places)


def answered(plan: Plan, *, jobs: int = 1, ray: str = "", on_done: Done = lambda: None) -> Outcome:
    """Run everything and compare; see `navarch.simulator.whatif.running.run_all`."""
    ran = running.run_all(plan.tasks, jobs=jobs, ray=ray, on_done=on_done)
    count = len(plan.seeds)
    firsts = range(0, len(ran), count)
    runs = tuple(tuple(each.measures for each in ran[at : at + count]) for at in firsts)
    names = [variant.name for variant in plan.variants]
    values = [dict(variant.values) for variant in plan.variants]
    return Outcome(
        config=plan.question.config.name,
        world=plan.question.world,
        seeds=plan.seeds,
        variants=comparing.compared(names, values, runs),
        runs=runs,
        reports=tuple(ran[at].report for at in firsts if ran[at].report),
        warnings=plan.warnings,
        sources=plan.sources,
    )
