"""Docker's engine on trial."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import ClassVar

from clouds.faults import MANY, NODES, Fault, Machine, Stand, counted, pool_of, quick
from doubles.docker_engine import Container, DockerEngine
from doubles.docker_engine import Fault as Trouble
from navarch.providers.base import FLEET_LABEL, INSTANCE_LABEL, Provider
from navarch.providers.docker import ContainerType, DockerProvider, DockerSettings
from navarch.providers.docker.answers import MANAGED_BY

CREATE = "POST /containers/create"
START = "POST /containers/.*/start"
LIST = "GET /containers/json"
STRANGERS = "of-somebody-else"


class Books(dict[str, Container]):
    """The engine's containers, with a count of all of ours that there ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()

    def __setitem__(self, key: str, container: Container) -> None:
        if container.labels.get(FLEET_LABEL) != STRANGERS:
            self.ids.add(key)
        super().__setitem__(key, container)


class DockerStand(Stand):
    """An engine."""

    title = "Docker"
    pool = pool_of(instance_type="node")
    not_applicable: ClassVar = MappingProxyType(
        {
            Fault.QUOTA: "nobody counts what is lent or made there",
            Fault.LAGGING_LIST: "a list asks those who have it, and nothing in between lags",
        }
    )

    def __init__(self, engine: DockerEngine, host: str) -> None:
        self.engine = engine
        self._books = engine.containers = Books()
        self._lists = [0]
        self._settings = DockerSettings(
            image="node:1",
            types={"node": ContainerType()},
            host=host,
            max_containers=NODES + 1,
        )

    def provider(self, list_lag: timedelta) -> Provider:
        return counted(quick(DockerProvider(self._settings), list_lag), self._lists)

    def begin(self, fault: Fault) -> None:
        faults = self.engine.faults
        match fault:
            case Fault.STOCK_OUT:
                for number in range(NODES + 1):
                    labels = {MANAGED_BY[0]: MANAGED_BY[1], FLEET_LABEL: STRANGERS}
                    self.engine.add(f"{STRANGERS}-{number}", labels)
            case Fault.THROTTLED:
                faults.append(Trouble(CREATE, status=429, times=MANY))
            case Fault.TROUBLE:
                faults.append(Trouble(CREATE, status=503, times=MANY))
                faults.append(Trouble(LIST, times=MANY))
            case Fault.LOST_ANSWERS:
                faults.append(Trouble(START, acts=True, silence="hang up", times=NODES))
            case Fault.SLOW_BOOT:
                self.booting = True
            case Fault.REVOKED:
                faults.append(Trouble("", status=403, times=MANY))
            case Fault.RESTART:
                faults.append(Trouble(START, acts=True, silence="hang"))
            case _:
                raise AssertionError(f"{fault} is not to begin here")

    def end(self) -> None:
        self.booting = False
        self.engine.heal()
        for each in list(self._books.values()):
            if each.labels.get(FLEET_LABEL) == STRANGERS:
                del self._books[each.id]

    def delete_by_hand(self, machine: Machine) -> None:
        del self._books[machine.ref]

    @property
    def machines(self) -> list[Machine]:
        """Every container of ours that was started: until then it is a plan of one."""
        return [
            Machine(each.labels[INSTANCE_LABEL], each.id)
            for each in list(self._books.values())
            if INSTANCE_LABEL in each.labels and each.state != "created"
        ]

    @property
    def made(self) -> int:
        return len(self._books.ids)

    @property
    def lists(self) -> int:
        return self._lists[0]


@contextmanager
def docker_stand() -> Iterator[Stand]:
    """Run an engine's double."""
    engine = DockerEngine()
    with TemporaryDirectory() as folder, engine.serving(Path(folder)) as host:
        yield DockerStand(engine, host)
