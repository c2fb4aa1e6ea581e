"""How a request becomes the parameters of RunInstances.

Equal requests under equal settings become equal parameters, in every process: EC2 refuses a token
that comes back with others. So nothing here looks at a clock, at chance or at what was bought
before, and where EC2 leaves a choice between subnets, the machine's name makes it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from navarch.errors import InvalidRequest
from navarch.providers.aws.settings import AwsSettings, Reservation
from navarch.providers.base import FLEET_LABEL, INSTANCE_LABEL, ProvisionRequest

Parameters: TypeAlias = dict[str, Any]
"""What an operation of EC2 is called with, as its reference names it."""

TOKEN_CHARS: Final = 64
"""The longest client token, in ASCII (RunInstances, ClientToken, read November 2026)."""

USER_DATA_BYTES: Final = 16_384
"""The longest user data, before it is encoded (EC2 user guide, read November 2026)."""

TAGS_MAX: Final = 50
TAG_KEY_CHARS: Final = 128
TAG_VALUE_CHARS: Final = 256
"""Tags of one resource, and their sizes (EC2 user guide, "Tag restrictions", November 2026)."""

NOT_IN_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that an XML document cannot hold: EC2's answers are such documents."""

MANAGED_BY: Final = "managed-by"

SPOT: Final[Mapping[str, object]] = {
    "MarketType": "spot",
    "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
}
"""Taken away, it is gone for good: whether another is bought is the control plane's business."""


class Planned(Struct, frozen=True):
    """A launch as EC2 is asked for it. `repr` would show the user data: it is not for logs."""

    region: str
    parameters: Parameters
    zone_chosen: bool
    """Whether the zone was ours to choose among several, so that another may do better."""


def planned(request: ProvisionRequest, settings: AwsSettings) -> Planned:
    """Say how EC2 is to be asked.

    :raises InvalidRequest: EC2 would refuse it, or it could not be found again
    """
    if not request.name:
        raise InvalidRequest("a launch needs a name, and this one has none")
    region = _region(request, settings)
    reservation = reservation_for(request, region, settings)
    if reservation is not None:
        request = _held(request, reservation)
    image = settings.image_of(region)
    if not image:
        raise InvalidRequest(f"no image is configured for {region}: set image or images.{region}")
    placed, zone_chosen = _placed(request, region, settings)
    tags = [{"Key": key, "Value": value} for key, value in tags_of(request, settings).items()]
    parameters = {
        "ImageId": image,
        "InstanceType": request.instance_type,
        "MinCount": 1,
        "MaxCount": 1,
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")
        ],
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": settings.hop_limit,
        },
        # A machine that shuts itself down is gone. Stopped, it would keep its disks and its name.
        "InstanceInitiatedShutdownBehavior": "terminate",
        **placed,
        **_access(request, settings),
        **_market(request, reservation),
    }
    if request.token:
        parameters["ClientToken"] = token_of(request.token)
    if settings.root_volume_gb:
        volume = {
            "VolumeSize": settings.root_volume_gb,
            "VolumeType": "gp3",
            "DeleteOnTermination": True,
        }
        parameters["BlockDeviceMappings"] = [{"DeviceName": settings.root_device, "Ebs": volume}]
    return Planned(region, parameters, zone_chosen)


def token_of(token: str) -> str:
    """Fit a token into what EC2 takes: as it is where possible, else its digest."""
    if len(token) <= TOKEN_CHARS and token.isascii() and token.isprintable():
        return token
    return hashlib.sha256(token.encode()).hexdigest()


def tags_of(request: ProvisionRequest, settings: AwsSettings) -> dict[str, str]:
    """Say which tags the machine gets: labels are tags, key for key and to the letter.

    :raises InvalidRequest: EC2 cannot hold them, or the machine could not be found by its name
    """
    if request.labels.get(INSTANCE_LABEL, request.name) != request.name:
        raise InvalidRequest(
            f"the label {INSTANCE_LABEL} says {request.labels[INSTANCE_LABEL]!r}, "
            f"and the name {request.name!r}: they must be the same"
        )
    tags = {
        "Name": request.name,
        MANAGED_BY: "navarch",
        FLEET_LABEL: "",
        **settings.tags,
        INSTANCE_LABEL: request.name,
        **request.labels,
    }
    if len(tags) > TAGS_MAX:
        raise InvalidRequest(f"{len(tags)} tags, and EC2 takes {TAGS_MAX}: leave out some labels")
    for key, value in tags.items():
        if not 1 <= len(key) <= TAG_KEY_CHARS or key.lower().startswith("aws:"):
            raise InvalidRequest(
                f"{key[:TAG_KEY_CHARS]!r} cannot be the key of a tag: EC2 takes 1 to "
                f"{TAG_KEY_CHARS} characters, and keeps aws: for itself"
            )
        if len(value) > TAG_VALUE_CHARS:
            raise InvalidRequest(
                f"the label {key} has {len(value)} characters, and EC2 takes {TAG_VALUE_CHARS}"
            )
        if NOT_IN_XML.search(key) or NOT_IN_XML.search(value):
            raise InvalidRequest(f"the label {key!r} has characters that EC2 cannot return")
    return tags


