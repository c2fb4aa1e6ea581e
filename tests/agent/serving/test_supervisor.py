"""Replicas as real processes: started, watched, started again, ended whole, and found again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from agent.serving.conftest import QUICK, Site
from navarch.agent.deeds import Unfit
from navarch.agent.serving import life
from navarch.core.model.replica import ReplicaState

OnANode = Callable[[Callable[[Site], object]], None]


def lives(pid: int) -> bool:
    """Whether a process runs; nobody may reap the orphans of this machine."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def reap(pid: int) -> None:
    """Wait for the end of a process that an earlier agent of this test has started."""
    os.waitpid(pid, 0)


def test_a_replica_is_ready_when_its_program_answers(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            assert await site.start(env={"EXTRA": "yes"}) == "r1 is supervised"
            seen = await site.until_state(ReplicaState.READY)
            ((_, port, gpus, share, token, extra),) = site.runs()
            assert (gpus, share, token, extra) == ("0,1", "-", "-", "yes")
            assert (seen.port, seen.restarts, seen.message) == (int(port), 0, "it answers")

    on_a_node(story)


def test_a_share_of_a_gpu_is_told_to_the_program(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            await site.start(gpus="3", share="0.25")
            await site.until_state(ReplicaState.READY)
            assert site.runs()[0][2:4] == ["3", "0.25"]

    on_a_node(story)


def test_the_nodes_secret_stays_with_the_agent(
    on_a_node: OnANode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAVARCH_NODE_TOKEN", "secret")

    async def story(site: Site) -> None:
        async with site.running():
            await site.start()
            await site.until_state(ReplicaState.READY)
            assert site.runs()[0][4] == "-"

    on_a_node(story)


def test_a_start_that_comes_again_changes_nothing(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            await site.start()
            assert await site.start() == "r1 is supervised already"
            await site.until_state(ReplicaState.READY)
            assert len(site.runs()) == 1

    on_a_node(story)


def test_a_start_with_another_program_takes_the_place_of_the_old_one(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            await site.start()
            await site.until_state(ReplicaState.READY)
            await site.start(env={"EXTRA": "new"})
            await site.until(lambda serving: serving.replicas[0].state is ReplicaState.READY)
            old, new = site.runs()
            assert (lives(int(old[0])), new[5]) == (False, "new")

    on_a_node(story)


def test_a_stop_ends_the_program_and_all_it_has_started(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            await site.start("r1", "child")
            await site.until_state(ReplicaState.READY)
            (pid, *_), (_, child) = site.runs()
            text = await site.order("stop_replica", replica="r1")
            assert text == "r1 is stopped: was ended by signal 15"
            assert (lives(int(pid)), lives(int(child))) == (False, False)
            assert site.seen() is None
            assert list((site.folder / "serving" / "replicas").iterdir()) == []

    on_a_node(story)


def test_a_program_that_ignores_sigterm_is_killed_after_its_grace(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            await site.start("r1", "deaf", grace_period=timedelta(milliseconds=50))
            await site.until_state(ReplicaState.READY)
            text = await site.order("stop_replica", replica="r1")
            assert text == "r1 is stopped: was ended by signal 9"
            assert site.leftovers() == []

    on_a_node(story)


def test_stopping_what_is_not_there_is_no_failure(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            assert await site.order("stop_replica", replica="r9") == "r9 is not here"

    on_a_node(story)


def test_a_killed_program_is_started_again_on_its_port(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            await site.start()
            first = await site.until_state(ReplicaState.READY)
            os.kill(int(site.runs()[0][0]), signal.SIGKILL)
            waiting = await site.until_state(ReplicaState.STARTING)
            # Its end is noticed, or first that nobody answers on its port.
            noticed = ("was ended by signal 9; started again in ", "does not serve any more: ")
            assert waiting.message.startswith(noticed)
            again = await site.until_state(ReplicaState.READY)
            assert (again.restarts, again.port) == (1, first.port)

    on_a_node(story)


def test_a_program_that_ends_again_and_again_is_given_up_with_its_last_words(
    on_a_node: OnANode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life, "RESTART_FIRST", timedelta(milliseconds=2))

    async def story(site: Site) -> None:
        async with site.running():
            await site.start("r1", "crash")
            seen = await site.until_state(ReplicaState.ENDED)
            assert seen.message == (
                "given up after 5 failures in a row: "
                "ended with 3; it said last: no memory left on GPU 0"
            )
            assert len(site.runs()) == 5
        async with site.running():  # another agent does not try again by itself
            await asyncio.sleep(0)
            assert site.seen() == seen
            await site.start("r1", "crash", env={"EXTRA": "2"})
            await site.until(lambda serving: serving.replicas[0].state is ReplicaState.STARTING)
            await site.order("stop_replica", replica="r1")

    on_a_node(story)


def test_a_program_that_is_not_there_is_given_up(
    on_a_node: OnANode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life, "RESTART_FIRST", timedelta(milliseconds=2))

    async def story(site: Site) -> None:
        async with site.running():
            await site.start(command=("/no/such/server", "--port", "{port}"))
            seen = await site.until_state(ReplicaState.ENDED)
            assert "cannot be started: /no/such/server: No such file" in seen.message

    on_a_node(story)


def test_a_port_that_somebody_else_has_is_told(
    on_a_node: OnANode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life, "RESTART_FIRST", timedelta(milliseconds=2))

    async def story(site: Site) -> None:
        with socket.create_server(("", 0)) as holder:
            port = holder.getsockname()[1]
            async with site.running():
                await site.start(port=port)
                seen = await site.until_state(ReplicaState.ENDED)
        assert f"cannot be started: port {port} is taken" in seen.message
        assert site.runs() == []

    on_a_node(story)


def test_a_program_that_never_answers_is_ended(
    on_a_node: OnANode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life, "FAILURES_MAX", 1)
    impatient = msgspec.structs.replace(
        QUICK, timeout=timedelta(milliseconds=50), startup_timeout=timedelta(milliseconds=400)
    )

    async def story(site: Site) -> None:
        async with site.running():
            await site.start("r1", "mute", readiness=impatient)
            seen = await site.until_state(ReplicaState.ENDED)
            assert "not ready within 0.4 s" in seen.message
            assert site.leftovers() == []

    on_a_node(story)


def test_a_sick_replica_is_not_ready_until_it_answers_well_again(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            await site.start()
            await site.until_state(ReplicaState.READY)
            sick = site.said.with_name("said.sick")
            sick.touch()
            seen = await site.until_state(ReplicaState.STARTING)
            assert seen.message.endswith("GET /healthz on port " + f"{seen.port}: HTTP 503")
            sick.unlink()
            seen = await site.until_state(ReplicaState.READY)
            assert (seen.restarts, len(site.runs())) == (0, 1)

    on_a_node(story)


def test_another_agent_takes_a_running_replica_over(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            await site.start()
            first = await site.until_state(ReplicaState.READY)
        assert lives(int(site.runs()[0][0]))
        async with site.running():
            seen = site.seen()
            assert seen is not None
            assert (seen.state, seen.port) == (ReplicaState.READY, first.port)
            await site.order("stop_replica", replica="r1")
        assert (len(site.runs()), site.leftovers()) == (1, [])

    on_a_node(story)


def test_a_replica_that_ended_while_no_agent_ran_is_started_by_the_next(
    on_a_node: OnANode,
) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            await site.start("r1", "child")
            await site.until_state(ReplicaState.READY)
        (pid, *_), (_, child) = site.runs()
        os.kill(int(pid), signal.SIGKILL)
        reap(int(pid))
        async with site.running():
            seen = site.seen()
            assert seen is not None
            assert seen.state is ReplicaState.STARTING
            seen = await site.until_state(ReplicaState.READY)
            assert (seen.restarts, lives(int(child))) == (1, False)
            await site.order("stop_replica", replica="r1")

    on_a_node(story)


def test_a_record_that_makes_no_sense_leaves_no_process_behind(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            await site.start()
            await site.until_state(ReplicaState.READY)
        (folder,) = (site.folder / "serving" / "replicas").iterdir()
        (folder / "replica.json").write_bytes(b'{"wanted":')
        pid = int(site.runs()[0][0])
        async with site.running():
            assert site.host.serving.replicas == ()
        reap(pid)
        assert not folder.exists()

    on_a_node(story)


def test_a_replica_without_its_weights_is_refused(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running():
            text = "the weights of default/llama are not on this node: load them first"
            with pytest.raises(Unfit, match=text):
                await site.start(model="default/llama")
            assert site.host.serving.replicas == ()

    on_a_node(story)


def test_an_agent_that_is_told_to_end_ends_its_replicas(on_a_node: OnANode) -> None:
    async def story(site: Site) -> None:
        async with site.running() as host:
            await asyncio.gather(site.start("r1"), site.start("r2"))
            await site.until_state(ReplicaState.READY, "r1")
            await site.until_state(ReplicaState.READY, "r2")
            ports = {run[1] for run in site.runs()}
            assert len(ports) == 2
            await host.end()
            assert site.leftovers() == []

    on_a_node(story)
