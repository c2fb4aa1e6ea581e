"""Machines, inventories and answers that are not there: what is said then, and what is kept."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from navarch.errors import NoCapacity, NotFound, OutcomeUnknown, ProviderError, Unavailable
from navarch.providers.ssh import SshSettings
from providers.ssh.rack import Rack, asking, gone

NAME = "training-k3f9-0001"


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def test_a_machine_that_does_not_answer_is_shown_as_it_was_seen_last(rack: Rack) -> None:
    async def scenario() -> None:
        settings = rack.settings(3, memory_file=rack.root / "memory" / "ssh.json")
        provider = rack.provider(settings)
        first = await provider.provision(asking("n-1"))
        second = await provider.provision(asking("n-2"))
        await provider.list()
        rack.mute(int(first.id[-1]))

        listed = await provider.list()
        await provider.close()
        after_a_restart = rack.provider(settings)
        listed_again = await after_a_restart.list()

        assert {each.id for each in listed} == {first.id, second.id}
        assert listed_again == listed
        with pytest.raises(OutcomeUnknown, match="does not answer"):
            await after_a_restart.provision(asking("n-1"))
        with pytest.raises(Unavailable):
            await after_a_restart.bootstrap_log(first.id)
        third = await after_a_restart.provision(asking("n-3"))
        with pytest.raises(NoCapacity, match="1 of them do not answer"):
            await after_a_restart.provision(asking("n-4"))
        rack.hear()
        listed = await after_a_restart.list()
        assert {each.id for each in listed} == {first.id, second.id, third.id}
        assert (rack.root / "memory" / "ssh.json").stat().st_mode & 0o777 == 0o600
        await after_a_restart.close()

    run(scenario())
    (rack.root / "memory" / "ssh.json").unlink()


def test_without_a_memory_a_machine_that_does_not_answer_makes_the_list_an_error(
    rack: Rack,
) -> None:
    async def scenario() -> None:
        provider = rack.provider()
        rack.mute(1)

        for asked in (provider.list(), provider.provision(asking())):
            with pytest.raises(Unavailable, match="never seen, and no answer: m1"):
                await asked

        rack.hear()
        assert await provider.list() == []
        rack.mute(1)
        assert await provider.list() == []
        await provider.close()

    run(scenario())


def test_when_no_machine_answers_nothing_is_concluded(rack: Rack) -> None:
    async def scenario() -> None:
        provider = rack.provider()
        await provider.provision(asking())
        rack.mute(0)
        rack.mute(1)

        with pytest.raises(Unavailable, match=r"no machine answers: m0: .*; m1: "):
            await provider.list()
        await provider.close()

    run(scenario())


def test_a_machine_that_joins_and_does_not_answer_holds_nothing_up(rack: Rack) -> None:
    async def scenario() -> None:
        inventory = rack.root / "joining.json"
        inventory.write_bytes(msgspec.json.encode([rack.machine(0)]))
        settings = rack.settings(machines=(), inventory_command=("cat", str(inventory)))
        provider = rack.provider(settings)
        assert await provider.list() == []
        rack.mute(1)
        inventory.write_bytes(msgspec.json.encode([rack.machine(0), rack.machine(1)]))

        bought = await provider.provision(asking())

        assert bought.id == f"{NAME}@m0"
        assert [each.id for each in await provider.list()] == [bought.id]
        await provider.close()

    run(scenario())


def test_an_answer_lost_while_the_machine_is_lost_too_leaves_it_listed(rack: Rack) -> None:
    async def scenario() -> None:
        provider = rack.provider()
        await provider.list()
        rack.lose(0)
        rack.lose(1)

        with pytest.raises(OutcomeUnknown, match="may be lent"):
            await provider.provision(asking())
        (doubtful,) = [n for n in range(2) if (rack.folder(n) / "lease").exists()]
        rack.mute(doubtful)

        (listed,) = await provider.list()
        assert listed.id == f"{NAME}@m{doubtful}"
        await provider.close()

    run(scenario())


def test_an_end_whose_answer_is_lost_is_an_unknown_outcome(rack: Rack) -> None:
    async def scenario() -> None:
        provider = rack.provider(rack.settings(1))
        bought = await provider.provision(asking())
        rack.lose(0, "returning")

        with pytest.raises(OutcomeUnknown, match="may be ending"):
            await provider.terminate(bought.id)

        await gone(provider, bought.id)
        await provider.close()

    run(scenario())


def test_a_machine_with_a_damaged_lease_is_not_lent(rack: Rack) -> None:
    async def scenario() -> None:
        rack.folder(0).mkdir()
        (rack.folder(0) / "lease").write_text("damaged\nlease\n")
        provider = rack.provider()

        with pytest.raises(Unavailable, match="m0: its lease is damaged"):
            await provider.list()
        (rack.folder(0) / "lease").unlink()
        assert await provider.list() == []
        await provider.close()

    run(scenario())


def test_a_connection_that_was_lost_is_made_anew(rack: Rack) -> None:
    async def scenario() -> None:
        provider = rack.provider()
        bought = await provider.provision(asking())
        rack.hang_up()

        listed: list[str] = []
        for _ in range(3):
            listed = [each.id for each in await provider.list()]

        assert listed == [bought.id]
        await provider.close()

    run(scenario())


@pytest.mark.parametrize(
    "printed",
    ["", "{}", "[1]", '[{"host": "h"}]', '[{"host": "h", "instance_type": "x", "no": 1}]', "\xff"],
)
def test_an_inventory_that_is_none_is_unavailable(rack: Rack, printed: str) -> None:
    file = rack.root / "inventory"
    file.write_bytes(printed.encode("latin-1"))
    settings = rack.settings(machines=(), inventory_command=("cat", str(file)))

    with pytest.raises(Unavailable, match="the inventory: cat printed"):
        asyncio.run(rack.provider(settings).list())


def test_an_inventory_command_that_fails_is_unavailable(rack: Rack) -> None:
    settings = rack.settings(machines=(), inventory_command=("cat", "/nowhere/inventory"))

    with pytest.raises(Unavailable, match="the inventory: cat ended with 1"):
        asyncio.run(rack.provider(settings).list())


def test_a_damaged_memory_is_told_and_not_overwritten(rack: Rack, tmp_path: Path) -> None:
    memory = tmp_path / "ssh.json"
    memory.write_text("{")

    with pytest.raises(Unavailable, match=r"ssh\.json, the memory of machines, cannot be read"):
        asyncio.run(rack.provider(rack.settings(memory_file=memory)).list())

    assert memory.read_text() == "{"


def test_importing_the_provider_imports_no_library_of_ssh() -> None:
    code = "import sys, navarch.providers.ssh; print('asyncssh' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


def test_what_speaks_no_ssh_is_only_a_machine_that_does_not_answer(rack: Rack) -> None:
    nonsense = [
        b"",
        b"SSH-2.0-\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-1.5-old\r\n",
        b"SSH-2.0-x\r\n" + b"\0" * 40,
        b"SSH-2.0-x\r\n" + b"\xff" * 4_000,
        b"x" * 100_000,
        b"SSH-2.0-x\r\n\0\0\0\x0c\x04\x14" + os.urandom(64),
    ]

    async def scenario() -> None:
        for said in nonsense:
            await _speaks_nonsense(rack, said)

    run(scenario())


async def _speaks_nonsense(rack: Rack, said: bytes) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings: SshSettings = rack.settings(machines=(rack.machine(0, port=port),))
    provider = rack.provider(structs.replace(settings, deadline=timedelta(seconds=5)))
    calls: list[Awaitable[object]] = [
        provider.list(),
        provider.provision(asking()),
        provider.terminate(f"{NAME}@m0"),
    ]
    for call in calls:
        with pytest.raises(ProviderError) as refused:
            await call
        assert not isinstance(refused.value, NotFound | NoCapacity)
    await provider.close()
    server.close()
    await server.wait_closed()


def test_a_line_that_is_just_being_cut_is_opened_anew_and_holds_nobody_up(rack: Rack) -> None:
    """The library says a moment later that it is closed: asking again must not wait for that."""

    async def scenario() -> None:
        provider = rack.provider(rack.settings(1))
        assert await provider.list() == []
        lines = provider._lines  # noqa: SLF001 - no sshd can cut so precisely
        (line,) = lines._lines.values()  # noqa: SLF001 - as above
        line.connection.abort()
        machine = structs.replace(rack.machine(0), user=rack.settings(1).user)
        answer = await lines.ask(machine, "echo there", bytes_max=64)
        assert answer.printed == b"there\n"
        await provider.close()

    run(scenario())
