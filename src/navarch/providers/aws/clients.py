"""How EC2 is spoken to: one client of the SDK for each region, and what it is allowed to do.

The SDK is botocore, the core of boto3. It is imported at the first call, in a thread, and its
description of EC2 is cut down to what is used here: a list is then read in a third of the time,
and a further region costs nothing in place of 38 MB (docs/decisions/0019).

Rules that hold:

- One call is one request. The SDK repeats nothing by itself.
- Nothing is sent for an errand that was abandoned; what is sent is noted.
- Secrets of the environment are read at each use. Where EC2 refuses credentials that the SDK
  found, they are looked for anew, and a call is made once more if there are others.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from navarch.errors import ConfigError
from navarch.peers.endpoint import secret_of_environment
from navarch.providers.aws.lanes import Errand
from navarch.providers.aws.refusals import STALE, code_of
from navarch.providers.aws.settings import AwsSettings
from navarch.version import VERSION

Ask: TypeAlias = Callable[[str, str, Mapping[str, Any]], Mapping[str, Any]]
"""Calls an operation of a region with parameters."""

OPERATIONS: Final = {
    "DescribeInstances": "describe_instances",
    "DescribeInstanceTypeOfferings": "describe_instance_type_offerings",
    "DescribeInstanceTypes": "describe_instance_types",
    "DescribeSpotPriceHistory": "describe_spot_price_history",
    "GetConsoleOutput": "get_console_output",
    "RunInstances": "run_instances",
    "TerminateInstances": "terminate_instances",
}
"""Everything that is ever asked of EC2, and the SDK's name for it."""

OF_QUOTAS: Final = {
    "GetServiceQuota": "get_service_quota",
    "GetAWSDefaultServiceQuota": "get_aws_default_service_quota",
}
"""What is asked of Service Quotas, whose address is the SDK's own: `AwsSettings.endpoint_url` is
one of EC2's."""

READ: Final = {
    "Instance": (
        *("InstanceId", "InstanceType", "Placement", "PrivateIpAddress"),
        *("PublicIpAddress", "State", "StateReason", "Tags"),
    ),
    "Reservation": ("Instances",),
    "InstanceTypeInfo": ("GpuInfo", "InstanceType", "MemoryInfo", "VCpuInfo"),
}
"""The parts of long answers that are read; the rest is passed over."""

CONNECT_SECONDS: Final = 5
"""How long a connection may take: a region is at most a third of a second away."""


