"""What machines run first: an agent, under the machine's own token.

Machines of a cloud run the script that `server.bootstrap` asks for, which is written anew for each
launch and holds the node's token, so that it is never in the journal. Machines that are processes
on this one are started as an agent of our own version.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import structs

if TYPE_CHECKING:
    from navarch.bootstrap import BootstrapSettings
    from navarch.config import providers as written
    from navarch.config.bootstrap import Bootstrap
    from navarch.controlplane.bootstrap_logs import LogAccess
    from navarch.controlplane.effects import BootScript
    from navarch.core.model.actions import Launch
    from navarch.providers.base import ProvisionRequest
    from navarch.providers.local_process import AgentCommand

BYTES_MAX: Final[Mapping[str, int]] = {"aws": 16_384, "runpod": 90_000, "gcp": 256 * 1024}
"""Bytes that a kind of provider takes; longer scripts are compressed. EC2 takes 16 KB ("Working
with instance user data"), Google 256 KB a value of metadata, a pod what Linux takes in a variable
(all read November 2026)."""


def settings_of(config: Bootstrap | None) -> BootstrapSettings | None:
    """Say what is written under ``server.bootstrap`` in the words of the script; None: nothing.

    Raises `ConfigError` for what cannot be used, and for certificates that cannot be read.
    """
    if config is None:
        return None
    from navarch.bootstrap import BootstrapSettings, Service

    settings = BootstrapSettings(
        servers=config.servers,
        wheel=config.wheel,
        executable=config.executable,
        pip_options=config.pip_options,
        python=config.python,
        system_site_packages=config.system_site_packages,
        prepare_commands=config.prepare_commands,
        environment=config.environment,
        agent_options=config.agent_options,
        tls_ca=_certificates(config.tls_ca_file),
        user=config.user,
        service=Service(config.service),
        folder=config.folder,
        config_folder=config.config_folder,
        state_folder=config.state_folder,
        record_folder=config.record_folder,
        log=config.log,
        unit=config.unit,
        unit_folder=config.unit_folder,
        **({} if config.package is None else {"requirement": config.package}),
    )
    settings.check()
    return settings


def _certificates(path: Path | None) -> str:
    if path is None:
        return ""
    from navarch.config import document

    return document.read_text(path)


LOGINS: Final = frozenset({"aws", "custom", "gcp", "lambda"})
"""Kinds of providers to whose machines a pool's key opens the door: at port 22 of an address of
their own. What speaks against the others is in `navarch.config.doubts`."""


def log_access(
    providers: Mapping[str, written.Provider], config: Bootstrap | None, data: Path, secret: bytes
) -> LogAccess:
    """Say where start-up logs are and are kept, and on whose machines somebody logs in."""
    from navarch.config.providers import kind_of
    from navarch.controlplane.bootstrap_logs import LogAccess
    from navarch.wire.auth import mint_node_token

    logins = {name for name, each in providers.items() if kind_of(each) in LOGINS}
    access = LogAccess(
        folder=data / "bootstrap-logs",
        token_of=functools.partial(mint_node_token, secret),
        over_ssh=frozenset(logins if config is not None else ()),
    )
    return access if config is None else structs.replace(access, path=config.log)


def boot_script(kind: str, settings: BootstrapSettings | None, secret: bytes) -> BootScript | None:
    """Say how the first script of a provider's machines is written; None: as the pool has it."""
    if settings is None or kind in ("fake", "process"):
        return None
    from navarch.bootstrap import NodeFacts, fitted, render
    from navarch.providers import catalog
    from navarch.wire.auth import mint_node_token

    def script(launch: Launch) -> str:
        known = catalog.entry_of(kind, launch.instance_type)
        facts = NodeFacts(
            node_id=launch.instance_id,
            provider=launch.provider,
            region=launch.region,
            zone=launch.zone,
            instance_type=launch.instance_type,
            labels=launch.labels,
            expected_gpus=None if known is None else known.gpu_count,
            user_data=launch.user_data,
        )
        text = render(settings, facts, mint_node_token(secret, launch.instance_id))
        return fitted(text, BYTES_MAX[kind]) if kind in BYTES_MAX else text

    return script


def agent_command(
    provider: str, config: written.ProcessProvider, *, url: str, secret: bytes, tls_ca: str
) -> Callable[[ProvisionRequest, Path], AgentCommand]:
    """Say how an instance of the process provider is started: an agent of our own version.

    It calls `url`, whose certificate the file `tls_ca` vouches for; empty: plain HTTP.
    """
    from navarch.providers.local_process import AgentCommand
    from navarch.wire.auth import mint_node_token

    def command(request: ProvisionRequest, folder: Path) -> AgentCommand:
        argv = [sys.executable, "-m", "navarch", "agent", "--server", url]
        argv += ["--node-id", request.name, "--state-dir", str(folder / "state")]
        argv += ["--provider", provider, "--region", request.region, "--zone", request.zone]
        argv += ["--instance-type", request.instance_type]
        argv += ["--sensors", "injected"]
        for word in config.allow:
            argv += ["--allow", word]
        if config.serving:
            argv += ["--serving", "--model-cache-listen", "127.0.0.1:0"]
        if tls_ca:
            argv += ["--tls-ca", tls_ca]
        argv += ["--gpu-count", str(config.gpu_count), "--gpu-type", config.gpu_type]
        for key, value in request.labels.items():
            argv += ["--label", f"{key}={value}"]
        names = ("PATH", "HOME", "LANG", *config.pass_variables)
        inherited = {key: os.environ[key] for key in names if key in os.environ}
        token = mint_node_token(secret, request.name)
        return AgentCommand(argv=tuple(argv), env={**inherited, "NAVARCH_NODE_TOKEN": token})

    return command
