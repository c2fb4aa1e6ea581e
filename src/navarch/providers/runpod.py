"""RunPod: GPU pods over its REST API, version 2 (beta).

Facts from RunPod's OpenAPI document 2.0.0 and its guide to migrating from version 1 (read November
2026); docs/providers/runpod.md lists them with what follows from each.

Rules that hold:

- A pod is a container, not a virtual machine: it runs `RunPodSettings.image`, and our start-up
  script reaches it in its environment.
- Labels travel in the environment too: the tags of version 2 are attached by a second request,
  which could fail after the first has bought.
- There is no idempotency token: a launch is looked up first, and one with an unclear answer is
  `OutcomeUnknown`.
- The environment that a list shows holds secrets. Our labels are read from it and nothing else.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct, field

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
from navarch.peers.endpoint import Answer
from navarch.providers.base import (
    INSTANCE_LABEL,
    Finding,
    Instance,
    Instances,
    InstanceStatus,
    InstanceType,
    ProvisionRequest,
    Wanted,
)
from navarch.providers.lookup import bought_before, labels_to_carry
from navarch.providers.pace import Now, Pace, Sleep
from navarch.providers.rest import Rest, api_key, refusal_of, secrets_of
from navarch.providers.runpod_account import examined
from navarch.providers.runpod_refusals import Problem, meaning, problem_of

T = TypeVar("T")

LABELS_ENV: Final = "NAVARCH_LABELS"
"""The variable of a pod that holds its labels as a JSON object, and says that it is ours."""

SCRIPT_ENV: Final = "NAVARCH_USER_DATA"
"""The variable of a pod that holds its start-up script in base64."""

RUN_SCRIPT: Final = (
    f'sh -c \'printf %s "${SCRIPT_ENV}" | base64 -d > /tmp/navarch-start '
    "&& chmod 700 /tmp/navarch-start && exec /tmp/navarch-start'"
)
"""The container's arguments: RunPod splits them as a shell does."""

SCRIPT_BYTES_MAX: Final = 90_000
"""In base64 that is 120,000, and Linux takes 131,072 in one variable (``MAX_ARG_STRLEN``)."""

PATIENCE: Final = timedelta(seconds=20)
"""How long a request waits for its turn before it is `Throttled`: the launch counts on little."""

BURST: Final = 5
"""How many requests may follow one another at once: a twelfth of what a minute allows."""

STATUSES: Final[Mapping[str, InstanceStatus]] = MappingProxyType(
    {
        "PROVISIONING": InstanceStatus.PROVISIONING,
        "STARTING": InstanceStatus.PROVISIONING,
        "RUNNING": InstanceStatus.RUNNING,
        "EXITED": InstanceStatus.RUNNING,
        "ERROR": InstanceStatus.RUNNING,
        "TERMINATED": InstanceStatus.TERMINATED,
    }
)
"""RunPod's words in ours. A pod that exited or failed is there still, and its disk costs.

A word that is not here is read as running, because a pod that is listed exists.
"""

WITHOUT_CAPACITY: Final = re.compile(r"instances? available|no capacity|out of stock")
WITHOUT_MONEY: Final = re.compile(r"balance|funds|credit|spend|quota|payment")
WITH_A_MISTAKE: Final = re.compile(r"invalid|must|required|exclusive|support|unknown|not found")
"""What a refused launch is about, by its text: RunPod has no codes.

Mistakes in the body are 422, so that a 400 without any of these words is a matter of capacity.
"""

TYPE: Final = re.compile(r"(?:([1-9][0-9]{0,2})x )?(\S.*)")
"""How we write a type: the GPU's identifier, after a count above one: ``8x NVIDIA A40``."""


