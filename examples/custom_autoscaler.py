"""An autoscaler of your own: generous in business hours, thrifty outside of them.

It is a pure function of the state it is given, its clock included, so a test of it is three lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from navarch import PoolMetrics, PoolState, ScaleRecommendation


@dataclass(frozen=True)
class CostAwareAutoscaler:
    """Follows the load at peak hours (UTC), and shrinks to a few nodes outside of them."""

    peak_start: int
    peak_end: int
    peak_threshold: float
    """Percent of utilization; above it grows, below half of it shrinks."""
    off_peak_min: int

    name = "cost-aware"

    def recommend(self, state: PoolState) -> ScaleRecommendation:
        """Propose a number of nodes; the core keeps it within the pool's limits."""
        if state.cooldown_left:
            return ScaleRecommendation(state.current_nodes, "cooldown", held=True)
        if state.now is None or not self.peak_start <= state.now.hour < self.peak_end:
            target = max(self.off_peak_min, state.min_nodes)
            return ScaleRecommendation(target, f"off-peak hours: scaling to {target}")
        load, current = state.utilization, state.current_nodes
        if load > self.peak_threshold and current < state.max_nodes:
            why = f"utilization {load:.1f}% exceeds {self.peak_threshold:.1f}%"
            return ScaleRecommendation(current + 1, why)
        if load < self.peak_threshold / 2 and current > state.min_nodes:
            why = f"utilization {load:.1f}% is below {self.peak_threshold / 2:.1f}%"
            return ScaleRecommendation(current - 1, why)
        return ScaleRecommendation(current, "no change needed")


def main() -> list[int]:
    """Ask for the same pool at 3 and at 11 o'clock."""
    scaler = CostAwareAutoscaler(peak_start=9, peak_end=18, peak_threshold=80.0, off_peak_min=2)
    targets = []
    for hour in (3, 11):
        state = PoolState(
            current_nodes=10,
            min_nodes=1,
            max_nodes=20,
            metrics=PoolMetrics(utilization=95.0),
            now=datetime(2026, 5, 4, hour, tzinfo=UTC),
        )
        answer = scaler.recommend(state)
        print(f"at {hour:2}:00: {answer.target_nodes} nodes, because {answer.reason}")
        targets.append(answer.target_nodes)
    return targets


if __name__ == "__main__":
    main()
