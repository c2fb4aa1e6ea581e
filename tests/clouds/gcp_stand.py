"""Compute Engine on trial."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clouds.faults import MANY, NODES, Fault, Hurry, Machine, Stand, pool_of, quick
from doubles.compute_engine import ComputeEngine, compute_engine
from doubles.compute_engine_faults import Fail, HangUp, Refuse, Silence
from doubles.compute_engine_identity import service_account_file
from doubles.compute_engine_rules import PROJECT, Json
from doubles.gcp_bench import STOCK_OUT, ZONE
from navarch.providers.base import Provider
from navarch.providers.gcp import GcpProvider, GcpSettings

HURRY = 20
"""How many times faster the provider's own waits pass: its looks at an operation are seconds
apart, and the double's operations end when they are looked at."""


class Books(dict[tuple[str, str], Json]):
    """The double's machines, with a count of all that there ever were.

    The double lists what `items` has, and looks a single machine up by its key.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.lags = False
        """Whether lists leave out the machines that are made from now on."""
        self.hidden: set[tuple[str, str]] = set()

    def items(self) -> Any:  # noqa: ANN401 - a view cannot leave anything out
        """Show the machines that lists show."""
        return [(key, each) for key, each in super().items() if key not in self.hidden]

    def __setitem__(self, key: tuple[str, str], machine: Json) -> None:
        self.ids.add(machine["id"])
        if self.lags:
            self.hidden.add(key)
        super().__setitem__(key, machine)

    def pop(self, key: tuple[str, str], default: Any = None) -> Any:  # noqa: ANN401 - as inherited
        """Take a machine away; one that there was no room for was none."""
        machine = self.get(key)
        if machine is not None and machine["status"] == "PROVISIONING":
            self.ids.discard(machine["id"])
        return super().pop(key, default)


class GcpStand(Stand):
    """Compute Engine."""

    title = "Google Cloud"
    pool = pool_of(instance_type="a3-highgpu-8g", zones=(ZONE,))

    follow = timedelta(seconds=2)
    """For how long a launch looks for what becomes of it."""

    def __init__(self, double: ComputeEngine, key_file: Path) -> None:
        self.double = double
        self._books = double.instances = Books()
        self._key_file = key_file

    def provider(self, list_lag: timedelta) -> Provider:
        time = Hurry(HURRY)
        settings = GcpSettings(
            project=PROJECT,
            image="projects/images/global/images/family/gpu",
            credentials_file=str(self._key_file),
            url=self.double.url,
            follow=self.follow,
        )
        return quick(GcpProvider(settings, now=time.now, sleep=time.sleep), list_lag)

    def begin(self, fault: Fault) -> None:
        double = self.double
        match fault:
            case Fault.STOCK_OUT:
                double.script("insert", *[Fail(STOCK_OUT)] * MANY)
            case Fault.QUOTA:
                double.script("insert", *[Refuse(403, "quotaExceeded")] * MANY)
            case Fault.THROTTLED:
                late = Refuse(403, "rateLimitExceeded", headers={"retry-after": "1"})
                double.script("insert", *[late] * MANY)
            case Fault.TROUBLE:
                double.script("insert", *[Refuse(500, "internalError")] * MANY)
                double.script("list", *[Refuse(503, "backendError")] * MANY)
            case Fault.LOST_ANSWERS:
                # The provider asks once more by itself, with the request id of the first time.
                double.script("insert", *[HangUp(is_done=True)] * 2 * NODES)
            case Fault.LAGGING_LIST:
                self._books.lags = True
            case Fault.SLOW_BOOT:
                double.operation_looks = -1
            case Fault.REVOKED:
                double.identity.is_refused = True
            case Fault.RESTART:
                double.script("insert", Silence())
            case Fault.BY_HAND:
                raise AssertionError("it begins with `delete_by_hand`")

    def end(self) -> None:
        self.double.unscript()
        self._books.lags = False
        self._books.hidden.clear()
        self.double.identity.is_refused = False
        self.double.operation_looks = 1
        self.double.finish()

    def delete_by_hand(self, machine: Machine) -> None:
        self.double.delete_by_hand(machine.name)

    @property
    def machines(self) -> list[Machine]:
        keys = self.double.instances.copy()
        return [Machine(name, f"{zone}/{name}") for zone, name in keys]

    @property
    def made(self) -> int:
        return len(self._books.ids)

    @property
    def lists(self) -> int:
        return sum(each.path.endswith("/aggregated/instances") for each in self.double.asked.copy())

    @property
    def running(self) -> list[str]:
        machines = self.double.instances.copy()
        return [name for (_, name), each in machines.items() if each["status"] == "RUNNING"]


@contextmanager
def gcp_stand() -> Iterator[GcpStand]:
    """Run Compute Engine's double."""
    with TemporaryDirectory() as folder, compute_engine() as double:
        yield GcpStand(double, service_account_file(Path(folder), double.url))