class RunPodSettings(Struct, frozen=True, kw_only=True):
    """How an account at RunPod is used."""

    image: str
    """The container image of every pod; it must hold ``sh`` and ``base64``, and start our agent."""

    api_key_env: str = ""
    """The environment variable of the API key; without it and a file, ``RUNPOD_API_KEY``."""

    api_key_file: str = ""
    """The file of the API key, read anew for each request."""

    cloud: Literal["SECURE", "COMMUNITY"] = "SECURE"
    """RunPod's own data centers, or hardware of others."""

    region: str = ""
    """The data center to ask for when a pool does not say; empty: RunPod chooses."""

    disk_gb: int = 50
    """The container's disk, lost when it restarts; at least 1."""

    ports: tuple[str, ...] = ("22/tcp",)
    """What is reachable from outside, as ``port/protocol``; version 2 opens none by itself."""

    registry_id: str = ""
    """The credentials of a private registry, by RunPod's id."""

    network_volume_id: str = ""
    """A volume to mount; pods are then bought where it is."""

    network_volume_path: str = "/workspace"

    global_networking: bool = False
    """Whether pods get an address that other data centers reach; not all of them can."""

    gpu_counts: tuple[int, ...] = (1, 2, 4, 8)
    """The sizes of pod in the price list; each is one request."""

    url: str = "https://api.runpod.io"

    request_interval: timedelta = timedelta(seconds=1.2)
    """Between two requests, on average: the documented example allows 3,000 an hour."""

    timeout: timedelta = timedelta(seconds=20)
    """For one request but a launch."""

    launch_timeout: timedelta = timedelta(seconds=60)
    """For the request that launches."""

    def __post_init__(self) -> None:
        """Refuse what can never work.

        :raises ConfigError: no image, two places of the key, or a number that is too small
        """
        api_key(self.api_key_env, self.api_key_file, default="RUNPOD_API_KEY")
        if not self.image:
            raise ConfigError("runpod: image is empty, expected the container image of pods")
        if self.disk_gb < 1 or any(count < 1 for count in self.gpu_counts):
            raise ConfigError("runpod: disk_gb and gpu_counts start at 1")
        for key in ("request_interval", "timeout", "launch_timeout"):
            value: timedelta = getattr(self, key)
            if value <= timedelta():
                raise ConfigError(f"runpod: {key} is {value}, expected more than 0")


class _Gpu(Struct):
    id: str = ""
    count: int = 1


class _Port(Struct):
    type: str = ""
    ip: str | None = None


class _Runtime(Struct):
    ports: list[_Port] | None = None


class _Network(Struct):
    ip: str | None = None


class _Pod(Struct, rename="camel"):
    id: Annotated[str, Meta(min_length=1)]
    status: str
    name: str = ""
    env: dict[str, str] | None = None
    gpu: _Gpu | None = None
    data_center_id: str | None = None
    runtime: _Runtime | None = None
    global_networking: _Network | None = None


class _Pods(Struct):
    pods: list[_Pod]


class _Price(Struct):
    secure: Annotated[float, Meta(ge=0)] = 0.0
    community: Annotated[float, Meta(ge=0)] = 0.0


class _MaxCount(Struct):
    secure: int = 0
    community: int = 0


class _Stocked(Struct):
    id: str
    availability: str = "NONE"


class _GpuType(Struct, rename="camel"):
    id: str
    name: str = ""
    price: _Price = field(default_factory=_Price)
    max_count: _MaxCount = field(default_factory=_MaxCount)
    availability: str = "NONE"
    data_centers: list[_Stocked] | None = None


class _GpuTypes(Struct):
    gpus: list[_GpuType]


