"""Machines that are processes: one for each id, found again, and ended with all they started."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from datetime import timedelta

import pytest

from machines import (
    PARENT,
    STUBBORN,
    Bench,
    asking,
    end_all,
    environment,
    shell,
    zombies,
)
from navarch.errors import (
    InvalidRequest,
    NotFound,
)
from navarch.providers.base import (
    BOOTSTRAP_LOG_BYTES_MAX,
    BootstrapLogReader,
    InstanceStatus,
)
from navarch.providers.local_process import LOG_BYTES_KEPT, LOG_BYTES_MAX
from navarch.providers.process import ENDED_KEPT


def test_a_machine_is_one_process_with_what_its_command_says(bench: Bench) -> None:
    provider = bench.provider()

    async def scenario() -> None:
        instance = await provider.provision(asking())
        (pid,) = await bench.sleepers("", 1)
        environ = environment(pid)

        assert instance.status is InstanceStatus.RUNNING
        assert (instance.id, instance.name, dict(instance.labels)) == ("n-1", "n-1", {"a": "b"})
        assert bench.pid() == pid
        assert os.getsid(pid) == pid
        assert b"NODE=n-1" in environ
        assert [each for each in environ if each.startswith(b"PYTEST")] == []
        await end_all(provider)

    asyncio.run(scenario())


def test_what_is_written_down_is_for_the_owner_alone(bench: Bench) -> None:
    provider = bench.provider()

    async def scenario() -> None:
        await provider.provision(asking())
        folder = bench.root / "n-1"
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}

        assert modes == dict.fromkeys(["agent.log", "lock", "pid", "request.json"], 0o600)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        await end_all(provider)

    asyncio.run(scenario())


def test_a_provider_killed_before_it_wrote_the_pid_is_followed_by_one_that_finds_it(
    bench: Bench,
) -> None:
    killed_too_early = f"""
