"""What an engine tells before a container is made."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.docker_bench import Bench, request_of
from doubles.docker_engine import Fault
from navarch.providers.base import Finding, Wanted
from navarch.providers.docker import ContainerType


def told(bench: Bench, *wanted: Wanted, **changes: object) -> list[Finding]:
    return list(bench.run(lambda provider: provider.examine_for(wanted), **changes))


def want(kind: str, nodes: int, pool: str = "p") -> Wanted:
    return Wanted(pool=pool, instance_type=kind, nodes=nodes)


def test_an_engine_that_has_all_says_so(bench: Bench) -> None:
    bench.run(lambda provider: provider.provision(request_of(instance_type="one-gpu")))
    assert told(bench, want("one-gpu", 2), want("small", 1, "q")) == [
        ("engine", True, "27.5.1 speaks version 1.47"),
        ("image node:1", True, "it is on the host"),
        ("gpu runtime", True, "the runtime nvidia is there"),
        ("room", True, "3 containers are allowed, 1 exist, 3 could be wanted by p, q"),
        ("gpus", True, "3 GPUs, 1 taken, 2 could be wanted by p, q"),
        ("memory", True, "64.0 GB in the host, 16.0 could be wanted by p, q"),
    ]


def test_what_is_too_little_fails_with_both_numbers(bench: Bench) -> None:
    bench.engine.images.clear()
    bench.engine.info["MemTotal"] = 16_000_000_000
    found = {what: well for what, well, _ in told(bench, want("one-gpu", 4))}
    assert found == {
        "engine": True,
        "image node:1": False,
        "gpu runtime": True,
        "room": False,
        "gpus": False,
        "memory": False,
    }


def test_an_engine_without_the_runtime_of_nvidia_may_have_the_hook(bench: Bench) -> None:
    bench.engine.info["Runtimes"] = {"runc": {}}
    assert {what: well for what, well, _ in told(bench)}["gpu runtime"] is None
    without = told(bench, types={"small": ContainerType()})
    assert [what for what, _, _ in without] == ["engine", "image node:1", "room"]


def test_each_image_is_looked_for_under_its_whole_name(bench: Bench) -> None:
    name = "registry.example:5000/team/node@sha256:" + "a" * 64
    bench.engine.images.add(name)
    found = told(bench, types={"small": ContainerType(image=name)})
    assert found[1] == (f"image {name}", True, "it is on the host")


def test_an_engine_in_trouble_is_unknown(bench: Bench) -> None:
    bench.engine.faults.append(Fault("GET /info"))
    ((what, well, text),) = told(bench)
    assert (what, well) == ("engine", None)
    assert "something went wrong" in text
    bench.engine.faults.append(Fault("GET /images"))
    assert told(bench)[1][:2] == ("image node:1", None)


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats()
INFOS = st.binary(max_size=40) | st.dictionaries(
    st.sampled_from(["ServerVersion", "NCPU", "MemTotal", "Runtimes"]),
    LEAVES | st.dictionaries(st.sampled_from(["nvidia", "runc"]), LEAVES, max_size=2),
).map(lambda value: json.dumps(value).encode())


def test_whatever_arrives_in_the_place_of_an_answer_is_a_finding(bench: Bench) -> None:
    @settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(INFOS, st.sampled_from(["GET /info", "GET /images"]))
    def check(body: bytes, call: str) -> None:
        head = f"HTTP/1.1 200 OK\r\nApi-Version: 1.47\r\nContent-Length: {len(body)}\r\n\r\n"
        bench.engine.faults.append(Fault(call, raw=head.encode() + body))
        found = told(bench, want("one-gpu", 1))
        assert found[0][0] == "engine"
        assert all(text and well in {True, False, None} for _, well, text in found)

    check()
