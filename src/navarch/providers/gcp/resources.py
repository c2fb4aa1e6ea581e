"""What is read of Google's JSON, and the machines it describes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Final

from msgspec import Meta, Struct, field

from navarch.providers.base import Instance, InstanceStatus, ProvisionRequest
from navarch.providers.gcp import labels as labelling
from navarch.providers.gcp.settings import region_of

COUNT = Annotated[int, Meta(ge=0, le=1_000_000_000)]

GPUS_IN_NAME: Final = re.compile(r"[a-z0-9]+-[a-z]+-([0-9]{1,2})g(?:-[a-z]+)?")
"""The families A2, A3 and A4 say in their names how many GPUs they have."""

STATUS: Final[Mapping[str, InstanceStatus]] = {
    "PENDING": InstanceStatus.PROVISIONING,
    "PROVISIONING": InstanceStatus.PROVISIONING,
    "STAGING": InstanceStatus.PROVISIONING,
    "RUNNING": InstanceStatus.RUNNING,
    "PENDING_STOP": InstanceStatus.TERMINATING,
    "STOPPING": InstanceStatus.TERMINATING,
    "DEPROVISIONING": InstanceStatus.TERMINATING,
    "STOPPED": InstanceStatus.PROVISIONING,
    "TERMINATED": InstanceStatus.PROVISIONING,
    "SUSPENDING": InstanceStatus.PROVISIONING,
    "SUSPENDED": InstanceStatus.PROVISIONING,
    "REPAIRING": InstanceStatus.PROVISIONING,
}
"""Google's words in ours ("Compute Engine instance lifecycle", cloud.google.com, read November
2026). What is stopped or suspended exists, costs money and can be started: to us it is
``provisioning``, so that it is missed, condemned and deleted, and no corpse is forgotten. Google's
``TERMINATED`` means stopped; what is deleted is not listed at all. A word that is not here is
``running``: what is listed exists."""

WITH_CAPACITY: Final = frozenset({"STAGING", "RUNNING"})
"""Where the resources of a new machine have been acquired: there will be no stock-out."""

ENDING: Final = frozenset(
    [
        *("PENDING_STOP", "STOPPING", "DEPROVISIONING", "TERMINATED", "STOPPED"),
        *("SUSPENDING", "SUSPENDED"),
    ]
)
"""Where a machine that was made before is not the one that somebody asks for again."""


class Fault(Struct):
    """One reason of a failed operation."""

    code: str = ""
    message: str = ""


class Faults(Struct):
    """Why an operation has failed."""

    errors: list[Fault] = field(default_factory=list)


class Operation(Struct, rename="camel"):
    """A change that Google has begun."""

    name: str
    status: str
    """PENDING, RUNNING or DONE."""
    error: Faults | None = None
    http_error_status_code: int | None = None
    target_link: str = ""
    operation_type: str = ""

    @property
    def is_done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.status == "DONE"

    @property
    def faults(self) -> Sequence[Fault]:
        """Why it has failed; empty where it has not."""
        if self.error is not None and self.error.errors:
            return self.error.errors
        status = self.http_error_status_code or 0
        return [Fault(code=f"HTTP_{status}")] if status >= HTTPStatus.BAD_REQUEST else ()


class AccessConfig(Struct, rename="camel"):
    """A public address of an interface."""

    nat_ip: str = field(name="natIP", default="")


class Nic(Struct, rename="camel"):
    """A network interface."""

    network_ip: str = field(name="networkIP", default="")
    access_configs: list[AccessConfig] = field(default_factory=list)


class GuestAccelerators(Struct, rename="camel"):
    """GPUs of a machine."""

    accelerator_type: str = ""
    accelerator_count: COUNT = 0


class Machine(Struct, rename="camel"):
    """An instance, in Google's words."""

    name: str
    zone: str = ""
    """A path that ends with it."""
    status: str = ""
    machine_type: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    network_interfaces: list[Nic] = field(default_factory=list)
    guest_accelerators: list[GuestAccelerators] = field(default_factory=list)


