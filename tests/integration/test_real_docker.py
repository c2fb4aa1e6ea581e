"""Docker's provider keeps the contract with a real engine, when one can be started here."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pytest

from infra.real_docker import IMAGE, RealDocker, require_docker
from infra.real_parts import wait_for
from navarch.errors import InvalidRequest, NotFound
from navarch.providers.base import (
    FLEET_LABEL,
    INSTANCE_LABEL,
    Instance,
    InstanceStatus,
    Provider,
    ProvisionRequest,
)
from navarch.providers.docker import ContainerType, DockerProvider, DockerSettings
from navarch.testing import ProviderContract

SLEEP = ("/bin/sleep", "1000")
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def engine() -> Iterator[RealDocker]:
    """Start an engine for all tests of this file."""
    require_docker()
    running = RealDocker()
    yield running
    running.stop()


def settings_of(engine: RealDocker, **changes: object) -> DockerSettings:
    chosen: dict[str, object] = {
        "image": IMAGE,
        "host": engine.host,
        "command": SLEEP,
        "types": {"contract-test": ContainerType(memory_gb=0.05)},
        **changes,
    }
    return DockerSettings(**chosen)  # type: ignore[arg-type]


def request_of(**changes: object) -> ProvisionRequest:
    name = f"real-{next(NUMBERS):04d}"
    chosen: dict[str, object] = {
        "name": name,
        "instance_type": "contract-test",
        "labels": {FLEET_LABEL: "real", INSTANCE_LABEL: name},
        **changes,
    }
    return ProvisionRequest(**chosen)  # type: ignore[arg-type]


class TestDockerProviderWithARealEngine(ProviderContract):
    """Real containers of busybox."""

    patience = timedelta(seconds=30)
    cancel_steps = 6
    not_applicable = {  # noqa: RUF012 - as the suite has it
        "test_provision_does_not_wait_for_the_machine": (
            "a container runs as soon as it is started"
        ),
        "test_a_used_up_quota_is_quota_exceeded": "an engine has no quotas",
    }

    @pytest.fixture
    def make_provider(self, engine: RealDocker) -> Iterator[Callable[[], Provider]]:
        """Make containers by the engine."""
        self.engine = engine
        self.strangers: list[str] = []
        settings = settings_of(engine, grace=timedelta(seconds=1))
        yield lambda: DockerProvider(settings)
        for each in self.strangers:
            engine.ask("DELETE", f"/containers/{each}?force=true")

    async def make_stranger(self) -> str:
        body = json.dumps({"Image": IMAGE, "Cmd": SLEEP}).encode()
        made = await asyncio.to_thread(self.engine.ask, "POST", "/containers/create", body)
        self.strangers.append(json.loads(made.body)["Id"])
        target = f"/containers/{self.strangers[-1]}/start"
        started = await asyncio.to_thread(self.engine.ask, "POST", target)
        assert started.status == 204, started.body
        return self.strangers[-1]

    def secrets(self) -> Sequence[str]:
        return ()


def launched(engine: RealDocker, request: ProvisionRequest, **changes: object) -> Instance:
    return asyncio.run(DockerProvider(settings_of(engine, **changes)).provision(request))


def ended(engine: RealDocker, instance_id: str) -> None:
    asyncio.run(DockerProvider(settings_of(engine)).terminate(instance_id))


def status_of(engine: RealDocker, instance_id: str) -> InstanceStatus | None:
    listed = asyncio.run(DockerProvider(settings_of(engine)).list())
    return next((each.status for each in listed if each.id == instance_id), None)


def test_the_start_up_script_runs_and_is_not_shown(engine: RealDocker) -> None:
    script = "token=secret-of-n1\nread me < /navarch-user-data && echo $me > /seen\nsleep 1000"
    made = launched(engine, request_of(user_data=script), command=())
    seen = f"/containers/{made.id}/archive?path=/seen"
    wait_for(lambda: engine.ask("GET", seen).status == 200, "the script has run")

    assert b"token=secret-of-n1" in engine.ask("GET", seen).body
    inspected = engine.ask("GET", f"/containers/{made.id}/json").body
    assert b"secret-of-n1" not in inspected
    host = json.loads(inspected)["HostConfig"]
    assert (host["AutoRemove"], host["RestartPolicy"]["Name"], host["Memory"]) == (
        True,
        "no",
        50_000_000,
    )
    command = json.loads(inspected)["Config"]["Cmd"]
    assert command == ["/bin/sh", "/navarch-user-data"]
    ended(engine, made.id)
    wait_for(lambda: status_of(engine, made.id) is None, "it is gone")


def test_a_container_that_ends_by_itself_is_gone(engine: RealDocker) -> None:
    made = launched(engine, request_of(), command=("/bin/sleep", "0"))
    wait_for(lambda: status_of(engine, made.id) is None, "the engine has removed it")
    with pytest.raises(NotFound):
        ended(engine, made.id)


def test_one_that_stays_is_terminated_and_can_be_removed(engine: RealDocker) -> None:
    request = request_of()
    made = launched(engine, request, command=("/bin/sleep", "0"), keep_ended=True)
    gone = InstanceStatus.TERMINATED
    wait_for(lambda: status_of(engine, made.id) is gone, "it has ended")
    with pytest.raises(InvalidRequest, match="ids are used once"):
        launched(engine, request)
    ended(engine, made.id)
    wait_for(lambda: status_of(engine, made.id) is None, "it is gone")


def test_one_that_stays_still_tells_what_it_printed(engine: RealDocker) -> None:
    talking = ("/bin/sh", "-c", "echo out; echo trouble >&2")
    made = launched(engine, request_of(), command=talking, keep_ended=True)
    wait_for(lambda: status_of(engine, made.id) is InstanceStatus.TERMINATED, "it has ended")
    told = asyncio.run(DockerProvider(settings_of(engine)).bootstrap_log(made.id))
    assert sorted(told.splitlines()) == ["out", "trouble"]
    ended(engine, made.id)


def test_what_does_not_heed_sigterm_is_killed_after_the_grace(engine: RealDocker) -> None:
    deaf = ("/bin/sh", "-c", "trap '' TERM; while true; do sleep 1; done")
    made = launched(engine, request_of(), command=deaf, grace=timedelta(seconds=1))
    provider = DockerProvider(settings_of(engine, grace=timedelta(seconds=1)))
    asyncio.run(provider.terminate(made.id))
    wait_for(lambda: status_of(engine, made.id) is None, "it is gone")


def test_a_launch_that_cannot_start_leaves_nothing(engine: RealDocker) -> None:
    request = request_of(instance_type="gpu")
    types = {"gpu": ContainerType(gpu_count=1)}
    with pytest.raises(InvalidRequest, match="could not select device driver"):
        launched(engine, request, types=types, gpu_ids=("0",))
    listed = asyncio.run(DockerProvider(settings_of(engine)).list())
    assert [each for each in listed if each.name == request.name] == []


def test_an_image_that_is_not_there_is_never_fetched(engine: RealDocker) -> None:
    with pytest.raises(InvalidRequest, match="No such image"):
        launched(engine, request_of(), image="navarch-none:1")
