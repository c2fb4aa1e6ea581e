"""The Kubernetes notifier against a double of its API server: holds, evictions, and refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from http_receiver import Receiver, Sent, receiving
from navarch.errors import ConfigError
from navarch.notifiers.base import (
    DrainStatus,
    NotifierRefused,
    NotifierUnavailable,
    NotifierUnknownNode,
    Workload,
)
from navarch.notifiers.kubernetes import (
    CORDONED,
    DRAINING,
    NODE_LABEL,
    KubernetesNotifier,
    KubernetesSettings,
)
from navarch.peers.endpoint import Credentials
from notifiers.kube_nodes import KubeNodes

T = TypeVar("T")
NODE = Workload(node_id="n1", hostname="gpu-1")


@pytest.fixture
def kube() -> KubeNodes:
    """A cluster of two nodes."""
    return KubeNodes("gpu-1", "gpu-2")


@pytest.fixture
def server(kube: KubeNodes) -> Iterator[Receiver]:
    """Its API server."""
    with receiving(kube.answer) as running:
        yield running


def tell(url: str, call: Callable[[KubernetesNotifier], Awaitable[T]]) -> T:
    async def story() -> T:
        notifier = KubernetesNotifier(KubernetesSettings(url=url))
        try:
            return await call(notifier)
        finally:
            await notifier.close()

    return asyncio.run(story())


def drain(notifier: KubernetesNotifier) -> Awaitable[None]:
    return notifier.drain(NODE, "XID 79", None)


def cordon(notifier: KubernetesNotifier) -> Awaitable[None]:
    return notifier.cordon(NODE, "XID 79")


def uncordon(notifier: KubernetesNotifier) -> Awaitable[None]:
    return notifier.uncordon(NODE, "repaired")


def drained(notifier: KubernetesNotifier) -> Awaitable[DrainStatus]:
    return notifier.drained(NODE)


def test_a_cordon_carries_its_reason_and_leaves_nothing_when_it_is_given_back(
    kube: KubeNodes, server: Receiver
) -> None:
    kube.nodes["gpu-1"]["metadata"]["annotations"] = {"theirs": "kept"}
    tell(server.url, cordon)
    assert not kube.is_schedulable("gpu-1")
    assert kube.is_schedulable("gpu-2")
    assert kube.annotations("gpu-1") == {"theirs": "kept", CORDONED: "XID 79"}
    tell(server.url, uncordon)
    assert kube.nodes["gpu-1"]["spec"] == {}
    assert kube.annotations("gpu-1") == {"theirs": "kept"}


def test_a_repeated_cordon_writes_nothing(server: Receiver) -> None:
    tell(server.url, cordon)
    tell(server.url, cordon)
    assert [sent.method for sent in server.sent] == ["GET", "PATCH", "GET"]


def test_what_somebody_else_has_cordoned_stays_cordoned(kube: KubeNodes, server: Receiver) -> None:
    kube.cordon_as("kubectl-cordon", "gpu-1", unschedulable=True)
    tell(server.url, cordon)
    assert kube.annotations("gpu-1") == {}
    tell(server.url, drain)
    assert kube.annotations("gpu-1") == {DRAINING: "XID 79"}
    tell(server.url, uncordon)
    assert kube.annotations("gpu-1") == {}
    assert not kube.is_schedulable("gpu-1")


def test_what_somebody_else_gave_back_and_cordoned_again_is_theirs(
    kube: KubeNodes, server: Receiver
) -> None:
    tell(server.url, cordon)
    kube.cordon_as("kubectl-cordon", "gpu-1", unschedulable=False)
    kube.cordon_as("kubectl-cordon", "gpu-1", unschedulable=True)
    tell(server.url, uncordon)
    assert not kube.is_schedulable("gpu-1")
    assert kube.annotations("gpu-1") == {}


def test_a_cordon_after_theirs_was_given_back_is_ours(kube: KubeNodes, server: Receiver) -> None:
    tell(server.url, cordon)
    kube.cordon_as("kubectl-cordon", "gpu-1", unschedulable=False)
    tell(server.url, cordon)
    assert not kube.is_schedulable("gpu-1")
    tell(server.url, uncordon)
    assert kube.is_schedulable("gpu-1")


def test_who_comes_in_between_is_read_again(kube: KubeNodes, server: Receiver) -> None:
    kube.interferences = 4
    tell(server.url, cordon)
    assert not kube.is_schedulable("gpu-1")
    kube.interferences = 99
    with pytest.raises(NotifierUnavailable, match="changed by others all the time"):
        tell(server.url, uncordon)
    assert not kube.is_schedulable("gpu-1")


def test_a_drain_evicts_work_and_nothing_else(kube: KubeNodes, server: Receiver) -> None:
    daemon, replica = ([{"kind": kind, "controller": True}] for kind in ("DaemonSet", "ReplicaSet"))
    kube.put("driver", "gpu-1", ownerReferences=daemon)
    kube.put("etcd", "gpu-1", annotations={"kubernetes.io/config.mirror": "1"})
    kube.put("ended", "gpu-1", "Succeeded")
    kube.put("failed", "gpu-1", "Failed")
    kube.put("elsewhere", "gpu-2")
    kube.put("going", "gpu-1", deletionTimestamp="2026-05-01T12:00:00Z")
    kube.put("train", "gpu-1", ownerReferences=replica)
    kube.put("bare", "gpu-1", "Pending")
    tell(server.url, drain)
    assert kube.evictions == ["bare", "train"]
    assert not kube.is_schedulable("gpu-1")
    answer = tell(server.url, drained)
    assert (answer.done, answer.remaining) == (False, 3)
    assert "are going: jobs/bare; jobs/going; jobs/train" in answer.text
    kube.end_evicted()
    answer = tell(server.url, drained)
    assert answer == DrainStatus(done=True, remaining=0, text="gpu-1 is cordoned, without pods")
    assert kube.evictions == ["bare", "train"]


def test_a_budget_is_waited_for_and_asked_again(kube: KubeNodes, server: Receiver) -> None:
    for name in ("a", "b", "c"):
        kube.put(name, "gpu-1")
    kube.protected = {"b", "c"}
    tell(server.url, drain)
    kube.end_evicted()
    answer = tell(server.url, drained)
    assert (answer.done, answer.remaining) == (False, 2)
    assert "may not go yet: jobs/b: Cannot evict pod as it would violate" in answer.text
    kube.protected = set()
    assert tell(server.url, drained).remaining == 2
    kube.end_evicted()
    assert tell(server.url, drained).done


def test_a_node_that_is_only_cordoned_loses_no_pod_by_being_looked_at(
    kube: KubeNodes, server: Receiver
) -> None:
    kube.put("a", "gpu-1")
    tell(server.url, cordon)
    assert tell(server.url, drained).remaining == 1
    assert kube.evictions == []
    tell(server.url, drain)
    tell(server.url, uncordon)
    kube.pods.clear()
    kube.put("b", "gpu-1")
    tell(server.url, drained)
    assert kube.evictions == ["a"]


def test_an_empty_node_that_takes_pods_again_is_not_drained(
    kube: KubeNodes, server: Receiver
) -> None:
    tell(server.url, drain)
    kube.cordon_as("kubectl-cordon", "gpu-1", unschedulable=False)
    answer = tell(server.url, drained)
    assert (answer.done, answer.remaining) == (False, 0)
    assert "takes new ones" in answer.text


def test_an_older_server_is_asked_in_its_own_words() -> None:
    kube = KubeNodes("gpu-1", eviction="policy/v1beta1")
    kube.put("a", "gpu-1")
    kube.put("b", "gpu-1")
    with receiving(kube.answer) as server:
        tell(server.url, drain)
    assert all("deletionTimestamp" in pod["metadata"] for pod in kube.pods.values())
    assert [sent.path for sent in server.sent].count("/api/v1") == 1


def test_a_pod_that_has_gone_meanwhile_is_gone(kube: KubeNodes) -> None:
    kube.put("a", "gpu-1")

    def answer(sent: Sent) -> None:
        if sent.path.endswith("/eviction"):
            kube.pods.clear()
        kube.answer(sent)

    with receiving(answer) as server:
        tell(server.url, drain)
        assert tell(server.url, drained).done


def test_a_pod_of_the_same_name_is_not_evicted_in_its_place(kube: KubeNodes) -> None:
    kube.put("a", "gpu-1")

    def answer(sent: Sent) -> None:
        if sent.path.endswith("/eviction"):
            kube.put("a", "gpu-1", uid="another")
        kube.answer(sent)

    with receiving(answer) as server:
        tell(server.url, drain)
    assert "deletionTimestamp" not in kube.pods["a"]["metadata"]


@pytest.mark.parametrize(
    "verb,call",
    [("get", cordon), ("patch", cordon), ("list", drain), ("evict", drain), ("list", drained)],
)
def test_who_may_not_is_told_so(
    kube: KubeNodes, server: Receiver, verb: str, call: Callable[[KubernetesNotifier], Awaitable[T]]
) -> None:
    kube.put("a", "gpu-1")
    kube.put("b", "gpu-1")
    kube.forbidden = {verb}
    with pytest.raises(NotifierRefused, match=r"HTTP 403: .* is forbidden") as refused:
        tell(server.url, call)
    assert not isinstance(refused.value, NotifierUnknownNode)
    assert len(kube.evictions) == (verb == "evict")


def test_a_drain_that_is_refused_has_changed_nothing(kube: KubeNodes, server: Receiver) -> None:
    kube.put("a", "gpu-1")
    for verb in ("evict", "list"):
        kube.forbidden = {verb}
        with pytest.raises(NotifierRefused, match="HTTP 403"):
            tell(server.url, drain)
        assert kube.is_schedulable("gpu-1")
        assert kube.annotations("gpu-1") == {}
    tell(server.url, cordon)
    with pytest.raises(NotifierRefused, match="HTTP 403"):
        tell(server.url, drain)
    assert not kube.is_schedulable("gpu-1")
    assert kube.annotations("gpu-1") == {CORDONED: "XID 79"}


@pytest.mark.parametrize(
    "answer",
    [
        lambda sent: sent.answer(404, "404 page not found"),
        lambda sent: sent.answer(404, '{"reason": "NotFound", "message": "no such path"}'),
        lambda sent: sent.answer(404, '{"reason": "NotFound", "details": {"kind": "pods"}}'),
        lambda sent: sent.answer(500, "broken"),
        lambda sent: sent.answer(429, "slowly", retry_after="4"),
        lambda sent: sent.answer(200, "<html>"),
        lambda sent: sent.answer(200, "[" * 99_999),
        lambda sent: sent.answer(200, '{"metadata": {"name": "gpu-9"}}'),
        lambda sent: sent.answer(301, "", location="/elsewhere"),
        lambda sent: sent.hang_up(),
    ],
)
def test_no_answer_of_the_api_server_makes_a_node_unknown_or_empty(
    answer: Callable[[Sent], None],
) -> None:
    with receiving(answer) as server:
        for call in (cordon, uncordon, drain, drained):
            with pytest.raises(NotifierUnavailable):
                tell(server.url, call)


def test_a_server_that_is_busy_says_for_how_long() -> None:
    with (
        receiving(lambda sent: sent.answer(429, "slowly", retry_after="4")) as server,
        pytest.raises(NotifierUnavailable, match="HTTP 429: slowly") as failure,
    ):
        tell(server.url, cordon)
    assert failure.value.retry_after == 4


def test_silence_ends_with_the_timeout() -> None:
    async def story(url: str) -> None:
        settings = KubernetesSettings(url=url, timeout=timedelta(milliseconds=150))
        notifier = KubernetesNotifier(settings)
        with pytest.raises(NotifierUnavailable, match=r"no answer within 0\.15 s"):
            await drain(notifier)
        await notifier.close()

    def say_nothing(sent: Sent) -> None:
        sent.closing.wait(30)

    with receiving(say_nothing) as server:
        asyncio.run(story(server.url))


def test_the_label_names_the_node_and_the_hostname_is_read_in_lower_case(
    kube: KubeNodes, server: Receiver
) -> None:
    async def both(notifier: KubernetesNotifier) -> None:
        await notifier.cordon(Workload(node_id="n", hostname="GPU-1"), "")
        labels = {NODE_LABEL: "gpu-2"}
        await notifier.cordon(Workload(node_id="n", hostname="gpu-1", labels=labels), "")

    tell(server.url, both)
    assert not kube.is_schedulable("gpu-1")
    assert not kube.is_schedulable("gpu-2")


@pytest.mark.parametrize("hostname", ["", "gpu-1/status", "..", "gpu 1", "gpu-1?x=y", "x" * 300])
def test_a_name_that_cannot_be_a_nodes_is_refused_before_it_is_asked_for(
    server: Receiver, hostname: str
) -> None:
    node = Workload(node_id="n1", hostname=hostname)
    for call in (
        lambda notifier: notifier.cordon(node, ""),
        lambda notifier: notifier.uncordon(node, ""),
        lambda notifier: notifier.drain(node, "", None),
        lambda notifier: notifier.drained(node),
    ):
        with pytest.raises(NotifierRefused, match="n1") as refused:
            tell(server.url, call)
        assert not isinstance(refused.value, NotifierUnknownNode)
    assert server.sent == []


def test_a_node_with_more_pods_than_can_be_is_not_believed() -> None:
    def answer(sent: Sent) -> None:
        if sent.path == "/api/v1/pods":
            pods = [{"metadata": {"name": f"p{n}"}} for n in range(2_000)]
            sent.answer(200, json.dumps({"items": pods, "metadata": {"continue": "more"}}))
        else:
            KubeNodes("gpu-1").answer(sent)

    with receiving(answer) as server, pytest.raises(NotifierUnavailable, match="more than 5000"):
        tell(server.url, drained)


def test_inside_a_cluster_the_service_account_opens_the_door(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this is no pod"):
        KubernetesNotifier(environ={})
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(ConfigError, match=r"ca\.crt"):
        KubernetesNotifier(environ=environ, service_account=str(tmp_path))
    with pytest.raises(ConfigError, match="timeout"):
        KubernetesSettings(timeout=timedelta())


def test_a_token_is_sent_and_a_missing_one_is_not_guessed(
    kube: KubeNodes, server: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("s3cret")

    async def story(token_file: Path) -> None:
        credentials = Credentials(token_file=str(token_file))
        notifier = KubernetesNotifier(KubernetesSettings(url=server.url, credentials=credentials))
        try:
            await cordon(notifier)
        finally:
            await notifier.close()

    asyncio.run(story(tmp_path / "token"))
    assert {sent.headers["authorization"] for sent in server.sent} == {"Bearer s3cret"}
    with pytest.raises(NotifierUnavailable, match="cannot read the token file"):
        asyncio.run(story(tmp_path / "none"))
    assert not kube.is_schedulable("gpu-1")
