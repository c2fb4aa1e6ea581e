"""Nodes as they are written in answers, made once and kept while a node stays the same.

What a node says of itself changes seldom; when it was heard last changes all the time. So what is
kept of a node is what stands in front of its last heartbeat, and what stands behind. A node is the
same while its record is the same object: records are frozen, and each change makes a new one.

The bytes are those of the ordinary codecs (`answers.node_info` written by protobuf, or by
`asgi.JsonCodec`), which the tests hold them to; nothing else may decide what a node looks like.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Struct

from navarch.core.model.gpu import GPU
from navarch.core.model.node import Node
from navarch.wire import answers, words
from navarch.wire.generated import navarch_pb2 as pb

BYTES_MAX: Final = 256 * 1024 * 1024
"""What the fragments of one form may take. A node of eight GPUs takes 2.2 KB in JSON."""
OVERHEAD: Final = 250
"""Bytes that an entry takes beside its text: two objects, a tuple and a place in a dictionary."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = 1_000_000


class Fragments(ABC):
    """The fragments of one form, by node.

    A full cache takes no more, and what it holds stays: whoever pages through more nodes than fit
    would otherwise throw out each page just before it is wanted again.
    """

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        """Keep at most so many bytes."""
        self.bytes = 0
        """What is kept, by count of its parts."""
        self.made = 0
        """How many fragments were made since the start."""
        self._bytes_max = bytes_max
        self._kept: dict[str, tuple[Node, bytes, bytes]] = {}

    def __len__(self) -> int:
        """How many nodes have theirs."""
        return len(self._kept)

    def of(self, node: Node) -> tuple[Node, bytes, bytes]:
        """Return what is written in front of a node's last heartbeat, and what behind."""
        kept = self._kept.get(node.id)
        return kept if kept is not None and kept[0] is node else self._make(node, kept)

    def keep_only(self, nodes: Mapping[str, Node]) -> None:
        """Forget the nodes that are none of these, once there must be some. Cost: mostly O(1)."""
        if len(self._kept) > len(nodes):
            for node_id in self._kept.keys() - nodes.keys():
                _, before, behind = self._kept.pop(node_id)
                self.bytes -= len(before) + len(behind) + OVERHEAD

    def clear(self) -> None:
        """Forget all nodes."""
        self._kept.clear()
        self.bytes = 0

    @abstractmethod
    def written(
        self, nodes: Sequence[Node], heard: Sequence[int | None], next_page_token: str
    ) -> bytes:
        """Write the answer to ListNodes.

        `heard` has for each node when it was heard last, in microseconds since 1970; None: never.
        """

    @abstractmethod
    def _parts(self, node: Node) -> tuple[bytes, bytes]: ...

    def _make(
        self, node: Node, kept: tuple[Node, bytes, bytes] | None
    ) -> tuple[Node, bytes, bytes]:
        before, behind = self._parts(node)
        self.made += 1
        size = len(before) + len(behind) + OVERHEAD
        if kept is not None:
            del self._kept[node.id]
            self.bytes -= len(kept[1]) + len(kept[2]) + OVERHEAD
        made = (node, before, behind)
        if self.bytes + size <= self._bytes_max:
            self._kept[node.id] = made
            self.bytes += size
        return made


class JsonFragments(Fragments):
    """Nodes in JSON."""

    def written(
        self, nodes: Sequence[Node], heard: Sequence[int | None], next_page_token: str
    ) -> bytes:
        """Write the answer in JSON."""
        if not nodes:
            return b"{}"
        parts: list[bytes] = []
        between = b'{"nodes":['
        for (_, before, behind), beat in zip(map(self.of, nodes), _json_beats(heard), strict=True):
            parts += (between, before, beat, behind)
            between = b","
        parts.append(b"]")
        if next_page_token:
            parts.append(b',"nextPageToken":' + _json.encode(next_page_token))
        parts.append(b"}")
        return b"".join(parts)

    def _parts(self, node: Node) -> tuple[bytes, bytes]:
        before = _json.encode(
            _Front(
                node_id=node.id,
                provider=node.provider,
                region=node.region,
                zone=node.zone,
                instance_type=node.instance_type,
                status=_STATUS[node.status],
                health_status=_HEALTH[node.health],
            )
        )
        metadata = node.metadata
        behind = _json.encode(
            _Back(
                gpus=[_json_gpu(gpu) for gpu in node.gpus],
                metadata=_Metadata(
                    hostname=metadata.hostname,
                    internal_ip=metadata.internal_ip,
                    external_ip=metadata.external_ip,
                    kernel_version=metadata.kernel_version,
                    labels=dict(sorted(metadata.labels.items())),
                ),
                pool=node.pool,
                phase=node.phase.value,
                intent=node.intent.value,
                contact=node.contact.value,
                because=node.because,
                instance_id=node.instance_id,
            )
        )
        return before[:-1], b"," + behind[1:]


