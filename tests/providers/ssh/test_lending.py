"""Lending and returning machines over a real sshd: one lease a name, whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from bootstrap.ground import AGENT
from navarch.bootstrap import BootstrapSettings, NodeFacts, Service, render
from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    NotFound,
)
from navarch.providers.base import Instance, InstanceStatus
from providers.ssh.rack import Rack, asking, gone, until

NAME = "training-k3f9-0001"


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def lent(rack: Rack) -> list[str]:
    """Every lease that has been confirmed, as the machines have it."""
    found = (rack.folder(number).glob("leases/*/lent") for number in range(rack.count))
    return sorted(path.parent.name for paths in found for path in paths)


def test_a_lease_says_on_the_machine_whose_it_is(rack: Rack) -> None:
    async def scenario() -> None:
        provider = rack.provider()
        instance = await provider.provision(asking(zone="z1"))

        assert instance == Instance(
            id=f"{NAME}@m1",
            provider="ssh",
            name=NAME,
            zone="z1",
            instance_type="contract-test",
            status=InstanceStatus.RUNNING,
            private_ip="127.0.0.1",
            gpu_count=8,
            gpu_type="H100",
            labels={"rack": "r1", **asking().labels},
        )
        head, body = (rack.folder(1) / "lease").read_text().splitlines()
        lease = json.loads(body)
        assert head == f"{NAME} {lease.pop('nonce')}"
        assert lease == {
            "name": NAME,
            "token": NAME,
            "instance_type": "contract-test",
            "region": "",
            "zone": "z1",
            "labels": dict(asking().labels),
            "lent_at": "2026-11-22T12:00:00+00:00",
        }
        await provider.close()

    run(scenario())


def test_a_machine_of_the_kind_and_place_asked_for_is_lent(rack: Rack) -> None:
    async def scenario() -> None:
        settings = rack.settings(
            machines=(
                rack.machine(0, instance_type="a100", region="eu"),
                rack.machine(1, instance_type="h100", region="eu"),
                rack.machine(2, instance_type="h100", region="us"),
            )
        )
        provider = rack.provider(settings)

        bought = await provider.provision(asking(instance_type="h100", region="us"))
        with pytest.raises(NoCapacity, match="none of 1 h100 is free"):
            await provider.provision(asking("n-2", instance_type="h100", region="us"))
        with pytest.raises(InvalidRequest, match=r"no 'b200' .* there are: a100, h100"):
            await provider.provision(asking("n-3", instance_type="b200"))

        assert bought.id == f"{NAME}@m2"
        kinds = await provider.list_instance_types()
        assert [(each.name, each.gpu_count, each.regions) for each in kinds] == [
            ("a100", 8, ("eu",)),
            ("h100", 8, ("eu", "us")),
        ]
        await provider.close()

    run(scenario())


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../etc", "token": "x"},
        {"name": "a" * 129, "token": "x"},
        {"spot": True},
        {"user_data": "#cloud-config\npackages: []"},
        {"user_data": "#!/bin/sh\n\ud800"},
        {"labels": {"a": "\ud800"}},
        {"labels": {"a": "x" * 300_000}},
        {"user_data": "#!/bin/sh\n" + "x" * 5_000_000},
    ],
)
def test_what_could_never_be_lent_is_refused_at_once(
    rack: Rack, changes: dict[str, object]
) -> None:
    provider = rack.provider()

    with pytest.raises(InvalidRequest):
        asyncio.run(provider.provision(structs.replace(asking(), **changes)))


def test_a_name_with_another_token_or_of_another_fleet_is_refused(rack: Rack) -> None:
    async def scenario() -> None:
        provider = rack.provider()
        await provider.provision(asking())

        for other in (asking(token="another"), asking(labels={})):
            with pytest.raises(InvalidRequest, match="belongs to another token"):
                await provider.provision(other)

        assert lent(rack) == [NAME]
        await provider.close()

    run(scenario())


# Who is first.


def test_many_who_ask_for_the_same_at_once_are_lent_one_machine(rack: Rack) -> None:
    async def scenario() -> None:
        providers = [rack.provider(rack.settings(4)) for _ in range(4)]
        names = ["n-1", "n-2"]

        bought = await asyncio.gather(
            *(provider.provision(asking(name)) for provider in providers for name in names)
        )

        ids = {each.id for each in bought}
        assert len(ids) == 2
        assert sorted(each.split("@")[0] for each in ids) == names
        assert lent(rack) == names
        listed = await providers[0].list()
        assert {each.id for each in listed} == ids
        for provider in providers:
            await provider.close()

    run(scenario())


def claim(rack: Rack, number: int, *, is_lent: bool = False) -> None:
    """Put a claim of our name on a machine, as another provider would."""
    lease = {"name": NAME, "token": NAME, "nonce": f"0{number}", "labels": asking().labels}
    work = rack.folder(number) / "leases" / NAME
    work.mkdir(parents=True)
    (rack.folder(number) / "ended").mkdir()
    content = f"{NAME} 0{number}\n".encode() + msgspec.json.encode(lease) + b"\n"
    (rack.folder(number) / "lease").write_bytes(content)
    if is_lent:
        (work / "lent").touch()


def test_of_two_claims_of_a_name_one_is_withdrawn(rack: Rack) -> None:
    async def scenario() -> None:
        claim(rack, 0)
        claim(rack, 1)
        provider = rack.provider()
        assert await provider.list() == []

        bought = await provider.provision(asking())

        assert lent(rack) == [NAME]
        assert [each.id for each in await provider.list()] == [bought.id]
        held = [(rack.folder(number) / "lease").exists() for number in (0, 1)]
        assert sorted(held) == [False, True]
        await provider.close()

    run(scenario())


@pytest.mark.parametrize("lent_to", [0, 1])
def test_a_claim_gives_way_to_what_is_lent(rack: Rack, lent_to: int) -> None:
    async def scenario() -> None:
        claim(rack, lent_to, is_lent=True)
        claim(rack, 1 - lent_to)
        provider = rack.provider()

        bought = await provider.provision(asking())

        assert bought.id == f"{NAME}@m{lent_to}"
        assert lent(rack) == [NAME]
        await provider.close()

    run(scenario())


async def _cancelled_when(
    launch: Coroutine[Any, Any, Instance], holds: Callable[[], object]
) -> None:
    """Cancel a launch at the moment when something has happened on a machine."""
    task = asyncio.create_task(launch)
    async with asyncio.timeout(20):
        while not (holds() or task.done()):  # noqa: ASYNC110 - a machine sets no event
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("trace", ["", ".mutex", "lease", "leases/*/lent", "leases/*/started"])
def test_a_launch_cancelled_anywhere_leaves_no_task_and_one_machine(rack: Rack, trace: str) -> None:
    def has_happened() -> bool:
        folders = [rack.folder(number) for number in range(2)]
        return not trace or any(any(folder.glob(trace)) for folder in folders)

    async def scenario() -> None:
        provider = rack.provider()
        await _cancelled_when(provider.provision(asking(user_data="#!/bin/sh\n")), has_happened)
        await provider.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert left == set()

        after = rack.provider()
        again = await after.provision(asking(user_data="#!/bin/sh\n"))

        assert [each.id for each in await after.list()] == [again.id]
        assert lent(rack) == [NAME]
        await after.close()

    run(scenario())


# What runs on the machine.


def script(rack: Rack, **changes: object) -> str:
    """A start-up script whose every path is in the machine's home."""
    agent = rack.root / "agent"
    agent.write_text(AGENT.format(said=rack.root / "argv"))
    agent.chmod(0o755)
    settings = BootstrapSettings(
        servers=("http://127.0.0.1:1",),
        executable=str(agent),
        service=Service.BACKGROUND,
        folder=f"{rack.home(0)}/opt/navarch",
        config_folder=f"{rack.home(0)}/etc/navarch",
        state_folder=f"{rack.home(0)}/var/navarch",
    )
    node = structs.replace(NodeFacts(node_id=NAME), **changes)
    return render(settings, node, "secret-token")


