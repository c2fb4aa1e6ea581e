"""An EC2 of our own for each test, and providers that speak to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from doubles.ec2 import Ec2Double, serving
from doubles.ec2_bench import KEY, SECRET, Bench


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hold credentials in two variables, and leave the SDK nothing of this machine's own."""
    monkeypatch.setenv("OUR_KEY_ID", KEY)
    monkeypatch.setenv("OUR_SECRET", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Yield an account without machines, and what speaks to it."""
    with serving() as served:
        made = Bench(served.cloud, served.url)
        yield made
        made.close()


@pytest.fixture
def ec2(bench: Bench) -> Ec2Double:
    """Return the cloud, for scripts and for the truth."""
    return bench.ec2
