"""A real fleet, and faults in its GPUs: what an operator sees at the documented defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from integration.conftest import Up, until


def health(fleet: Up, node_id: str) -> str:
    """Return a node's health; the API leaves the unknown one out."""
    return str(fleet.nodes()[node_id].get("healthStatus", "HEALTH_STATUS_UNKNOWN"))


def kinds_about(fleet: Up, node_id: str, *kinds: str) -> list[str]:
    """Return which of these facts there are about a node, in their order."""
    return [fact["kind"] for fact in fleet.facts(subject=node_id) if fact["kind"] in kinds]


def first(fleet: Up, kind: str, **about: str) -> dict[str, Any] | None:
    """Return the first fact of a kind, about something if that is said."""
    facts = [fact for fact in fleet.facts(**about) if fact["kind"] == kind]
    return facts[0] if facts else None


def test_an_xid_79_replaces_the_node_its_replacement_first(start_up: Callable[..., Up]) -> None:
    fleet = start_up()
    sick = min(fleet.wait_serving(3))
    assert fleet.run("inject", sick, "--xid", "79", "--gpu", "3").returncode == 0
    until(lambda: health(fleet, sick) == "HEALTH_STATUS_UNHEALTHY", "the verdict")
    until(lambda: first(fleet, "instance_terminated", subject=sick), "the end of the sick node")
    assert kinds_about(
        fleet,
        sick,
        *("health_judged", "instance_condemned", "drain_begun"),
        *("termination_requested", "instance_terminated"),
    )[-4:] == ["instance_condemned", "drain_begun", "termination_requested", "instance_terminated"]
    condemned = first(fleet, "instance_condemned", subject=sick)
    drained = first(fleet, "drain_begun", subject=sick)
    assert condemned is not None
    assert drained is not None
    assert "confirmed by 2 reports" in condemned["because"]
    joined = [
        fact
        for fact in fleet.facts()
        if fact["kind"] == "node_registered" and int(fact["seq"]) > int(condemned["seq"])
    ]
    assert int(joined[0]["seq"]) < int(drained["seq"])
    explained = fleet.run("explain", "node", sick).stdout
    assert "xid 79 on GPU 3" in explained
    assert "rule xid-reboot" in explained
    assert "it would be healthy" in explained


def test_an_applications_faults_replace_nothing_and_are_shown_as_what_they_are(
    start_up: Callable[..., Up],
) -> None:
    fleet = start_up()
    node_id = min(fleet.wait_serving(3))
    for _ in range(20):
        assert fleet.run("inject", node_id, "--xid", "31", "--gpu", "1").returncode == 0

    def counted() -> bool:
        return "20 times" in fleet.run("explain", "node", node_id).stdout

    until(counted, "all twenty are known")
    node = fleet.nodes()[node_id]
    assert health(fleet, node_id) == "HEALTH_STATUS_HEALTHY"
    assert node["status"] == "NODE_STATUS_ACTIVE"
    assert first(fleet, "instance_condemned") is None
    assert "the node is fine" in fleet.run("explain", "node", node_id).stdout


def test_a_hot_gpu_is_judged_by_the_policy_and_an_operator_may_set_it_aside(
    start_up: Callable[..., Up],
) -> None:
    fleet = start_up(nodes=1)
    (node_id,) = fleet.wait_serving(1)
    fleet.run("inject", node_id, "--temperature", "88", "--gpu", "2")
    until(lambda: health(fleet, node_id) == "HEALTH_STATUS_DEGRADED", "warm")
    fleet.run("inject", node_id, "--clear")
    assert fleet.run("clear", node_id, "--reason", "a fan was blocked").returncode == 0
    until(lambda: health(fleet, node_id) == "HEALTH_STATUS_HEALTHY", "well again")
    fleet.run("inject", node_id, "--temperature", "96", "--gpu", "2")
    condemned = until(lambda: first(fleet, "instance_condemned", subject=node_id), "condemned")
    assert condemned is not None
    assert "thermal on GPU 2: rule thermal-critical" in condemned["because"]
