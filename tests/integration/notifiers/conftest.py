"""A real Slurm for the tests of a file, with idle nodes at the beginning of each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.real_slurm import RealSlurm, require_slurm


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSlurm]:
    """Start a Slurm of two nodes for all tests of a file."""
    require_slurm()
    slurm = RealSlurm(tmp_path_factory.mktemp("slurm"), nodes=2)
    yield slurm
    slurm.stop()


@pytest.fixture
def slurm(running: RealSlurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealSlurm]:
    """Give a Slurm without jobs, all of whose nodes are idle."""
    monkeypatch.setenv("SLURM_CONF", str(running.configuration))
    yield running
    running.reset()
