"""Lists, ends, the engine's version, and settings that cannot work."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.docker_bench import TYPES, Bench, request_of
from doubles.docker_engine import DockerEngine, Fault
from navarch.errors import (
    ConfigError,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import Instance, InstanceStatus
from navarch.providers.docker import ContainerType, DockerProvider, DockerSettings

# --- lists -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state, status",
    [
        ("created", InstanceStatus.PROVISIONING),
        ("running", InstanceStatus.RUNNING),
        ("paused", InstanceStatus.RUNNING),
        ("restarting", InstanceStatus.RUNNING),
        ("removing", InstanceStatus.TERMINATING),
        ("exited", InstanceStatus.TERMINATED),
        ("dead", InstanceStatus.TERMINATED),
        ("a state of the future", InstanceStatus.RUNNING),
    ],
)
def test_every_state_has_a_meaning(bench: Bench, state: str, status: InstanceStatus) -> None:
    bench.run(lambda provider: provider.provision(request_of()))
    bench.container().state = state
    (listed,) = bench.run(lambda provider: provider.list())
    assert listed.status == status


def test_a_container_is_listed_with_all_that_is_known(bench: Bench) -> None:
    request = request_of(instance_type="two-gpus", region="lab")
    made = bench.run(lambda provider: provider.provision(request), region="lab")
    listed = bench.run(lambda provider: provider.list(), region="lab")
    assert listed == [
        Instance(
            id=made.id,
            provider="docker",
            name="n-0001",
            region="lab",
            instance_type="two-gpus",
            private_ip="172.17.0.2",
            gpu_count=2,
            gpu_type="NVIDIA L4",
            labels=request.labels,
        )
    ]


def test_strangers_are_not_listed_and_a_renamed_container_keeps_its_name(bench: Bench) -> None:
    bench.engine.add("stranger")
    bench.run(lambda provider: provider.provision(request_of()))
    bench.container().name = "renamed-by-hand"
    assert [each.name for each in bench.run(lambda provider: provider.list())] == ["n-0001"]


def test_the_types_of_the_settings_are_the_price_list(bench: Bench) -> None:
    listed = bench.run(lambda provider: provider.list_instance_types())
    assert [(each.name, each.gpu_count, each.vcpus, each.memory_gb) for each in listed] == [
        ("small", 0, 0, 0),
        ("one-gpu", 1, 2, 8),
        ("two-gpus", 2, 0, 0),
    ]
    assert bench.engine.asked == []


# --- ends --------------------------------------------------------------------------------------


@pytest.mark.parametrize("known_as", ["n-0001", "{id:.12}", "", "../..", "f" * 64, "?x=1"])
def test_only_a_whole_id_ends_a_container(bench: Bench, known_as: str) -> None:
    made = bench.run(lambda provider: provider.provision(request_of()))
    with pytest.raises(NotFound):
        bench.run(lambda provider: provider.terminate(known_as.format(id=made.id)))
    assert bench.container().state == "running"


def test_a_stranger_is_never_ended(bench: Bench) -> None:
    stranger = bench.engine.add("stranger")
    with pytest.raises(NotFound, match="of ours"):
        bench.run(lambda provider: provider.terminate(stranger))
    assert bench.container("stranger").state == "running"


@pytest.mark.parametrize(
    "state, steps",
    [
        ("running", ["POST stop", "DELETE"]),
        ("created", ["DELETE"]),
        ("exited", ["DELETE"]),
        ("removing", []),
    ],
)
def test_an_end_takes_the_steps_that_are_left(bench: Bench, state: str, steps: list[str]) -> None:
    made = bench.run(lambda provider: provider.provision(request_of()), keep_ended=True)
    bench.container().state = state
    bench.engine.asked.clear()
    bench.run(lambda provider: provider.terminate(made.id))
    called = [each.replace(f"/containers/{made.id}", "") for each in bench.engine.calls()]
    assert called[2:] == [step.replace(" ", " /") if " " in step else f"{step} " for step in steps]
    assert (bench.engine.containers == {}) is (state != "removing")


@pytest.mark.parametrize("status", [404, 409])
def test_a_removal_that_somebody_else_has_begun_is_a_good_end(bench: Bench, status: int) -> None:
    made = bench.run(lambda provider: provider.provision(request_of()))
    bench.engine.faults.append(Fault("DELETE", status, "removal is already in progress"))
    bench.run(lambda provider: provider.terminate(made.id))
    assert "POST" in bench.engine.calls()[-2]


def end(bench: Bench, instance_id: str) -> None:
    bench.run(lambda provider: provider.terminate(instance_id))


@pytest.mark.parametrize("call", ["POST .*stop", "DELETE"])
def test_an_end_without_a_clear_answer_is_an_unknown_outcome(bench: Bench, call: str) -> None:
    for fault in (Fault(call, 500), Fault(call, silence="hang up")):
        bench.engine.containers.clear()
        made = bench.run(lambda provider: provider.provision(request_of()), keep_ended=True)
        bench.engine.faults.append(fault)
        with pytest.raises(OutcomeUnknown):
            end(bench, made.id)
        end(bench, made.id)
        assert bench.engine.containers == {}


# --- the engine itself -------------------------------------------------------------------------


def test_the_version_is_agreed_upon_once_and_anew_after_an_upgrade(bench: Bench) -> None:
    async def life(provider: DockerProvider) -> None:
        await provider.list()
        await provider.list()
        bench.engine.versions = ("1.48", "1.52")
        with pytest.raises(Unavailable, match="the engine has changed"):
            await provider.list()
        await provider.list()

    bench.run(life)
    spoken = [each.version for each in bench.engine.asked]
    assert spoken == ["", "1.47", "1.47", "1.47", "", "1.49"]


@pytest.mark.parametrize("newest, why", [("1.39", "speaks 1.39"), ("new", "no version")])
def test_an_engine_that_is_too_old_or_none_is_named(tmp_path: Path, newest: str, why: str) -> None:
    engine = DockerEngine(("1.12", newest))
    with engine.serving(tmp_path) as host, pytest.raises(Unavailable, match=why):
        Bench(engine, host).run(lambda provider: provider.list())


def test_an_engine_that_is_not_there_is_unavailable_also_for_changes(tmp_path: Path) -> None:
    bench = Bench(DockerEngine(), f"unix://{tmp_path}/none.sock")
    with pytest.raises(Unavailable, match="No such file"):
        bench.run(lambda provider: provider.provision(request_of()))


def test_a_socket_that_is_forbidden_is_a_matter_of_rights(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(asyncio, "open_unix_connection", refuse)
    with pytest.raises(Unauthorized, match="Permission denied"):
        bench.run(lambda provider: provider.list())


def test_an_engine_that_hangs_costs_its_deadline(bench: Bench) -> None:
    bench.engine.faults.append(Fault("containers/json", silence="hang"))
    with pytest.raises(Unavailable, match=r"no answer within 0\.05 s"):
        bench.run(lambda provider: provider.list(), timeout=timedelta(milliseconds=50))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    status=st.sampled_from([200, 201, 204, 304, 400, 404, 409, 500]),
    body=st.binary(max_size=60)
    | st.sampled_from(
        [b"[]", b"{}", b"null", b'[{"Id": 1}]', b'{"Id": ""}', b'{"Id": "x"}', b'{"message": 1}']
    ),
    headers=st.lists(
        st.sampled_from([b"content-length: 3", b"transfer-encoding: chunked", b"x", b"a: \xff"])
    ),
)
def test_any_answer_ends_in_a_value_or_in_an_error_of_ours(
    bench: Bench, status: int, body: bytes, headers: list[bytes]
) -> None:
    raw = b"\r\n".join([b"HTTP/1.1 %d X" % status, *headers, b"", body])

    async def every_call(provider: DockerProvider) -> None:
        for call in (
            lambda: provider.provision(request_of()),
            lambda: provider.terminate("f" * 64),
            provider.list,
        ):
            for pattern in ("json", "create", "start", "_ping", "stop", "DELETE"):
                bench.engine.faults = [Fault(pattern, raw=raw, times=99)]
                with suppress(ProviderError):
                    await call()
        bench.engine.faults = []

    bench.run(every_call)


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"image": ""}, "needs an image"),
        ({"types": {}}, "types is empty"),
        ({"types": {"": ContainerType()}}, "no name"),
        ({"types": {"a": ContainerType(gpu_count=4)}}, "gpu_ids names 3"),
        ({"types": {"a": ContainerType(cpus=-1)}}, "below 0"),
        ({"gpu_ids": ("0", "0", "1")}, "twice"),
        ({"gpu_ids": ("0,1", "2", "3")}, "expected such as"),
        ({"max_containers": 0}, "max_containers"),
        ({"user_data_file": "etc/x"}, "no absolute path"),
        ({"user_data_file": "/etc/../x"}, "no absolute path"),
        ({"grace": timedelta(minutes=1)}, "grace"),
        ({"timeout": timedelta()}, "timeout"),
        ({"host": "tcp://h:2375"}, "wants tls_ca"),
        ({"tls_cert": "c"}, "belong together"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, object], why: str) -> None:
    base: dict[str, object] = {"image": "i", "types": TYPES, "gpu_ids": ("0", "1", "2")}
    with pytest.raises(ConfigError, match=why):
        DockerSettings(**{**base, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host", ["", "unix:", "unix:///", "unix://a/b", "http://x:1", "tcp://h", "tcp://h:x", "unix:a"]
)
def test_an_address_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(ConfigError):
        DockerProvider(DockerSettings(image="i", host=host, tls_ca="a", tls_cert="b", tls_key="c"))
