"""The dashboards, from what everybody looks at to what its operators look at.

An expression asks for one fleet (``$job``), and takes what every control plane knows once
(``max``). Numbers that alerts look at come from the recorded series, so that both agree.
"""

from __future__ import annotations

from typing import Final

from navarch.monitoring.boards import control_plane, cost, fleet, health, pool, serving
from navarch.monitoring.grafana import Board

BOARDS: Final[tuple[Board, ...]] = (
    fleet.BOARD,
    pool.BOARD,
    health.BOARD,
    control_plane.BOARD,
    serving.BOARD,
    cost.BOARD,
)
