"""The answer to ListNodes, from fragments that are kept (`fragments`), page by page.

Which nodes a page has is known by the roster (`navarch.core.roster`), when each was heard by the
sightings, and what is written of it by the fragments; nothing here walks the whole fleet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from connectrpc.request import RequestContext

from navarch.core.model.fleet import Fleet
from navarch.core.model.last_heard import LastHeard
from navarch.core.model.node import Node
from navarch.core.roster import Roster
from navarch.wire.fragments import BYTES_MAX, Fragments, JsonFragments, ProtoFragments
from navarch.wire.prepared import Prepared
from navarch.wire.queries import NodeQuery

SLICE: Final = 250
"""Fragments that are made before others get their turn: some 3 ms of protobuf, or 2 of JSON."""


class NodeList(Prepared):
    """The answer to one ListNodes: these nodes, as they were when it was asked."""

    def __init__(
        self, listing: Listing, nodes: Sequence[Node], heard: Sequence[int | None], token: str
    ) -> None:
        """Hold the nodes of a page, when each was heard, and the token of the next page."""
        self.nodes = nodes
        self.next_page_token = token
        self._listing = listing
        self._heard = heard

    def json(self) -> bytes:
        """Return the answer in JSON."""
        return self._listing.json.written(self.nodes, self._heard, self.next_page_token)

    def proto(self) -> bytes:
        """Return the answer in protobuf's binary form."""
        return self._listing.proto.written(self.nodes, self._heard, self.next_page_token)


class Listing:
    """Lists the nodes of a fleet."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        """Keep fragments of at most so many bytes in each form."""
        self.json = JsonFragments(bytes_max)
        self.proto = ProtoFragments(bytes_max)
        self._fleet: Fleet | None = None
        self._roster: Roster | None = None

    def roster(self, fleet: Fleet) -> Roster:
        """Return the roster of a fleet as it is now. Cost: O(what changed since the last call)."""
        if self._roster is None or self._fleet is not fleet:
            self._fleet, self._roster = fleet, Roster(fleet)
        self._roster.refresh()
        return self._roster

    def list(self, fleet: Fleet, heard: LastHeard, query: NodeQuery) -> NodeList:
        """Choose the nodes of a page. Cost: O(page), and O(nodes) in C where a filter is wide."""
        ids, token = self.roster(fleet).page(
            size=query.page.size,
            after=query.page.after,
            provider=query.provider,
            region=query.region,
            pool=query.pool,
            status=query.status,
        )
        for fragments in (self.json, self.proto):
            fragments.keep_only(fleet.nodes)
        nodes = [fleet.nodes[node_id] for node_id in ids]
        return NodeList(self, nodes, heard.microseconds(ids), token)

    async def prepare(self, answer: NodeList, ctx: object) -> None:
        """Make the fragments that an answer lacks, and let others have their turn in between."""
        fragments: Fragments = self.json if _wants_json(ctx) else self.proto
        if len(answer.nodes) <= SLICE:
            return
        for start in range(0, len(answer.nodes), SLICE):
            made = fragments.made
            for node in answer.nodes[start : start + SLICE]:
                fragments.of(node)
            if fragments.made > made:
                await asyncio.sleep(0)


def _wants_json(ctx: object) -> bool:
    """Whether a caller speaks JSON."""
    if not isinstance(ctx, RequestContext):
        return False
    return "json" in ctx.request_headers.get("content-type", "")
