"""Keeps as many pods as there are replicas wanted, through the API server of one cluster.

Rules that hold:

- What is wanted is compared with what is there, each time anew: nothing is remembered between two
  calls but what kinds of GPUs the nodes have.
- Only pods that carry our fleet's label are ours. Any other pod is never changed or deleted, not
  even one that has a replica's name.
- A pod is deleted in the version that was read (its uid), so that never its namesake is.
- What the server refuses becomes the replica's reason to wait; what it does not answer is raised,
  and nobody concludes anything from it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from navarch.controlplane.pods.manifest import (
    FLEET,
    PRODUCT,
    REPLICA,
    PodSettings,
    WantedReplica,
    fault,
    label,
    manifest,
    namespace_of,
    products_wanted,
)
from navarch.controlplane.pods.reading import Metadata, Pod, seen
from navarch.core.model.replica import ReplicaSeen, ReplicaState
from navarch.errors import NavarchError
from navarch.peers import cluster
from navarch.peers.endpoint import Answer, Credentials, Endpoint
from navarch.peers.unanswered import Unanswered

T = TypeVar("T")

PAGE: Final = 250
PODS_MAX: Final = 20_000
"""More pods of one fleet than are believed."""

NODES_MAX: Final = 20_000

CHANGES_MAX: Final = 200
"""Pods made, and likewise deleted, in one call: the next one goes on."""

AT_ONCE: Final = 16
"""Requests under way at one time."""

PRODUCTS_FOR: Final = timedelta(minutes=1)
"""How long the GPUs of the nodes are remembered."""

TIMEOUT: Final = timedelta(seconds=10)
"""For one request."""

TEXT_MAX: Final = 300


class PodsUnavailable(NavarchError):
    """The API server did not answer, or not with sense: nothing is known about the pods."""


class _PageOf(Struct):
    continue_: str = field(name="continue", default="")


class _Pods(Struct):
    items: list[Pod] | None = None
    metadata: _PageOf = field(default_factory=_PageOf)


class _Node(Struct):
    metadata: Metadata


class _Nodes(Struct):
    items: list[_Node] | None = None
    metadata: _PageOf = field(default_factory=_PageOf)


_Page = TypeVar("_Page", _Pods, _Nodes)


class _Refusal(Struct):
    reason: str = ""
    message: str = ""


class PodRuntime:
    """The replicas of one fleet on one cluster."""

    def __init__(
        self,
        settings: PodSettings,
        *,
        url: str = "",
        credentials: Credentials | None = None,
        timeout: timedelta = TIMEOUT,
        environ: Mapping[str, str] = os.environ,
        service_account: str = cluster.SERVICE_ACCOUNT,
    ) -> None:
        """Speak to the server at `url`; without one to the cluster that this process is a pod of.

        It has to be allowed to get, list, create and delete pods, and to list nodes where a pool
        names a GPU.

        :raises ConfigError: the address or the file of certificates cannot be used, or there is no
            address and this is no pod
        """
        self._settings = settings
        self._timeout = timeout
        if not url:
            url, credentials = cluster.own(environ, service_account)
        self._endpoint = Endpoint(url, credentials=credentials)
        self._products: tuple[str, ...] = ()
        self._products_at: datetime | None = None
        self._doors = asyncio.Semaphore(AT_ONCE)

    async def reconcile(
        self,
        wanted: Sequence[WantedReplica],
        now: datetime,
        *,
        keep: frozenset[str] = frozenset(),
    ) -> tuple[ReplicaSeen, ...]:
        """Make the pods that are missing, delete those that are not wanted, and tell of all.

        Replicas to `keep` are wanted too, but get no pod where they have none.

        A pod that is not named runs nowhere. One that has ended is deleted, told as ended, and
        made anew by a later call if it is still wanted then.

        Cost: one request for 250 pods, and one for each that is made or deleted.

        :raises PodsUnavailable: the list could not be had, and nothing was changed
        """
        pods = await self._list()
        ids = keep.union(each.id for each in wanted)
        told = {name: seen(pod, wanted=name in ids) for name, pod in pods.items()}
        if any(each.pool.spec.gpu_requirements.type for each in wanted):
            await self._learn_products(now)
        missing = [each for each in wanted if each.id not in pods]
        made = await asyncio.gather(*(self._make(each) for each in missing[:CHANGES_MAX]))
        told |= {each.id: each for each in made}
        surplus = [
            pod for name, pod in pods.items() if (pod.over or name not in ids) and not pod.going
        ]
        surplus = surplus[:CHANGES_MAX]
        troubles = await asyncio.gather(*(self._delete(pod) for pod in surplus))
        for pod, trouble in zip(surplus, troubles, strict=True):
            if trouble:
                told[pod.metadata.name] = replace(told[pod.metadata.name], message=trouble)
        return tuple(told.values())

    async def close(self) -> None:
        """Give up the connections."""
        await self._endpoint.close()

    # --- pods --------------------------------------------------------------------------------

    async def _list(self) -> dict[str, Pod]:
        """List the pods of our fleet by the replica's id."""
        where = self._settings.namespace
        path = f"/api/v1/namespaces/{quote(where, safe='')}/pods" if where else "/api/v1/pods"
        selector = f"{FLEET}={label(self._settings.fleet)},{REPLICA}"
        listed = await self._pages(path, {"labelSelector": selector}, _Pods, PODS_MAX)
        found = [pod for page in listed for pod in page.items or ()]
        # The server has chosen them; what is deleted is looked at twice.
        return {pod.metadata.name: pod for pod in found if self._is_ours(pod)}

    def _is_ours(self, pod: Pod) -> bool:
        ours = pod.label.get(FLEET) == label(self._settings.fleet)
        return ours and pod.label.get(REPLICA) == label(pod.metadata.name)

    async def _make(self, wanted: WantedReplica) -> ReplicaSeen:
        """Make a pod, or find that it is there already."""
        if text := fault(wanted):
            return _waits(wanted, text)
        kind = wanted.pool.spec.gpu_requirements.type
        products = products_wanted(wanted, self._products) if kind else []
        if kind and not products:
            known = ", ".join(self._products[:5]) or "none"
            return _waits(wanted, f"no node's label {PRODUCT} holds {kind!r}; there are: {known}")
        path = f"/api/v1/namespaces/{quote(namespace_of(wanted, self._settings), safe='')}/pods"
        body = msgspec.json.encode(manifest(wanted, self._settings, products))
        try:
            answer = await self._send("POST", path, body)
            if answer.status == HTTPStatus.CONFLICT:
                return await self._adopt(wanted, f"{path}/{quote(wanted.id, safe='')}", answer)
            if answer.status in (HTTPStatus.OK, HTTPStatus.CREATED):
                return seen(_decoded(answer, Pod), wanted=True)
        except PodsUnavailable as error:  # the list has worked: the next call finds out
            return _waits(wanted, str(error))
        return _waits(wanted, f"Kubernetes refuses its pod: {_said(answer)}")

    async def _adopt(self, wanted: WantedReplica, path: str, refusal: Answer) -> ReplicaSeen:
        answer = await self._send("GET", path)
        if answer.status != HTTPStatus.OK:
            return _waits(wanted, f"Kubernetes refuses its pod: {_said(refusal)}")
        pod = _decoded(answer, Pod)
        if self._is_ours(pod):
            return seen(pod, wanted=True)
        return _waits(wanted, f"a pod {pod.metadata.name} is there, and is not ours")

    async def _delete(self, pod: Pod) -> str:
        """Delete a pod, and return what went wrong; whether it is gone, the next list says."""
        namespace = quote(pod.metadata.namespace, safe="")
        path = f"/api/v1/namespaces/{namespace}/pods/{quote(pod.metadata.name, safe='')}"
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": pod.metadata.uid},
        }
        try:
            answer = await self._send("DELETE", path, msgspec.json.encode(options))
        except PodsUnavailable as error:
            return f"its pod cannot be deleted: {error}"
        done = (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
        return "" if answer.status in done else f"its pod cannot be deleted: {_said(answer)}"

    # --- nodes -------------------------------------------------------------------------------

    async def _learn_products(self, now: datetime) -> None:
        """Learn what the nodes call their GPUs."""
        if self._products_at is not None and now - self._products_at < PRODUCTS_FOR:
            return
        pages = await self._pages("/api/v1/nodes", {"labelSelector": PRODUCT}, _Nodes, NODES_MAX)
        nodes = [node for page in pages for node in page.items or ()]
        found = {(node.metadata.labels or {}).get(PRODUCT, "") for node in nodes}
        self._products = tuple(sorted(found - {""}))
        self._products_at = now

    # --- requests ----------------------------------------------------------------------------

    async def _pages(
        self, path: str, query: Mapping[str, str], kind: type[_Page], most: int
    ) -> list[_Page]:
        """Read a whole list, which is of one version; begin again once when that was forgotten."""
        for _ in range(2):
            asked = {**query, "limit": str(PAGE)}
            pages: list[_Page] = []
            count = 0
            while True:
                answer = await self._send("GET", f"{path}?{urlencode(asked)}")
                if answer.status == HTTPStatus.GONE and "continue" in asked:
                    break
                if answer.status != HTTPStatus.OK:
                    raise PodsUnavailable(f"{self._endpoint.url}{path}: {_said(answer)}")
                page = _decoded(answer, kind)
                pages.append(page)
                count += len(page.items or ())
                if not page.metadata.continue_:
                    return pages
                if count > most:
                    raise PodsUnavailable(f"{self._endpoint.url}{path}: more than {most} entries")
                asked["continue"] = page.metadata.continue_
        raise PodsUnavailable(
            f"{self._endpoint.url}{path}: the list changes faster than it is read"
        )

    async def _send(self, method: str, path: str, body: bytes = b"") -> Answer:
        headers = {"content-type": "application/json"} if body else {}
        try:
            async with self._doors:
                answer = await self._endpoint.send(
                    method, path, body=body, headers=headers, deadline=self._timeout
                )
        except Unanswered as error:
            raise PodsUnavailable(str(error)) from error
        if answer.is_cut:
            raise PodsUnavailable(f"{self._endpoint.url}{path}: the answer is too long")
        return answer


def _waits(wanted: WantedReplica, because: str) -> ReplicaSeen:
    return ReplicaSeen(wanted.id, ReplicaState.PENDING, message=because)


def _decoded(answer: Answer, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PodsUnavailable(f"no answer of Kubernetes: {_one_line(str(error))}") from error


def _said(answer: Answer) -> str:
    """Say what the server said, in one line."""
    try:
        text = msgspec.json.decode(answer.body, type=_Refusal).message
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = answer.body[: 4 * TEXT_MAX].decode(errors="replace")
    return f"HTTP {answer.status}: {_one_line(text) or 'no word'}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:TEXT_MAX]
