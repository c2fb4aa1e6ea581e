"""What Navarch must know of a Google Cloud project: as whom to ask, and what machines are like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct, field

from navarch.errors import ConfigError

PROJECT: Final = re.compile(r"(?:[a-z0-9.-]{1,63}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
"""A project's id, in old organizations behind the name of a domain."""

ZONE: Final = re.compile(r"[a-z]+(?:-[a-z0-9]+)+-[a-z]{1,2}")
REGION: Final = re.compile(r"[a-z]+(?:-[a-z0-9]+)+")

FOLLOW_MAX: Final = timedelta(minutes=3)
"""The control plane gives a launch five minutes; looking for a zone comes before it."""

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Where a token may be sent unencrypted: to a double in a test."""

OUR_METADATA: Final = frozenset({"startup-script", "user-data", "ssh-keys"})
"""Metadata that each launch sets by itself."""


class Interface(Struct, frozen=True, kw_only=True):
    """A further network interface, as machines with GPUDirect need several of."""

    network: str = ""
    """A network's name or path."""
    subnetwork: str = ""
    """A subnetwork's name, in the machine's region, or its path."""
    nic_type: str = ""
    """Such as ``GVNIC`` or ``MRDMA``; empty: Google chooses."""


class GcpSettings(Struct, frozen=True, kw_only=True):
    """One project, and how machines are made in it. Holds places of secrets, never secrets."""

    project: str
    """The id of the project, which pays."""
    image: str
    """The boot image: ``projects/P/global/images/family/F`` or a path of one image. It must bring
    a GPU driver, or the start-up script must."""

    region: str = ""
    """Where to buy for a pool that names neither region nor zone."""
    zones: tuple[str, ...] = ()
    """Which zones to try, in this order, for a pool that names none. Empty: each zone of the
    region that sells the type, which costs a request more."""

    credentials_file: str = ""
    """A JSON file: a service account's key, a user's own, a workload identity, or one that
    impersonates. Empty: ``GOOGLE_APPLICATION_CREDENTIALS``, else gcloud's own file, else the
    metadata server. Read anew for each token."""
    use_metadata_server: bool = False
    """Ask the metadata server and nobody else: we run as the service account of our own VM."""

    disk_gb: int = 200
    """Size of the boot disk."""
    disk_type: str = ""
    """Such as ``pd-balanced`` or ``hyperdisk-balanced``; empty: Google chooses."""

    network: str = "default"
    """A network's name or path; empty where the subnetwork says it."""
    subnetwork: str = ""
    """A subnetwork's name, in the machine's region, or its path."""
    external_ip: bool = True
    """Whether a machine gets a public address; without one it needs Cloud NAT to reach us."""
    nic_type: str = ""
    """As in `Interface`, of the first interface."""
    more_interfaces: tuple[Interface, ...] = ()
    network_tags: tuple[str, ...] = ()
    """Tags that firewall rules speak of."""

    service_account: str = ""
    """Whose rights the machine has: an e-mail address. Empty: none, which is the least."""
    scopes: tuple[str, ...] = ("https://www.googleapis.com/auth/cloud-platform",)
    """What of these rights; only with `service_account`."""

    reservation: str = ""
    """``none``: use no reservation. A name, or ``projects/P/reservations/N`` of one that is shared
    with us: this one and no other. Empty: any open one that fits, else without."""
    reservation_bound: bool = False
    """Whether machines live and end with `reservation`, as the newest types demand."""
    placement_policy: str = ""
    """The name of a resource policy, in the machine's region, that puts machines close together."""

    ssh_keys: Mapping[str, str] = field(default_factory=dict)
    """By the names that pools use: ``USER:ssh-ed25519 AAAA… COMMENT``. Public keys."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Further metadata of each machine, such as ``enable-oslogin: "TRUE"``."""

    follow: timedelta = timedelta(seconds=60)
    """How long a launch is followed for the word that there is no capacity; 0 to 3 minutes."""

    url: str = "https://compute.googleapis.com"
    metadata_url: str = "http://metadata.google.internal"
    resource_manager_url: str = "https://cloudresourcemanager.googleapis.com"
    """Who is asked which permissions we have; never needed to buy."""

    def __post_init__(self) -> None:
        """Refuse what can never work.

        :raises ConfigError: a project, place, number, key or address that cannot be one
        """
        if not PROJECT.fullmatch(self.project):
            raise ConfigError(f"gcp: {self.project!r} cannot be a project, expected its id")
        if not self.image:
            raise ConfigError("gcp: image is empty, expected projects/P/global/images/family/F")
        if self.region and not REGION.fullmatch(self.region):
            raise ConfigError(f"gcp: {self.region!r} cannot be a region, expected us-central1")
        for zone in self.zones:
            if not ZONE.fullmatch(zone):
                raise ConfigError(f"gcp: {zone!r} cannot be a zone, expected us-central1-a")
        if self.credentials_file and self.use_metadata_server:
            raise ConfigError("gcp: give one of credentials_file and use_metadata_server")
        if not 10 <= self.disk_gb <= 65_536:
            raise ConfigError(f"gcp: disk_gb is {self.disk_gb}, expected 10 to 65536")
        if not timedelta() <= self.follow <= FOLLOW_MAX:
            raise ConfigError(f"gcp: follow is {self.follow}, expected 0 to {FOLLOW_MAX}")
        if not (self.network or self.subnetwork):
            raise ConfigError("gcp: give network, subnetwork or both")
        if self.reservation_bound and self.reservation in {"", "none"}:
            raise ConfigError("gcp: reservation_bound needs the name of a reservation")
        for key in OUR_METADATA & self.metadata.keys():
            raise ConfigError(f"gcp: metadata: {key} is set by Navarch itself")
        for name, key in self.ssh_keys.items():
            if not re.fullmatch(r"[a-z_][a-z0-9_-]*:[a-z0-9@.-]+ [^\r\n]+", key):
                expected = "USER:ssh-ed25519 AAAA…"
                raise ConfigError(f"gcp: ssh_keys: {name} is no key, expected {expected}")
        for url in (self.url, self.resource_manager_url):
            parts = urlsplit(url)
            if parts.scheme != "https" and parts.hostname not in LOOPBACK:
                raise ConfigError(f"gcp: {url} would send tokens unencrypted, expected https://…")


def region_of(zone: str) -> str:
    """Name the region of a zone.

    >>> region_of("us-central1-a")
    'us-central1'
    """
    return zone.rpartition("-")[0]