class Clients:
    """The clients of one account. Used from many threads."""

    def __init__(self, settings: AwsSettings, connections: int) -> None:
        """Begin without any; `connections` are kept open to each region.

        :raises ConfigError: the SDK is not installed
        """
        if importlib.util.find_spec("botocore") is None:
            raise ConfigError("the aws provider needs botocore: pip install 'navarch[aws]'")
        self._settings = settings
        self._connections = connections
        self._lock = threading.Lock()
        self._session: Any = None
        self._keys: tuple[str, ...] = ()
        self._clients: dict[tuple[str, str], Any] = {}
        """By service and region."""
        self._errands = threading.local()

    @contextmanager
    def on(self, errand: Errand) -> Iterator[Ask]:
        """Yield the means to ask EC2 in this thread, on behalf of an errand."""
        self._errands.current = errand
        try:
            yield self.ask
        finally:
            self._errands.current = None

    def ask(self, region: str, operation: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Call an operation, and return its answer or raise what the SDK raises."""
        service = "service-quotas" if operation in OF_QUOTAS else "ec2"
        session, client = self._client(service, region)
        try:
            return _called(client, operation, parameters)
        except Exception as error:
            if code_of(error) not in STALE or not self._renew(session):
                raise
        _, client = self._client(service, region)
        return _called(client, operation, parameters)

    def close(self) -> None:
        """Give up the connections. Another call opens new ones."""
        with self._lock:
            self._forget()

    def _client(self, service: str, region: str) -> tuple[Any, Any]:
        keys = self._own_keys()
        with self._lock:
            if self._session is None or keys != self._keys:
                self._forget()
                self._session, self._keys = self._new_session(keys), keys
            if (service, region) not in self._clients:
                self._clients[service, region] = self._new_client(service, region)
            return self._session, self._clients[service, region]

    def _renew(self, refused: Any) -> bool:  # noqa: ANN401 - a session of the SDK
        """Look for credentials anew; tell whether there are others than those refused."""
        with self._lock:
            if self._session is not refused:
                return True
            session = self._new_session(self._keys)
            if _frozen(session) == _frozen(refused):
                return False
            self._forget()
            self._session = session
            return True

    def _own_keys(self) -> tuple[str, ...]:
        settings = self._settings
        names = (
            settings.access_key_id_env,
            settings.secret_access_key_env,
            settings.session_token_env,
        )
        return tuple(secret_of_environment(name) for name in names if name)

    def _new_session(self, keys: tuple[str, ...]) -> Any:  # noqa: ANN401 - the SDK has no types
        module = importlib.import_module("botocore.session")
        library = logging.getLogger("botocore")  # noqa: TID251 - its level only
        if library.level == logging.NOTSET:
            # At DEBUG it quotes start-up scripts and session tokens: whoever wants that says so.
            library.setLevel(logging.INFO)
        session = module.Session(profile=self._settings.profile or None)
        if keys:
            session.set_credentials(*keys)
        loader = _loader(session.get_config_variable("data_path"))
        session.register_component("data_loader", loader)
        return session

    def _new_client(self, service: str, region: str) -> Any:  # noqa: ANN401 - the SDK has no types
        config = importlib.import_module("botocore.config").Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=self._settings.timeout.total_seconds(),
            max_pool_connections=self._connections,
            retries={"total_max_attempts": 1, "mode": "standard"},
            user_agent_extra=f"navarch/{VERSION}",
        )
        own = self._settings.endpoint_url.replace("{region}", region) if service == "ec2" else ""
        client = self._session.create_client(
            service, region_name=region, endpoint_url=own or None, config=config
        )
        client.meta.events.register_first(f"before-send.{service}", self._before_send)
        return client

    def _before_send(self, **_: object) -> None:
        errand: Errand | None = getattr(self._errands, "current", None)
        if errand is not None:
            errand.sending()

    def _forget(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients = {}
        self._session = None


class Trimmed:
    """The SDK's loader of descriptions, whose description of EC2 is cut down to what is used."""

    def __init__(self, new_loader: Callable[[], Any]) -> None:
        """Stand before a loader; another one is made for EC2, since they keep what they load."""
        self._new_loader = new_loader
        self._loader = new_loader()
        self._operations: dict[str, Any] | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the loader has
        return getattr(self._loader, name)

    def load_service_model(
        self, service_name: str, type_name: str, api_version: str | None = None
    ) -> Any:  # noqa: ANN401 - a document
        """Load a description as the loader does; that of EC2's operations is cut down."""
        if (service_name, type_name) != ("ec2", "service-2"):
            return self._loader.load_service_model(service_name, type_name, api_version)
        if self._operations is None:
            document = self._new_loader().load_service_model(service_name, type_name, api_version)
            self._operations = trimmed(document)
        return self._operations


@functools.cache
def _loader(path: str | None) -> Trimmed:
    """Make the loader of this process; `path` is where the SDK was told to look as well."""
    create = importlib.import_module("botocore.loaders").create_loader
    return Trimmed(functools.partial(create, path))


def trimmed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Cut a description down to `OPERATIONS`, `READ` and the shapes that they need."""
    operations = {name: document["operations"][name] for name in OPERATIONS}
    shapes: dict[str, Any] = {}
    wanted = [
        operation[end]["shape"]
        for operation in operations.values()
        for end in ("input", "output")
        if end in operation
    ]
    while wanted:
        name = wanted.pop()
        if name in shapes:
            continue
        shape = document["shapes"][name]
        if "members" in shape:
            kept = READ.get(name, tuple(shape["members"]))
            members = {key: member for key, member in shape["members"].items() if key in kept}
            shape = {**shape, "members": members}
            wanted += [member["shape"] for member in members.values()]
        wanted += [shape[part]["shape"] for part in ("member", "key", "value") if part in shape]
        shapes[name] = shape
    return {**document, "operations": operations, "shapes": shapes}


def _called(
    client: Any,  # noqa: ANN401 - the SDK has no types
    operation: str,
    parameters: Mapping[str, Any],
) -> Mapping[str, Any]:
    method = {**OPERATIONS, **OF_QUOTAS}[operation]
    answer: Mapping[str, Any] = getattr(client, method)(**parameters)
    return answer


def _frozen(session: Any) -> object:  # noqa: ANN401 - the SDK has no types
    credentials = session.get_credentials()
    return None if credentials is None else credentials.get_frozen_credentials()
