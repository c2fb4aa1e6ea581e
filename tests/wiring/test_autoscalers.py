"""What is written under ``autoscaling`` becomes the autoscaler that it says."""

from __future__ import annotations

from datetime import timedelta

from navarch.config import autoscaling as written
from navarch.core.scaling.composite import CompositeAutoscaler
from navarch.core.scaling.predictive import PredictiveAutoscaler
from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from navarch.core.scaling.reactive import ReactiveAutoscaler
from navarch.core.scaling.scheduled import ScheduledAutoscaler, ScheduleEntry
from navarch.wiring.autoscalers import autoscaler
from wiring.foreign import Steady


def test_the_plain_ones_take_their_numbers_over() -> None:
    assert autoscaler(written.Reactive(70, 30, 4, 2)) == ReactiveAutoscaler(70, 30, 4, 2)
    assert autoscaler(written.Queue(jobs_per_node=0.5)) == QueueBasedAutoscaler(0.5)


def test_without_numbers_they_are_those_of_the_core() -> None:
    assert autoscaler(written.Reactive()) == ReactiveAutoscaler()
    assert autoscaler(written.Predictive()) == PredictiveAutoscaler()


def test_those_that_hold_others_are_made_with_them() -> None:
    window = written.Window(
        days=("sun", "mon"), start_hour=22, end_hour=6, min_nodes=1, max_nodes=2
    )
    made = autoscaler(
        written.Scheduled(
            schedule=(window,),
            timezone="Europe/Berlin",
            autoscaler=written.Composite(
                mode="avg",
                autoscalers=(
                    written.Queue(3),
                    written.Predictive(
                        lookback_window=9,
                        growth_factor=1.1,
                        target_utilization=60,
                        lead_time=timedelta(minutes=9),
                        fallback=written.Reactive(60, 10),
                    ),
                ),
            ),
        )
    )
    assert made == ScheduledAutoscaler(
        [ScheduleEntry((0, 6), 22, 6, 1, 2)],
        CompositeAutoscaler(
            "avg",
            [
                QueueBasedAutoscaler(3),
                PredictiveAutoscaler(
                    lookback=9,
                    growth_factor=1.1,
                    target_utilization=60,
                    lead_time=timedelta(minutes=9),
                    fallback=ReactiveAutoscaler(60, 10),
                ),
            ],
        ),
        "Europe/Berlin",
    )


def test_one_of_somebody_else_is_called_with_its_config() -> None:
    made = autoscaler(written.Custom("wiring.foreign:Steady", {"nodes": 4}))
    assert isinstance(made, Steady)
    assert made.nodes == 4
