"""Machines of one's own on trial: a real sshd, and the shell on each machine."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import ClassVar

import pytest

from clouds.faults import NODES, Fault, Hurry, Machine, Stand, counted, pool_of, quick
from navarch.controlplane.clock import RealClock
from navarch.providers.base import Provider
from navarch.providers.ssh import SshProvider, SshSettings
from providers.ssh.rack import SSHD, Rack

STRANGER = "of-somebody-else"


class SshStand(Stand):
    """Machines of one's own, one more than the pool may have."""

    title = "SSH"
    pool = pool_of(instance_type="contract-test")
    not_applicable: ClassVar = MappingProxyType(
        {
            Fault.QUOTA: "nobody counts what is lent or made there",
            Fault.THROTTLED: "sshd has no word for it: it lets a connection in or does not",
            Fault.LAGGING_LIST: "a list asks those who have it, and nothing in between lags",
        }
    )

    def __init__(self, rack: Rack) -> None:
        self.rack = rack
        self._lists = [0]
        self._names: set[str] = set()
        self._removed = itertools.count()

    def provider(self, list_lag: timedelta) -> Provider:
        settings: SshSettings = self.rack.settings(
            self.rack.count, memory_file=self.rack.root / "memory.json"
        )
        made = SshProvider(settings, now=RealClock().now, sleep=Hurry(20).sleep)
        return counted(quick(made, list_lag), self._lists)

    def begin(self, fault: Fault) -> None:
        rack = self.rack
        match fault:
            case Fault.STOCK_OUT:
                for number in range(rack.count):
                    rack.take(number, STRANGER)
            case Fault.TROUBLE:
                for number in range(rack.count):
                    rack.mute(number)
            case Fault.LOST_ANSWERS:
                for number in range(rack.count):
                    rack.lose(number)
            case Fault.SLOW_BOOT:
                self.booting = True
            case Fault.REVOKED:
                rack.lock_out()
            case Fault.RESTART:
                for number in range(rack.count):
                    rack.hold(number)
            case _:
                raise AssertionError(f"{fault} is not to begin here")

    def end(self) -> None:
        self.booting = False
        self.rack.hear()
        for number in range(self.rack.count):
            if _holder(self.rack.folder(number)) == STRANGER:
                self._remove(number)

    def delete_by_hand(self, machine: Machine) -> None:
        self._note()
        self._remove(int(machine.ref.rpartition("@m")[2]))

    @property
    def machines(self) -> list[Machine]:
        found = []
        for number in range(self.rack.count):
            name = _holder(self.rack.folder(number))
            if name not in {"", STRANGER}:
                found.append(Machine(name, f"{name}@m{number}"))
        return found

    @property
    def made(self) -> int:
        self._note()
        return len(self._names)

    @property
    def lists(self) -> int:
        return self._lists[0]

    def _remove(self, number: int) -> None:
        """Take a machine's leases away at one stroke, whoever looks at them now."""
        away = self.rack.home(number) / f"away-{next(self._removed)}"
        self.rack.folder(number).rename(away)
        shutil.rmtree(away, ignore_errors=True)

    def _note(self) -> None:
        """Note whatever has been lent: what is removed by hand leaves no trace."""
        for number in range(self.rack.count):
            folder = self.rack.folder(number)
            lent = [each.parent.name for each in folder.glob("leases/*/lent")]
            self._names |= {*lent, *(each.name for each in folder.glob("ended/*"))} - {STRANGER}


def _holder(folder: Path) -> str:
    """Say whom a machine is lent; a claim alone is nobody's."""
    try:
        name = (folder / "lease").read_text().split(maxsplit=1)[0]
    except FileNotFoundError:
        return ""
    return name if (folder / "leases" / name / "lent").exists() else ""


@contextmanager
def ssh_stand() -> Iterator[Stand]:
    """Run an sshd."""
    if not Path(SSHD).exists():
        pytest.skip(f"NOT TESTED: there is no {SSHD} (Debian: openssh-server)")
    with TemporaryDirectory() as folder:
        rack = Rack(Path(folder), NODES + 1)
        try:
            yield SshStand(rack)
        finally:
            rack.clean()
            rack.stop()
