"""Requests that the quick path may answer, and pieces of them."""

from __future__ import annotations

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from navarch.wire.generated import navarch_pb2 as pb
from wire.hot_twins import BINARY, PATH, RELAY


def gpu(**changes: float) -> pb.GPUMetrics:
    values: dict[str, Any] = {
        "gpu_index": 3,
        "temperature": 61,
        "power_usage": 402,
        "utilization_percent": 37.5,
        "memory_used": 5 * 2**30,
    }
    return pb.GPUMetrics(**{**values, **changes})


def heartbeat(
    node_id: str = "n1",
    *gpus: pb.GPUMetrics,
    metrics: pb.NodeMetrics | None = None,
    timestamp: Timestamp | None = None,
    serving: pb.NodeServing | None = None,
    memory: float = 50.0,
) -> pb.HeartbeatRequest:
    whole = pb.NodeMetrics(
        cpu_usage_percent=12.5,
        memory_usage_percent=memory,
        gpu_metrics=gpus or [gpu(gpu_index=index) for index in range(8)],
    )
    return pb.HeartbeatRequest(
        node_id=node_id,
        timestamp=timestamp or Timestamp(seconds=1_790_000_000, nanos=123_000_000),
        metrics=whole if metrics is None else metrics,
        serving=serving,
    )


def raw(
    body: bytes,
    method: str = "Heartbeat",
    *more: str,
    form: str = BINARY,
    length: bool = True,
    version: str = "1.1",
) -> bytes:
    """Write a request as bytes."""
    lines = [
        f"POST {PATH}{method} HTTP/{version}",
        "Host: navarch",
        f"Content-Type: {form}",
        f"Authorization: Bearer {RELAY}",
        *([f"Content-Length: {len(body)}"] if length else []),
        *more,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def batch(*heartbeats: pb.HeartbeatRequest) -> pb.HeartbeatBatchRequest:
    return pb.HeartbeatBatchRequest(heartbeats=heartbeats)
