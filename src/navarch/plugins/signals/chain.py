"""Metrics providers in their order: the first fresh value of a signal wins.

Rules that hold:

- Providers are asked one after the other, only for the signals that none before had fresh, each
  within the deadline. In-process ones cost nothing, so they stand first.
- A provider that fails several times in a row is left out for a while, so that one that hangs does
  not slow every look at a pool.
- One whose terms say ``hold`` has the last word where it fails: nobody after it is asked for what
  it was asked for.
- Nobody fresh: the last good value is given again, STALE, with its age and with what each provider
  said. Nothing remembered: ERROR if anybody failed, else ABSENT. A value is never made up.
- A value in a unit that the catalogue cannot convert, or that cannot be, is an ERROR.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from navarch.core.model.resources import AgentPool
from navarch.core.scaling.base import Quality, Reading
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.series import Sample
from navarch.plugins.calls import About, Caller, Failed
from navarch.plugins.protocols import MetricsProviderPlugin, PluginKind
from navarch.plugins.signals.base import SampleProvider
from navarch.plugins.terms import TermsOf, unsaid

POOLS_MAX: Final = 10_000
"""Pools whose last good values are kept; the one that was read longest ago is forgotten first."""
SIGNALS_MAX: Final = 64
"""Signals of a pool that are read at once."""
FAILURES_MAX: Final = 3
"""Failures in a row after which a provider is left out for a while."""
PAUSE: Final = timedelta(seconds=10)
"""How long it is left out."""
FRESHNESS: Final = timedelta(minutes=1)
"""How old a value may be: four scrapes at Prometheus' usual interval of 15 seconds."""

Provider = SampleProvider | MetricsProviderPlugin


class _Standing(Struct):
    """How a provider has behaved."""

    failures: int = 0
    why: str = ""
    until: datetime | None = None
    """Left out before then."""


class ProviderChain:
    """Reads the signals of pools of agents from several providers."""

    def __init__(
        self,
        providers: Callable[[], Sequence[Provider]],
        caller: Caller,
        now: Callable[[], datetime],
        *,
        freshness: timedelta = FRESHNESS,
        deadline: timedelta = timedelta(seconds=1),
        terms: TermsOf = unsaid,
    ) -> None:
        """Ask what `providers` returns, in that order, so that a change of it counts at once.

        `freshness` is how old a value may be, `deadline` how long a provider may take whose `terms`
        have none.
        """
        self._terms = terms
        self._providers = providers
        self._caller = caller
        self._now = now
        self._freshness = freshness
        self._deadline = deadline
        self._remembered: dict[str, dict[str, Sample]] = {}
        self._standings: dict[str, _Standing] = {}

    async def read(self, pool: AgentPool, metrics: Sequence[str]) -> Mapping[str, Sample]:
        """Read signals of a pool; the answer has each of them by its name in the catalogue."""
        wanted = signals.names(metrics)[:SIGNALS_MAX]
        chosen: dict[str, Sample] = {}
        settled: set[str] = set()
        said: dict[str, list[Sample]] = {name: [] for name in wanted}
        providers = self._providers()
        self._forget_others(providers)
        for provider in providers:
            open_ones = [name for name in wanted if name not in settled]
            if not open_ones:
                break
            samples = await self._ask(provider, pool, open_ones)
            now = self._now()
            holds = self._terms(provider.name).on_error == "hold"
            for name in open_ones:
                sample = self._judged(name, samples, provider.name)
                why = self._complaint(sample, now)
                if not why or (holds and sample.quality is Quality.ERROR):
                    settled.add(name)
                if why:
                    said[name].append(replace(sample, detail=f"{provider.name}: {why}"))
                else:
                    chosen[name] = replace(sample, observed_at=sample.observed_at or now)
        kept = self._remembered.pop(pool.full_name, {})
        self._remembered[pool.full_name] = kept
        now = self._now()
        for name in wanted:
            if name in chosen:
                kept[name] = chosen[name]
            else:
                chosen[name] = self._last(name, said[name], kept.get(name), now)
        for name in [name for name in kept if name not in chosen]:
            del kept[name]
        while len(self._remembered) > POOLS_MAX:
            del self._remembered[next(iter(self._remembered))]
        return {name: chosen[name] for name in wanted}

    def forget(self, pool: str) -> None:
        """Forget a pool, ``namespace/name``, that is no more."""
        self._remembered.pop(pool, None)

    async def _ask(
        self, provider: Provider, pool: AgentPool, metrics: Sequence[str]
    ) -> Mapping[str, Sample]:
        """Ask one provider; where it fails each signal is an ERROR for the same reason."""
        standing = self._standings.setdefault(provider.name, _Standing())
        now = self._now()
        if standing.until is not None and now < standing.until:
            left = (standing.until - now).total_seconds()
            return self._failed(provider, metrics, f"{standing.why}; left out for {left:.0f} s")
        rich = isinstance(provider, SampleProvider)
        point = "get_samples" if rich else "get_metric"
        about = About(
            PluginKind.METRICS_PROVIDER,
            provider.name,
            point,
            pool=pool.full_name,
            subject=", ".join(metrics),
        )
        said = self._terms(provider.name).deadline
        deadline = self._deadline if said is None else said
        answer = await self._caller.call_async(about, _question(provider, pool, metrics), deadline)
        if isinstance(answer, Failed):
            standing.failures += 1
            standing.why = answer.text
            if standing.failures >= FAILURES_MAX:
                standing.until = now + PAUSE
            return self._failed(provider, metrics, answer.text)
        standing.failures, standing.until = 0, None
        return answer

    def _failed(self, provider: Provider, metrics: Sequence[str], why: str) -> Mapping[str, Sample]:
        return {name: signals.broken(name, why, provider.name) for name in metrics}

    def _forget_others(self, providers: Sequence[Provider]) -> None:
        if len(self._standings) > len(providers):
            there = {provider.name for provider in providers}
            self._standings = {n: one for n, one in self._standings.items() if n in there}

    def _judged(self, name: str, samples: Mapping[str, Sample], provider: str) -> Sample:
        sample = samples.get(name)
        if sample is None:
            return signals.absent(name, "does not have it", provider)
        return signals.judged(name, replace(sample, source=sample.source or provider))

    def _complaint(self, sample: Sample, now: datetime) -> str:
        """Say why a sample does not count as fresh; empty when it does."""
        if sample.quality is not Quality.OK:
            return sample.detail or sample.quality.value
        if sample.observed_at is None:
            return ""
        ahead = sample.observed_at - now
        if ahead > self._freshness:
            return f"its clock is {ahead.total_seconds():.0f} s ahead of ours"
        if -ahead > self._freshness:
            fresh = f"{self._freshness.total_seconds():g} s is fresh"
            return f"{_age(sample.observed_at, now)}, at most {fresh}"
        return ""

    def _last(
        self, name: str, said: Sequence[Sample], kept: Sample | None, now: datetime
    ) -> Sample:
        """Give the last good value again, or say why there is none."""
        complaints = "; ".join(sample.detail for sample in said) or "no provider is asked"
        good = (Quality.OK, Quality.STALE)
        past = [
            sample
            for sample in (kept, *said)
            if sample is not None
            and sample.quality in good
            and sample.observed_at is not None
            and sample.observed_at - now <= self._freshness
        ]
        if past:
            newest = max(past, key=lambda sample: sample.observed_at or now)
            age = _age(newest.observed_at or now, now)
            return replace(newest, quality=Quality.STALE, detail=f"{age}, held; {complaints}")
        failed = any(sample.quality is not Quality.ABSENT for sample in said)
        unknown = signals.broken if failed else signals.absent
        return unknown(name, complaints, "")


