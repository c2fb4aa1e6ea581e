"""Servers that take heartbeats, for `bench/heartbeat.py` to compare with.

    python bench/peers/heartbeat_servers.py NAME PORT

Each keeps the newest sample of a node in a dictionary, and nothing else.
"""

# ruff: noqa: ANN401, N815, PLC0415 - others' interfaces have their own names and types, and each
# server imports only what it is made of

from __future__ import annotations

import sys
from typing import Any

from navarch.wire.generated import navarch_pb2 as pb


def serve(name: str, port: int) -> None:
    """Be one of the peers until a signal."""
    import uvicorn

    application = {"connect": connect, "fastapi": fastapi, "null": null}[name]()
    uvicorn.run(
        application,
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
        server_header=False,
    )


def connect() -> Any:
    """Return the Connect library with a service that keeps what it is told."""
    from navarch.wire.generated.navarch_connect import (
        ControlPlaneService,
        ControlPlaneServiceASGIApplication,
    )

    newest: dict[str, list[tuple[int, int, int, float, int]]] = {}

    class Service(ControlPlaneService):
        async def heartbeat(self, request: pb.HeartbeatRequest, ctx: Any, /) -> Any:
            newest[request.node_id] = [
                (
                    gpu.gpu_index,
                    gpu.temperature,
                    gpu.power_usage,
                    gpu.utilization_percent,
                    gpu.memory_used,
                )
                for gpu in request.metrics.gpu_metrics
            ]
            return pb.HeartbeatResponse(acknowledged=True, heartbeat_interval_seconds=30)

    return ControlPlaneServiceASGIApplication(Service())


def fastapi() -> Any:
    """Return FastAPI with pydantic's models of a heartbeat."""
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Gpu(BaseModel):
        gpuIndex: int = 0
        temperature: int = 0
        powerUsage: int = 0
        utilizationPercent: float = 0.0
        memoryUsed: int = 0

    class Metrics(BaseModel):
        cpuUsagePercent: float = 0.0
        memoryUsagePercent: float = 0.0
        gpuMetrics: list[Gpu] = []

    class Heartbeat(BaseModel):
        nodeId: str
        timestamp: str | None = None
        metrics: Metrics | None = None

    class Taken(BaseModel):
        acknowledged: bool
        heartbeatIntervalSeconds: int

    newest: dict[str, Metrics | None] = {}
    application = FastAPI()

    async def take(heartbeat: Heartbeat) -> Taken:
        newest[heartbeat.nodeId] = heartbeat.metrics
        return Taken(acknowledged=True, heartbeatIntervalSeconds=30)

    take.__annotations__ = {"heartbeat": Heartbeat, "return": Taken}
    application.post("/heartbeat")(take)
    return application


def null() -> Any:
    """Return an application that reads a body and answers nothing."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        more = True
        while more:
            more = (await receive()).get("more_body", False)
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return application


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
