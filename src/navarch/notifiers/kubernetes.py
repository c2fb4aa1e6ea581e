"""Tells Kubernetes: cordons are ``spec.unschedulable``, drains are evictions.

It speaks plain HTTP to the API server, as the metrics source does: it needs four requests of it.

Rules that hold:

- What is ours is written on the node: the annotation ``navarch.dev/cordoned`` with the reason, and
  the field manager ``navarch`` of ``spec.unschedulable``. A node that somebody else has cordoned,
  before us or after having given it back, is left cordoned; the latter is seen only where the
  server tracks field managers, as it does from 1.22 on.
- A node is changed only in the version that was read; who comes in between is read again.
- Pods are evicted, never deleted, so that their disruption budgets and grace periods hold. Those
  of DaemonSets, static ones (mirror pods) and those that have ended are left alone, as by
  ``kubectl drain``; unlike there, pods without a controller and with local data are evicted too.
- An eviction that is not allowed now is asked for again with each `drained`, as long as the node
  carries the annotation ``navarch.dev/draining``: the state is the cluster's, not ours.
- Only the API server's own word that there is no such node makes a node unknown; any other 404
  may be a proxy's.

Read for this: "Safely Drain a Node", "API-initiated Eviction", "Server-Side Apply" (field
management), kubernetes.io, November 2026.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct, field

from navarch.notifiers import base
from navarch.notifiers.base import (
    DrainStatus,
    NotifierError,
    NotifierRefused,
    NotifierUnavailable,
    NotifierUnknownNode,
    Workload,
)
from navarch.peers import cluster
from navarch.peers.endpoint import Answer, Credentials, Endpoint

T = TypeVar("T")

NODE_LABEL: Final = "navarch.dev/kubernetes-node"
"""The label that names a node in Kubernetes, where that is not its hostname in lower case."""

CORDONED: Final = "navarch.dev/cordoned"
"""The annotation of a cordon of ours; its value is the reason."""

DRAINING: Final = "navarch.dev/draining"
"""The annotation of a drain of ours; while it is there, pods are evicted."""

FIELD_MANAGER: Final = "navarch"
"""Who we are in the ``managedFields`` of a node."""

MIRROR: Final = "kubernetes.io/config.mirror"
"""The annotation of a static pod's reflection, which cannot be evicted."""

NODE_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
"""The names that a node can have (DNS subdomain, RFC 1123)."""

TRIES_MAX: Final = 5
"""How often a node is read again because somebody else, the kubelet as a rule, changed it."""

PAGE: Final = 250
PODS_MAX: Final = 5_000
"""More pods than a node can have (110 by default); above it the list is not believed."""

NAMED_MAX: Final = 3
"""How many pods are named in a status."""

FINISHED: Final = frozenset(["Succeeded", "Failed"])


class KubernetesSettings(Struct, frozen=True, kw_only=True):
    """Which cluster is spoken to, and how."""

    url: str = ""
    """The API server; empty for the cluster that this process is a pod of."""
    credentials: Credentials = field(default_factory=Credentials)
    """Unused without `url`: a pod has its own."""
    timeout: timedelta = base.TIMEOUT
    """For a whole call: two requests, and one more for each pod that is evicted."""

    def __post_init__(self) -> None:
        """Refuse what can never work.

        :raises ConfigError: a timeout of nothing
        """
        base.demand_positive(self.timeout)


class _ManagedFields(Struct, rename="camel"):
    manager: str = ""
    fields_v1: dict[str, Any] = field(name="fieldsV1", default_factory=dict)

    @property
    def has_cordon(self) -> bool:
        spec = self.fields_v1.get("f:spec")
        return isinstance(spec, dict) and "f:unschedulable" in spec


class _Owner(Struct):
    kind: str = ""
    controller: bool = False


