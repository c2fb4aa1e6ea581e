"""What an autoscaler in a twin is shown: as much as in production, history included."""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct, field
from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.scaling.base import Answer, PoolState, ScaleRecommendation
from navarch.core.scaling.predictive import PredictiveAutoscaler
from navarch.core.scaling.reactive import ReactiveAutoscaler
from navarch.simulator.loads.shapes import Diurnal, Ramp
from navarch.simulator.twin.blueprint import Blueprint, Scaled
from navarch.simulator.twin.demand import Demand
from navarch.simulator.twin.twin import Twin
from simulation.twin.blueprints import POOL, blueprint, seller

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


class Listening(Struct):
    """Keeps what it is shown, and wants what there is."""

    name: str = "listening"
    states: list[PoolState] = field(default_factory=list)

    def recommend(self, state: PoolState) -> Answer:
        self.states.append(state)
        return ScaleRecommendation(max(state.current_nodes, 2), "as it is")


def scaled(autoscaler: object, demand: Demand, lasts: timedelta, **changes: object) -> Blueprint:
    pool = replace(POOL, min_nodes=2, max_nodes=40, cooldown=2 * MINUTE)
    follows = Scaled(pool.name, autoscaler, demand)  # type: ignore[arg-type]
    return blueprint(pools=(pool,), sellers=(seller(),), scaled=(follows,), lasts=lasts, **changes)


def test_an_autoscaler_sees_one_value_an_interval_with_the_nodes_that_there_were() -> None:
    listening = Listening()
    Twin(scaled(listening, Ramp(1, 2, timedelta(), HOUR), HOUR), 1).run()
    metrics = listening.states[-1].metrics
    assert metrics.history_interval == timedelta(seconds=30)
    assert len(metrics.utilization_history) == len(metrics.capacity_history) > 100
    assert metrics.utilization_history[-1] == metrics.utilization
    assert set(metrics.capacity_history) <= {1.0, 2.0}
    first, last = metrics.utilization_history[10], metrics.utilization_history[-1]
    assert first < 60
    assert last > 90
    before = listening.states[-2].metrics.utilization_history
    assert metrics.utilization_history[:-1] == before


def test_a_control_plane_that_was_started_again_begins_a_new_history() -> None:
    listening = Listening()
    twin = Twin(scaled(listening, Ramp(1, 1, timedelta(), HOUR), HOUR), 1)
    twin.run_until(30 * MINUTE)
    longest = len(listening.states[-1].metrics.utilization_history)
    twin.outages.crash()
    twin.run_until(40 * MINUTE)
    newest = len(listening.states[-1].metrics.utilization_history)
    assert 0 < newest < 22 < longest


def test_a_predictive_autoscaler_forecasts_a_day_and_lacks_less_than_a_reactive_one() -> None:
    day = Diurnal(2, 38, 2 * HOUR, peak_at=HOUR)

    def lived(autoscaler: object) -> tuple[float, list[str]]:
        twin = Twin(scaled(autoscaler, day, 6 * HOUR), 1)
        missing = 0.0
        while twin.since < 6 * HOUR:
            twin.run_until(twin.since + 5 * MINUTE)
            fleet = twin.fleet
            assert fleet is not None
            serving = sum(node.serving for node in fleet.nodes.values())
            missing += max(day.jobs(twin.since) - serving, 0.0)
        reasons = [each.because for each in twin.facts() if isinstance(each, ev.TargetChanged)]
        return missing, reasons

    missing, reasons = lived(PredictiveAutoscaler(lead_time=5 * MINUTE))
    assert any("expects" in reason for reason in reasons)
    without, _ = lived(ReactiveAutoscaler(80.0, 40.0))
    assert missing < without
