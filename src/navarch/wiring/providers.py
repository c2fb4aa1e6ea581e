"""Providers, made from what the configuration says, and what it means to each of them.

A cloud's library is loaded by nobody before it is needed: making a provider loads the module that
speaks to that cloud and asks only whether the library is there. Everything that can be wrong in a
configuration and that only a provider can tell is found by `faults`, before anything is made.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, assert_never

from msgspec import Struct, structs

from navarch.errors import ConfigError
from navarch.plugins.protocols import PluginKind
from navarch.wiring import plugins

if TYPE_CHECKING:
    from navarch.config import providers as written
    from navarch.config.reading import Reading
    from navarch.config.schema import Config
    from navarch.controlplane.clock import Clock
    from navarch.core.model.pool import PoolSpec, Source
    from navarch.providers.base import Provider

CUSTOM: Final = plugins.kind(PluginKind.PROVIDER)

LIBRARIES: Final[Mapping[str, tuple[str, str]]] = {
    "aws": ("botocore", "boto3"),
    "gcp": ("google.auth", "google-auth"),
    "ssh": ("asyncssh", "asyncssh"),
}
"""What a kind of provider needs beyond Navarch: the module, and what people call it. Each is in the
extra of the kind's name."""


class Surroundings(Struct, frozen=True, kw_only=True):
    """What providers are made in, beyond their own settings."""

    clock: Clock
    data: Path
    """The folder of everything that is kept."""
    secret: bytes = b""
    """What nodes' tokens are made of; empty where no machine is bought."""
    url: str = ""
    """Where agents on this machine reach the control plane."""
    tls_ca: str = ""
    """The file of the certificate that they trust; empty: plain HTTP."""


def make_provider(name: str, config: written.Provider, around: Surroundings) -> Provider:
    """Make the provider called `name`. Nothing is asked of it yet.

    Raises `ConfigError` when its library is not installed or a setting cannot be used, and
    `PluginError` when it is somebody else's and does not fit.
    """
    from navarch.config import providers as written

    demand_library(name, written.kind_of(config))
    try:
        return _made(name, config, around)
    except ConfigError as error:
        raise _placed(error, name) from error


def _made(name: str, config: written.Provider, around: Surroundings) -> Provider:
    from navarch.config import providers as written

    now, sleep = around.clock.now, around.clock.sleep
    match config:
        case written.LambdaProvider():
            from navarch.providers.lambda_labs import LambdaProvider

            return LambdaProvider(
                settings_of(name, config, around), now=now, sleep=sleep, name=name
            )
        case written.RunPodProvider():
            from navarch.providers.runpod import RunPodProvider

            return RunPodProvider(
                settings_of(name, config, around), now=now, sleep=sleep, name=name
            )
        case written.GcpProvider():
            from navarch.providers.gcp import GcpProvider

            return GcpProvider(settings_of(name, config, around), now=now, sleep=sleep, name=name)
        case written.AwsProvider():
            from navarch.providers.aws import AwsProvider

            return AwsProvider(settings_of(name, config, around), now=now, name=name)
        case written.SshProvider():
            from navarch.providers.ssh import SshProvider

            return SshProvider(settings_of(name, config, around), now=now, sleep=sleep, name=name)
        case written.DockerProvider():
            from navarch.providers.docker import DockerProvider

            return DockerProvider(settings_of(name, config, around), name=name)
        case written.ProcessProvider() | written.FakeProvider():
            return _local(name, config, around)
        case written.CustomProvider():
            made: Provider = plugins.make(CUSTOM, config.use, config.config)
            return made
        case _:
            assert_never(config)