class SerialOutput(Struct):
    """What a machine wrote to a serial port."""

    contents: str = ""


FIELDS: Final = (
    "name,zone,status,machineType,labels,networkInterfaces(networkIP,accessConfigs/natIP),"
    "guestAccelerators"
)
"""What of an instance is asked for; above all, not its metadata, which hold start-up scripts."""


class TypeAccelerators(Struct, rename="camel"):
    """GPUs that come with a type."""

    guest_accelerator_type: str = ""
    guest_accelerator_count: COUNT = 0


class MachineType(Struct, rename="camel"):
    """A type, in Google's words, as one zone sells it."""

    name: str
    guest_cpus: COUNT = 0
    memory_mb: COUNT = 0
    accelerators: list[TypeAccelerators] = field(default_factory=list)


class Warned(Struct):
    """Something that an answer leaves out, or wants noticed."""

    code: str = ""
    message: str = ""


class Scope(Struct, rename="camel"):
    """What an aggregated list has of one zone; one of the two lists, or none."""

    instances: list[Machine] = field(default_factory=list)
    machine_types: list[MachineType] = field(default_factory=list)
    warning: Warned | None = None


class Page(Struct, rename="camel"):
    """A page of an aggregated list, by ``zones/ZONE``."""

    items: dict[str, Scope] = field(default_factory=dict)
    next_page_token: str = ""
    unreachables: list[str] = field(default_factory=list)
    warning: Warned | None = None

    def warnings(self) -> Iterator[Warned]:
        """Give what it says of itself and of its zones."""
        every = [self.warning, *(scope.warning for scope in self.items.values())]
        return (warning for warning in every if warning is not None)


class Operations(Struct, rename="camel"):
    """A page of one zone's operations."""

    items: list[Operation] = field(default_factory=list)
    next_page_token: str = ""


def last(path: str) -> str:
    """Return the name at the end of a path or address.

    >>> last("https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a")
    'us-central1-a'
    """
    return path.rpartition("/")[2]


def ref(zone: str, name: str) -> str:
    """Name a machine as `Provider.terminate` takes it: names are unique in a zone only."""
    return f"{zone}/{name}"


def instance_of(machine: Machine, provider: str) -> Instance:
    """Say what a machine is in the words of the provider contract."""
    zone = last(machine.zone)
    attached = machine.guest_accelerators[0] if machine.guest_accelerators else None
    kind = last(machine.machine_type)
    nic = machine.network_interfaces[0] if machine.network_interfaces else Nic()
    gpus = sum(each.accelerator_count for each in machine.guest_accelerators)
    if not gpus and (says := GPUS_IN_NAME.fullmatch(kind)):
        gpus = int(says[1])
    gpu_type = last(attached.accelerator_type) if attached else ""
    if attached and kind.startswith("n1-"):
        kind = f"{kind}+{gpu_type}:{attached.accelerator_count}"
    return Instance(
        id=ref(zone, machine.name),
        provider=provider,
        name=machine.name,
        region=region_of(zone),
        zone=zone,
        instance_type=kind,
        status=STATUS.get(machine.status, InstanceStatus.RUNNING),
        public_ip=nic.access_configs[0].nat_ip if nic.access_configs else "",
        private_ip=nic.network_ip,
        gpu_count=gpus,
        gpu_type=gpu_type,
        labels=labelling.decoded(machine.labels),
    )


def promised(request: ProvisionRequest, zone: str, provider: str) -> Instance:
    """Describe a machine that is being made and has not been seen yet."""
    return Instance(
        id=ref(zone, request.name),
        provider=provider,
        name=request.name,
        region=region_of(zone),
        zone=zone,
        instance_type=request.instance_type,
        status=InstanceStatus.PROVISIONING,
        labels=dict(request.labels),
    )
