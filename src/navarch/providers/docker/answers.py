"""The words of the Engine API, and what they mean to us.

Facts from the Engine API's reference, versions 1.41 to 1.49 (docs.docker.com, read 2026-11-22), and
from an engine 20.10.24; docs/providers/docker.md lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct, field

from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    ProviderError,
    Throttled,
    Unauthorized,
)
from navarch.peers.unix_http import Reply
from navarch.providers.base import Instance, InstanceStatus

MANAGED_BY: Final = ("managed-by", "navarch")
"""The label of every container that any fleet of Navarch has made."""

NAME_LABEL: Final = "navarch.dev/name"
"""The name asked for: a container may be renamed, its labels may not be changed."""

TYPE_LABEL: Final = "navarch.dev/type"
GPUS_LABEL: Final = "navarch.dev/gpus"
"""The GPUs it has for itself, with commas; missing where it has none."""

GPU_TYPE_LABEL: Final = "navarch.dev/gpu-type"

OWN_LABELS: Final = frozenset({NAME_LABEL, TYPE_LABEL, GPUS_LABEL, GPU_TYPE_LABEL})
"""What a request may not carry as a label of its own."""

STATUS: Final[Mapping[str, InstanceStatus]] = MappingProxyType(
    {
        "created": InstanceStatus.PROVISIONING,
        "configured": InstanceStatus.PROVISIONING,
        "initialized": InstanceStatus.PROVISIONING,
        "running": InstanceStatus.RUNNING,
        "paused": InstanceStatus.RUNNING,
        "restarting": InstanceStatus.RUNNING,
        "stopping": InstanceStatus.TERMINATING,
        "removing": InstanceStatus.TERMINATING,
        "stopped": InstanceStatus.TERMINATED,
        "exited": InstanceStatus.TERMINATED,
        "dead": InstanceStatus.TERMINATED,
    }
)
"""States of containers, Podman's among them. A word that is not here is read as running: what
exists must not be taken as gone."""

FULL: Final = ("no space left on device", "cannot allocate memory", "resource temporarily unavail")
"""What engines pass on from a kernel that has no room."""

HOPELESS: Final = ("could not select device driver", "no such device", "unresolvable cdi devices")
"""What engines say of a host that has no such GPU, or no NVIDIA Container Toolkit."""

MESSAGE_LENGTH_MAX: Final = 300
"""How much of what an engine says is quoted, in characters."""


class _Address(Struct):
    IPAddress: str = ""


class _Networks(Struct):
    Networks: dict[str, _Address] | None = None


class Container(Struct):
    """A container as it is listed."""

    Id: str
    Names: list[str] | None = None
    State: str = ""
    Created: int = 0
    """Seconds since 1970."""
    Labels: dict[str, str] | None = None
    NetworkSettings: _Networks = field(default_factory=_Networks)

    @property
    def labels(self) -> dict[str, str]:
        """Its labels, the image's among them."""
        return self.Labels or {}

    @property
    def is_ours(self) -> bool:
        """Whether a fleet of Navarch has made it."""
        key, value = MANAGED_BY
        return self.labels.get(key) == value and bool(self.Id)

    @property
    def name(self) -> str:
        """What it was asked for under."""
        names = [each.removeprefix("/") for each in self.Names or ()]
        return self.labels.get(NAME_LABEL, "") or next(iter(names), "")

    @property
    def status(self) -> InstanceStatus:
        """How far it has come."""
        return STATUS.get(self.State.lower(), InstanceStatus.RUNNING)

    @property
    def gpu_ids(self) -> list[str]:
        """The GPUs that it has for itself."""
        return [each for each in self.labels.get(GPUS_LABEL, "").split(",") if each]

    @property
    def holds_a_place(self) -> bool:
        """Whether it counts against the limits."""
        return self.status is not InstanceStatus.TERMINATED

    def instance(self, provider: str, region: str) -> Instance:
        """Describe it as a machine."""
        networks = self.NetworkSettings.Networks or {}
        addresses = [networks[name].IPAddress for name in sorted(networks)]
        own = {*OWN_LABELS, MANAGED_BY[0]}
        return Instance(
            id=self.Id,
            provider=provider,
            name=self.name,
            region=region,
            instance_type=self.labels.get(TYPE_LABEL, ""),
            status=self.status,
            private_ip=next((each for each in addresses if each), ""),
            gpu_count=len(self.gpu_ids),
            gpu_type=self.labels.get(GPU_TYPE_LABEL, ""),
            labels={key: value for key, value in self.labels.items() if key not in own},
        )


class Made(Struct):
    """The answer to a creation."""

    Id: str


class _State(Struct):
    Status: str = ""


class _Config(Struct):
    Labels: dict[str, str] | None = None


class Inspected(Struct):
    """What is needed of a container that is looked at alone."""

    Id: str
    Name: str = ""
    State: _State = field(default_factory=_State)
    Config: _Config = field(default_factory=_Config)

    @property
    def container(self) -> Container:
        """The same, as a list would show it."""
        return Container(
            Id=self.Id, Names=[self.Name], State=self.State.Status, Labels=self.Config.Labels
        )


class _Refusal(Struct):
    message: str = ""


FRAME_HEAD: Final = 8


def unframed(content: bytes) -> bytes:
    """Join what a container printed, of its output and its errors, in the order of printing.

    An engine sends frames: a byte for the stream, three zeros, a length of four bytes, the content
    ("Engine API", ContainerAttach, "Stream format", read 2026-11-22). A container with a terminal
    has no frames: what does not begin with one is returned as it is. A frame cut short is kept.
    """
    joined, at = bytearray(), 0
    while at < len(content):
        head = content[at : at + FRAME_HEAD]
        if head[0] > 2 or head[1:4] != bytes(3)[: len(head[1:4])]:
            return bytes(joined + content[at:])
        length = int.from_bytes(head[4:], "big")
        at += FRAME_HEAD
        joined += content[at : at + length]
        at += length
    return bytes(joined)


def message_of(reply: Reply) -> str:
    """Put what an engine says into one short line."""
    try:
        said = msgspec.json.decode(reply.body, type=_Refusal).message
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        said = reply.body[: 4 * MESSAGE_LENGTH_MAX].decode(errors="replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in said[:4096]).split())
    return line if len(line) <= MESSAGE_LENGTH_MAX else f"{line[: MESSAGE_LENGTH_MAX - 1]}…"


def meaning(
    reply: Reply, *, absent: type[ProviderError], unclear: type[ProviderError]
) -> type[ProviderError]:
    """Say which of our errors an answer that is no success is.

    `absent` is what 404 means, `unclear` what an engine's own failure does.
    """
    match reply.status:
        case HTTPStatus.BAD_REQUEST:
            return InvalidRequest
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return Unauthorized
        case HTTPStatus.NOT_FOUND:
            return absent
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Throttled
        case _:
            return unclear


def failure_of_start(message: str, otherwise: type[ProviderError]) -> type[ProviderError]:
    """Say what it means that a container could not be started, by the engine's own words."""
    said = message.lower()
    if any(sign in said for sign in FULL):
        return NoCapacity
    if any(sign in said for sign in HOPELESS):
        return InvalidRequest
    return otherwise
