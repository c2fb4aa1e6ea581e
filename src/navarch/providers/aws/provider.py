"""The `Provider` that buys at Amazon EC2.

Our id travels as the tag `navarch.dev/instance`, as the tag ``Name`` and as the client token, under
which EC2 makes one machine however often it is asked. A machine's id here is its region and EC2's
own id, so that it can be ended by a process that knows nothing else.

Rules that hold:

- One call is one request, but for lists, which have pages. Calls are made by the SDK in threads.
- What has not left this machine when the deadline passes, or when the caller gives up, never does.
- EC2 shows late what it has done. A machine that EC2 does not know counts as gone only when it
  cannot be one that EC2 does not know *yet*.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, TypeAlias, TypeVar

from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Unauthorized,
    Unavailable,
)
from navarch.peers.unanswered import Unanswered
from navarch.providers.aws import answers, examining, lists
from navarch.providers.aws.clients import Ask, Clients
from navarch.providers.aws.lanes import Closed, Errand, Lanes, TooLate
from navarch.providers.aws.launch import Planned, planned
from navarch.providers.aws.quotas import quota_scope
from navarch.providers.aws.refusals import Garbled, code_of, translated
from navarch.providers.aws.settings import REGION, AwsSettings
from navarch.providers.base import (
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

T = TypeVar("T")

THREADS_MAX: Final = 20
"""Eight launches, eight terminations and a list of four regions at one time."""

LATE: Final = timedelta(seconds=30)
"""How much later than it should a request may reach EC2, whose name and connection take time."""

NO_LATEST_CONSOLE: Final = frozenset({"InvalidParameterCombination", "UnsupportedOperation"})
"""How EC2 says that a machine has no console that can be read at any time ("Instance console
output", EC2 User Guide, read November 2026)."""

Types: TypeAlias = list[InstanceType]


class AwsProvider:
    """The `Provider`, `InstanceTypeLister` and `BootstrapLogReader` of an account at EC2."""

    honours_tokens: Final = True

    launches_at_once: Final = 8

    calls_per_second: Final = 2.0
    """What RunInstances bears in a region for longer than a moment: its buckets are refilled by two
    a second (EC2 developer guide, "Request throttling", and AWS re:Post, read November 2026)."""

    def __init__(
        self, settings: AwsSettings, *, now: Callable[[], datetime], name: str = "aws"
    ) -> None:
        """Buy as `settings` say. Nothing is asked, read or imported before the first call.

        `now` is needed to tell what EC2 does not know yet from what it does not know any more.

        :raises ConfigError: the SDK is not installed
        """
        self.name = name
        self.list_lag = settings.timeout + LATE + settings.consistency
        self._settings = settings
        self._now = now
        self._clients = Clients(settings, THREADS_MAX)
        self._lanes = Lanes(f"ec2 {name}", THREADS_MAX)
        self._sure_from = now() + self.list_lag
        """From when on EC2 knows whatever was launched before this object was made."""
        self._launched: dict[str, datetime] = {}
        """When our own launches of late began, by id."""
        self._gpus: dict[str, answers.Gpus] = {}
        """GPUs by type, from the price list; instances do not say."""

    async def close(self) -> None:
        """Give up threads and connections. Calls under way end as they would; new ones fail."""
        self._lanes.close()
        self._clients.close()

    async def provision(self, request: ProvisionRequest) -> Instance:
        """Launch a machine; see `Provider.provision`.

        Under a token that was used with other parameters, because the settings have changed since,
        the machine is looked for by its name.
        """
        try:
            plan = planned(request, self._settings)
        except InvalidRequest as error:
            raise InvalidRequest(f"{self.name}: {error}") from None
        begun_at = self._now()
        about = f"launch of {request.name} in {plan.region}"
        try:
            instance = await self._run(plan, about)
        except OutcomeUnknown as error:
            if _code_behind(error) != "IdempotentParameterMismatch":
                raise
            instance = await self._made_before(request.name, plan.region, error)
        except QuotaExceeded as error:
            error.scope = quota_scope(
                _code_behind(error), plan.region, request.instance_type, spot=request.spot
            )
            raise
        except InvalidRequest as error:
            if plan.zone_chosen and _code_behind(error) == "Unsupported":
                raise NoCapacity(f"{error}; another zone may have it: name one") from error
            raise
        if instance.status in answers.ENDED:
            raise InvalidRequest(
                f"{self.name}: {request.name} was {instance.id}, which is {instance.status}: "
                f"names are used once"
            )
        self._remember(instance.id, begun_at)
        return instance

    async def terminate(self, instance_id: str) -> None:
        """Terminate a machine; see `Provider.terminate`.

        `instance_id` is ``REGION/i-…``; a bare ``i-…`` is looked for in all configured regions.
        """
        region, slash, ec2_id = instance_id.rpartition("/")
        if slash and not REGION.fullmatch(region):
            raise NotFound(f"{self.name}: there is no machine {instance_id}")
        if slash:
            await self._terminate(region, ec2_id, instance_id)
            return
        unsure: ProviderError | None = None
        for each in self._settings.regions:
            try:
                await self._terminate(each, ec2_id, instance_id)
            except NotFound:
                continue
            except Unavailable as error:
                unsure = error
            else:
                return
        raise unsure or NotFound(f"{self.name}: there is no machine {instance_id}")

    async def bootstrap_log(self, instance_id: str) -> str:
        """Show the end of a machine's console; see `BootstrapLogReader`.

        What is there now on machines of the Nitro system, which all newer types are; on others what
        EC2 kept some minutes after the boot. EC2 shows it for about an hour after a machine's end.
        """
        region, slash, ec2_id = instance_id.rpartition("/")
        if slash and not REGION.fullmatch(region):
            raise NotFound(f"{self.name}: there is no machine {instance_id}")
        for each in (region,) if slash else self._settings.regions:
            with suppress(NotFound):
                return log_tail(await self._console(each, ec2_id, instance_id))
        raise NotFound(f"{self.name}: there is no machine {instance_id}")

    async def list(self) -> Instances:
        """Show the machines that carry a fleet's tag, in all regions; see `Provider.list`.

        One request for each five hundred machines of a region, the regions side by side. Those
        that are terminated are left out.
        """
        found = await _together(self._list(region) for region in self._settings.regions)
        return [instance for instances in found for instance in instances]

    async def list_instance_types(self) -> Types:
        """Show the types with GPUs that are sold in the zones that machines can be launched into.

        Prices on demand are not among what EC2 answers: they are 0 here. The price of spot is the
        lowest of those zones.
        """
        found = await _together(self._types(region) for region in self._settings.regions)
        sold = lists.merged(found)
        self._gpus = {each.name: answers.Gpus(each.gpu_count, each.gpu_type) for each in sold}
        return sold

    async def examine_for(self, wanted: Sequence[Wanted]) -> Sequence[Finding]:
        """Say whether what pools want may be launched, by rights and by quotas; nothing is changed.

        One dry run for each pool and type, and one or two requests for each quota of a region, all
        side by side.
        """
        first = {(each.pool, each.instance_type): each for each in reversed(wanted)}
        needs, untold = examining.needed(wanted, self._settings)
        rights = [self._right(want) for want in reversed(first.values())]
        quotas = [self._quota(need) for need in needs]
        return [*await _together([*rights, *quotas]), *untold]

    async def _right(self, want: Wanted) -> Finding:
        what = f"launch for {want.pool}"
        try:
            plan = examining.launch_of(want, self._settings)
        except InvalidRequest as error:
            return what, False, str(error)
        about = f"a launch of {want.instance_type} in {plan.region}"
        try:
            told = await self._do(
                lambda ask: examining.may_launch(ask, plan, want.instance_type), about
            )
        except (Unauthorized, InvalidRequest, QuotaExceeded) as error:
            return what, False, str(error)
        except ProviderError as error:
            return what, None, str(error)
        return what, *told

    async def _quota(self, need: examining.Needed) -> Finding:
        what = f"quota of {need.region}"
        about = f"quota {need.quota.code} in {need.region}"
        try:
            value = await self._do(
                lambda ask: examining.allowed(ask, need.region, need.quota), about
            )
        except ProviderError as error:
            right = "; it takes the right servicequotas:GetServiceQuota"
            is_forbidden = _code_behind(error) in examining.MAY_NOT_READ
            return what, None, f"{error}{right if is_forbidden else ''}"
        return what, *examining.judged(need, value)

    # One request, or one list.

    async def _run(self, plan: Planned, about: str) -> Instance:
        def run(ask: Ask) -> Instance:
            answer = ask(plan.region, "RunInstances", plan.parameters)
            described = answers.items(answer, "Instances")
            if len(described) != 1:
                raise Garbled(f"an answer with {len(described)} instances, expected one")
            return answers.machine(described[0], plan.region, self.name, self._gpus)

        return await self._do(run, about, changes=True)

    async def _made_before(self, name: str, region: str, error: OutcomeUnknown) -> Instance:
        """Find what an earlier request with this token has made."""
        filters = [{"Name": f"tag:{INSTANCE_LABEL}", "Values": [name]}]
        about = f"search for {name} in {region}"
        found = await self._do(
            lambda ask: lists.machines(ask, region, filters, self.name, self._gpus), about
        )
        if not found:
            raise OutcomeUnknown(
                f"{error}; its name is not found, or not yet. Were settings changed meanwhile?"
            ) from error
        return min(found, key=lambda each: (each.status in answers.ENDED, each.id))

    async def _terminate(self, region: str, ec2_id: str, instance_id: str) -> None:
        def terminate(ask: Ask) -> str:
            answer = ask(region, "TerminateInstances", {"InstanceIds": [ec2_id]})
            for each in answers.items(answer, "TerminatingInstances"):
                if each.get("InstanceId") == ec2_id:
                    return str((each.get("PreviousState") or {}).get("Name") or "")
            raise Garbled(f"an answer without {ec2_id}")

        try:
            state = await self._do(terminate, f"end of {instance_id}", changes=True)
        except NotFound as error:
            key = f"{region}/{ec2_id}"
            malformed = _code_behind(error) == "InvalidInstanceID.Malformed"
            if malformed or self._is_known_by_now(key):
                raise
            raise Unavailable(f"{error}; EC2 may not know it yet: ask again") from error
        if state == "terminated":
            raise NotFound(f"{self.name}: {instance_id} has been terminated")

    async def _console(self, region: str, ec2_id: str, instance_id: str) -> str:
        def console(ask: Ask) -> str:
            try:
                answer = ask(region, "GetConsoleOutput", {"InstanceId": ec2_id, "Latest": True})
            except Exception as error:
                if code_of(error) not in NO_LATEST_CONSOLE:
                    raise
                answer = ask(region, "GetConsoleOutput", {"InstanceId": ec2_id})
            if answer.get("InstanceId") != ec2_id:
                raise Garbled(f"an answer without {ec2_id}")
            return str(answer.get("Output") or "")  # the SDK has decoded the base64

        return await self._do(console, f"console of {instance_id}")

    async def _list(self, region: str) -> Instances:
        filters = [
            {"Name": "tag-key", "Values": [FLEET_LABEL]},
            {"Name": "instance-state-name", "Values": [*answers.LISTED_STATES]},
        ]
        about = f"list of machines in {region}"
        return await self._do(
            lambda ask: lists.machines(ask, region, filters, self.name, self._gpus), about
        )

    async def _types(self, region: str) -> Types:
        moment, settings = self._now(), self._settings
        about = f"price list of {region}"
        return await self._do(lambda ask: lists.types(ask, region, settings, moment), about)

    async def _do(self, job: Callable[[Ask], T], about: str, *, changes: bool = False) -> T:
        """Do a job in a thread, and put whatever goes wrong into our words."""
        errand = Errand()
        subject = f"{self.name}: {about}"

        def work() -> T:
            with self._clients.on(errand) as ask:
                return job(ask)

        cause: BaseException | None
        try:
            return await self._lanes.do(work, errand, self._settings.timeout)
        except TooLate as late:
            seconds = self._settings.timeout.total_seconds()
            unsure = late.sent and changes
            failed: ProviderError = (OutcomeUnknown if unsure else Unavailable)(
                f"{subject}: no answer within {seconds:g} s"
            )
            cause = None
        except Closed:
            failed, cause = Unavailable(f"{subject}: this provider is closed"), None
        except Unanswered as error:
            failed, cause = Unauthorized(f"{subject}: {error}"), None
        except Exception as error:  # noqa: BLE001 - the SDK may raise anything
            failed, cause = translated(error, subject, sent=errand.sent, changes=changes)
        raise failed from cause

    # What is known of launches of late.

    def _remember(self, instance_id: str, begun_at: datetime) -> None:
        oldest = self._now() - self.list_lag
        self._launched = {key: at for key, at in self._launched.items() if at > oldest}
        self._launched[instance_id] = begun_at

    def _is_known_by_now(self, instance_id: str) -> bool:
        """Whether EC2 has had the time to know a machine of this id, if there is one."""
        now = self._now()
        launched_at = self._launched.get(instance_id)
        if launched_at is not None and now < launched_at + self.list_lag:
            return False
        return now >= self._sure_from


def _code_behind(error: ProviderError) -> str:
    """The code with which EC2 refused; empty when it did not."""
    return code_of(error.__cause__) if error.__cause__ is not None else ""


async def _together(asked: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """Wait for all of them, and return what they return, or raise what the first failed with."""
    results = []
    for result in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results