class RunPodProvider:
    """The `Provider` and `InstanceTypeLister` of RunPod."""

    list_lag: Final = timedelta(minutes=4)
    """A launch waits for its turn and its look-up, may take its whole time-out, and be late."""

    launches_at_once: Final = 4
    """Each is two requests, and five may follow one another at once."""

    honours_tokens: Final = False
    """Whoever asks again gets the machine of the first call only once a list shows that."""

    def __init__(
        self, settings: RunPodSettings, *, now: Now, sleep: Sleep, name: str = "runpod"
    ) -> None:
        """Buy from the account of `settings`; `now` and `sleep` are the time its limits are in.

        :raises ConfigError: the address cannot be used
        """
        self.name = name
        self.calls_per_second = 1 / settings.request_interval.total_seconds()
        self._settings = settings
        credentials = api_key(settings.api_key_env, settings.api_key_file, default="RUNPOD_API_KEY")
        pace = Pace(settings.request_interval, now=now, sleep=sleep, burst=BURST, patience=PATIENCE)
        self._rest = Rest(name, settings.url, credentials, pace=pace, now=now)

    async def provision(self, request: ProvisionRequest) -> Instance:
        """Create a pod, unless one with our labels is there already; see `Provider.provision`.

        :raises InvalidRequest: also for a token whose pod has begun to end
        """
        try:
            body = self._pod_body(request)
        except UnicodeEncodeError as cause:
            raise InvalidRequest(f"{self.name}: a text of the request is no Unicode") from cause
        if request.token:
            before = bought_before(request, await self.list())
            if before is not None:
                return before
        answer = await self._rest.change(
            "POST", "/v2/pods", body, deadline=self._settings.launch_timeout
        )
        if answer.status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            raise self._launch_failure(answer, request) from refusal_of(answer)
        pod = self._rest.parsed(answer, _Pod, otherwise=OutcomeUnknown)
        return msgspec.structs.replace(
            self._instance(pod),
            name=request.name,
            instance_type=request.instance_type,
            labels=labels_to_carry(request),
        )

    async def terminate(self, instance_id: str) -> None:
        """Delete a pod, with its disk; see `Provider.terminate`."""
        answer = await self._rest.change(
            "DELETE", f"/v2/pods/{quote(instance_id, safe='')}", deadline=self._settings.timeout
        )
        if answer.status not in {HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT}:
            problem = problem_of(answer)
            kind = meaning(problem, answer.status, absent=NotFound, unclear=OutcomeUnknown)
            raise kind(self._said(f"terminate {instance_id}", answer, problem)) from refusal_of(
                answer
            )

    async def list_instance_types(self) -> list[InstanceType]:
        """Show the price list: each GPU in each size that is sold. One request for each size."""
        lines = []
        for count in sorted(set(self._settings.gpu_counts)):
            query = f"include=AVAILABILITY&product=POD&count={count}&cloud={self._settings.cloud}"
            gpus = await self._read(f"/v2/catalog/gpus?{query}", _GpuTypes)
            lines += [self._line(gpu, count) for gpu in gpus.gpus if count <= self._most(gpu)]
        return list({line.name: line for line in lines}.values())

    async def list(self) -> Instances:
        """Show the pods of this account that carry our labels; see `Provider.list`."""
        pods = (await self._read("/v2/pods", _Pods)).pods
        ours = {each.id: each for each in pods if LABELS_ENV in (each.env or {})}
        return [self._instance(each) for each in ours.values()]

    async def examine_for(self, wanted: Sequence[Wanted]) -> Sequence[Finding]:
        """Say whether there is money left, and enough for what pools want. One request."""
        return await examined(self._rest, self._settings.timeout, wanted)

    async def close(self) -> None:
        """Give up the connections. Another call afterwards fails."""
        await self._rest.close()

    async def _read(self, path: str, shape: type[T]) -> T:
        answer = await self._rest.read(path, deadline=self._settings.timeout)
        if answer.status != HTTPStatus.OK:
            problem = problem_of(answer)
            kind = meaning(problem, answer.status, absent=Unavailable, unclear=Unavailable)
            raise kind(self._said(f"GET {path}", answer, problem)) from refusal_of(answer)
        return self._rest.parsed(answer, shape, otherwise=Unavailable)

    def _launch_failure(self, answer: Answer, request: ProvisionRequest) -> ProviderError:
        problem = problem_of(answer)
        text = problem.detail.lower() if problem else ""
        kind = meaning(problem, answer.status, absent=InvalidRequest, unclear=OutcomeUnknown)
        if WITHOUT_CAPACITY.search(text):
            kind = NoCapacity
        elif problem and answer.status == HTTPStatus.PAYMENT_REQUIRED:
            kind = QuotaExceeded
        elif problem and answer.status == HTTPStatus.BAD_REQUEST:
            is_mistake = bool(WITH_A_MISTAKE.search(text))
            kind = InvalidRequest if is_mistake else NoCapacity
            kind = QuotaExceeded if WITHOUT_MONEY.search(text) else kind
        hidden = secrets_of(request.user_data) | {_encoded(request.user_data).rstrip("=")}
        return kind(self._said(f"launch {request.name}", answer, problem, hidden=hidden))

    def _said(
        self,
        doing: str,
        answer: Answer,
        problem: Problem | None,
        *,
        hidden: frozenset[str] = frozenset(),
    ) -> str:
        said = "an answer that is not RunPod's"
        if problem:
            said = " ".join([f"{problem.title}: {problem.detail}", *problem.errors])
        return (
            f"{self.name}: {doing}: HTTP {answer.status}: {self._rest.quoted(said, hidden=hidden)}"
        )

    def _pod_body(self, request: ProvisionRequest) -> dict[str, object]:
        """Write the launch, or say why it would be refused.

        :raises InvalidRequest: it would be refused
        """
        settings = self._settings
        gpu, count = self._gpu_of(request)
        refusal = _refusal(request)
        if refusal:
            raise InvalidRequest(f"{self.name}: {request.name}: {refusal}")
        env = {LABELS_ENV: _text(labels_to_carry(request))}
        region = request.region or settings.region
        volume = {"volumeId": settings.network_volume_id, "path": settings.network_volume_path}
        optional: dict[str, object] = {
            "args": RUN_SCRIPT if request.user_data else "",
            "dataCenterIds": [region] if region else [],
            "registry": settings.registry_id,
            "mounts": {"network": [volume]} if settings.network_volume_id else {},
            "globalNetworking": settings.global_networking,
        }
        if request.user_data:
            env[SCRIPT_ENV] = _encoded(request.user_data)
        return {
            "name": request.name,
            "image": settings.image,
            "gpu": {"id": gpu, "count": count},
            "cloud": settings.cloud,
            "disk": settings.disk_gb,
            "ports": settings.ports,
            "env": env,
            **{key: value for key, value in optional.items() if value},
        }

    def _gpu_of(self, request: ProvisionRequest) -> tuple[str, int]:
        match = TYPE.fullmatch(request.instance_type)
        if match is None or match[1] == "1":
            raise InvalidRequest(
                f"{self.name}: {request.instance_type!r} is no type, expected a GPU's identifier "
                "with a count above one before it, such as '8x NVIDIA A40'"
            )
        return match[2], int(match[1] or 1)

    def _instance(self, pod: _Pod) -> Instance:
        labels = _labels_of((pod.env or {}).get(LABELS_ENV, ""))
        ports = (pod.runtime.ports if pod.runtime else None) or []
        gpu = pod.gpu or _Gpu(count=0)
        return Instance(
            id=pod.id,
            provider=self.name,
            name=labels.get(INSTANCE_LABEL, pod.name),
            region=pod.data_center_id or "",
            instance_type=_type_name(gpu.id, gpu.count),
            status=STATUSES.get(pod.status, InstanceStatus.RUNNING),
            public_ip=next((each.ip for each in ports if each.type == "tcp" and each.ip), ""),
            private_ip=(pod.global_networking.ip if pod.global_networking else None) or "",
            gpu_count=gpu.count,
            gpu_type=gpu.id,
            labels=labels,
        )

    def _most(self, gpu: _GpuType) -> int:
        most = gpu.max_count
        return most.secure if self._settings.cloud == "SECURE" else most.community

    def _line(self, gpu: _GpuType, count: int) -> InstanceType:
        price = gpu.price.secure if self._settings.cloud == "SECURE" else gpu.price.community
        stocked = [each.id for each in gpu.data_centers or () if each.availability != "NONE"]
        return InstanceType(
            name=_type_name(gpu.id, count),
            gpu_count=count,
            gpu_type=gpu.id,
            price_per_hour=price * count,
            regions=tuple(stocked),
            available=gpu.availability != "NONE",
        )


def _refusal(request: ProvisionRequest) -> str:
    """Say why RunPod cannot do what is asked; empty when it can."""
    if not request.name:
        return "a launch needs a name"
    if request.zone:
        return f"zone {request.zone}: RunPod's data centers are regions, and have no zones"
    if request.spot:
        return "version 2 of the API sells no spot pods"
    if request.ssh_key_names:
        return "RunPod knows no keys by name: leave ssh_keys out, the account's own keys are used"
    if request.user_data and not request.user_data.startswith("#!"):
        return "user_data must be a script that begins with #!: a container has no cloud-init"
    if len(request.user_data.encode(errors="replace")) > SCRIPT_BYTES_MAX:
        return f"user_data has more than {SCRIPT_BYTES_MAX} bytes"
    return ""


def _type_name(gpu: str, count: int) -> str:
    return gpu if count == 1 else f"{count}x {gpu}"


def _text(labels: Mapping[str, str]) -> str:
    return msgspec.json.encode(labels).decode()


def _labels_of(text: str) -> dict[str, str]:
    """Read labels back; none where somebody has changed them into something else."""
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}


def _encoded(script: str) -> str:
    return b64encode(script.encode()).decode()
