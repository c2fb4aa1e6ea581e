"""What Lambda Cloud answers: its shapes, and what its words mean in ours.

From the OpenAPI document 1.8.3 (read November 2026). Only what is used is read, and what the
document calls required is demanded only where nothing can be said without it: a field that goes
missing must not blind us to a whole account.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct, field

from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    ProviderError,
    QuotaExceeded,
    Unauthorized,
    Unavailable,
)
from navarch.peers.endpoint import Answer
from navarch.providers.base import INSTANCE_LABEL, Instance, InstanceStatus, InstanceType
from navarch.providers.lambda_labs import tags

BYTES_PER_GIB: Final = 1 << 30
BYTES_PER_GB: Final = 1_000_000_000

STATUSES: Final[Mapping[str, InstanceStatus]] = MappingProxyType(
    {
        "booting": InstanceStatus.PROVISIONING,
        "active": InstanceStatus.RUNNING,
        "unhealthy": InstanceStatus.RUNNING,
        "terminating": InstanceStatus.TERMINATING,
        "terminated": InstanceStatus.TERMINATED,
        "preempted": InstanceStatus.TERMINATED,
    }
)
"""Lambda's words in ours. An ``unhealthy`` machine exists and costs; health is judged elsewhere.

A word that is not here is read as running, because a machine that is listed exists.
"""

KINDS: Final[Mapping[str, type[ProviderError]]] = MappingProxyType(
    {
        "instance-operations/launch/insufficient-capacity": NoCapacity,
        "instance-operations/launch/file-system-in-wrong-region": InvalidRequest,
        "global/quota-exceeded": QuotaExceeded,
        "global/invalid-parameters": InvalidRequest,
        "global/duplicate": InvalidRequest,
        "global/invalid-api-key": Unauthorized,
        "global/account-inactive": Unauthorized,
        "global/invalid-address": Unauthorized,
    }
)
"""What an error's code means; an invalid (billing) address waits for a person like a bad key."""

ABSENT: Final = "global/object-does-not-exist"
INTERNAL: Final = "global/internal-error"
OWN_CODES: Final = ("global/", "instance-operations/")
"""How the codes begin that are about the request."""


class Named(Struct):
    """A region."""

    name: str = ""


class Specs(Struct):
    """What a machine of a type has."""

    gpus: int = 0
    vcpus: int = 0
    memory_gib: int = 0


class Kind(Struct):
    """A type of machine."""

    name: str = ""
    gpu_description: str | None = None
    price_cents_per_hour: Annotated[float, Meta(ge=0)] = 0.0
    specs: Specs = field(default_factory=Specs)


class Tag(Struct):
    """A tag of a machine."""

    key: str
    value: str


class Machine(Struct):
    """A machine; its ``jupyter_token`` is left unread."""

    id: Annotated[str, Meta(min_length=1)]
    status: str
    name: str | None = None
    ip: str | None = None
    private_ip: str | None = None
    region: Named = field(default_factory=Named)
    instance_type: Kind = field(default_factory=Kind)
    tags: list[Tag] | None = None

    @property
    def is_ours(self) -> bool:
        """Whether some fleet of Navarch has bought it."""
        return any((each.key, each.value) == tags.MANAGED_BY for each in self.tags or ())

    def instance(self, provider: str) -> Instance:
        """Describe it as an instance of `provider`."""
        labels = tags.labels_of((each.key, each.value) for each in self.tags or ())
        return Instance(
            id=self.id,
            provider=provider,
            name=labels.get(INSTANCE_LABEL, self.name or ""),
            region=self.region.name,
            instance_type=self.instance_type.name,
            status=STATUSES.get(self.status, InstanceStatus.RUNNING),
            public_ip=self.ip or "",
            private_ip=self.private_ip or "",
            gpu_count=self.instance_type.specs.gpus,
            gpu_type=self.instance_type.gpu_description or "",
            labels=labels,
        )


class Machines(Struct):
    """The answer to ``GET /instances``. There are no pages."""

    data: list[Machine]


class Sale(Struct):
    """A type, and where there is one to sell now."""

    instance_type: Kind
    regions_with_capacity_available: list[Named]

    def line(self, name: str) -> InstanceType:
        """Write it as a line of the price list; its regions are those that have one now."""
        specs = self.instance_type.specs
        regions = tuple(each.name for each in self.regions_with_capacity_available if each.name)
        return InstanceType(
            name=name,
            gpu_count=max(specs.gpus, 0),
            gpu_type=self.instance_type.gpu_description or "",
            memory_gb=max(specs.memory_gib, 0) * BYTES_PER_GIB // BYTES_PER_GB,
            vcpus=max(specs.vcpus, 0),
            price_per_hour=self.instance_type.price_cents_per_hour / 100,
            regions=regions,
            available=bool(regions),
        )


class Sales(Struct):
    """The answer to ``GET /instance-types``: by the types' names."""

    data: dict[str, Sale]


class LaunchedIds(Struct):
    """What was launched."""

    instance_ids: list[str]


class Launched(Struct):
    """The answer to ``POST /instance-operations/launch``."""

    data: LaunchedIds


class TerminatedMachines(Struct):
    """What has begun to end."""

    terminated_instances: list[Machine]


class Terminated(Struct):
    """The answer to ``POST /instance-operations/terminate``."""

    data: TerminatedMachines


class Error(Struct):
    """Why not. The code is what may be relied on."""

    code: str
    message: str = ""


class Failure(Struct):
    """The body of every answer that is no success."""

    error: Error


def error_of(answer: Answer) -> Error:
    """Read an error's code and text; both are empty where it is no error of Lambda's own."""
    try:
        return msgspec.json.decode(answer.body, type=Failure).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Error(code="")


def meaning(
    code: str, status: int, *, absent: type[ProviderError], unclear: type[ProviderError]
) -> type[ProviderError]:
    """Say what kind of failure an answer is; `absent` and `unclear` depend on what was asked.

    A known code decides, then the status. A 404 without Lambda's code is a wrong address or a
    proxy, never the absence of a machine. ``provider/...`` codes are those of whoever runs the
    machines: refusals without a meaning of their own.
    """
    if code == ABSENT:
        return absent
    if code in KINDS:
        return KINDS[code]
    is_refusal = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    if code == INTERNAL or not is_refusal or status == HTTPStatus.REQUEST_TIMEOUT:
        return unclear
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Unauthorized
    return InvalidRequest if code.startswith(OWN_CODES) else Unavailable
