"""How one engine is used, and what is sold of its host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from msgspec import Struct, field

from navarch.errors import ConfigError
from navarch.peers.unix_http import TlsFiles

GRACE_MAX: Final = timedelta(seconds=30)
"""The engine answers only when a container has stopped, and who asks it to waits a minute."""

ABSOLUTE: Final = re.compile(r"/[^\0/]+(/[^\0/]+)*")


class ContainerType(Struct, frozen=True, kw_only=True):
    """One size of container."""

    gpu_count: int = 0
    """How many of the provider's `gpu_ids` it gets, for itself alone."""
    gpu_type: str = ""
    """What they are called; shown only."""
    cpus: float = 0.0
    """Processors it may use at most; 0: all."""
    memory_gb: float = 0.0
    """Main memory it may use at most, in GB of a thousand million bytes; 0: all."""
    image: str = ""
    """What it is made from; empty: the provider's `image`."""


class DockerSettings(Struct, frozen=True, kw_only=True):
    """How an engine is used. Nothing in it is a secret, and `environment` is no place for one."""

    image: str
    """What containers are made from: it has to be on the host already, nothing is pulled."""

    types: Mapping[str, ContainerType] = field(
        default_factory=lambda: {"container": ContainerType()}
    )
    """What is sold, by name; at least one."""

    host: str = "unix:///var/run/docker.sock"
    """``unix:///path`` or ``tcp://host:port``; the latter wants `tls_ca`, `tls_cert`, `tls_key`."""

    tls_ca: str = ""
    """File of the certificates that vouch for the engine's own."""
    tls_cert: str = ""
    """File of the certificate that the engine knows us by."""
    tls_key: str = ""
    """File of its key, read anew for each connection."""

    gpu_ids: tuple[str, ...] = ()
    """The GPUs that may be given away, by index or UUID as ``nvidia-smi -L`` shows them."""

    max_containers: int = 64
    """How many of ours may exist at once, those of other fleets included."""

    command: tuple[str, ...] = ()
    """What a container runs; ``{name}`` stands for the id of the instance. Empty: the start-up
    script by ``/bin/sh``, or the image's own command where a node has no script."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Told to every container; whoever may ask the engine can read it."""

    user_data_file: str = "/navarch-user-data"
    """Where in the container the start-up script is put, for its owner alone to read."""

    user_data_uid: int = 0
    """Whom that file belongs to: the user that the image runs as."""

    network: str = ""
    """The network to join, such as ``host`` or a name; empty: the engine's default."""

    binds: tuple[str, ...] = ()
    """Folders and devices of the host to show, such as ``/dev/kmsg:/dev/kmsg:ro``."""

    init: bool = True
    """Whether the engine's own init is process 1: it reaps what others leave behind."""

    keep_ended: bool = False
    """Whether a container that ended by itself stays on the host, to be looked into and removed by
    hand."""

    region: str = ""
    """What the host is called in tables; a request for any other region is refused."""

    grace: timedelta = timedelta(seconds=10)
    """How long a container has between SIGTERM and SIGKILL."""

    timeout: timedelta = timedelta(seconds=15)
    """For each question to the engine."""

    launch_timeout: timedelta = timedelta(seconds=60)
    """For each of the steps of a launch."""

    def __post_init__(self) -> None:
        """Refuse what can never work.

        :raises ConfigError: a setting cannot be used
        """
        _demand(bool(self.image) or all(t.image for t in self.types.values()), "needs an image")
        _demand(bool(self.types), "sells nothing: types is empty")
        for name, kind in self.types.items():
            _demand(bool(name), "a type has no name")
            numbers = (kind.gpu_count, kind.cpus, kind.memory_gb)
            _demand(min(numbers) >= 0, f"type {name} has a number below 0")
            _demand(
                kind.gpu_count <= len(self.gpu_ids),
                f"type {name} has {kind.gpu_count} GPUs, and gpu_ids names {len(self.gpu_ids)}",
            )
        odd = [each for each in self.gpu_ids if not each or "," in each]
        _demand(not odd, f"gpu_ids has {odd[:1]}, expected such as 0 or GPU-…")
        _demand(len(set(self.gpu_ids)) == len(self.gpu_ids), "gpu_ids names one GPU twice")
        _demand(self.max_containers >= 1, "max_containers is below 1")
        _demand(
            ABSOLUTE.fullmatch(self.user_data_file) is not None
            and not {".", ".."} & set(self.user_data_file.split("/")),
            f"user_data_file {self.user_data_file!r} is no absolute path",
        )
        _demand(self.user_data_uid >= 0, "user_data_uid is below 0")
        _demand(timedelta() <= self.grace <= GRACE_MAX, f"grace is not between 0 and {GRACE_MAX}")
        _demand(min(self.timeout, self.launch_timeout) > timedelta(), "a timeout is not above 0")
        _demand(bool(self.tls_cert) == bool(self.tls_key), "tls_cert and tls_key belong together")
        _demand(
            not self.host.startswith("tcp:") or bool(self.tls_ca and self.tls_cert),
            f"{self.host}: who may ask an engine may do anything on its host; over TCP it wants "
            "tls_ca, tls_cert and tls_key",
        )

    @property
    def tls(self) -> TlsFiles | None:
        """The certificates, where the engine is asked over TCP."""
        if not self.host.startswith("tcp:"):
            return None
        return TlsFiles(ca=self.tls_ca, cert=self.tls_cert, key=self.tls_key)


def _demand(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise ConfigError(f"docker: {otherwise}")
