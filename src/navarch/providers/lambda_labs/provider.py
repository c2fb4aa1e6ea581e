"""Lambda Cloud: on-demand GPU instances over its REST API.

Facts from the Lambda Cloud API's OpenAPI document, versions 1.8.3 and 1.10.0 (read November 2026);
docs/providers/lambda.md lists them with what follows from each.

Rules that hold:

- There is no idempotency token. A launch is looked up by our tags before it is made, launches are
  made one at a time, and one with an unclear answer is `OutcomeUnknown`: the next list tells.
- One request a second and one launch in twelve, however many callers there are. The launch counts
  from its answer, so that a slow network cannot push two together.
- What an error means is read from its code; its text is for people only.
- A machine is ours when it carries our tags. The name can be edited in the console, so it is only
  shown.
- ``jupyter_token`` is a secret, and is never read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from navarch.errors import (
    ConfigError,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    Unavailable,
)
from navarch.peers.endpoint import Answer
from navarch.providers.base import (
    Finding,
    Instance,
    Instances,
    InstanceStatus,
    InstanceType,
    ProvisionRequest,
)
from navarch.providers.lambda_labs import answers, tags
from navarch.providers.lookup import bought_before, labels_to_carry
from navarch.providers.pace import Now, Pace, Sleep, throttled
from navarch.providers.rest import Rest, api_key, refusal_of, secrets_of

NAME_LENGTH_MAX: Final = 64
USER_DATA_BYTES_MAX: Final = 1_000_000
"""The document says "1MB"; the smaller reading of it."""

PATIENCE: Final = timedelta(seconds=20)
"""How long a request waits for its turn before it is `Throttled`: the launch counts on little."""

LAUNCHES_WAITING_MAX: Final = 4
"""How many may wait while one launches: at twelve seconds each, the last waits about a minute."""


class LambdaSettings(Struct, frozen=True, kw_only=True):
    """How an account at Lambda Cloud is used."""

    api_key_env: str = ""
    """The environment variable of the API key; without it and a file, ``LAMBDA_API_KEY``."""

    api_key_file: str = ""
    """The file of the API key, read anew for each request."""

    region: str = ""
    """Where to launch when a pool does not say; Lambda itself has no default."""

    ssh_key_name: str = ""
    """The key to launch with when a pool names none; Lambda wants exactly one."""

    image_family: str = ""
    """The newest image of this family; empty: Lambda Stack, unless `image_id` is given."""

    image_id: str = ""
    file_system_names: tuple[str, ...] = ()
    """Mounted in every machine; they must be in its region."""

    firewall_ruleset_ids: tuple[str, ...] = ()
    """Applied to every machine; they must be in its region."""

    url: str = "https://cloud.lambda.ai/api/v1"

    request_interval: timedelta = timedelta(seconds=1)
    """Between two requests; longer where other programs use the account too."""

    launch_interval: timedelta = timedelta(seconds=12)
    """Between two launches; as above."""

    timeout: timedelta = timedelta(seconds=20)
    """For one request but a launch."""

    launch_timeout: timedelta = timedelta(seconds=60)
    """For the request that launches."""

    def __post_init__(self) -> None:
        """Refuse what can never work.

        :raises ConfigError: two places of the key, two images, or a time that is not positive
        """
        api_key(self.api_key_env, self.api_key_file, default="LAMBDA_API_KEY")
        if self.image_family and self.image_id:
            raise ConfigError("lambda: give one of image_family and image_id, not both")
        for key in ("request_interval", "launch_interval", "timeout", "launch_timeout"):
            value: timedelta = getattr(self, key)
            if value <= timedelta():
                raise ConfigError(f"lambda: {key} is {value}, expected more than 0")


class LambdaProvider:
    """The `Provider` and `InstanceTypeLister` of Lambda Cloud."""

    list_lag: Final = timedelta(minutes=4)
    """A launch waits for its turn and its look-up, may take its whole time-out, and be late."""

    launches_at_once: Final = 1
    """Lambda takes one in twelve seconds: others would only wait here instead of there."""

    honours_tokens: Final = False
    """Whoever asks again gets the machine of the first call only once a list shows that."""

    def __init__(
        self, settings: LambdaSettings, *, now: Now, sleep: Sleep, name: str = "lambda"
    ) -> None:
        """Buy from the account of `settings`; `now` and `sleep` are the time its limits are in.

        :raises ConfigError: the address cannot be used
        """
        self.name = name
        self.calls_per_second = min(10.0, 1 / settings.request_interval.total_seconds())
        self._settings = settings
        self._launches = Pace(settings.launch_interval, now=now, sleep=sleep)
        self._launching = asyncio.Lock()
        self._waiting = 0
        credentials = api_key(settings.api_key_env, settings.api_key_file, default="LAMBDA_API_KEY")
        pace = Pace(settings.request_interval, now=now, sleep=sleep, patience=PATIENCE)
        self._rest = Rest(name, settings.url, credentials, pace=pace, now=now)

    async def provision(self, request: ProvisionRequest) -> Instance:
        """Launch a machine, unless one with our tags is there already; see `Provider.provision`.

        Waits for the launch's turn. What the answer does not tell (addresses, GPUs), the list does.

        :raises InvalidRequest: also for a token whose machine has begun to end
        """
        body = self._launch_body(request)
        if self._waiting > LAUNCHES_WAITING_MAX:
            pause = self._settings.launch_interval * self._waiting
            raise throttled(f"{self.name}: {self._waiting} launches wait for their turn", pause)
        self._waiting += 1
        try:
            async with self._launching:
                await self._launches.turn(self.name)
                return await self._launch_once(request, body)
        finally:
            self._waiting -= 1

    async def terminate(self, instance_id: str) -> None:
        """Begin to end a machine; see `Provider.terminate`."""
        body = {"instance_ids": [instance_id]}
        answer = await self._rest.change(
            "POST", "/instance-operations/terminate", body, deadline=self._settings.timeout
        )
        if answer.status != HTTPStatus.OK:
            raise self._failure(
                answer, f"terminate {instance_id}", absent=NotFound, unclear=OutcomeUnknown
            ) from refusal_of(answer)
        ended = self._rest.parsed(answer, answers.Terminated, otherwise=OutcomeUnknown)
        if instance_id not in {each.id for each in ended.data.terminated_instances}:
            raise OutcomeUnknown(f"{self.name}: the answer does not say that {instance_id} ends")

    async def list_instance_types(self) -> list[InstanceType]:
        """Show the price list; `InstanceType.regions` are those that have one to sell now."""
        answer = await self._rest.read("/instance-types", deadline=self._settings.timeout)
        if answer.status != HTTPStatus.OK:
            raise self._failure(
                answer, "list types", absent=Unavailable, unclear=Unavailable
            ) from refusal_of(answer)
        sales = self._rest.parsed(answer, answers.Sales, otherwise=Unavailable).data
        return [sale.line(name) for name, sale in sales.items() if name]

    async def list(self) -> Instances:
        """Show the machines of this account that carry our tags; see `Provider.list`."""
        answer = await self._rest.read("/instances", deadline=self._settings.timeout)
        if answer.status != HTTPStatus.OK:
            raise self._failure(
                answer, "list", absent=Unavailable, unclear=Unavailable
            ) from refusal_of(answer)
        machines = self._rest.parsed(answer, answers.Machines, otherwise=Unavailable).data
        ours = {each.id: each for each in machines if each.is_ours}
        return [each.instance(self.name) for each in ours.values()]

    async def examine(self) -> Sequence[Finding]:
        """Say what Lambda does not tell: its API, version 1.10.0, has no word of quotas or money.

        What a key may do it does not tell either; a key is good for everything or for nothing.
        """
        why = "Lambda's API tells of no quotas: only a launch shows what the account may buy"
        return [("quota", None, why)]

    async def close(self) -> None:
        """Give up the connections. Another call afterwards fails."""
        await self._rest.close()

    async def _launch_once(self, request: ProvisionRequest, body: dict[str, object]) -> Instance:
        """Look the machine up, and launch it if there is none. Alone, and in its turn."""
        if request.token:
            before = bought_before(request, await self.list())
            if before is not None:
                return before
        try:
            answer = await self._rest.change(
                "POST",
                "/instance-operations/launch",
                body,
                deadline=self._settings.launch_timeout,
            )
        finally:
            self._launches.hold(self._settings.launch_interval)
        return self._launched(request, answer)

    def _launched(self, request: ProvisionRequest, answer: Answer) -> Instance:
        if answer.status != HTTPStatus.OK:
            raise self._failure(
                answer,
                f"launch {request.name}",
                absent=InvalidRequest,
                unclear=OutcomeUnknown,
                hidden=secrets_of(request.user_data),
            ) from refusal_of(answer)
        ids = self._rest.parsed(
            answer, answers.Launched, otherwise=OutcomeUnknown
        ).data.instance_ids
        if len(ids) != 1 or not ids[0]:
            raise OutcomeUnknown(f"{self.name}: launch {request.name}: {len(ids)} ids, expected 1")
        return Instance(
            id=ids[0],
            provider=self.name,
            name=request.name,
            region=request.region or self._settings.region,
            instance_type=request.instance_type,
            status=InstanceStatus.PROVISIONING,
            labels=labels_to_carry(request),
        )

    def _launch_body(self, request: ProvisionRequest) -> dict[str, object]:
        """Write the launch, or say why it would be refused.

        :raises InvalidRequest: it would be refused
        """
        settings = self._settings
        region = request.region or settings.region
        keys = request.ssh_key_names or ((settings.ssh_key_name,) if settings.ssh_key_name else ())
        self._demand(bool(request.name), "a launch needs a name")
        self._demand(
            len(request.name) <= NAME_LENGTH_MAX,
            f"{request.name} has {len(request.name)} characters, at most {NAME_LENGTH_MAX} may be",
        )
        self._demand(bool(region), f"{request.name} needs a region: Lambda has no default one")
        self._demand(not request.zone, f"{request.name}: zone {request.zone}: Lambda has no zones")
        self._demand(not request.spot, f"{request.name}: Lambda sells no spot instances")
        self._demand(
            len(keys) == 1,
            f"{request.name} has {len(keys)} ssh keys, Lambda wants exactly one: name it in the "
            "pool's ssh_keys or as the provider's ssh_key_name",
        )
        size = len(request.user_data.encode(errors="replace"))
        self._demand(
            size <= USER_DATA_BYTES_MAX,
            f"{request.name}: user_data has {size} bytes, at most {USER_DATA_BYTES_MAX} may be",
        )
        optional: dict[str, object] = {
            "user_data": request.user_data,
            "image": _image(settings),
            "file_system_names": settings.file_system_names,
            "firewall_rulesets": [{"id": each} for each in settings.firewall_ruleset_ids],
        }
        return {
            "region_name": region,
            "instance_type_name": request.instance_type,
            "ssh_key_names": keys,
            "name": request.name,
            "tags": tags.tags_of(labels_to_carry(request)),
            **{key: value for key, value in optional.items() if value},
        }

    def _demand(self, holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
        if not holds:
            raise InvalidRequest(f"{self.name}: {otherwise}")

    def _failure(
        self,
        answer: Answer,
        doing: str,
        *,
        absent: type[ProviderError],
        unclear: type[ProviderError],
        hidden: frozenset[str] = frozenset(),
    ) -> ProviderError:
        """Say what an answer that is no success means."""
        error = answers.error_of(answer)
        kind = answers.meaning(error.code, answer.status, absent=absent, unclear=unclear)
        said = f"{error.code}: {error.message}" if error.code else "an answer that is not Lambda's"
        quoted = self._rest.quoted(said, hidden=hidden)
        return kind(f"{self.name}: {doing}: HTTP {answer.status}: {quoted}")


def _image(settings: LambdaSettings) -> dict[str, str]:
    if settings.image_id:
        return {"id": settings.image_id}
    return {"family": settings.image_family} if settings.image_family else {}