def test_what_the_start_up_script_made_is_gone_when_the_machine_is_back(rack: Rack) -> None:
    async def scenario() -> None:
        theirs = rack.home(0) / "etc/navarch/of-others"
        theirs.parent.mkdir(parents=True)
        theirs.write_text("theirs")
        settings = rack.settings(1, cleanup_commands=(f"echo one >>{rack.home(0)}/cleaned",))
        provider = rack.provider(settings)

        bought = await provider.provision(asking(user_data=script(rack)))
        log = rack.folder(0) / "leases" / NAME / "bootstrap.log"
        await until(lambda: log.exists() and "COMPLETE" in log.read_text(), "bootstrap")
        told = await provider.bootstrap_log(bought.id)
        assert f"navarch-bootstrap: COMPLETE node={NAME}\n" in told
        assert "secret-token" not in told
        assert (rack.home(0) / "opt/navarch/run-agent").exists()

        await provider.terminate(bought.id)
        await gone(provider, bought.id)

        assert sorted(path.name for path in rack.home(0).iterdir()) == [
            *("cleaned", "etc", "leases-of-navarch"),
        ]
        assert [path.name for path in rack.home(0).rglob("etc/**/*")] == ["navarch", "of-others"]
        await until(lambda: rack.processes() == [], "nothing runs")
        told = await provider.bootstrap_log(bought.id)
        assert "removed what the start-up script made" in told
        assert told.splitlines()[-1].endswith(f"navarch-release: COMPLETE {NAME}")
        assert all("secret-token" not in path.read_text() for path in _files(rack.folder(0)))
        with pytest.raises(NotFound, match="knows of no lease n-2"):
            await provider.bootstrap_log("n-2@m0")
        await provider.close()

    run(scenario())


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_start_up_script_that_runs_still_is_ended(rack: Rack) -> None:
    async def scenario() -> None:
        provider = rack.provider(rack.settings(1))
        slow = "#!/bin/sh\ntrap '' TERM\necho begun; (sleep 600); echo over\n"
        bought = await provider.provision(asking(user_data=slow))
        output = rack.folder(0) / "leases" / NAME / "output"
        await until(lambda: output.exists() and output.read_text() == "begun\n")

        await provider.terminate(bought.id)
        await provider.terminate(bought.id)
        (listed,) = await provider.list()
        assert listed.status is InstanceStatus.TERMINATING
        with pytest.raises(InvalidRequest, match="is ending"):
            await provider.provision(asking(user_data=slow))
        await gone(provider, bought.id)

        await until(lambda: rack.processes() == [], "nothing runs")
        assert "begun" in await provider.bootstrap_log(bought.id)
        await provider.close()

    run(scenario())


