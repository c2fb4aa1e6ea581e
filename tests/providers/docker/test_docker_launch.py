"""Launches: what the engine is asked for, what is taken, and what a failure leaves."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import timedelta

import pytest
from msgspec import structs

from doubles.docker_bench import Bench, request_of
from doubles.docker_engine import Container, Fault
from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import InstanceStatus
from navarch.providers.docker import DockerProvider

SECRET = "NAVARCH_NODE_TOKEN=node-secret-1234"


def rival(gpus: str = "", *, created: int, name: str = "n-0009") -> Container:
    labels = {"managed-by": "navarch", "navarch.dev/name": name}
    if gpus:
        labels["navarch.dev/gpus"] = gpus
    return Container("f" * 64, name, created, {"Labels": labels}, "created")


# --- what is asked for -------------------------------------------------------------------------


def test_a_container_is_made_of_what_the_settings_say(bench: Bench) -> None:
    bench.run(
        lambda provider: provider.provision(request_of(instance_type="one-gpu")),
        command=("navarch", "agent", "--node-id", "{name}"),
        environment={"A": "b"},
        network="host",
        binds=("/dev/kmsg:/dev/kmsg:ro",),
    )
    container = bench.container()
    assert container.state == "running"
    assert container.body["Cmd"] == ["navarch", "agent", "--node-id", "n-0001"]
    assert container.body["Env"] == ["A=b"]
    assert container.body["HostConfig"] == {
        "AutoRemove": True,
        "RestartPolicy": {"Name": "no"},
        "Init": True,
        "NanoCpus": 2_000_000_000,
        "Memory": 8_000_000_000,
        "Binds": ["/dev/kmsg:/dev/kmsg:ro"],
        "NetworkMode": "host",
        "DeviceRequests": [{"Driver": "", "DeviceIDs": ["0"], "Capabilities": [["gpu"]]}],
    }
    assert container.labels == {
        "managed-by": "navarch",
        "navarch.dev/fleet": "f1",
        "navarch.dev/instance": "n-0001",
        "navarch.dev/pool": "p",
        "navarch.dev/name": "n-0001",
        "navarch.dev/type": "one-gpu",
        "navarch.dev/gpus": "0",
        "navarch.dev/gpu-type": "NVIDIA L4",
    }


def test_the_start_up_script_is_a_file_and_nowhere_else(bench: Bench) -> None:
    request = request_of(user_data=f"#!/bin/sh\nexport {SECRET}\n")
    bench.run(lambda provider: provider.provision(request), user_data_uid=1000)
    container = bench.container()
    assert container.files == {"/navarch-user-data": (0o600, 1000, request.user_data.encode())}
    assert container.body["Cmd"] == ["/bin/sh", "/navarch-user-data"]
    assert "node-secret" not in json.dumps(container.body)


def test_without_a_script_the_image_runs_its_own_command(bench: Bench) -> None:
    bench.run(lambda provider: provider.provision(request_of()))
    assert "Cmd" not in bench.container().body
    assert bench.container().files == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "a"},
        {"name": "a/b"},
        {"name": "ä" * 4},
        {"name": "a" * 129},
        {"instance_type": "large"},
        {"region": "moon"},
        {"zone": "a"},
        {"spot": True},
        {"ssh_key_names": ("k",)},
        {"labels": {"navarch.dev/gpus": "0"}},
        {"labels": {"managed-by": "hand"}},
        {"user_data": "x" * 1_000_001},
        {"user_data": "\ud800"},
        {"labels": {"a": "\ud800"}},
    ],
)
def test_what_would_never_work_is_refused_and_nothing_is_made(
    bench: Bench, changes: dict[str, object]
) -> None:
    with pytest.raises(InvalidRequest):
        bench.run(lambda provider: provider.provision(structs.replace(request_of(), **changes)))
    assert bench.engine.containers == {}


def test_an_image_that_is_not_there_is_named(bench: Bench) -> None:
    with pytest.raises(InvalidRequest, match="No such image: other:2"):
        bench.run(lambda provider: provider.provision(request_of()), image="other:2")


# --- how many, and which GPUs ------------------------------------------------------------------


def test_a_gpu_is_given_to_one_container_and_free_again_after_its_end(bench: Bench) -> None:
    async def life(provider: DockerProvider) -> list[str]:
        first = await provider.provision(request_of("n-1", instance_type="one-gpu"))
        await provider.provision(request_of("n-2", instance_type="two-gpus"))
        with pytest.raises(NoCapacity, match="0 GPUs are free, 1 wanted"):
            await provider.provision(request_of("n-3", instance_type="one-gpu"))
        await provider.terminate(first.id)
        await provider.provision(request_of("n-4", instance_type="one-gpu"))
        return sorted(each.labels["navarch.dev/gpus"] for each in bench.engine.containers.values())

    assert bench.run(life) == ["0", "1,2"]


def test_no_more_containers_exist_than_may_and_those_that_ended_do_not_count(bench: Bench) -> None:
    for number in range(3):
        bench.engine.add(f"old-{number}", {"managed-by": "navarch"}, state="exited")

    async def life(provider: DockerProvider) -> None:
        for number in range(3):
            await provider.provision(request_of(f"n-{number}"))
        with pytest.raises(NoCapacity, match="3 containers exist"):
            await provider.provision(request_of("n-3"))

    bench.run(life)


def test_launches_at_once_share_no_gpu(bench: Bench) -> None:
    async def life(provider: DockerProvider) -> list[object]:
        requests = [request_of(f"n-{n}", instance_type="one-gpu") for n in range(4)]
        return await asyncio.gather(*map(provider.provision, requests), return_exceptions=True)

    outcomes = bench.run(life, max_containers=9)
    assert [isinstance(each, NoCapacity) for each in outcomes] == [False, False, False, True]
    taken = [each.labels["navarch.dev/gpus"] for each in bench.engine.containers.values()]
    assert sorted(taken) == ["0", "1", "2"]


@pytest.mark.parametrize("created", [1, 1_800_000_000])
def test_who_was_later_to_take_a_gpu_gives_way_and_leaves_nothing(
    bench: Bench, created: int
) -> None:
    bench.engine.interfering = [rival("0", created=created)]
    with pytest.raises(NoCapacity, match="quicker"):
        bench.run(lambda provider: provider.provision(request_of(instance_type="one-gpu")))
    assert [each.name for each in bench.engine.containers.values()] == ["n-0009"]


def test_who_was_earlier_keeps_the_gpu(bench: Bench) -> None:
    bench.engine.interfering = [rival("0", created=1_800_000_001)]
    bench.run(lambda provider: provider.provision(request_of(instance_type="one-gpu")))
    assert bench.container().state == "running"


# --- asking again ------------------------------------------------------------------------------


def test_a_launch_that_was_cut_off_is_finished(bench: Bench) -> None:
    """Wherever it was cut off: after the creation, or after the file."""
    request = request_of(user_data="echo hello")
    for step in ("PUT", "POST .*start"):
        bench.engine.containers.clear()
        bench.engine.faults.append(Fault(step, silence="hang up"))
        with pytest.raises(OutcomeUnknown):
            bench.run(lambda provider: provider.provision(request))
        assert bench.container().state == "created"
        (listed,) = bench.run(lambda provider: provider.list())
        assert (listed.name, listed.status) == ("n-0001", InstanceStatus.PROVISIONING)

        again = bench.run(lambda provider: provider.provision(request))
        assert again.id == listed.id
        assert bench.container().state == "running"
        assert bench.container().files["/navarch-user-data"][2] == b"echo hello"


def test_a_creation_without_an_answer_is_found_and_not_repeated(bench: Bench) -> None:
    bench.engine.faults.append(Fault("create", acts=True, silence="hang up"))
    with pytest.raises(OutcomeUnknown):
        bench.run(lambda provider: provider.provision(request_of()))
    made = bench.container().id
    assert bench.run(lambda provider: provider.provision(request_of())).id == made


def test_cancelling_a_launch_leaves_what_a_look_finds(bench: Bench) -> None:
    bench.engine.faults.append(Fault("POST .*start", silence="hang"))

    async def life(provider: DockerProvider) -> list[str]:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await provider.provision(request_of())
        return [each.name for each in await provider.list()]

    assert bench.run(life) == ["n-0001"]


def test_a_name_of_somebody_else_is_refused(bench: Bench) -> None:
    bench.engine.add("n-0001")
    with pytest.raises(InvalidRequest, match="another container's name"):
        bench.run(lambda provider: provider.provision(request_of()))


def test_a_name_of_another_fleet_is_refused(bench: Bench) -> None:
    bench.run(lambda provider: provider.provision(request_of()))
    theirs = request_of(labels={"navarch.dev/fleet": "f2"})
    with pytest.raises(InvalidRequest, match="another fleet's"):
        bench.run(lambda provider: provider.provision(theirs))


@pytest.mark.parametrize("state", ["exited", "dead", "removing"])
def test_a_container_that_ended_is_not_started_again(bench: Bench, state: str) -> None:
    bench.run(lambda provider: provider.provision(request_of()))
    bench.container().state = state
    with pytest.raises(InvalidRequest, match="ids are used once"):
        bench.run(lambda provider: provider.provision(request_of()))


def test_a_container_that_another_process_is_still_making_is_waited_for(bench: Bench) -> None:
    """An engine gives the name first, and shows the container a moment later."""
    bench.run(lambda provider: provider.provision(request_of()))
    made = bench.container()
    bench.engine.being_made = {made.name: made}
    bench.engine.containers.clear()
    slept: list[timedelta] = []

    async def sleep(duration: timedelta) -> None:
        slept.append(duration)
        if len(slept) == 2:
            bench.engine.containers[made.id] = made

    async def life() -> str:
        return (await DockerProvider(bench.settings, sleep=sleep).provision(request_of())).id

    assert asyncio.run(life()) == made.id
    assert len(slept) == 2


def test_a_container_that_is_being_made_for_ever_is_an_unknown_outcome(bench: Bench) -> None:
    bench.engine.being_made = {"n-0001": None}

    async def sleep(_: timedelta) -> None:
        """Let no time pass."""

    async def life() -> None:
        await DockerProvider(bench.settings, sleep=sleep).provision(request_of())

    with pytest.raises(OutcomeUnknown, match="somebody else is making n-0001"):
        asyncio.run(life())


# --- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, status, message, expected",
    [
        ("/json", 500, "x", Unavailable),
        ("/json", 403, "x", Unauthorized),
        ("create", 400, "bad parameter", InvalidRequest),
        ("create", 401, "x", Unauthorized),
        ("create", 500, "x", OutcomeUnknown),
        ("create", 503, "x", OutcomeUnknown),
        ("PUT", 500, "x", Unavailable),
        ("PUT", 404, "no such container", Unavailable),
        ("start", 500, "no space left on device", NoCapacity),
        ("start", 500, "could not select device driver", InvalidRequest),
        ("start", 500, "OCI runtime create failed", Unavailable),
        ("start", 404, "No such container", Unavailable),
        ("start", 400, "x", InvalidRequest),
    ],
)
def test_a_refused_launch_means_what_it_says_and_leaves_nothing(
    bench: Bench, call: str, status: int, message: str, expected: type[ProviderError]
) -> None:
    bench.engine.faults.append(Fault(call, status, message))
    with pytest.raises(ProviderError) as caught:
        bench.run(lambda provider: provider.provision(request_of(user_data=SECRET)))
    assert type(caught.value) is expected
    assert message in str(caught.value)
    assert "node-secret" not in f"{caught.value!r}"
    assert bench.engine.containers == {}


def test_a_container_that_neither_starts_nor_goes_is_an_unknown_outcome(bench: Bench) -> None:
    bench.engine.faults += [Fault("start", 500), Fault("DELETE", 500)]
    with pytest.raises(OutcomeUnknown):
        bench.run(lambda provider: provider.provision(request_of()))
    assert bench.container().state == "created"


def test_the_module_loads_no_sdk() -> None:
    program = "import sys, navarch.providers.docker; print({'docker', 'requests'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"set()\n"
