"""What a site says about its account, its network and its machines at EC2.

It holds names and places only, never a secret, so it may be printed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from msgspec import Struct, field

from navarch.errors import ConfigError

REGION: Final = re.compile(r"[a-z]{2,5}(?:-[a-z]+)+-[0-9]{1,2}")
"""A region's name, such as ``us-east-1`` or ``us-gov-west-1``."""

GPU_FAMILIES: Final = ("p*", "g*")
"""The families with GPUs; others that begin so are left out, having none (read November 2026)."""

CONSISTENCY: Final = timedelta(minutes=5)
"""How long EC2 may take to show what it has done: "increase gradually up to five minutes of wait
time" (EC2 developer guide, "Eventual consistency", read November 2026). Seconds as a rule."""

TIMEOUT: Final = timedelta(seconds=50)
"""How long one call may take: less than the minute that the control plane waits for a list."""

HOPS_MAX: Final = 64
"""The greatest hop limit that EC2 takes (RunInstances, MetadataOptions, read November 2026)."""

EFA_MAX: Final = 64
"""More network cards than any type has; 32 is what p5.48xlarge has (read November 2026)."""


class Reservation(Struct, frozen=True, kw_only=True):
    """Capacity that was reserved, and that machines of one type are to be taken from alone."""

    instance_type: str

    target: str
    """The id of a capacity reservation (``cr-…``) or the ARN of a resource group of them."""

    zone: str = ""
    """Where it is; empty only where there is a single region: its zones then all use it."""

    capacity_block: bool = False
    """Whether it is a Capacity Block for ML, which EC2 wants to be told."""

    def __post_init__(self) -> None:
        """Refuse what EC2 could not mean.

        :raises ConfigError: no type is named, or the target is none
        """
        if not self.instance_type:
            raise ConfigError("a reservation needs the instance_type that it holds")
        if not self.target.startswith(("cr-", "arn:")):
            raise ConfigError(
                f"a reservation's target is an id cr-… or the ARN of a group, not {self.target!r}"
            )


