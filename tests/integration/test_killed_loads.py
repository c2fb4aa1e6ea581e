"""A real agent that is killed while it loads a model, at any moment, goes on where it was."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from agent.control_plane import Agents, ControlPlane
from doubles.weights_server import WeightsServer, serving_weights
from integration.conftest import until
from navarch.core.model.resources import Model, ModelSpec, ObjectMeta
from navarch.plugins.loaders.fetching import Fetching

FILE_BYTES = 16 << 20
FILES = 9
"""More than two ranges in all: who began anew after each kill would be found out."""
KILLS = 5


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    """A control plane that this process runs."""
    made = ControlPlane()
    yield made
    made.go()


@pytest.fixture
def agents(plane: ControlPlane, tmp_path: Path) -> Iterator[Agents]:
    """Agents of it, over one state folder."""
    made = Agents(plane, tmp_path / "state")
    yield made
    made.end()


@pytest.fixture
def web() -> Iterator[WeightsServer]:
    """A server of weights that counts what it is asked for."""
    noise = hashlib.shake_256(b"weights").digest(FILE_BYTES)
    files = {f"w-{number}.bin": bytes([number]) + noise[1:] for number in range(FILES)}
    listing = json.dumps({"files": [{"path": name} for name in files]}).encode()
    with serving_weights({**files, "manifest.json": listing}) as server:
        server.slow_chunk = 256 << 10
        yield server


def visible(folder: Path) -> list[Path]:
    """The models that programs could be given now."""
    models = folder / "models" / "models"
    return list(models.iterdir()) if models.is_dir() else []


def expect_all(folder: Path, web: WeightsServer) -> None:
    """See that a model is there to the byte."""
    names = {path.name for path in folder.iterdir()}
    assert names == web.files.keys() - {"manifest.json"}
    assert [name for name in names if (folder / name).read_bytes() != web.files[name]] == []


def _over(agent: subprocess.Popen[str], plane: ControlPlane) -> bool:
    return agent.poll() is not None or "c1" in plane.acks


@pytest.mark.parametrize("seed", [1])
def test_a_load_survives_kills_of_its_agent_and_asks_for_little_twice(
    plane: ControlPlane, agents: Agents, web: WeightsServer, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311 - no secret
    model = Model(metadata=ObjectMeta(name="tiny"), spec=ModelSpec(weights_uri=f"{web.url}/"))
    spec = msgspec.json.encode(model).decode()
    plane.issue("c1", "LOAD_MODEL", model="default/tiny", spec=spec, peers="")
    size, allowed, kills = FILES * FILE_BYTES, Fetching().range_bytes, 0
    for _ in range(KILLS):
        agent = agents.start(serving={})
        web.tripwire = (web.sent + dice.randrange(1, 2 * size // KILLS), agent.kill)
        killed_or_done = partial(_over, agent, plane)
        until(killed_or_done, "a kill, or the end")
        if "c1" in plane.acks:
            break
        kills += 1
        for folder in visible(agents.folder):
            expect_all(folder, web)
        assert web.bytes_asked() <= size + kills * allowed
    web.tripwire = None
    agents.start(serving={})
    plane.wait_for(lambda: "c1" in plane.acks)
    assert plane.acks["c1"]["status"] == "COMMAND_STATUS_SUCCEEDED"
    (folder,) = visible(agents.folder)
    expect_all(folder, web)
    assert kills >= 3
    assert web.bytes_asked() <= size + kills * allowed
    assert list((agents.folder / "models" / "parts").iterdir()) == []
