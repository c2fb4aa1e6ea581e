"""What a launch asks for: the body of ``instances.insert``.

A type is the cloud's own name, such as ``a3-highgpu-8g``, which brings its GPUs. The old N1
machines have GPUs attached: ``n1-standard-8+nvidia-tesla-t4:2``.

Fields: "REST Resource: instances" of the Compute Engine API v1, cloud.google.com, read November
2026.
"""

from __future__ import annotations

import re
import uuid
from typing import Any, Final

from navarch.errors import InvalidRequest
from navarch.providers.base import ProvisionRequest
from navarch.providers.gcp import labels as labelling
from navarch.providers.gcp.settings import GcpSettings, Interface, region_of

NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""What a machine can be called (RFC 1035). Our ids are such names: a pool's name of 40 characters,
a tag of 8 and a serial number of up to 13 digits just fit."""

TYPE: Final = re.compile(
    r"(?P<machine>[a-z][a-z0-9]*(?:-[a-z0-9]+)+)"
    r"(?:\+(?P<accelerator>[a-z][a-z0-9-]*):(?P<count>[1-9][0-9]?))?"
)

SCRIPT_BYTES_MAX: Final = 256 * 1024
"""How long one entry of metadata can be ("About VM metadata", cloud.google.com, read November
2026)."""

TOKENS: Final = uuid.UUID("5f6f4b1e-6a5c-5d0e-9f0b-7f2a8c1d3e49")
"""The namespace in which our tokens become request ids."""


def request_id(project: str, zone: str, token: str) -> str:
    """Make the UUID by which Google knows a repeated request; empty for an empty token.

    It follows from the token, so a control plane that has restarted asks with the same one. A
    second zone is a request of its own.
    """
    return str(uuid.uuid5(TOKENS, f"{project}/{zone}/{token}")) if token else ""


def demand_sound(request: ProvisionRequest, settings: GcpSettings) -> None:
    """Refuse what Google would refuse, before anything is asked.

    :raises InvalidRequest: a name, type, key or script that cannot be used
    """
    if not NAME.fullmatch(request.name):
        raise InvalidRequest(f"gcp: {request.name!r} cannot be the name of a machine")
    if not TYPE.fullmatch(request.instance_type):
        expected = "a3-highgpu-8g or n1-standard-8+nvidia-tesla-t4:2"
        raise InvalidRequest(f"gcp: {request.instance_type!r} is no type, expected {expected}")
    for name in request.ssh_key_names:
        if name not in settings.ssh_keys:
            raise InvalidRequest(f"gcp: no key {name!r} in ssh_keys of the provider")
    if len(request.user_data.encode(errors="replace")) > SCRIPT_BYTES_MAX:
        raise InvalidRequest(f"gcp: the start-up script is above {SCRIPT_BYTES_MAX} bytes")


def machine_type(request: ProvisionRequest) -> str:
    """Name the type without attached GPUs."""
    return request.instance_type.partition("+")[0]


def body(request: ProvisionRequest, settings: GcpSettings, zone: str) -> dict[str, Any]:
    """Describe the machine to make in `zone`. The request has passed `demand_sound`.

    :raises InvalidRequest: labels that do not fit
    """
    made: dict[str, Any] = {
        "name": request.name,
        "machineType": f"zones/{zone}/machineTypes/{machine_type(request)}",
        "labels": labelling.encoded(request.labels),
        "scheduling": _scheduling(request, settings),
        "disks": [_disk(settings, zone)],
        "networkInterfaces": _interfaces(settings, zone),
        "metadata": {"items": _metadata(request, settings)},
    }
    if attached := _accelerators(request, zone):
        made["guestAccelerators"] = attached
    if settings.network_tags:
        made["tags"] = {"items": list(settings.network_tags)}
    if settings.service_account:
        account = {"email": settings.service_account, "scopes": list(settings.scopes)}
        made["serviceAccounts"] = [account]
    if settings.reservation and not request.spot:
        made["reservationAffinity"] = _reservation(settings.reservation)
    if settings.placement_policy:
        policy = f"regions/{region_of(zone)}/resourcePolicies/{settings.placement_policy}"
        made["resourcePolicies"] = [f"projects/{settings.project}/{policy}"]
    return made


def _scheduling(request: ProvisionRequest, settings: GcpSettings) -> dict[str, Any]:
    """GPUs cannot be moved to another host while they run, hence TERMINATE for all of them."""
    if request.spot:
        return {
            "provisioningModel": "SPOT",
            "instanceTerminationAction": "DELETE",
            "onHostMaintenance": "TERMINATE",
            "automaticRestart": False,
        }
    if settings.reservation_bound:
        return {
            "provisioningModel": "RESERVATION_BOUND",
            "instanceTerminationAction": "DELETE",
            "onHostMaintenance": "TERMINATE",
            "automaticRestart": False,
        }
    return {"onHostMaintenance": "TERMINATE", "automaticRestart": True}


def _disk(settings: GcpSettings, zone: str) -> dict[str, Any]:
    parameters = {"sourceImage": settings.image, "diskSizeGb": str(settings.disk_gb)}
    if settings.disk_type:
        parameters["diskType"] = f"zones/{zone}/diskTypes/{settings.disk_type}"
    return {"boot": True, "autoDelete": True, "initializeParams": parameters}


def _interfaces(settings: GcpSettings, zone: str) -> list[dict[str, Any]]:
    first = Interface(
        network=settings.network, subnetwork=settings.subnetwork, nic_type=settings.nic_type
    )
    made = [_interface(each, zone) for each in (first, *settings.more_interfaces)]
    if settings.external_ip:
        made[0]["accessConfigs"] = [{"name": "External NAT", "type": "ONE_TO_ONE_NAT"}]
    return made


def _interface(interface: Interface, zone: str) -> dict[str, Any]:
    network, subnetwork = interface.network, interface.subnetwork
    if network and "/" not in network:
        network = f"global/networks/{network}"
    if subnetwork and "/" not in subnetwork:
        subnetwork = f"regions/{region_of(zone)}/subnetworks/{subnetwork}"
    every = {"network": network, "subnetwork": subnetwork, "nicType": interface.nic_type}
    return {key: value for key, value in every.items() if value}


def _metadata(request: ProvisionRequest, settings: GcpSettings) -> list[dict[str, str]]:
    items = dict(settings.metadata)
    if request.user_data:
        is_cloud_init = request.user_data.startswith("#cloud-config")
        items["user-data" if is_cloud_init else "startup-script"] = request.user_data
    if request.ssh_key_names:
        items["ssh-keys"] = "\n".join(settings.ssh_keys[name] for name in request.ssh_key_names)
    return [{"key": key, "value": value} for key, value in sorted(items.items())]


def _accelerators(request: ProvisionRequest, zone: str) -> list[dict[str, Any]]:
    parts = TYPE.fullmatch(request.instance_type)
    if parts is None or parts["accelerator"] is None:
        return []
    kind = f"zones/{zone}/acceleratorTypes/{parts['accelerator']}"
    return [{"acceleratorType": kind, "acceleratorCount": int(parts["count"])}]


def _reservation(reservation: str) -> dict[str, Any]:
    if reservation == "none":
        return {"consumeReservationType": "NO_RESERVATION"}
    return {
        "consumeReservationType": "SPECIFIC_RESERVATION",
        "key": "compute.googleapis.com/reservation-name",
        "values": [reservation],
    }
