"""Docker's provider keeps the contract, against a double of the engine on a real socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from doubles.docker_engine import DockerEngine, Fault
from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    ProviderError,
    Throttled,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import Provider
from navarch.providers.docker import ContainerType, DockerProvider, DockerSettings
from navarch.testing import ProviderContract

DEADLINE = timedelta(milliseconds=1500)
"""Of questions: long for a busy machine, and short for whoever waits for it to pass."""

LIST = "GET /containers/json"
HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n[{"

REFUSALS: dict[type[ProviderError], Fault] = {
    NoCapacity: Fault("start", 500, "mkdir /var/lib/docker/x: no space left on device"),
    Throttled: Fault("create", 429, "a proxy says so"),
    Unauthorized: Fault("create", 403, "a plug-in of the engine says so"),
    InvalidRequest: Fault("create", 400, "invalid mount config"),
    Unavailable: Fault(LIST, 503, "shutting down"),
}


class TestDockerProvider(ProviderContract):
    """Containers that remove themselves."""

    cancel_steps = 30
    not_applicable = {  # noqa: RUF012 - as the suite has it
        "test_provision_does_not_wait_for_the_machine": (
            "a container runs as soon as it is started"
        ),
        "test_a_used_up_quota_is_quota_exceeded": "an engine has no quotas",
    }
    versions = ("1.24", "1.47")
    remaining = ""

    @pytest.fixture
    def make_provider(self, tmp_path: Path) -> Iterator[Callable[[], Provider]]:
        """Make containers by one engine."""
        self.engine = DockerEngine(self.versions)
        self.engine.remaining = self.remaining
        with self.engine.serving(tmp_path) as host:
            settings = DockerSettings(
                image="node:1",
                host=host,
                types={"contract-test": ContainerType(gpu_count=1)},
                gpu_ids=tuple("0123456789"),
                timeout=DEADLINE,
                launch_timeout=DEADLINE,
                grace=timedelta(),
            )
            self.engine.gpus = set(settings.gpu_ids)
            yield lambda: DockerProvider(settings)

    def recover(self) -> None:
        self.engine.heal()

    def lose_next_answer(self) -> None:
        self.engine.faults.append(Fault("create", acts=True, silence="hang up"))

    def break_next_list(self) -> None:
        self.engine.faults.append(Fault(LIST, raw=HALF))

    def fail_next(self, kind: type[ProviderError]) -> None:
        said = REFUSALS[kind]
        self.engine.faults.append(Fault(said.call, said.status, said.message))

    def hang_next(self) -> None:
        self.engine.faults.append(Fault("", silence="hang", times=1_000))

    def make_stranger(self) -> str:
        return self.engine.add("stranger", {"owner": "somebody"})

    def make_many(self, count: int) -> Sequence[str]:
        names = [f"{self.name_prefix}-many-{number}" for number in range(count)]
        managed = {"managed-by": "navarch"}
        return [self.engine.add(name, {**self.labels_of(name), **managed}) for name in names]

    def secrets(self) -> Sequence[str]:
        return ()


SHOWN_ABOVE = {
    **TestDockerProvider.not_applicable,
    **{
        f"test_{name}": "it is as with any engine"
        for name in (
            "a_cancelled_launch_leaves_no_task_and_at_most_one_machine",
            "a_launch_without_an_answer_is_given_up",
            "a_list_without_an_answer_is_given_up",
            "an_end_without_an_answer_is_given_up",
            "a_list_shows_thousands",
        )
    },
}
"""Tests that take their time, and that a second class need not repeat."""


class TestDockerProviderOfANewEngine(TestDockerProvider):
    """One that refuses what older ones want."""

    not_applicable = SHOWN_ABOVE
    versions = ("1.44", "1.52")


class TestDockerProviderWhoseEndedContainersStay(TestDockerProvider):
    """As they do when an engine cannot remove them."""

    not_applicable = SHOWN_ABOVE
    remaining = "dead"
