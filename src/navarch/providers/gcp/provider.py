"""The provider ``gcp``: machines of Compute Engine, one project.

Rules that hold:

- A launch is an operation, and a stock-out is an operation that fails some seconds after Google has
  said yes. So an operation is followed: until it has ended, until the machine's own status says
  that its resources have been acquired, or for `GcpSettings.follow`. Booting is never waited for.
- What is still open then is returned as ``provisioning``. If it fails after all, the machine is
  missing from the next lists, which is how the control plane learns it.
- One token, one machine: it becomes Google's request id, the machine's name is unique in its zone,
  and where there are several zones the name is looked for in all of them first.
- A machine's id is ``ZONE/NAME``: known before it is asked for, and all that its end needs.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from navarch.errors import (
    ConfigError,
    InvalidRequest,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Unavailable,
)
from navarch.providers.base import (
    BOOTSTRAP_LOG_BYTES_MAX,
    FLEET_LABEL,
    INSTANCE_LABEL,
    Finding,
    Instance,
    Instances,
    InstanceType,
    ProvisionRequest,
    Wanted,
    log_tail,
)
from navarch.providers.gcp import examining, launching
from navarch.providers.gcp.api import ComputeApi, Taken
from navarch.providers.gcp.labels import FLEET_LABEL_THERE, MANAGED_BY
from navarch.providers.gcp.quotas import quota_scope
from navarch.providers.gcp.refusals import is_taken
from navarch.providers.gcp.resources import (
    ENDING,
    WITH_CAPACITY,
    Machine,
    MachineType,
    Operation,
    instance_of,
    promised,
)
from navarch.providers.gcp.settings import REGION, ZONE, GcpSettings, region_of
from navarch.providers.pace import Now, Sleep
from navarch.providers.rest import secrets_of

REF: Final = re.compile(rf"(?P<zone>{ZONE.pattern})/(?P<name>{launching.NAME.pattern})")

ASKING_TIME_MAX: Final = timedelta(seconds=40)
"""No machine is asked for later than this after a launch began: with two requests of 15 s and what
Google itself needs, `list_lag` covers it."""

PAUSE_BEFORE_REPEAT: Final = timedelta(seconds=1)

PAUSES: Final = tuple(timedelta(seconds=each) for each in (0.5, 1, 2, 3, 5))
"""How long is waited between two looks at an operation; the last one from then on."""

GPU_FAMILIES: Final = 'name eq "[ag][0-9]+[a-z]*-.*"'
"""Families that may come with GPUs: A2, A3, A4, A4X, G2, G4. Those without are sorted out by us."""


class GcpProvider:
    """The `Provider`, `InstanceTypeLister` and `BootstrapLogReader` of one project."""

    list_lag: Final = timedelta(minutes=2)
    """A list shows a machine as soon as it is being made; the rest is `ASKING_TIME_MAX`."""

    launches_at_once: Final = 16
    """Each is followed for some seconds, with up to two requests a look."""

    calls_per_second: Final = 10.0
    """Half of what the project bears; the other half is for following launches."""

    honours_tokens: Final = True

    def __init__(self, settings: GcpSettings, *, now: Now, sleep: Sleep, name: str = "gcp") -> None:
        """Buy in the project of `settings`.

        :raises ConfigError: google-auth is not installed
        """
        if importlib.util.find_spec("google.auth") is None:
            raise ConfigError("provider gcp needs google-auth: pip install 'navarch[gcp]'")
        self.name = name
        self._settings = settings
        self._now = now
        self._sleep = sleep
        self._api = ComputeApi(name, settings, now=now, sleep=sleep)

    async def provision(self, request: ProvisionRequest) -> Instance:
        """Make one machine; see `Provider.provision`.

        Without a zone, the zones are tried in order until one has capacity. A used token whose
        machine has ended is refused for as long as Google remembers the request, and the name
        stays free of a second machine while the first exists.

        :raises InvalidRequest: also where the name belongs to another machine, or one that ended
        """
        launching.demand_sound(request, self._settings)
        began_at = self._now()
        zones = await self._zones(request)
        if len(zones) > 1 and (found := await self._found(request)):
            return found
        full: list[NoCapacity] = []
        for zone in zones:
            if self._now() - began_at > ASKING_TIME_MAX:
                break
            try:
                return await self._launch(request, zone)
            except NoCapacity as refusal:
                full.append(refusal)
        if not full:
            took = f"{(self._now() - began_at).total_seconds():.0f} s"
            raise Unavailable(f"{self.name}: after {took} no zone has been asked")
        if len(zones) == 1:
            raise full[0]
        untried = f"; not asked: {', '.join(zones[len(full) :])}" if len(full) < len(zones) else ""
        raise NoCapacity(f"{'; '.join(map(str, full))}{untried}") from full[-1]

    async def terminate(self, instance_id: str) -> None:
        """Delete the machine, with its boot disk; see `Provider.terminate`.

        :raises Unavailable: also where the machine is not seen, but is still being made
        """
        parts = REF.fullmatch(instance_id)
        if parts is None:
            raise NotFound(f"{self.name}: there is no machine {instance_id}")
        zone, name = parts["zone"], parts["name"]
        try:
            operation = await self._api.delete(zone, name)
            if operation.faults:
                asked = f"the end of {instance_id}"
                said = f"{self.name}: {asked}: {self._api.words_of(operation)}"
                raise self._api.failure(asked, operation) or Unavailable(said)
        except NotFound as error:
            await self._demand_gone(zone, name)
            raise NotFound(f"{self.name}: there is no machine {instance_id}: {error}") from error

    async def list_instance_types(self) -> list[InstanceType]:
        """Show the types that bring GPUs, with the regions that have them; without prices.

        N1 machines, whose GPUs are attached, are not among them.
        """
        found: dict[str, MachineType] = {}
        regions: dict[str, set[str]] = {}
        for zone, each in await self._api.machine_types(GPU_FAMILIES):
            if each.accelerators:
                found[each.name] = each
                regions.setdefault(each.name, set()).add(region_of(zone))
        return [_sold(each, regions[name]) for name, each in sorted(found.items())]

    async def bootstrap_log(self, instance_id: str) -> str:
        """Show the end of a machine's first serial port; see `BootstrapLogReader`."""
        parts = REF.fullmatch(instance_id)
        if parts is None:
            raise NotFound(f"{self.name}: there is no machine {instance_id}")
        # A byte more, so that a line that is cut is left out.
        wanted = BOOTSTRAP_LOG_BYTES_MAX + 1
        return log_tail(await self._api.serial_output(parts["zone"], parts["name"], wanted))

    async def list(self) -> Instances:
        """Show the machines of all zones that carry a fleet's label; see `Provider.list`.

        Costs a request for 500 of them. One zone out of reach is an error, whichever it is.
        """
        machines = await self._api.instances(f"labels.{FLEET_LABEL_THERE}:*")
        return [
            instance_of(each, self.name) for each in machines if FLEET_LABEL_THERE in each.labels
        ]

    async def examine_for(self, wanted: Sequence[Wanted]) -> Sequence[Finding]:
        """Say whether what pools want may be launched, by permissions and by quotas.

        One request for the permissions, one for each region, and one for the project.
        """
        needs, untold = examining.needed(wanted, self._settings)
        places = list(dict.fromkeys(need.region for need in needs))
        rights, told = await asyncio.gather(
            self._rights(), asyncio.gather(*map(self._quotas_of, places))
        )
        quotas = dict(zip(places, told, strict=True))
        found: list[Finding] = [rights]
        for need in needs:
            one = quotas[need.region]
            place = f"quota of {need.region or 'all regions'}"
            found.append(
                (place, None, one) if isinstance(one, str) else examining.judged(need, one)
            )
        return [*found, *untold]

    async def _rights(self) -> Finding:
        asked = examining.permissions(self._settings)
        try:
            granted = await self._api.granted(asked)
        except ProviderError as error:
            return "rights", None, str(error)
        return examining.judged_rights(asked, granted, self._settings.project)

    async def _quotas_of(self, region: str) -> examining.Quotas | str:
        """Read what a region tells, or say why that cannot be read."""
        try:
            return await self._api.quotas(region)
        except ProviderError as error:
            return str(error)

    async def close(self) -> None:
        """Give up the connections."""
        await self._api.close()

    async def _zones(self, request: ProvisionRequest) -> Sequence[str]:
        """Say which zones to try, in order; at least one.

        :raises InvalidRequest: there is none
        """
        region = request.region or ("" if request.zone else self._settings.region)
        if region and not REGION.fullmatch(region):
            raise InvalidRequest(f"{self.name}: {region!r} is no region, expected us-central1")
        if request.zone:
            if not ZONE.fullmatch(request.zone) or region_of(request.zone) != (
                region or region_of(request.zone)
            ):
                raise InvalidRequest(f"{self.name}: {request.zone!r} is no zone of {region!r}")
            return (request.zone,)
        if not region and not self._settings.zones:
            raise InvalidRequest(f"{self.name}: give the pool a region or zones")
        if named := [each for each in self._settings.zones if region in {"", region_of(each)}]:
            return named
        kind = launching.machine_type(request)
        sold = await self._api.machine_types(f'name = "{kind}"')
        zones = sorted({zone for zone, _ in sold if region_of(zone) == region})
        if not zones:
            raise InvalidRequest(f"{self.name}: no zone of {region} sells {kind}")
        return zones

    async def _found(self, request: ProvisionRequest) -> Instance | None:
        """Look for a machine of this name in all zones; refuse where it is no answer."""
        machines = await self._api.instances(f'name = "{request.name}"')
        for machine in machines:
            if machine.name == request.name:
                return self._same(machine, request)
        return None

    def _same(self, machine: Machine, request: ProvisionRequest) -> Instance:
        """Accept the machine of an earlier call with this token.

        :raises InvalidRequest: it is somebody else's, has ended, or there is no token
        """
        instance = instance_of(machine, self.name)
        ours = [key for key in (FLEET_LABEL, INSTANCE_LABEL) if key in request.labels]
        is_same = all(instance.labels.get(key) == request.labels[key] for key in ours)
        if not request.token or not is_same or MANAGED_BY not in machine.labels.items():
            raise InvalidRequest(f"{self.name}: {request.name} is the name of another machine")
        if machine.status in ENDING:
            raise InvalidRequest(f"{self.name}: {request.name} has ended; ids are used once")
        return instance

    async def _launch(self, request: ProvisionRequest, zone: str) -> Instance:
        try:
            operation = await self._insert(request, zone)
            return await self._followed(request, zone, operation)
        except Taken as error:
            return await self._taken(request, zone, error)
        except QuotaExceeded as error:
            error.scope = quota_scope(str(error), request.instance_type, spot=request.spot)
            raise

    async def _insert(self, request: ProvisionRequest, zone: str) -> Operation:
        """Ask, and ask once more where the answer got lost: the request id makes it one request."""
        body = launching.body(request, self._settings, zone)
        request_id = launching.request_id(self._settings.project, zone, request.token)
        hidden = secrets_of(request.user_data)
        try:
            return await self._api.insert(zone, body, request_id=request_id, hidden=hidden)
        except NotFound as error:
            raise InvalidRequest(str(error)) from error  # a zone, an image, a network
        except OutcomeUnknown as error:
            if not request_id:
                raise
            unknown = error
        await self._sleep(PAUSE_BEFORE_REPEAT)
        try:
            return await self._api.insert(zone, body, request_id=request_id, hidden=hidden)
        except Taken:
            raise
        except ProviderError as error:
            # A no to the second one does not say that the first one was not done.
            raise OutcomeUnknown(f"{unknown}; asked again: {error}") from error

    async def _taken(self, request: ProvisionRequest, zone: str, error: Taken) -> Instance:
        try:
            machine = await self._api.instance(zone, request.name)
        except ProviderError as cause:
            raise OutcomeUnknown(f"{error}; looked for it: {cause}") from cause
        return self._same(machine, request)

    async def _followed(
        self, request: ProvisionRequest, zone: str, operation: Operation
    ) -> Instance:
        """Wait a little for what becomes of a launch."""
        was_done = operation.is_done
        until = self._now() + self._settings.follow
        waited = timedelta()
        pauses = itertools.chain(PAUSES, itertools.repeat(PAUSES[-1]))
        while not operation.is_done:
            # A clock that is set back stands still, hence the second count.
            if self._now() >= until or waited >= self._settings.follow:
                return promised(request, zone, self.name)
            pause = next(pauses)
            await self._sleep(pause)
            waited += pause
            try:
                operation = await self._api.operation(zone, operation.name)
                if not operation.is_done:
                    machine = await self._api.instance(zone, request.name)
                    if machine.status in WITH_CAPACITY:
                        return instance_of(machine, self.name)
            except ProviderError:
                continue  # not seen this time; what was asked for is under way all the same
        if operation.faults:
            return await self._failed(request, zone, operation)
        return await self._made(request, zone, was_done=was_done)

    async def _failed(self, request: ProvisionRequest, zone: str, operation: Operation) -> Instance:
        """Raise what a launch failed of; where that does not say what there is, look."""
        hidden = secrets_of(request.user_data)
        asked = f"{request.instance_type} in {zone}"
        said = f"{self.name}: {asked}: {self._api.words_of(operation, hidden)}"
        if is_taken(each.code for each in operation.faults):
            raise Taken(said)
        failure = self._api.failure(asked, operation, hidden)
        if isinstance(failure, NotFound):
            raise InvalidRequest(str(failure))  # an image, a network or a type
        if failure is not None:
            raise failure
        try:
            machine = await self._api.instance(zone, request.name)
        except NotFound as cause:
            raise Unavailable(said) from cause
        except ProviderError as cause:
            raise OutcomeUnknown(f"{said}; looked for it: {cause}") from cause
        return self._same(machine, request)

    async def _made(self, request: ProvisionRequest, zone: str, *, was_done: bool) -> Instance:
        """Describe what a successful launch has made.

        An operation that had ended before we asked is one of an earlier call: if the machine is
        not there, it has come and gone.
        """
        try:
            machine = await self._api.instance(zone, request.name)
        except NotFound as error:
            if was_done:
                raise InvalidRequest(
                    f"{self.name}: {request.name} was made before and is gone; ids are used once"
                ) from error
            return promised(request, zone, self.name)
        except ProviderError:
            return promised(request, zone, self.name)
        if was_done:
            return self._same(machine, request)
        return instance_of(machine, self.name)

    async def _demand_gone(self, zone: str, name: str) -> None:
        """Make sure that a machine which is not there is not about to be there.

        :raises Unavailable: it is, or that cannot be told
        """
        try:
            is_coming = await self._api.is_being_made(zone, name)
        except ProviderError as error:
            raise Unavailable(f"{self.name}: {zone}/{name} is not seen, but: {error}") from error
        if is_coming:
            raise Unavailable(f"{self.name}: {zone}/{name} is still being made")


def _sold(machine: MachineType, regions: set[str]) -> InstanceType:
    return InstanceType(
        name=machine.name,
        gpu_count=sum(each.guest_accelerator_count for each in machine.accelerators),
        gpu_type=machine.accelerators[0].guest_accelerator_type,
        memory_gb=machine.memory_mb // 1024,
        vcpus=machine.guest_cpus,
        regions=tuple(sorted(regions)),
    )
