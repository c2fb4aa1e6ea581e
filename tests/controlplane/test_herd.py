"""A herd in virtual time: everybody registers at one moment, where few have room at once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import timedelta
from typing import Any

from navarch.agent import calls, turns
from navarch.agent.duties import Duties
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.inbox import Bounds
from navarch.controlplane.server_config import ServerConfig
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandState, CommandType
from navarch.core.settings import Settings
from navarch.testing import VirtualClock, VirtualLoop
from navarch.wire.admission import Rates
from navarch.wire.asgi import Application
from pools import MONDAY

AGENTS = 2_000


async def register(
    application: Application, request: msg.RegisterNode
) -> tuple[int, dict[str, Any], timedelta | None]:
    """Make the call of an agent; return the status, the answer and the advice."""
    method, body = calls.encode(request)
    parts = [json.dumps(body).encode()]
    sent: list[Any] = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/navarch.ControlPlaneService/{method}",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json")],
        "http_version": "1.1",
    }

    async def receive() -> Any:  # noqa: ANN401 - an event of ASGI
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        return await asyncio.get_running_loop().create_future()

    async def send(event: Any) -> None:  # noqa: ANN401 - an event of ASGI
        sent.append(event)

    await application(scope, receive, send)
    advice = dict(sent[0]["headers"]).get(b"retry-after")
    told = json.loads(sent[1]["body"])
    return sent[0]["status"], told, timedelta(seconds=int(advice)) if advice else None


def test_a_herd_registers_with_nothing_lost_and_an_operator_does_not_wait() -> None:
    loop = VirtualLoop()
    clock = VirtualClock(loop, MONDAY)
    statuses: Counter[int] = Counter()
    seconds: Counter[int] = Counter()
    operated: list[float] = []

    async def live(application: Application, number: int) -> None:
        """Be an agent until it is registered."""
        request = msg.RegisterNode(f"n{number}", "own")
        spread = number * 0.618034 % 1.0
        duties = Duties(request, start=clock.now(), spread=spread)
        given: turns.Input = turns.Tick()
        while True:
            outputs = duties.step(given, clock.now())
            if duties.registered:
                return
            given = turns.Tick()
            sends = [each for each in outputs if isinstance(each, turns.Send)]
            if sends:
                seconds[int(loop.seconds)] += 1
                status, told, advice = await register(application, request)
                statuses[status] += 1
                if status == 200:
                    given = calls.decode(request, told, call=sends[0].call)
                else:
                    given = turns.CallFailed(sends[0].call, told["code"], told["message"], advice)
            else:
                if any(isinstance(each, turns.ReadSensors) for each in outputs):
                    duties.step(turns.SensorsRead(), clock.now())
                wait = (duties.next_due() - clock.now()).total_seconds()
                await asyncio.sleep(max(0.05, wait))

    async def operate(plane: ControlPlane) -> None:
        """Issue commands all the while."""
        await plane.runtime.ask(msg.RegisterNode("probe", "own"))
        while True:
            await asyncio.sleep(0.1)
            began = loop.seconds
            await plane.runtime.ask(msg.IssueCommand("probe", CommandType.CORDON, reason="a test"))
            operated.append(loop.seconds - began)
            for command in plane.runtime.machine.fleet.commands_for("probe"):
                done = msg.AckCommand("probe", command.id, CommandState.SUCCEEDED)
                await plane.runtime.ask(done)

    async def story() -> set[str]:
        config = ServerConfig(
            clock=clock,
            settings=Settings(external_nodes_max=AGENTS + 1),
            bounds=Bounds(registrations=40),
            rates=Rates(costly_at_once=50),
        )
        async with ControlPlane(config) as plane:
            operating = asyncio.create_task(operate(plane))
            application = plane.asgi_app
            await asyncio.gather(*(live(application, number) for number in range(AGENTS)))
            operating.cancel()
            return set(plane.runtime.machine.fleet.nodes)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        nodes = runner.run(story())
    assert nodes == {"probe", *(f"n{number}" for number in range(AGENTS))}
    assert statuses[200] == AGENTS
    assert statuses[429] > AGENTS / 2
    assert set(statuses) == {200, 429}
    assert max(operated, default=0.0) < 1.0
    # Those who were refused come back in the seconds after, and not all in one.
    assert max(count for second, count in seconds.items() if second > 0) <= 0.75 * AGENTS
