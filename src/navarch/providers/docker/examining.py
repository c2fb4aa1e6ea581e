"""What an engine tells before a container is made: whether it is there, its images, GPUs and room.

Of disks an engine tells nothing that could be compared. What gives GPUs to containers it tells in
part: a runtime of NVIDIA is named, the hook alone, which does as well, is not (Engine API 1.49,
``/info``; NVIDIA Container Toolkit's installation guide; read November 2026).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from navarch.providers.base import Finding, Wanted
from navarch.providers.docker.answers import Container
from navarch.providers.docker.settings import ContainerType, DockerSettings


class Host(Struct):
    """What is read of an engine's description of itself and its host."""

    ServerVersion: str = ""
    NCPU: int = 0
    MemTotal: int = 0
    """Bytes."""
    Runtimes: dict[str, object] | None = None


def engine_told(host: Host, version: str) -> Finding:
    """Say which engine it is."""
    return "engine", True, f"{host.ServerVersion or 'an engine'} speaks version {version}"


def image_told(image: str, *, is_there: bool) -> Finding:
    """Say whether containers can be made from an image: nothing is pulled."""
    if is_there:
        return f"image {image}", True, "it is on the host"
    return f"image {image}", False, "it is not on the host, and nothing is pulled: pull it there"


def images(settings: DockerSettings) -> list[str]:
    """Name the images of all types, each once."""
    return list(dict.fromkeys(kind.image or settings.image for kind in settings.types.values()))


def gpus_told(settings: DockerSettings, host: Host) -> list[Finding]:
    """Say whether the engine gives GPUs to containers, where any are to be given."""
    if not any(kind.gpu_count for kind in settings.types.values()):
        return []
    if "nvidia" in (host.Runtimes or {}):
        return [("gpu runtime", True, "the runtime nvidia is there")]
    text = "the engine names no runtime nvidia; the NVIDIA Container Toolkit may be there without"
    return [("gpu runtime", None, text)]


def room(
    settings: DockerSettings, host: Host, listed: Sequence[Container], wanted: Iterable[Wanted]
) -> list[Finding]:
    """Compare containers, GPUs and memory with what pools could use."""
    most: dict[str, tuple[ContainerType, int]] = {}
    for want in wanted:
        kind = settings.types.get(want.instance_type)
        if kind is not None:
            most[want.pool] = (kind, want.nodes)
    held = [each for each in listed if each.holds_a_place]
    pools = ", ".join(most) or "no pool"
    places = _sum(most, lambda _: 1)
    gpus = _sum(most, lambda kind: kind.gpu_count)
    memory = _sum(most, lambda kind: kind.memory_gb)
    taken = sum(len(each.gpu_ids) for each in held)
    places_told = f"{settings.max_containers} containers are allowed, {len(held)} exist"
    found: list[Finding] = [
        (
            "room",
            places <= settings.max_containers,
            f"{places_told}, {places:g} could be wanted by {pools}",
        )
    ]
    if gpus:
        has = len(settings.gpu_ids)
        text = f"{has} GPUs, {taken} taken, {gpus:g} could be wanted by {pools}"
        found.append(("gpus", gpus <= has, text))
    if memory and host.MemTotal > 0:
        total = host.MemTotal / 1_000_000_000
        text = f"{total:.1f} GB in the host, {memory:.1f} could be wanted by {pools}"
        found.append(("memory", memory <= total, text))
    return found


def _sum(
    most: Mapping[str, tuple[ContainerType, int]], of: Callable[[ContainerType], float]
) -> float:
    return sum(of(kind) * nodes for kind, nodes in most.values())