def _region(request: ProvisionRequest, settings: AwsSettings) -> str:
    region = request.region
    if not region and request.zone:
        region = settings.region_of(request.zone) or ""
        if not region:
            raise InvalidRequest(f"{request.zone} is a zone of none of the configured regions")
    region = region or settings.regions[0]
    if region not in settings.regions:
        # A machine there would never be listed, and so never be ended.
        raise InvalidRequest(
            f"{region} is not one of the configured regions: {', '.join(settings.regions)}"
        )
    if request.zone and settings.region_of(request.zone) != region:
        raise InvalidRequest(f"{request.zone} is not a zone of {region}")
    return region


def _placed(
    request: ProvisionRequest, region: str, settings: AwsSettings
) -> tuple[Parameters, bool]:
    """Say where the machine goes, and whether there was a choice of zones."""
    subnet, zone, zones = "", request.zone, settings.zones_of(region)
    if zones:
        wanted = (zone,) if zone else zones
        subnets = [(each, one) for each in wanted for one in settings.subnets.get(each, ())]
        if not subnets:
            raise InvalidRequest(f"{zone} has no subnet: set subnets.{zone}, or use another zone")
        digest = hashlib.sha256(request.name.encode()).digest()
        zone, subnet = subnets[int.from_bytes(digest[:8], "big") % len(subnets)]
    placement: Parameters = {}
    if zone and not subnet:
        placement["AvailabilityZone"] = zone
    if settings.placement_group:
        placement["GroupName"] = settings.placement_group
    parameters: Parameters = {"Placement": placement} if placement else {}
    groups = list(settings.security_groups.get(region, ()))
    cards = settings.efa_interfaces.get(request.instance_type, 0)
    if cards or settings.public_ip is not None:
        parameters["NetworkInterfaces"] = _interfaces(cards, subnet, groups, settings)
    else:
        if subnet:
            parameters["SubnetId"] = subnet
        if groups:
            parameters["SecurityGroupIds"] = groups
    return parameters, not request.zone and len(zones) > 1


def _interfaces(
    cards: int, subnet: str, groups: list[str], settings: AwsSettings
) -> list[Parameters]:
    """Describe one interface for each network card; the first is the machine's own.

    Device index 0 on the first card and 1 on all others, as EC2 asks (EC2 user guide, "Maximize
    network bandwidth", read November 2026).
    """
    interfaces = []
    for card in range(max(cards, 1)):
        interface: Parameters = {
            "DeviceIndex": min(card, 1),
            "NetworkCardIndex": card,
            "DeleteOnTermination": True,
        }
        if cards:
            interface["InterfaceType"] = "efa"
        if subnet:
            interface["SubnetId"] = subnet
        if groups:
            interface["Groups"] = groups
        interfaces.append(interface)
    if settings.public_ip is not None and len(interfaces) == 1:
        # With several interfaces EC2 refuses to be told.
        interfaces[0]["AssociatePublicIpAddress"] = settings.public_ip
    return interfaces


def _access(request: ProvisionRequest, settings: AwsSettings) -> Parameters:
    parameters: Parameters = {}
    if len(request.ssh_key_names) > 1:
        raise InvalidRequest(
            f"EC2 takes one key pair, and {len(request.ssh_key_names)} are named: "
            f"{', '.join(request.ssh_key_names)}"
        )
    if request.ssh_key_names:
        parameters["KeyName"] = request.ssh_key_names[0]
    profile = settings.instance_profile
    if profile:
        parameters["IamInstanceProfile"] = {
            "Arn" if profile.startswith("arn:") else "Name": profile
        }
    length = len(request.user_data.encode())
    if length > USER_DATA_BYTES:
        raise InvalidRequest(
            f"the user data has {length} bytes, EC2 takes {USER_DATA_BYTES}: let it load the rest"
        )
    if request.user_data:
        parameters["UserData"] = request.user_data  # the SDK encodes it in base64
    return parameters


def reservation_for(
    request: ProvisionRequest, region: str, settings: AwsSettings
) -> Reservation | None:
    """Return what was reserved for this type: in the zone asked for, else in the region."""
    fitting = [
        each
        for each in settings.reservations
        if each.instance_type == request.instance_type
        and (not each.zone or settings.region_of(each.zone) == region)
    ]
    exact = [each for each in fitting if request.zone and each.zone == request.zone]
    return next(iter(exact or fitting), None)


def _held(request: ProvisionRequest, reservation: Reservation) -> ProvisionRequest:
    """Hold a request to what was reserved: to its zone, and bought in no other way."""
    if request.spot:
        raise InvalidRequest(
            f"{request.instance_type} is reserved ({reservation.target}), which spot cannot use"
        )
    if request.zone and reservation.zone and reservation.zone != request.zone:
        raise InvalidRequest(
            f"{request.instance_type} is reserved in {reservation.zone}, not in {request.zone}"
        )
    return replace(request, zone=request.zone or reservation.zone)


def _market(request: ProvisionRequest, reservation: Reservation | None) -> Parameters:
    if reservation is None:
        return {"InstanceMarketOptions": SPOT} if request.spot else {}
    kind = "CapacityReservationId"
    if reservation.target.startswith("arn:"):
        kind = "CapacityReservationResourceGroupArn"
    target = {"CapacityReservationTarget": {kind: reservation.target}}
    parameters: Parameters = {"CapacityReservationSpecification": target}
    if reservation.capacity_block:
        parameters["InstanceMarketOptions"] = {"MarketType": "capacity-block"}
    return parameters