class _Metadata(Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    annotations: dict[str, str] = field(default_factory=dict)
    deletion_timestamp: str | None = None
    owner_references: list[_Owner] = field(default_factory=list)
    managed_fields: list[_ManagedFields] = field(default_factory=list)


class _Spec(Struct):
    unschedulable: bool = False


class _Node(Struct):
    metadata: _Metadata
    spec: _Spec = field(default_factory=_Spec)

    @property
    def is_ours(self) -> bool:
        """Whether we have cordoned it, and nobody else has since."""
        if not self.spec.unschedulable or CORDONED not in self.metadata.annotations:
            return False
        holders = [one.manager for one in self.metadata.managed_fields if one.has_cordon]
        return not holders or FIELD_MANAGER in holders


class _PodStatus(Struct):
    phase: str = ""


class _Pod(Struct):
    metadata: _Metadata
    status: _PodStatus = field(default_factory=_PodStatus)

    @property
    def is_work(self) -> bool:
        """Whether a drain waits for it."""
        owners = self.metadata.owner_references
        is_daemon = any(one.controller and one.kind == "DaemonSet" for one in owners)
        is_static = MIRROR in self.metadata.annotations
        return not is_daemon and not is_static and self.status.phase not in FINISHED

    def __str__(self) -> str:
        return f"{self.metadata.namespace}/{self.metadata.name}"


class _PageOf(Struct):
    continue_: str = field(name="continue", default="")


class _Pods(Struct):
    items: list[_Pod] | None
    metadata: _PageOf = field(default_factory=_PageOf)


class _Details(Struct):
    kind: str = ""


class _Refusal(Struct):
    reason: str = ""
    message: str = ""
    details: _Details | None = None

    def is_unknown(self, kind: str) -> bool:
        """Whether it says that there is no such thing of this kind."""
        return self.reason == "NotFound" and self.details is not None and self.details.kind == kind


class _Resource(Struct):
    name: str = ""
    group: str = ""
    version: str = ""


class _Resources(Struct):
    resources: list[_Resource]


class KubernetesNotifier:
    """Cordons and drains the nodes of one cluster."""

    def __init__(
        self,
        settings: KubernetesSettings | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
        service_account: str = cluster.SERVICE_ACCOUNT,
        name: str = "kubernetes",
    ) -> None:
        """Speak to the cluster of `settings`; without an address to the one we are a pod of.

        :raises ConfigError: the address or the file of certificates cannot be used, or there is no
            address and this is no pod
        """
        self.name = name
        settings = settings or KubernetesSettings()
        self._timeout = settings.timeout
        url, credentials = settings.url, settings.credentials
        if not url:
            url, credentials = cluster.own(environ, service_account)
        self._endpoint = Endpoint(url, credentials=credentials)
        self._eviction = ""

    async def cordon(self, node: Workload, reason: str, *, intent: int | None = None) -> None:
        """Make the node unschedulable, unless somebody else has."""
        async with base.speaking(self.name, self._timeout):
            await self._hold(self._named(node), reason, is_drain=False)

    async def uncordon(self, node: Workload, reason: str, *, intent: int | None = None) -> None:
        """Make the node schedulable if the cordon is ours, and end the drain; no pod comes back."""
        async with base.speaking(self.name, self._timeout):
            try:
                await self._release(self._named(node), keeps_cordon=False)
            except NotifierUnknownNode:
                return  # nothing of ours is held there

    async def drain(
        self,
        node: Workload,
        reason: str,
        deadline: datetime | None,
        *,
        intent: int | None = None,
    ) -> None:
        """Cordon the node and evict its pods; those that may not go yet are tried by `drained`.

        The deadline has no counterpart: each pod has a grace period of its own.
        """
        async with base.speaking(self.name, self._timeout):
            which = self._named(node)
            before = await self._hold(which, reason, is_drain=True)
            try:
                await self._evict(await self._pods(which))
            except NotifierRefused:
                if DRAINING not in before.metadata.annotations:
                    await self._release(which, keeps_cordon=before.is_ours)
                raise

    async def drained(self, node: Workload) -> DrainStatus:
        """Count the pods that are left, and evict again what could not go before."""
        async with base.speaking(self.name, self._timeout):
            which = self._named(node)
            try:
                read = await self._read(which)
            except NotifierUnknownNode as unknown:
                return DrainStatus(done=True, remaining=0, text=str(unknown))
            pods = await self._pods(which)
            blocked: list[str] = []
            if DRAINING in read.metadata.annotations:
                pods, blocked = await self._evict(pods)
        if pods:
            return DrainStatus(done=False, remaining=len(pods), text=_left(which, pods, blocked))
        if not read.spec.unschedulable:
            text = f"{which} has no pods, but takes new ones"
            return DrainStatus(done=False, remaining=0, text=text)
        return DrainStatus(done=True, remaining=0, text=f"{which} is cordoned, without pods")

    async def close(self) -> None:
        """Give up the connections."""
        await self._endpoint.close()

    def _named(self, node: Workload) -> str:
        """Return the node's name in Kubernetes.

        :raises NotifierRefused: it has none, or none that can be
        """
        # The kubelet registers under the hostname in lower case.
        which = node.labels.get(NODE_LABEL) or node.hostname.lower()
        if not which:
            raise NotifierRefused(
                f"{self.name}: {node.node_id} has neither a hostname nor the label {NODE_LABEL}"
            )
        if not NODE_NAME.fullmatch(which):
            raise NotifierRefused(
                f"{self.name}: {node.node_id}: {base.one_line(which)!r} cannot name a node"
            )
        return which

    async def _hold(self, which: str, reason: str, *, is_drain: bool) -> _Node:
        """Mark a node as ours, and return it as it was."""
        why = base.one_line(reason, base.REASON_MAX)
        for _ in range(TRIES_MAX):
            read = await self._read(which)
            annotations: dict[str, str | None] = {}
            if not read.spec.unschedulable or read.is_ours:
                annotations[CORDONED] = why
            elif CORDONED in read.metadata.annotations:
                annotations[CORDONED] = None  # somebody else's by now
            if is_drain:
                annotations[DRAINING] = why
            cordon = {} if read.spec.unschedulable else {"unschedulable": True}
            if await self._change(read, annotations, cordon):
                return read
        raise NotifierUnavailable(f"{self.name}: {which} is changed by others all the time")

    async def _release(self, which: str, *, keeps_cordon: bool) -> None:
        for _ in range(TRIES_MAX):
            read = await self._read(which)
            ended = {DRAINING} if keeps_cordon else {CORDONED, DRAINING}
            present = ended & read.metadata.annotations.keys()
            cordon = {"unschedulable": None} if read.is_ours and not keeps_cordon else {}
            if await self._change(read, dict.fromkeys(present), cordon):
                return
        raise NotifierUnavailable(f"{self.name}: {which} is changed by others all the time")

    async def _change(
        self, read: _Node, annotations: Mapping[str, str | None], spec: Mapping[str, bool | None]
    ) -> bool:
        """Write what differs, in the version that was read; False when there is a newer one."""
        had = read.metadata.annotations
        differing = {key: value for key, value in annotations.items() if had.get(key) != value}
        if not differing and not spec:
            return True
        metadata = {"resourceVersion": read.metadata.resource_version, "annotations": differing}
        query = urlencode({"fieldManager": FIELD_MANAGER})
        answer = await self._endpoint.send(
            "PATCH",
            f"{_node_path(read.metadata.name)}?{query}",
            body=msgspec.json.encode({"metadata": metadata, "spec": spec}),
            headers={"content-type": "application/merge-patch+json"},
        )
        if answer.status == HTTPStatus.CONFLICT:
            return False
        self._demand_ok(answer, f"cordon of {read.metadata.name}")
        return True

    async def _read(self, which: str) -> _Node:
        answer = await self._endpoint.send("GET", _node_path(which))
        self._demand_ok(answer, f"node {which}")
        node = self._decode(answer, _Node)
        if node.metadata.name != which:
            raise NotifierUnavailable(f"{self.name}: asked for node {which}, got another one")
        return node

    async def _pods(self, which: str) -> list[_Pod]:
        """List the pods on a node that a drain waits for."""
        query = {"fieldSelector": f"spec.nodeName={which}", "limit": str(PAGE)}
        listed = 0
        pods: list[_Pod] = []
        while True:
            answer = await self._endpoint.send("GET", f"/api/v1/pods?{urlencode(query)}")
            self._demand_ok(answer, f"pods of {which}")
            page = self._decode(answer, _Pods)
            listed += len(page.items or ())
            pods += [pod for pod in page.items or () if pod.is_work]
            if not page.metadata.continue_:
                return pods
            if listed > PODS_MAX:
                raise NotifierUnavailable(f"{self.name}: more than {PODS_MAX} pods on {which}")
            query["continue"] = page.metadata.continue_

    async def _evict(self, pods: Sequence[_Pod]) -> tuple[list[_Pod], list[str]]:
        """Ask for the eviction of each pod that is not going yet.

        Returns the pods that are left, and why some of them may not go.

        :raises NotifierRefused: we may not evict at all
        """
        left: list[_Pod] = []
        blocked: list[str] = []
        for pod in pods:
            if pod.metadata.deletion_timestamp is None:
                answer = await self._post_eviction(pod)
                refusal = _refusal(answer)
                if answer.status == HTTPStatus.NOT_FOUND and refusal.is_unknown("pods"):
                    continue
                if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                    raise self._failure(answer, f"eviction of {pod}")
                if answer.status not in (HTTPStatus.OK, HTTPStatus.CREATED):
                    why = base.one_line(refusal.message) or f"HTTP {answer.status}"
                    blocked.append(f"{pod}: {why}")
            left.append(pod)
        return left, blocked

    async def _post_eviction(self, pod: _Pod) -> Answer:
        names = {"name": pod.metadata.name, "namespace": pod.metadata.namespace}
        eviction = {
            "apiVersion": await self._eviction_version(),
            "kind": "Eviction",
            "metadata": names,
            # Not another pod of the same name.
            "deleteOptions": {"preconditions": {"uid": pod.metadata.uid}},
        }
        namespace, name = (quote(names[key], safe="") for key in ("namespace", "name"))
        return await self._endpoint.send(
            "POST",
            f"/api/v1/namespaces/{namespace}/pods/{name}/eviction",
            body=msgspec.json.encode(eviction),
            headers={"content-type": "application/json"},
        )

    async def _eviction_version(self) -> str:
        """Learn which evictions the server takes: ``policy/v1``, before 1.22 ``policy/v1beta1``."""
        if not self._eviction:
            answer = await self._endpoint.send("GET", "/api/v1")
            self._demand_ok(answer, "what the API offers")
            resources = self._decode(answer, _Resources).resources
            found = [one for one in resources if one.name == "pods/eviction" and one.version]
            if not found:
                raise NotifierRefused(f"{self.name}: the API server offers no evictions")
            self._eviction = f"{found[0].group}/{found[0].version}"
        return self._eviction

    def _decode(self, answer: Answer, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
            text = f"{self.name}: no answer of Kubernetes: {base.one_line(str(cause))}"
            raise NotifierUnavailable(text) from cause

    def _demand_ok(self, answer: Answer, what: str) -> None:
        if answer.is_cut:
            raise NotifierUnavailable(f"{self.name}: {what}: the answer is too long")
        if answer.status != HTTPStatus.OK:
            raise self._failure(answer, what)

    def _failure(self, answer: Answer, what: str) -> NotifierError:
        refusal = _refusal(answer)
        said = base.one_line(refusal.message or answer.body.decode(errors="replace"))
        text = f"{self.name}: {what}: HTTP {answer.status}: {said or 'no word'}"
        status = answer.status
        if status == HTTPStatus.NOT_FOUND:
            unknown = refusal.is_unknown("nodes")
            return NotifierUnknownNode(text) if unknown else NotifierUnavailable(text)
        is_refusal = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        passing = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)
        if is_refusal and status not in passing:
            return NotifierRefused(text)
        return NotifierUnavailable(text, retry_after=base.retry_seconds(answer.retry_after))


def _refusal(answer: Answer) -> _Refusal:
    """Read the server's ``Status``; an empty one for any other body."""
    try:
        return msgspec.json.decode(answer.body, type=_Refusal)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Refusal()


def _left(which: str, pods: Sequence[_Pod], blocked: Sequence[str]) -> str:
    """Say what is left on a node, blocked pods first."""
    named = list(blocked) or [str(pod) for pod in pods]
    more = f" and {len(named) - NAMED_MAX} more" if len(named) > NAMED_MAX else ""
    verb = "may not go yet" if blocked else "are going"
    return f"{which}: {len(pods)} pods left, {verb}: {'; '.join(named[:NAMED_MAX])}{more}"


def _node_path(which: str) -> str:
    return f"/api/v1/nodes/{quote(which, safe='')}"