def _local(
    name: str, config: written.ProcessProvider | written.FakeProvider, around: Surroundings
) -> Provider:
    from navarch.config import providers as written

    if isinstance(config, written.FakeProvider):
        from navarch.providers.fake import FakeCloud, FakeProvider

        cloud = FakeCloud(
            name=name,
            gpu_count=config.gpu_count,
            gpu_type=config.gpu_type,
            stock=dict(config.stock),
        )
        return FakeProvider(name=name, cloud=cloud, now=around.clock.now, sleep=around.clock.sleep)
    from navarch.providers.process import ProcessProvider
    from navarch.wiring.first_scripts import agent_command

    return ProcessProvider(
        around.data / "instances" / name,
        agent_command(name, config, url=around.url, secret=around.secret, tls_ca=around.tls_ca),
        now=around.clock.now,
        name=name,
        gpu_count=config.gpu_count,
        gpu_type=config.gpu_type,
    )


# The struct of settings is known by the kind of `config`, which only the caller has narrowed.
def settings_of(name: str, config: written.Provider, around: Surroundings) -> Any:  # noqa: ANN401
    """Say a configuration in the words of its provider; None for those that have none.

    Raises `ConfigError` for what cannot be used.
    """
    from navarch.config import providers as written

    match config:
        case written.LambdaProvider():
            from navarch.providers.lambda_labs import LambdaSettings

            return LambdaSettings(**_plain(config))
        case written.RunPodProvider():
            from navarch.providers.runpod import RunPodSettings

            return RunPodSettings(**_plain(config))
        case written.GcpProvider():
            from navarch.providers.gcp import GcpSettings, Interface

            more = tuple(Interface(**_plain(each)) for each in config.more_interfaces)
            return GcpSettings(**{**_plain(config), "more_interfaces": more})
        case written.AwsProvider():
            return _aws_settings(config)
        case written.SshProvider():
            from navarch.providers.ssh import SshMachine, SshSettings

            machines = tuple(SshMachine(**_plain(each)) for each in config.machines)
            said = {**structs.asdict(config), "machines": machines}
            return SshSettings(**said, memory_file=around.data / "ssh" / f"{name}.json")
        case written.DockerProvider():
            from navarch.providers.docker.settings import ContainerType, DockerSettings

            sold = _plain(config)
            if types := sold.pop("types"):
                sold["types"] = {key: ContainerType(**_plain(each)) for key, each in types.items()}
            return DockerSettings(**sold)
        case _:
            return None


def _aws_settings(config: written.AwsProvider) -> object:
    from navarch.providers.aws import AwsSettings, Reservation

    said = _plain(config)
    region = said.pop("region")
    said["regions"] = config.regions or ((region,) if region else ())
    said["reservations"] = tuple(Reservation(**_plain(each)) for each in config.reservations)
    said["public_ip"] = config.public_ip
    return AwsSettings(**said)


def _plain(config: Struct) -> dict[str, Any]:
    """Say absent keys as empty texts, and paths as texts, as the clouds' settings have them."""
    said: dict[str, Any] = {}
    for key, value in structs.asdict(config).items():
        said[key] = "" if value is None else str(value) if isinstance(value, Path) else value
    return said


def demand_library(name: str, kind: str) -> None:
    """Raise `ConfigError`, saying what to install, when a kind of provider lacks its library."""
    if kind not in LIBRARIES:
        return
    module, called = LIBRARIES[kind]
    if not _is_there(module):
        message = (
            f"type {kind} needs {called}, which is not installed: pip install 'navarch[{kind}]'"
        )
        raise ConfigError(message, key=f"providers.{name}")


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is not there either
        return False


def _placed(error: ConfigError, name: str) -> ConfigError:
    """Say under which key of the file a provider found a mistake."""
    key = f"providers.{name}" + (f".{error.key}" if error.key else "")
    return ConfigError(error.message, key=key)


async def close_all(providers: Iterable[Provider]) -> None:
    """Close the providers that can be closed, each one although another fails.

    Raises the errors of those that failed, in an `ExceptionGroup`.
    """
    failed: list[Exception] = []
    for provider in providers:
        close = getattr(provider, "close", None)
        if not callable(close):
            continue
        try:
            closing = close()
            if inspect.isawaitable(closing):
                await closing
        except Exception as error:  # noqa: BLE001 - whatever it is, the next is closed
            failed.append(error)
    if failed:
        raise ExceptionGroup("providers that could not be closed", failed)