import os, signal
from pathlib import Path
from navarch.providers import local_process
folder = Path({str(bench.root / "n-1")!r})
folder.mkdir(parents=True)
(folder / "request.json").write_text('{{"name": "n-1", "instance_type": "t", "token": "n-1"}}')
command = local_process.AgentCommand(argv=("sleep", "600"), env={{}})
local_process.start(command, lock=folder / "lock", log=folder / "agent.log")
os.kill(os.getpid(), signal.SIGKILL)
"""

    async def scenario() -> None:
        killed = await asyncio.create_subprocess_exec(sys.executable, "-c", killed_too_early)
        assert await killed.wait() == -signal.SIGKILL
        (only,) = await bench.sleepers("", 1)
        provider = bench.provider()

        again = await provider.provision(asking())

        assert again.id == "n-1"
        assert await bench.sleepers("", 1) == [only]
        assert bench.pid() == only
        await end_all(provider)

    asyncio.run(scenario())


def test_a_missing_pid_file_does_not_keep_a_machine_alive(bench: Bench) -> None:
    provider = bench.provider()

    async def scenario() -> None:
        await provider.provision(asking())
        pid = bench.pid()
        (bench.root / "n-1" / "pid").unlink()

        assert [each.id for each in await bench.provider().list()] == ["n-1"]
        assert bench.pid() == pid
        await end_all(provider)

    asyncio.run(scenario())


def test_a_launch_cut_short_is_forgotten_and_may_be_repeated(bench: Bench) -> None:
    provider = bench.provider()
    folder = bench.root / "n-1"
    folder.mkdir(parents=True)
    (folder / "request.json").write_text('{"name": "n-1", "instance_type": "t"}')
    (folder / "lock").touch()

    async def scenario() -> None:
        assert await provider.list() == []
        assert not folder.exists()
        await provider.provision(asking())
        await bench.sleepers("", 1)
        await end_all(provider)

    asyncio.run(scenario())


def test_many_askers_for_one_id_get_one_process(bench: Bench) -> None:
    providers = [bench.provider() for _ in range(4)]

    async def scenario() -> None:
        asked = [each.provision(asking()) for each in providers for _ in range(4)]

        instances = await asyncio.gather(*asked)

        assert {each.id for each in instances} == {"n-1"}
        assert await bench.sleepers("", 1) == [bench.pid()]
        await end_all(providers[0])

    asyncio.run(scenario())


def test_terminate_ends_what_the_machine_started_and_nothing_else(bench: Bench) -> None:
    provider = bench.provider(PARENT)

    async def scenario() -> None:
        for name in ("n-1", "n-2"):
            await provider.provision(asking(name))
            await bench.ready(name)
            await bench.sleepers(name, 2)

        await provider.terminate("n-1")
        await bench.until_gone(provider, "n-1")

        await bench.sleepers("n-1", 0)
        await bench.sleepers("n-2", 2)
        assert [each.id for each in await provider.list()] == ["n-2"]
        await end_all(provider)
        await bench.sleepers("", 0)

    asyncio.run(scenario())


def test_a_machine_that_ignores_the_request_to_end_is_killed_in_the_end(bench: Bench) -> None:
    provider = bench.provider(STUBBORN)

    async def scenario() -> None:
        await provider.provision(asking())
        await bench.ready()
        await provider.terminate("n-1")

        bench.time.advance(timedelta(seconds=9))
        await provider.terminate("n-1")
        (still,) = await provider.list()
        assert still.status is InstanceStatus.TERMINATING
        with pytest.raises(InvalidRequest, match="is ending"):
            await provider.provision(asking())

        bench.time.advance(timedelta(seconds=1))
        await provider.terminate("n-1")
        await bench.until_gone(provider, "n-1")
        with pytest.raises(NotFound):
            await provider.terminate("n-1")

    asyncio.run(scenario())


def test_a_machine_that_died_is_gone_for_good_and_leaves_no_zombie(bench: Bench) -> None:
    provider = bench.provider(PARENT)

    async def scenario() -> None:
        await provider.provision(asking())
        await bench.ready()
        await bench.sleepers("n-1", 2)

        os.kill(bench.pid(), signal.SIGKILL)
        await bench.until_gone(provider, "n-1")

        await bench.sleepers("", 0)
        assert zombies() == []
        assert "ready" in (bench.root / "ended" / "n-1" / "agent.log").read_text()
        with pytest.raises(NotFound):
            await provider.terminate("n-1")
        with pytest.raises(InvalidRequest, match="ids are used once"):
            await provider.provision(asking())

    asyncio.run(scenario())


def test_a_pid_that_belongs_to_somebody_else_now_is_left_alone(bench: Bench) -> None:
    provider = bench.provider()
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)

    async def scenario() -> None:
        await provider.provision(asking())
        real = bench.pid()
        (bench.root / "n-1" / "pid").write_text(str(bystander.pid))

        await provider.terminate("n-1")

        await bench.sleepers("", 0)
        assert bystander.poll() is None
        await bench.until(lambda: os.waitpid(real, os.WNOHANG)[0] == real)

    try:
        asyncio.run(scenario())
    finally:
        bystander.kill()
        bystander.wait()


def test_of_the_ended_the_newest_are_kept(bench: Bench) -> None:
    provider = bench.provider()
    for serial in range(ENDED_KEPT):
        folder = bench.root / "ended" / f"old-{serial}"
        folder.mkdir(parents=True)
        os.utime(folder, (serial, serial))

    async def scenario() -> None:
        await provider.provision(asking())
        await end_all(provider)

    asyncio.run(scenario())

    names = {each.name for each in (bench.root / "ended").iterdir()}
    assert len(names) == ENDED_KEPT
    assert {"n-1", "old-1"} <= names
    assert "old-0" not in names


def test_a_log_that_is_too_long_keeps_its_end_and_its_writer(bench: Bench) -> None:
    pipe = bench.root / "pipe"
    bench.root.mkdir()
    os.mkfifo(pipe)
    provider = bench.provider(shell(f"read line < {pipe}; echo $line; exec sleep 600"))

    async def scenario() -> None:
        await provider.provision(asking())
        log = bench.root / "n-1" / "agent.log"
        log.write_bytes(b"a" * LOG_BYTES_MAX + b"b\n")

        await provider.list()
        assert log.stat().st_size == LOG_BYTES_KEPT
        await asyncio.to_thread(pipe.write_text, "more\n")

        await bench.until(lambda: log.stat().st_size == LOG_BYTES_KEPT + len("more\n"))
        assert log.read_text().endswith("b\nmore\n")
        await end_all(provider)

    asyncio.run(scenario())


def test_a_machine_shows_what_its_agent_printed_and_still_when_it_has_gone(bench: Bench) -> None:
    provider = bench.provider(shell("echo begun; echo trouble >&2; echo ready; exec sleep 600"))

    async def scenario() -> None:
        await provider.provision(asking())
        log = bench.root / "n-1" / "agent.log"
        await bench.until(lambda: "ready" in log.read_text())
        assert isinstance(provider, BootstrapLogReader)
        assert await provider.bootstrap_log("n-1") == "begun\ntrouble\nready\n"
        log.write_bytes(b"x" * 99 + b"\n" + b"y" * BOOTSTRAP_LOG_BYTES_MAX + b"\nlast\n")
        assert (await provider.bootstrap_log("n-1")).endswith("y\nlast\n")

        await end_all(provider)

        told = await provider.bootstrap_log("n-1")
        assert (told[-6:], len(told) <= BOOTSTRAP_LOG_BYTES_MAX) == ("\nlast\n", True)
        for name in ("n-2", "../n-1", "ended", ""):
            with pytest.raises(NotFound):
                await provider.bootstrap_log(name)

    asyncio.run(scenario())
