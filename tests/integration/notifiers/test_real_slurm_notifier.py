"""The Slurm notifier drains the nodes of a real Slurm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from infra.real_parts import wait_for
from infra.real_slurm import RealSlurm
from navarch.notifiers.base import (
    DrainStatus,
    Notifier,
    NotifierRefused,
    NotifierUnavailable,
    NotifierUnknownNode,
    Workload,
)
from navarch.notifiers.slurm import SlurmNotifier, SlurmSettings
from navarch.testing import NotifierContract

T = TypeVar("T")
NODE = Workload(node_id="n1", hostname="gpu1.cluster.example.com")
WHOLE_NODE = "--gres=gpu:h100:8"
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")


def tell(call: Callable[[SlurmNotifier], Awaitable[T]], settings: SlurmSettings | None = None) -> T:
    async def story() -> T:
        return await call(SlurmNotifier(settings))

    return asyncio.run(story())


def drained() -> DrainStatus:
    return tell(lambda notifier: notifier.drained(NODE))


def drain(reason: str = "XID 79 on GPU 3") -> None:
    tell(lambda notifier: notifier.drain(NODE, reason, None))


def uncordon() -> None:
    tell(lambda notifier: notifier.uncordon(NODE, "repaired"))


def reason_of(slurm: RealSlurm, node: str) -> str:
    return slurm.command("sinfo", "--noheader", "--Node", f"--nodes={node}", "--format=%E").strip()


class TestContract(NotifierContract):
    """As every notifier."""

    node = Workload(node_id="n2", hostname="gpu2")

    @pytest.fixture
    def make_notifier(
        self, running: RealSlurm, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[], Notifier]:
        """Speak to one Slurm, which is not put in order between: the contract gives back."""
        monkeypatch.setenv("SLURM_CONF", str(running.configuration))
        self.slurm = running
        return SlurmNotifier

    async def takes_work(self, node: Workload) -> bool:
        """Ask Slurm itself; a node that was given back takes a second to be heard of again."""
        states = await asyncio.to_thread(self.slurm.states)
        return not states[node.hostname].startswith(("drain", "down"))


def test_a_node_with_a_job_drains_until_the_job_ends(slurm: RealSlurm) -> None:
    job = slurm.submit(WHOLE_NODE, "--nodelist=gpu1")
    wait_for(lambda: slurm.states()["gpu1"] == "mixed", "the job runs")
    waiting = slurm.submit(WHOLE_NODE, "--nodelist=gpu1")
    drain()
    assert reason_of(slurm, "gpu1") == "navarch: XID 79 on GPU 3"
    assert slurm.states()["gpu1"] == "draining"
    status = drained()
    assert (status.done, status.remaining) == (False, 1)
    assert job in status.text
    slurm.command("scancel", job)
    wait_for(lambda: drained().done, "the node is drained")
    assert slurm.states()["gpu1"] == "drained"
    uncordon()
    wait_for(lambda: slurm.states()["gpu1"] == "mixed", "the job that waits is started there")
    slurm.command("scancel", waiting)


def test_what_an_operator_drains_is_neither_renamed_nor_given_back(slurm: RealSlurm) -> None:
    slurm.command("scontrol", "update", "nodename=gpu1", "state=drain", "reason=new cables")
    drain()
    uncordon()
    assert slurm.states()["gpu1"] == "drained"
    assert reason_of(slurm, "gpu1") == "new cables"
    assert drained().done


def test_what_an_operator_resumes_is_not_drained_any_more(slurm: RealSlurm) -> None:
    drain()
    assert drained().done
    slurm.command("scontrol", "update", "nodename=gpu1", "state=resume")
    status = drained()
    assert (status.done, status.remaining) == (False, 0)


def test_a_node_that_is_down_stays_down_and_keeps_its_reason(slurm: RealSlurm) -> None:
    slurm.command("scontrol", "update", "nodename=gpu1", "state=down", "reason=burnt")
    drain()
    drain()
    assert reason_of(slurm, "gpu1") == "navarch: XID 79 on GPU 3, before: burnt"
    uncordon()
    assert slurm.states()["gpu1"].startswith("down")


@pytest.mark.parametrize(
    "reason", ["a = b; $(touch x) `id` \"q\" 'r' | \\", "Größe\n八", "", "=" * 999]
)
def test_any_reason_is_written_as_ours_and_read_back_so(slurm: RealSlurm, reason: str) -> None:
    drain(reason)
    assert reason_of(slurm, "gpu1").startswith("navarch:")
    uncordon()
    assert not slurm.states()["gpu1"].startswith("drain")


def test_a_node_that_slurm_does_not_know_is_unknown(slurm: RealSlurm) -> None:
    node = Workload(node_id="n9", hostname="gpu9")
    with pytest.raises(NotifierUnknownNode, match="gpu9"):
        tell(lambda notifier: notifier.cordon(node, ""))
    assert tell(lambda notifier: notifier.drained(node)).done
    tell(lambda notifier: notifier.uncordon(node, ""))


def test_a_user_whom_slurm_does_not_obey_is_refused(slurm: RealSlurm) -> None:
    for folder in (slurm.folder, *Path(slurm.folder).parents):
        if folder != Path("/tmp") and folder.is_relative_to("/tmp"):
            folder.chmod(0o755)
    with pytest.raises(NotifierRefused, match=r"Invalid user id|Access/permission") as refused:
        tell(lambda notifier: notifier.cordon(NODE, ""), SlurmSettings(prefix=NOBODY))
    assert not isinstance(refused.value, NotifierUnknownNode)
    assert slurm.states()["gpu1"] == "idle"


def test_without_its_controller_slurm_is_unavailable(slurm: RealSlurm) -> None:
    hasty = SlurmSettings(timeout=timedelta(seconds=1))
    slurm.stop_controller()
    try:
        with pytest.raises(NotifierUnavailable, match="no answer within 1 s"):
            tell(lambda notifier: notifier.cordon(NODE, ""), hasty)
    finally:
        slurm.start_controller()
    wait_for(lambda: slurm.states()["gpu1"] == "idle", "the controller is back")