# --- what pools buy --------------------------------------------------------------------------


def pools_of(config: Config) -> tuple[PoolSpec, ...]:
    """Return the pools, with each abstract type in the words of whoever sells it.

    Raises `ConfigError` that names pool, provider and the nearest types.
    """
    from navarch.config.providers import kind_of

    kinds = {name: kind_of(each) for name, each in config.providers.items()}
    return tuple(_bought(pool, kinds) for pool in config.pools.values())


def _bought(pool: PoolSpec, kinds: Mapping[str, str]) -> PoolSpec:
    from navarch.core.model.pool import Source

    sources = pool.sources or (Source(pool.provider),)
    resolved = tuple(
        _resolved(pool, number, source, kinds) for number, source in enumerate(sources)
    )
    return pool if resolved == sources else structs.replace(pool, sources=resolved)


def _resolved(pool: PoolSpec, number: int, source: Source, kinds: Mapping[str, str]) -> Source:
    from navarch.providers import catalog

    kind, asked = kinds[source.provider], source.instance_type or pool.instance_type
    key = f"pools.{pool.name}.instance_type"
    if source.instance_type:
        key = f"pools.{pool.name}.providers[{number}].instance_type"
    if not asked and kind in catalog.CLOUDS:
        message = f"missing, provider {source.provider} has to be told what to buy, as in h100-8x"
        raise ConfigError(message, key=key)
    try:
        own = catalog.resolve(kind, asked)
    except ConfigError as error:
        raise ConfigError(f"provider {source.provider}: {error.message}", key=key) from error
    return source if own == asked else structs.replace(source, instance_type=own)


# --- what is wrong ---------------------------------------------------------------------------


def faults(config: Config, readings: Iterable[Reading] = ()) -> list[ConfigError]:
    """Find what is wrong in a configuration and only providers can tell; nothing is asked of them.

    `readings` say on which lines keys are written; the result is in their order.
    """
    lines = {one.key: one.line for one in readings if one.line is not None}
    found = [
        ConfigError(each.message, file=str(config.file), line=_line(each.key, lines), key=each.key)
        for each in _faults(config)
    ]
    return sorted(found, key=lambda each: each.line or 0)


def _faults(config: Config) -> Iterator[ConfigError]:
    from navarch.controlplane.clock import RealClock
    from navarch.wiring import first_scripts, parts

    around = Surroundings(clock=RealClock(), data=config.server.data)
    for name, one in config.providers.items():
        try:
            settings_of(name, one, around)
        except ConfigError as error:
            yield _placed(error, name)
    try:
        parts.store_of(config.store, with_password=False)
    except ConfigError as error:
        yield error
    try:
        first_scripts.settings_of(config.server.bootstrap)
    except ConfigError as error:
        key = "server.bootstrap" + (f".{error.key}" if error.key else "")
        yield ConfigError(error.message, key=key)
    for pool in config.pools.values():
        if pool.ssh_private_key_path and not _is_there("asyncssh"):
            message = "needs asyncssh, which is not installed: pip install 'navarch[ssh]'"
            yield ConfigError(message, key=f"pools.{pool.name}.ssh_private_key_path")
        try:
            pools_of(structs.replace(config, pools={pool.name: pool}))
        except ConfigError as error:
            yield error


def _line(key: str, lines: Mapping[str, int]) -> int | None:
    """Find the line of a key, or else the first of what is below it or around it."""
    around = key
    while around:
        if around in lines:
            return lines[around]
        below = [
            line for one, line in lines.items() if one.startswith((f"{around}.", f"{around}["))
        ]
        if below:
            return min(below)
        around = around.rpartition(".")[0]
    return None