def _question(
    provider: Provider, pool: AgentPool, metrics: Sequence[str]
) -> Callable[[], Awaitable[Mapping[str, Sample]]]:
    if isinstance(provider, SampleProvider):

        async def rich() -> Mapping[str, Sample]:
            answer: object = await provider.get_samples(pool, metrics)
            if not isinstance(answer, Mapping):
                raise TypeError(f"get_samples gave a {type(answer).__name__}, expected a mapping")
            return {
                signals.canonical(name): _sample(sample)
                for name, sample in answer.items()
                if signals.canonical(name) in metrics
            }

        return rich

    async def plain() -> Mapping[str, Sample]:
        return await _by_document(provider, pool, metrics)

    return plain


async def _by_document(
    provider: MetricsProviderPlugin, pool: AgentPool, metrics: Sequence[str]
) -> Mapping[str, Sample]:
    """Read the signals that a provider lists, under its own names and all at once."""
    spelled = {signals.canonical(name): name for name in provider.list_metrics()}
    asked = [name for name in metrics if name in spelled]

    async def one(name: str) -> Sample:
        try:
            value: object = await provider.get_metric(pool, spelled[name])
        except LookupError as error:
            return signals.absent(name, f"has none: {error}", provider.name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError(
                f"get_metric gave a {type(value).__name__} for {name}, expected a number"
            )
        return signals.fresh(name, float(value), provider.name)

    found = await asyncio.gather(*(one(name) for name in asked), return_exceptions=True)
    failures = [failure for failure in found if isinstance(failure, BaseException)]
    if failures and len(failures) == len(asked):
        raise failures[0]
    return {
        name: sample
        if isinstance(sample, Reading)
        else signals.broken(name, f"{type(sample).__name__}: {sample}", provider.name)
        for name, sample in zip(asked, found, strict=True)
    }


def _sample(sample: object) -> Sample:
    if not isinstance(sample, Reading):
        raise TypeError(f"get_samples gave a {type(sample).__name__}, expected Samples")
    return sample


def _age(then: datetime, now: datetime) -> str:
    return f"{max((now - then).total_seconds(), 0):.0f} s old"