class AwsSettings(Struct, frozen=True, kw_only=True):
    """How to buy at EC2, in one or several regions of one account."""

    regions: tuple[str, ...]
    """Where machines are bought and looked for; the first is the default. A region must not be
    taken out while machines are left in it: they would not be listed any more."""

    image: str = ""
    """The machine image: an id ``ami-…``, or the name of an SSM parameter that holds one."""

    images: Mapping[str, str] = field(default_factory=dict)
    """The same by region, where it differs: ids of images do."""

    subnets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The subnets to launch into, by zone. A region without any uses its default VPC."""

    security_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Ids of security groups, by region; none: the default group of the VPC."""

    instance_profile: str = ""
    """The name or ARN of the IAM instance profile that machines run under; empty: none."""

    public_ip: bool | None = None
    """Whether machines get a public address; None: as the subnet has it."""

    hop_limit: int = 1
    """How many hops an answer of the metadata service may travel, 1 to 64; containers need 2."""

    root_volume_gb: int = 0
    """Size of the root volume in GiB; 0: as the image has it."""

    root_device: str = "/dev/sda1"
    """The image's name of its root device, used with `root_volume_gb`: ``/dev/xvda`` for Amazon
    Linux. A wrong one makes a second volume."""

    efa_interfaces: Mapping[str, int] = field(default_factory=dict)
    """How many EFA interfaces a machine of a type gets, one a network card; none: an ordinary
    interface."""

    placement_group: str = ""
    """The placement group to launch into; empty: none."""

    reservations: tuple[Reservation, ...] = ()

    type_patterns: tuple[str, ...] = GPU_FAMILIES
    """Which types the price list shows, of those with GPUs; ``*`` stands for anything."""

    tags: Mapping[str, str] = field(default_factory=dict)
    """Further tags of machines and volumes, for invoices; the labels of a request come first."""

    profile: str = ""
    """The profile of the SDK's own files; empty: its default."""

    access_key_id_env: str = ""
    """The environment variable that holds an access key id; empty: the SDK looks for credentials
    as it always does: environment, files, single sign-on, web identity, container, instance."""

    secret_access_key_env: str = ""
    session_token_env: str = ""
    """The variable of a session token; empty: the key is a lasting one."""

    endpoint_url: str = ""
    """Another address of EC2, such as that of a VPC endpoint; ``{region}`` is filled in. Start-up
    scripts travel to it, so it should be https."""

    timeout: timedelta = TIMEOUT
    """How long one call may take, credentials and all."""

    consistency: timedelta = CONSISTENCY
    """How long EC2 may take to show what it has done. Shorter risks to buy twice."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        :raises ConfigError: which key, and what was expected
        """
        self._check_places()
        if bool(self.access_key_id_env) != bool(self.secret_access_key_env):
            raise ConfigError("access_key_id_env and secret_access_key_env: give both or none")
        if self.session_token_env and not self.access_key_id_env:
            raise ConfigError("session_token_env: needs access_key_id_env too")
        if self.profile and self.access_key_id_env:
            raise ConfigError("profile and access_key_id_env: give one of them, not both")
        if not 1 <= self.hop_limit <= HOPS_MAX:
            raise ConfigError(f"hop_limit: must be 1 to {HOPS_MAX}, not {self.hop_limit}")
        if self.root_volume_gb < 0:
            raise ConfigError(f"root_volume_gb: must be 0 or more, not {self.root_volume_gb}")
        if self.timeout <= timedelta() or self.consistency < timedelta():
            raise ConfigError("timeout must be above zero, and consistency zero or more")
        if self.endpoint_url and not self.endpoint_url.startswith(("https://", "http://")):
            raise ConfigError(f"endpoint_url: {self.endpoint_url!r} is no address, as https://…")
        for kind, count in self.efa_interfaces.items():
            if not 1 <= count <= EFA_MAX:
                raise ConfigError(f"efa_interfaces.{kind}: must be 1 to {EFA_MAX}, not {count}")
        if not self.type_patterns:
            raise ConfigError("type_patterns: needs at least one pattern, such as p5*")

    def _check_places(self) -> None:
        if not self.regions:
            raise ConfigError("regions: needs at least one, such as us-east-1")
        if len(set(self.regions)) < len(self.regions):
            raise ConfigError(f"regions: one is there twice in {', '.join(self.regions)}")
        for region in self.regions:
            if not REGION.fullmatch(region):
                raise ConfigError(f"regions: {region!r} is no region, expected one like us-east-1")
        for key, named in (("images", self.images), ("security_groups", self.security_groups)):
            for region in named:
                if region not in self.regions:
                    raise ConfigError(f"{key}.{region}: is not one of the regions")
        for zone, ids in self.subnets.items():
            if self.region_of(zone) is None:
                raise ConfigError(f"subnets.{zone}: is a zone of none of the regions")
            if not ids or not all(ids):
                raise ConfigError(f"subnets.{zone}: needs the id of a subnet, subnet-…")

        for held in self.reservations:
            if held.zone and self.region_of(held.zone) is None:
                raise ConfigError(f"reservations: {held.zone} is a zone of none of the regions")
            if not held.zone and len(self.regions) > 1:
                raise ConfigError(
                    f"reservations: {held.target} needs its zone, there being several regions"
                )

    def region_of(self, zone: str) -> str | None:
        """Say which of the regions a zone belongs to; None: to none of them.

        Zones are named after their region: ``us-east-1a``, ``us-west-2-lax-1a``.
        """
        for region in self.regions:
            rest = zone.removeprefix(region)
            if rest != zone and rest[:1] and not rest[0].isdigit():
                return region
        return None

    def zones_of(self, region: str) -> tuple[str, ...]:
        """List the zones of a region that have subnets here, by name; none: the default VPC."""
        return tuple(sorted(zone for zone in self.subnets if self.region_of(zone) == region))

    def image_of(self, region: str) -> str:
        """Say which image a region uses, as RunInstances takes it; empty: none is named.

        EC2 itself looks an SSM parameter up when it is asked so. That keeps a repeated request
        equal to the first one although the parameter has changed meanwhile.
        """
        image = self.images.get(region, self.image)
        if not image or image.startswith(("ami-", "resolve:ssm:")):
            return image
        return f"resolve:ssm:{image}"
