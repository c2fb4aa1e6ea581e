"""What is written under ``metrics`` becomes one source that asks them in order."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from navarch.config import metrics as written
from navarch.core.scaling.base import PoolMetrics, Quality
from navarch.errors import ConfigError
from navarch.wiring.metrics import Sources
from wiring.foreign import Tickets

NOW = datetime(2026, 1, 5, tzinfo=UTC)


class Busy:
    """Stands for the heartbeats."""

    name = "store"

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        return PoolMetrics(utilization=40.0, queue_depth=1)


def sources(*configs: written.Metrics) -> Sources:
    return Sources(configs, store=Busy(), now=lambda: NOW)


def asked(found: Sources) -> PoolMetrics:
    async def ask() -> PoolMetrics:
        try:
            return await found.merged.get_pool_metrics("training")
        finally:
            await found.close()

    return asyncio.run(ask())


def test_the_first_that_may_answer_a_field_does() -> None:
    tickets = written.CustomMetrics(
        use="wiring.foreign:Tickets", config={"count": 12}, fields=("queue_depth",)
    )
    metrics = asked(sources(tickets, written.StoreMetrics()))
    assert (metrics.queue_depth, metrics.utilization) == (12, 40.0)
    assert metrics.readings["queue_depth"].source == "wiring.foreign:Tickets"
    alone = asked(sources(tickets))
    assert alone.quality("utilization") is Quality.ABSENT


def test_a_source_has_the_name_that_the_file_gives_it() -> None:
    metrics = asked(sources(written.StoreMetrics(name="heartbeats")))
    assert metrics.readings["utilization"].source == "heartbeats"


def test_sources_of_others_are_closed_if_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []

    async def close(self: Tickets) -> None:
        closed.append(self.count)

    monkeypatch.setattr(Tickets, "close", close)
    asked(sources(written.CustomMetrics(use="wiring.foreign:Tickets", config={"count": 3})))
    assert closed == [3]


def test_one_that_cannot_be_closed_is_named_and_the_others_are_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[int] = []

    async def close(self: Tickets) -> None:
        closed.append(self.count)
        if self.count == 1:
            raise RuntimeError("it is stuck")

    monkeypatch.setattr(Tickets, "close", close)
    asked(
        sources(
            *(
                written.CustomMetrics(
                    name=f"n{count}", use="wiring.foreign:Tickets", config={"count": count}
                )
                for count in (1, 2)
            )
        )
    )
    assert closed == [1, 2]
    (told,) = caplog.records
    assert told.getMessage() == ("plugin_broke kind=metrics-source plugin=tickets point=close")


def test_those_that_ask_over_the_network_are_made_without_asking(tmp_path: Path) -> None:
    secret = written.Credentials(token_file=tmp_path / "token")
    found = sources(
        written.PrometheusMetrics(url="http://127.0.0.1:1", queries={"utilization": "up"}),
        written.KubernetesMetrics(url="http://127.0.0.1:1", credentials=secret),
        written.SlurmMetrics(prefix=("/nowhere/ssh",)),
    )
    metrics = asked(found)
    assert metrics.quality("queue_depth") is Quality.ERROR
    detail = metrics.readings["queue_depth"].detail
    assert "kubernetes: " in detail
    assert "slurm: " in detail


def test_what_cannot_be_made_says_why() -> None:
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST is not set: this is no pod"):
        sources(written.KubernetesMetrics())
