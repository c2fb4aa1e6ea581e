"""What an examination of the inventory shows: which machines can be lent, and whether they suffice.

That a machine answers says that it was reached, that its host key is the pinned one, that our key
was let in and, where `SshSettings.sudo` is set, that sudo asked for no password.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from navarch.providers.base import Finding, Wanted
from navarch.providers.ssh.lease import State
from navarch.providers.ssh.looking import View
from navarch.providers.ssh.remote import Told
from navarch.providers.ssh.settings import SshMachine

PYTHON_MIN: Final = (3, 11)
"""What an agent that is installed as a package needs; one of another kind brings its own."""


def examined(view: View, wanted: Sequence[Wanted]) -> list[Finding]:
    """Say of each machine what it told, by name, and of each type whether there are enough."""
    found = [_machine(view, key) for key in sorted(view.machines)]
    return [*found, *_types(view, wanted)]


def _machine(view: View, key: str) -> Finding:
    what = f"machine {key}"
    if key in view.silent:
        return what, False, str(view.silent[key])
    sight, told = view.sights[key], view.told[key]
    holder = f" {sight.lease.name}" if sight.lease is not None else ""
    said = f"{sight.state}{holder}"
    if not told.is_writable:
        return what, False, f"{said}; leases cannot be written there as uid {told.uid}"
    return what, True, "; ".join([said, *_doubts(told)])


def _doubts(told: Told) -> Iterator[str]:
    """Name what may still stop an agent, without being wrong in itself."""
    needs = ".".join(map(str, PYTHON_MIN))
    if told.python:
        version = ".".join(map(str, told.python))
        yield f"python {version}" + ("" if told.python >= PYTHON_MIN else f", below {needs}")
    else:
        yield f"no python3: an agent that is a package needs {needs}"
    if told.uid:
        yield f"commands run as uid {told.uid}, not as root"


def _types(view: View, wanted: Iterable[Wanted]) -> Iterator[Finding]:
    """Compare each type with what pools want of it; a place counts apart from others."""
    most: dict[tuple[str, str, str], dict[str, int]] = {}
    for each in wanted:
        most.setdefault((each.instance_type, each.region, each.zone), {})[each.pool] = each.nodes
    for (kind, region, zone), pools in most.items():
        fits = [each for each in view.machines.values() if _fits(each, kind, region, zone)]
        free = sum(_is_free(view, each.id) for each in fits)
        place = f" in {zone or region}" if zone or region else ""
        nodes = sum(pools.values())
        said = f"{len(fits)} machines{place}, {free} free, {nodes} could be wanted by "
        yield f"machines for {kind}", len(fits) >= nodes, said + ", ".join(pools)


def _fits(machine: SshMachine, kind: str, region: str, zone: str) -> bool:
    place = region in {"", machine.region} and zone in {"", machine.zone}
    return machine.instance_type == kind and place


def _is_free(view: View, key: str) -> bool:
    return key in view.sights and view.sights[key].state in {State.FREE, State.STALE}
