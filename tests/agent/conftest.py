"""A control plane and agent processes, for whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.control_plane import Agents, ControlPlane


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    """Yield a control plane that listens."""
    plane = ControlPlane()
    yield plane
    plane.go()


@pytest.fixture
def agents(plane: ControlPlane, tmp_path: Path) -> Iterator[Agents]:
    """Yield what starts agents of the control plane."""
    agents = Agents(plane, tmp_path / "state")
    yield agents
    agents.end()