def test_a_machine_whose_clean_up_fails_is_lent_to_nobody(rack: Rack) -> None:
    async def scenario() -> None:
        flag = rack.home(0) / "repaired"
        commands = (f"echo one >>{rack.home(0)}/cleaned", f"echo trouble; test -e {flag}")
        provider = rack.provider(rack.settings(1, cleanup_commands=commands))
        bought = await provider.provision(asking())
        log = rack.folder(0) / "leases" / NAME / "release.log"

        await provider.terminate(bought.id)
        await until(lambda: log.exists() and "FAILED" in log.read_text())

        assert "FAILED step=cleanup-2 code=1" in await provider.bootstrap_log(bought.id)
        assert [each.status for each in await provider.list()] == [InstanceStatus.TERMINATING]
        with pytest.raises(NoCapacity):
            await provider.provision(asking("n-2"))

        flag.touch()
        await provider.terminate(bought.id)
        await gone(provider, bought.id)
        assert (await provider.provision(asking("n-2"))).id == "n-2@m0"
        await provider.close()

    run(scenario())


def test_a_late_word_for_an_old_lease_does_not_end_a_new_one(rack: Rack) -> None:
    async def scenario() -> None:
        provider = rack.provider(rack.settings(1))
        old = await provider.provision(asking())
        await provider.terminate(old.id)
        await gone(provider, old.id)
        new = await provider.provision(asking("n-2"))

        with pytest.raises(NotFound, match=NAME):
            await provider.terminate(old.id)
        for nobody in ("n-2", "n-2@m9", "@m0", "../x@m0"):
            with pytest.raises(NotFound):
                await provider.terminate(nobody)

        assert [each.id for each in await provider.list()] == [new.id]
        await provider.close()

    run(scenario())