class ProtoFragments(Fragments):
    """Nodes in protobuf's binary form."""

    def written(
        self, nodes: Sequence[Node], heard: Sequence[int | None], next_page_token: str
    ) -> bytes:
        """Write the answer as protobuf does."""
        parts: list[bytes] = []
        for (_, before, behind), beat in zip(map(self.of, nodes), _proto_beats(heard), strict=True):
            length = len(before) + len(beat) + len(behind)
            parts += (_NODES, varint(length), before, beat, behind)
        if next_page_token:
            parts.append(pb.ListNodesResponse(next_page_token=next_page_token).SerializeToString())
        return b"".join(parts)

    def _parts(self, node: Node) -> tuple[bytes, bytes]:
        whole = answers.node_info(node, None)
        behind = pb.NodeInfo(
            gpus=whole.gpus,
            metadata=whole.metadata,
            pool=whole.pool,
            phase=whole.phase,
            intent=whole.intent,
            contact=whole.contact,
            because=whole.because,
            instance_id=whole.instance_id,
        ).SerializeToString()
        return whole.SerializeToString()[: -len(behind)], behind


# --- JSON ------------------------------------------------------------------------------------

_json = msgspec.json.Encoder()
_STATUS: Final = {word: pb.NodeStatus.Name(number) for word, number in words.NODE_STATUS.items()}
_HEALTH: Final = {
    word: pb.HealthStatus.Name(number) if number else "" for word, number in words.HEALTH.items()
}
"""The names of the verdicts; that of zero is never written."""


class _Front(Struct, omit_defaults=True, rename="camel", gc=False):
    """The fields of `NodeInfo` up to its last heartbeat, in their order."""

    node_id: str = ""
    provider: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    status: str = ""
    health_status: str = ""


class _Gpu(Struct, omit_defaults=True, rename="camel", gc=False):
    """A `GPUInfo`."""

    index: int = 0
    uuid: str = ""
    name: str = ""
    pci_bus_id: str = ""
    memory_total: str = ""
    """64 bits are text in the protobuf JSON mapping."""
    driver_version: str = ""
    cuda_version: str = ""


class _Metadata(Struct, omit_defaults=True, rename="camel", gc=False):
    """A `NodeMetadata`."""

    hostname: str = ""
    internal_ip: str = ""
    external_ip: str = ""
    kernel_version: str = ""
    labels: dict[str, str] = {}


class _Back(Struct, omit_defaults=True, rename="camel", gc=False, kw_only=True):
    """The fields of `NodeInfo` behind its last heartbeat, in their order."""

    gpus: list[_Gpu] = []
    metadata: _Metadata
    """Written also when it is empty: the message is there."""
    pool: str = ""
    phase: str = ""
    intent: str = ""
    contact: str = ""
    because: str = ""
    instance_id: str = ""


def _json_gpu(gpu: GPU) -> _Gpu:
    return _Gpu(
        gpu.index,
        gpu.uuid,
        gpu.name,
        gpu.pci_bus_id,
        str(gpu.memory_total) if gpu.memory_total else "",
        gpu.driver_version,
        gpu.cuda_version,
    )


def _json_beats(heard: Sequence[int | None]) -> Iterator[bytes]:
    """Write each last heartbeat as a field in the middle; nothing where there was none.

    RFC 3339 with as many groups of three digits as there must be, as protobuf writes it.
    """
    seconds_of: dict[int, bytes] = {}
    for moment in heard:
        if moment is None:
            yield b""
            continue
        seconds, us = divmod(moment, _US)
        told = seconds_of.get(seconds)
        if told is None:
            # Not strftime, which writes years before 1000 in fewer than four digits.
            at = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
            told = seconds_of[seconds] = b',"lastHeartbeat":"' + at.encode()
        if not us:
            yield told + b'Z"'
        elif us % 1000:
            yield b'%b.%06dZ"' % (told, us)
        else:
            yield b'%b.%03dZ"' % (told, us // 1000)


# --- protobuf --------------------------------------------------------------------------------

_NODES: Final = bytes([pb.ListNodesResponse.NODES_FIELD_NUMBER << 3 | 2])
_HEARD: Final = pb.NodeInfo.LAST_HEARTBEAT_FIELD_NUMBER << 3 | 2


def _proto_beats(heard: Sequence[int | None]) -> Iterator[bytes]:
    """Write each last heartbeat as a field; nothing where there was none."""
    written: dict[int, bytes] = {}
    for moment in heard:
        if moment is None:
            yield b""
            continue
        told = written.get(moment)
        if told is None:
            seconds, us = divmod(moment, _US)
            stamp = Timestamp(seconds=seconds, nanos=us * 1000).SerializeToString()
            told = written[moment] = bytes((_HEARD, len(stamp))) + stamp
        yield told


def varint(number: int) -> bytes:
    """Write a length as protobuf does."""
    if number < 1 << 14:
        return _SHORT[number]
    groups = bytearray()
    while number >= 1 << 7:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


_SHORT: Final = tuple(
    bytes([number]) if number < 1 << 7 else bytes([number & 0x7F | 0x80, number >> 7])
    for number in range(1 << 14)
)
