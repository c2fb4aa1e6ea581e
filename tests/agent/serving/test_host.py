"""The commands about models and replicas: what they mean, what is refused, and in which order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.serving.conftest import Site
from navarch.agent.deeds import Unfit
from navarch.agent.serving import wanted
from navarch.agent.turns import Order
from navarch.core.model.replica import ModelSeen, ReplicaState
from navarch.core.model.resources import Model, ModelSpec, ObjectMeta, Runtime
from navarch.errors import NavarchError

OnANode = Callable[[Callable[[Site], object]], None]

LLAMA = Model(metadata=ObjectMeta(name="llama"), spec=ModelSpec("file:///models/llama"))
LOAD = {"model": "default/llama", "spec": msgspec.json.encode(LLAMA).decode()}
START = {
    "replica": "r1",
    "agent_pool": "default/chat",
    "runtime": msgspec.json.encode(Runtime(command=("serve", "{port}"))).decode(),
    "gpus": "0,1",
    "share": "1.0",
}


def test_a_model_that_loads_is_told_of_and_a_replica_then_leases_it(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            peers = "http://10.0.0.7:1,http://10.0.0.8:1"
            loading = asyncio.create_task(site.order("load_model", **LOAD, peers=peers))
            serving = await site.until(lambda serving: bool(serving.models))
            assert serving.models == (ModelSeen("default/llama", "", 1, 2),)
            assert site.cache.peers == ("http://10.0.0.7:1", "http://10.0.0.8:1")
            site.cache.go_on.set()
            assert await loading == f"default/llama is in {site.cache.folder}"
            await site.until(lambda serving: serving.models[0].complete)
            await site.start(model="default/llama")
            await site.until_state(ReplicaState.READY)
            assert site.cache.leases == ["default/llama"]
            with pytest.raises(Unfit, match="default/llama is used by r1: stop them first"):
                await site.order("unload_model", model="default/llama")
            await site.order("stop_replica", replica="r1")
            assert site.cache.leases == []
            await site.order("unload_model", model="default/llama")
            await site.until(lambda serving: not serving.models)

    on_a_node(story)


def test_only_bytes_that_came_are_no_urgent_news(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            loading = asyncio.create_task(site.order("load_model", **LOAD))
            await site.until(lambda serving: bool(serving.models))
            site.cache.models["default/llama"] = ModelSeen("default/llama", "", 2, 2)
            await site.until(lambda serving: serving.models[0].bytes_done == 2)
            assert [each.urgent for each in site.told] == [True, True, False]
            site.cache.go_on.set()
            await loading
            assert site.told[-1].urgent

    on_a_node(story)


def test_a_load_that_fails_says_why(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        site.cache.problem = "file:///models/llama: no such folder"
        site.cache.go_on.set()
        async with site.running():
            with pytest.raises(NavarchError, match="no such folder"):
                await site.order("load_model", **LOAD)

    on_a_node(story)


def test_a_model_that_is_to_be_removed_is_not_loaded_to_its_end(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            loading = asyncio.create_task(site.order("load_model", **LOAD))
            await site.until(lambda serving: bool(serving.models))
            await site.order("unload_model", model="default/llama")
            with pytest.raises(Unfit, match="is to be removed, by a later command"):
                await loading
            assert site.host.serving.models == ()

    on_a_node(story)


def test_weights_that_are_gone_when_the_program_starts_again_are_told(
    on_a_node: OnANode,
) -> None:
    async def story(site: Site) -> None:
        site.cache.go_on.set()
        async with site.running():
            await site.order("load_model", **LOAD)
            await site.start(model="default/llama")
            await site.until_state(ReplicaState.READY)
            site.cache.models.clear()
            pid = int(site.runs()[0][0])
            site.said.with_name("said.sick").touch()
            await site.until_state(ReplicaState.STARTING)
            os.kill(pid, signal.SIGKILL)
            text = "cannot be started: the weights of default/llama are not on this node"
            await site.until(lambda serving: any(text in each.message for each in serving.replicas))
            await site.order("stop_replica", replica="r1")

    on_a_node(story)


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"replica": ""}, "parameter replica: nothing is no id"),
        ({"agent_pool": "a b"}, "parameter agent_pool: 'a b' is no id"),
        ({"gpus": "0,x"}, "gpus: '0,x' are no indexes, expected such as 0,1"),
        ({"share": "2"}, "share: '2' is no share, expected above 0 and at most 1"),
        ({"share": "nan"}, "share: 'nan' is no share"),
        ({"runtime": "{"}, "parameter runtime: no Runtime: "),
        ({"runtime": '{"kind":"kubernetes"}'}, "an agent runs processes, not 'kubernetes'"),
        ({"runtime": "{}"}, "runtime.command: is empty, expected a program"),
        ({"runtime": '{"command":["a"],"port":70000}'}, "runtime.port: 70000 is not from 0"),
        (
            {"runtime": '{"command":["a","{zone}"]}'},
            "runtime.command: {zone} is not known, expected one of {model_path}, {port}",
        ),
        ({"runtime": '{"command":["{model_path}"]}'}, "{model_path} needs a model"),
        ({"runtime": '{"command":["a"],"env":{"A=B":""}}'}, "'A=B' cannot name a variable"),
        ({"runtime": '{"command":["a\\u0000"]}'}, "holds a zero byte"),
        (
            {"runtime": '{"command":["a"],"readiness":{"path":"x\\r\\ny"}}'},
            "runtime.readiness.path: 'x\\r\\ny' is no path",
        ),
    ],
)
def test_a_start_that_makes_no_sense_is_refused_with_the_reason(
    changes: dict[str, str], problem: str
) -> None:
    with pytest.raises(Unfit) as refused:
        wanted.read_start(Order("c1", "start_replica", {**START, **changes}))
    assert problem in str(refused.value)


def test_a_load_of_another_model_than_it_says_is_refused() -> None:
    order = Order("c1", "load_model", {**LOAD, "model": "default/other"})
    with pytest.raises(Unfit, match="it is of default/llama, and not of default/other"):
        wanted.read_load(order)
    order = Order("c1", "load_model", {**LOAD, "peers": "ftp://x"})
    with pytest.raises(Unfit, match="'ftp://x' is no address"):
        wanted.read_load(order)


def test_braces_that_are_no_placeholder_stay() -> None:
    command = ("serve", '--config={"port": 1}', "{replica}-{port}", "{pool}", "{gpus}")
    start = wanted.Wanted("r1", "default/chat", Runtime(command=command), gpus="0,1")
    assert wanted.arguments(start, 8000, None) == (
        "serve",
        '--config={"port": 1}',
        "r1-8000",
        "default/chat",
        "0,1",
    )


@given(st.dictionaries(st.sampled_from(sorted(START)), st.text(max_size=40)))
def test_whatever_a_start_says_is_read_or_refused(changes: dict[str, str]) -> None:
    order = Order("c1", "start_replica", {**START, **changes})
    try:
        read = wanted.read_start(order)
    except Unfit:
        return
    assert wanted.arguments(read, 8000, None)[0]
    variables = wanted.environment({}, read, 8000, None)
    assert variables["CUDA_VISIBLE_DEVICES"] == read.gpus
