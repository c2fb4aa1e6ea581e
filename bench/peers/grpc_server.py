"""Servers of gRPC that take heartbeats, for `bench/protocols.py` to compare with.

    python bench/peers/grpc_server.py NAME PORT

Each keeps the newest sample of a node in a dictionary, and nothing else.
"""

# ruff: noqa: ANN401, PLC0415 - others' interfaces have their own types, and each server imports
# only what it is made of

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

from navarch.wire.generated import navarch_pb2 as pb

Sample = tuple[int, int, int, float, int]


def sample(request: pb.HeartbeatRequest) -> list[Sample]:
    """Read what a heartbeat says of its GPUs."""
    return [
        (
            gpu.gpu_index,
            gpu.temperature,
            gpu.power_usage,
            gpu.utilization_percent,
            gpu.memory_used,
        )
        for gpu in request.metrics.gpu_metrics
    ]


def aio(port: int) -> None:
    """Be Google's server for asyncio, on uvloop, which is its quickest."""
    import grpc
    import grpc.aio
    import uvloop

    newest: dict[str, list[Sample]] = {}

    async def heartbeat(request: pb.HeartbeatRequest, _context: Any) -> pb.HeartbeatResponse:
        newest[request.node_id] = sample(request)
        return pb.HeartbeatResponse(acknowledged=True, heartbeat_interval_seconds=30)

    async def serve() -> None:
        server = grpc.aio.server()
        method = grpc.unary_unary_rpc_method_handler(
            heartbeat,
            request_deserializer=pb.HeartbeatRequest.FromString,
            response_serializer=pb.HeartbeatResponse.SerializeToString,
        )
        handler = grpc.method_handlers_generic_handler(
            "navarch.ControlPlaneService", {"Heartbeat": method}
        )
        server.add_generic_rpc_handlers((handler,))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


def connect(port: int) -> None:
    """Be the Connect library on uvicorn's HTTP/2, without anything of ours around it."""
    import uvicorn

    from navarch.wire.generated.navarch_connect import (
        ControlPlaneService,
        ControlPlaneServiceASGIApplication,
    )

    newest: dict[str, list[Sample]] = {}

    class Service(ControlPlaneService):
        async def heartbeat(self, request: pb.HeartbeatRequest, ctx: Any, /) -> Any:
            newest[request.node_id] = sample(request)
            return pb.HeartbeatResponse(acknowledged=True, heartbeat_interval_seconds=30)

    uvicorn.run(
        ControlPlaneServiceASGIApplication(Service()),
        port=port,
        loop="uvloop",
        http="zttp",
        http2=True,
        access_log=False,
        log_level="error",
        server_header=False,
    )


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # grpc.aio would end in its own time
    {"aio": aio, "connect": connect}[sys.argv[1]](int(sys.argv[2]))
