"""What every test may use: where the project's files are, and how thoroughly Hypothesis searches.

Hypothesis draws the same examples on every run unless asked otherwise, so that a red build is red
for everybody; ``HYPOTHESIS_PROFILE=search`` draws new ones, which `make soak` does.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from infra.real_postgres import QUICK, RealPostgres

# A busy machine is no fault of the code under test.
PATIENT = hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("repeatable", PATIENT, derandomize=True, max_examples=40)
hypothesis.settings.register_profile("search", PATIENT, max_examples=2_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session")
def project() -> Path:
    """Return the folder that holds ``pyproject.toml``."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[RealPostgres]:
    """Run a real PostgreSQL that does not wait for the disk, for all tests that need one."""
    server = RealPostgres(*QUICK)
    yield server
    server.stop()


_schemas = itertools.count(1)


@pytest.fixture
def new_schema(postgres: RealPostgres) -> Callable[[], str]:
    """Return a maker of URLs, each of a schema that is not there yet."""
    return lambda: postgres.url(f"fleet_{next(_schemas)}")
