"""What the provider of processes refuses, and what it makes of a root that is not in order."""

from __future__ import annotations

import asyncio
import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest

from machines import (
    Bench,
    asking,
    end_all,
)
from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import ProvisionRequest
from navarch.providers.local_process import AgentCommand, exclusively
from navarch.providers.process import CommandFor


@pytest.mark.parametrize("name", ["", "..", "../n-1", "a/b", "ended", ".hidden", "a" * 129, "a\n"])
def test_a_name_that_cannot_be_a_folder_is_refused(bench: Bench, name: str) -> None:
    provider = bench.provider()

    with pytest.raises(InvalidRequest):
        asyncio.run(provider.provision(asking(name)))
    with pytest.raises(NotFound):
        asyncio.run(provider.terminate(name))
    assert [each.name for each in bench.root.iterdir()] == [".mutex"]


def test_a_name_with_another_token_is_refused(bench: Bench) -> None:
    provider = bench.provider()

    async def scenario() -> None:
        await provider.provision(asking())
        with pytest.raises(InvalidRequest, match="belongs to another token"):
            await provider.provision(asking(token="other"))
        await end_all(provider)

    asyncio.run(scenario())


def test_no_more_machines_exist_at_once_than_allowed(bench: Bench) -> None:
    provider = bench.provider(max_instances=1)

    async def scenario() -> None:
        await provider.provision(asking("n-1"))
        with pytest.raises(QuotaExceeded, match="at most 1"):
            await provider.provision(asking("n-2"))
        assert not (bench.root / "n-2").exists()
        await end_all(provider)
        await provider.provision(asking("n-3"))
        await end_all(provider)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "code, expected",
    [
        (errno.ENOSPC, NoCapacity),
        (errno.EMFILE, NoCapacity),
        (errno.EAGAIN, NoCapacity),
        (errno.EACCES, Unauthorized),
        (errno.EROFS, Unauthorized),
        (errno.EIO, Unavailable),
    ],
)
def test_what_the_kernel_says_is_translated_and_nothing_was_done(
    bench: Bench, code: int, expected: type[ProviderError]
) -> None:
    def command(_request: ProvisionRequest, _folder: Path) -> AgentCommand:
        raise OSError(code, os.strerror(code))

    async def scenario() -> None:
        with pytest.raises(expected) as caught:
            await bench.provider(command).provision(asking())
        assert isinstance(caught.value.__cause__, OSError)
        assert await bench.provider().list() == []

    asyncio.run(scenario())


def program_at(path: str) -> CommandFor:
    return lambda _request, _folder: AgentCommand(argv=(path,), env={})


def test_a_program_that_is_missing_or_forbidden_is_named(bench: Bench, tmp_path: Path) -> None:
    forbidden = tmp_path / "not-executable"
    forbidden.touch(mode=0o600)

    async def scenario() -> None:
        for program, expected in (("/no/such", Unavailable), (str(forbidden), Unauthorized)):
            with pytest.raises(expected, match=program):
                await bench.provider(program_at(program)).provision(asking())

        good = bench.provider()
        await good.provision(asking())
        await end_all(good)

    asyncio.run(scenario())


def test_a_root_that_is_a_file_is_an_error_and_not_an_empty_list(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.touch()

    with pytest.raises(Unavailable, match="root"):
        asyncio.run(Bench(root).provider().list())


def test_a_damaged_request_does_not_hide_a_machine(bench: Bench) -> None:
    provider = bench.provider()

    async def scenario() -> None:
        await provider.provision(asking())
        (bench.root / "n-1" / "request.json").write_text('{"name": "n-')
        assert [(each.id, each.name) for each in await provider.list()] == [("n-1", "n-1")]
        await end_all(provider)

    asyncio.run(scenario())


def test_what_else_lies_in_the_root_is_left_alone(bench: Bench) -> None:
    provider = bench.provider()
    bench.root.mkdir()
    (bench.root / "notes.txt").write_text("mine")
    (bench.root / ".git").mkdir()

    assert asyncio.run(provider.list()) == []
    assert (bench.root / "notes.txt").read_text() == "mine"
    assert (bench.root / ".git").is_dir()


def test_a_folder_that_another_keeps_hold_of_is_waited_for_no_longer_than_agreed(
    bench: Bench,
) -> None:
    provider = bench.provider()
    provider.turn_timeout = timedelta(milliseconds=20)
    bench.root.mkdir()

    async def scenario() -> None:
        with exclusively(bench.root / ".mutex") as is_ours:
            assert is_ours
            for call in (provider.list(), provider.provision(asking()), provider.terminate("n-1")):
                with pytest.raises(Unavailable, match=r"keeps hold of .*\.mutex"):
                    await call
        assert await provider.list() == []

    asyncio.run(scenario())
