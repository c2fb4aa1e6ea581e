"""Docker's engine: nodes that are containers of one host.

It is for hosts that somebody else looks after, for labs and for trials: a container shares its
kernel with its neighbours, and takes no GPU with it when it goes.

Rules that hold:

- A name is used for one container at a time, and the engine sees to that: who asks again gets the
  container that is there. Once that was removed the engine forgets it, so no token is honoured.
- A GPU is one container's alone. Which ones are taken is written in the labels of those who have
  them, so that nothing but the engine has to remember.
- A container that could not be started is removed before the failure is told.
- The start-up script, which may carry a node's secret, is put into the container as a file. It is
  in no label, argument or variable, which ``docker inspect`` shows to whoever may ask the engine.
- An id is only taken as an id: engines take the beginning of one, or a name, as well.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import Final, TypeVar

from msgspec import structs

from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    ProviderError,
)
from navarch.peers.unix_http import SocketClient
from navarch.providers.base import (
    FLEET_LABEL,
    INSTANCE_LABEL,
    Finding,
    Instance,
    Instances,
    InstanceStatus,
    InstanceType,
    ProvisionRequest,
    Wanted,
    log_tail,
)
from navarch.providers.docker import examining
from navarch.providers.docker.answers import (
    GPU_TYPE_LABEL,
    GPUS_LABEL,
    MANAGED_BY,
    NAME_LABEL,
    OWN_LABELS,
    TYPE_LABEL,
    Container,
)
from navarch.providers.docker.engine import FULL_ID, Engine, NameTaken
from navarch.providers.docker.settings import ContainerType, DockerSettings
from navarch.providers.pace import Sleep

T = TypeVar("T")

LOOK_EVERY: Final = timedelta(milliseconds=100)
LOOKS_MAX: Final = 50
"""How often a container is looked for that another process is making: an engine needs a tenth of a
second, and seconds when its disk is busy."""

NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}")
"""What an engine takes as a name (``/containers/create`` in the API's reference), and a length."""

USER_DATA_BYTES_MAX: Final = 1_000_000
"""A start-up script above this is a mistake; engines have no limit of their own."""


class DockerProvider:
    """The `Provider`, `InstanceTypeLister` and `BootstrapLogReader` of one engine."""

    list_lag: Final = timedelta(minutes=2)
    """A list shows what is there; but an engine that is busy makes late what was asked long ago."""

    launches_at_once: Final = 4
    """They take turns anyway; more would only wait."""

    calls_per_second: Final = 10.0

    honours_tokens: Final = False
    """An engine forgets a container that was removed, and its name is free again."""

    def __init__(
        self, settings: DockerSettings, *, name: str = "docker", sleep: Sleep | None = None
    ) -> None:
        """Make containers as `settings` say. Nothing is asked yet. `sleep` None: in real time.

        :raises ConfigError: the address of the engine is none
        """
        self.name = name
        self._settings = settings
        client = SocketClient(settings.host, tls=settings.tls)
        self._engine = Engine(
            name, client, timeout=settings.timeout, launch_timeout=settings.launch_timeout
        )
        self._sleep = sleep or _sleep
        self._launching = asyncio.Lock()

    async def provision(self, request: ProvisionRequest) -> Instance:
        """Make and start a container, or finish one that was begun; see `Provider.provision`.

        Four or five questions to the engine, a second as a rule; images are never pulled.

        :raises InvalidRequest: also for a name that somebody else uses, and for one whose
            container has ended
        :raises NoCapacity: `max_containers` are there, too few GPUs are free, or the host is full
        """
        kind = self._type_of(request)
        async with self._launching:
            listed = await self._engine.containers()
            container = _of_name(request.name, listed)
            if container is None:
                container = await self._make(request, kind, listed)
            return await self._finish(request, container)

    async def terminate(self, instance_id: str) -> None:
        """Stop a container and remove it; see `Provider.terminate`.

        Takes as long as what runs there needs to heed SIGTERM, `DockerSettings.grace` at most.
        """
        container = None
        if FULL_ID.fullmatch(instance_id):
            container = await self._engine.inspect(instance_id)
        if container is None or not container.is_ours or container.Id != instance_id:
            raise NotFound(f"{self.name}: there is no container {instance_id[:64]} of ours")
        if container.State.lower() == "removing":
            return
        try:
            if container.status is InstanceStatus.RUNNING:
                await self._engine.stop(instance_id, self._settings.grace)
        except NotFound:
            return  # it has removed itself as soon as it had stopped
        await self._engine.remove(instance_id)

    async def bootstrap_log(self, instance_id: str) -> str:
        """Show the end of what a container has printed; see `BootstrapLogReader`.

        One that has ended is still there only with `DockerSettings.keep_ended`.
        """
        container = None
        if FULL_ID.fullmatch(instance_id):
            container = await self._engine.inspect(instance_id)
        if container is None or not container.is_ours or container.Id != instance_id:
            raise NotFound(f"{self.name}: there is no container {instance_id[:64]} of ours")
        return log_tail(await self._engine.printed(instance_id))

    async def list_instance_types(self) -> list[InstanceType]:
        """Show the types of the settings. The engine is not asked: nothing here has a price."""
        regions = (self._settings.region,) if self._settings.region else ()
        return [
            InstanceType(
                name=name,
                gpu_count=kind.gpu_count,
                gpu_type=kind.gpu_type,
                memory_gb=int(kind.memory_gb),
                vcpus=int(kind.cpus),
                regions=regions,
            )
            for name, kind in self._settings.types.items()
        ]

    async def list(self) -> Instances:
        """Show the containers of all fleets; see `Provider.list`."""
        region = self._settings.region
        return [each.instance(self.name, region) for each in await self._engine.containers()]

    async def examine_for(self, wanted: Sequence[Wanted]) -> Sequence[Finding]:
        """Say whether the engine has images, GPUs and room for what pools want.

        Two questions, and one for each image.
        """
        try:
            host = await self._engine.described()
            version = await self._engine.version()
            listed = await self._engine.containers()
        except ProviderError as error:
            return [("engine", None, str(error))]
        found = [examining.engine_told(host, version)]
        for image in examining.images(self._settings):
            try:
                is_there = await self._engine.has_image(image)
            except ProviderError as error:
                found.append((f"image {image}", None, str(error)))
            else:
                found.append(examining.image_told(image, is_there=is_there))
        found += examining.gpus_told(self._settings, host)
        return [*found, *examining.room(self._settings, host, listed, wanted)]

    async def close(self) -> None:
        """Do nothing: no connection outlives its question."""

    # --- a launch, step by step ----------------------------------------------------------------

    async def _make(
        self, request: ProvisionRequest, kind: ContainerType, listed: Sequence[Container]
    ) -> Container:
        """Create the container, or find the one that somebody else has just created."""
        held = [each for each in listed if each.holds_a_place]
        if len(held) >= self._settings.max_containers:
            raise NoCapacity(f"{self.name}: {len(held)} containers exist, as many as may")
        taken = {gpu for each in held for gpu in each.gpu_ids}
        free = [gpu for gpu in self._settings.gpu_ids if gpu not in taken]
        if len(free) < kind.gpu_count:
            raise NoCapacity(f"{self.name}: {len(free)} GPUs are free, {kind.gpu_count} wanted")
        body = self._body(request, kind, free[: kind.gpu_count])
        try:
            made = await self._engine.create(request.name, body)
        except NameTaken:
            return await self._made_elsewhere(request.name)
        listed = await self._after(self._engine.containers())
        container = next((each for each in listed if each.Id == made), None)
        if container is None:
            raise OutcomeUnknown(f"{self.name}: {request.name} was made and is not listed")
        if self._is_one_too_many(container, listed):
            await self._after(self._engine.remove(made))
            raise NoCapacity(f"{self.name}: somebody else was quicker than {request.name}")
        return container

    async def _made_elsewhere(self, name: str) -> Container:
        """Wait for the container that has our name: an engine gives the name before it is there."""
        for _ in range(LOOKS_MAX):
            found = await self._after(self._engine.inspect(name))
            if found is not None and found.is_ours and found.name == name:
                return found
            if found is not None:
                raise InvalidRequest(f"{self.name}: {name} is another container's name")
            await self._sleep(LOOK_EVERY)
        raise OutcomeUnknown(f"{self.name}: somebody else is making {name}, and not done with it")

    def _is_one_too_many(self, ours: Container, listed: Sequence[Container]) -> bool:
        """Whether another process has just taken the same place.

        Each creates first and looks then, so that the later one sees the earlier. The engine tells
        times in seconds: two of one second both give way, and ask again.
        """
        others = [
            each
            for each in listed
            if each.Id != ours.Id and each.holds_a_place and each.Created <= ours.Created
        ]
        taken = {gpu for each in others for gpu in each.gpu_ids}
        return len(others) >= self._settings.max_containers or not taken.isdisjoint(ours.gpu_ids)

    async def _finish(self, request: ProvisionRequest, container: Container) -> Instance:
        """Have the container of this request run, wherever an earlier launch was cut off."""
        wanted = _labels_asked(request)
        for key in (FLEET_LABEL, INSTANCE_LABEL):
            if container.labels.get(key, "") != wanted.get(key, ""):
                raise InvalidRequest(f"{self.name}: {request.name} is another fleet's container")
        match container.status:
            case InstanceStatus.PROVISIONING:
                await self._start(request, container.Id)
                container = structs.replace(container, State="running")
            case InstanceStatus.TERMINATING | InstanceStatus.TERMINATED:
                raise InvalidRequest(
                    f"{self.name}: {request.name} was {container.Id[:12]}, which is "
                    f"{container.State}; ids are used once"
                )
            case InstanceStatus.RUNNING:
                return container.instance(self.name, self._settings.region)
        return container.instance(self.name, self._settings.region)

    async def _start(self, request: ProvisionRequest, container_id: str) -> None:
        """Start it; where that surely fails, nothing is left of it."""
        try:
            if request.user_data:
                await self._engine.put_file(
                    container_id,
                    self._settings.user_data_file,
                    request.user_data.encode(),
                    uid=self._settings.user_data_uid,
                )
            await self._engine.start(container_id)
        except OutcomeUnknown:
            raise
        except ProviderError:
            await self._after(self._engine.remove(container_id))
            raise

    async def _after(self, question: Awaitable[T]) -> T:
        """Ask after something was made: a failure no longer means that nothing was done."""
        try:
            return await question
        except OutcomeUnknown:
            raise
        except ProviderError as error:
            raise OutcomeUnknown(f"{error}; a container may have been left") from error

    # --- what is asked for ---------------------------------------------------------------------

    def _type_of(self, request: ProvisionRequest) -> ContainerType:
        """Find the type, and refuse what would never work.

        :raises InvalidRequest: it would be refused again
        """
        settings = self._settings
        kind = settings.types.get(request.instance_type)
        if NAME.fullmatch(request.name) is None:
            raise self._invalid(f"{request.name[:200]!r} cannot be the name of a container")
        if kind is None:
            sold = ", ".join(sorted(settings.types))
            raise self._invalid(f"{request.instance_type!r} is no type, expected {sold}")
        if request.region not in ("", settings.region) or request.zone:
            place = f"{request.region} {request.zone}".strip()
            raise self._invalid(f"{request.name}: {place} is not where this engine is")
        if request.spot or request.ssh_key_names:
            what = "spot machines" if request.spot else "ssh keys"
            raise self._invalid(f"{request.name}: containers know no {what}")
        reserved = sorted(OWN_LABELS & request.labels.keys())
        if reserved or request.labels.get(MANAGED_BY[0], MANAGED_BY[1]) != MANAGED_BY[1]:
            label = [*reserved, MANAGED_BY[0]][0]
            raise self._invalid(f"{request.name}: the label {label} is the provider's own")
        try:
            size = len(request.user_data.encode())
        except UnicodeEncodeError as cause:
            raise self._invalid(f"{request.name}: user_data is no Unicode") from cause
        if size > USER_DATA_BYTES_MAX:
            raise self._invalid(
                f"{request.name}: user_data has {size} bytes, at most {USER_DATA_BYTES_MAX} may be"
            )
        return kind

    def _body(
        self, request: ProvisionRequest, kind: ContainerType, gpus: Sequence[str]
    ) -> dict[str, object]:
        """Write the container down in the words of ``/containers/create``."""
        settings = self._settings
        labels = {
            **_labels_asked(request),
            MANAGED_BY[0]: MANAGED_BY[1],
            NAME_LABEL: request.name,
            TYPE_LABEL: request.instance_type,
        }
        if gpus:
            labels |= {GPUS_LABEL: ",".join(gpus), GPU_TYPE_LABEL: kind.gpu_type}
        command = [word.replace("{name}", request.name) for word in settings.command]
        if not command and request.user_data:
            command = ["/bin/sh", settings.user_data_file]
        requests = [{"Driver": "", "DeviceIDs": list(gpus), "Capabilities": [["gpu"]]}]
        host: dict[str, object] = {
            "AutoRemove": not settings.keep_ended,
            "RestartPolicy": {"Name": "no"},
            "Init": settings.init,
            "NanoCpus": round(kind.cpus * 1_000_000_000),
            "Memory": round(kind.memory_gb * 1_000_000_000),
            "Binds": list(settings.binds),
            "DeviceRequests": requests if gpus else [],
        }
        if settings.network:
            host["NetworkMode"] = settings.network
        body: dict[str, object] = {
            "Image": kind.image or settings.image,
            "Env": [f"{key}={value}" for key, value in settings.environment.items()],
            "Labels": labels,
            "StopTimeout": round(settings.grace.total_seconds()),
            "HostConfig": host,
        }
        return {**body, "Cmd": command} if command else body

    def _invalid(self, text: str) -> InvalidRequest:
        return InvalidRequest(f"{self.name}: {text}")


async def _sleep(duration: timedelta) -> None:
    await asyncio.sleep(duration.total_seconds())


def _of_name(name: str, containers: Sequence[Container]) -> Container | None:
    """Find the container that was asked for under this name, one that lives before others."""
    found = [each for each in containers if each.name == name]
    return min(found, key=lambda each: (not each.holds_a_place, each.Id), default=None)


def _labels_asked(request: ProvisionRequest) -> dict[str, str]:
    return {INSTANCE_LABEL: request.name, **request.labels}
