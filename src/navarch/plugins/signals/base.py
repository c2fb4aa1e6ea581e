"""What a metrics provider of agents is, in its rich form, and how the documents' form is met.

A provider never guesses: what it does not have is ABSENT, what it could not find out is ERROR, and
neither is ever a zero. It does not limit its own time and does not catch its own faults; the chain
does both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from navarch.core.model.resources import AgentPool
from navarch.core.scaling.base import Quality
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.series import Sample


@runtime_checkable
class SampleProvider(Protocol):
    """The rich form: several signals at once, each with its time and how good it is."""

    name: str

    async def get_samples(self, pool: AgentPool, metrics: Sequence[str]) -> Mapping[str, Sample]:
        """Read signals, named as in the catalogue; one that is missing in the answer is absent."""
        ...


async def single(provider: SampleProvider, pool: AgentPool, metric_type: str) -> float:
    """Read one value by the rich form, in the base unit of its signal.

    :raises LookupError: there is none that is good
    """
    plain = signals.canonical(metric_type)
    found = (await provider.get_samples(pool, [plain])).get(plain)
    judged = signals.judged(plain, found) if found else None
    if judged is None or judged.quality is not Quality.OK:
        why = judged.detail or judged.quality if judged else "there is none"
        raise LookupError(f"{provider.name}: {plain} of {pool.full_name}: {why}")
    return judged.value
