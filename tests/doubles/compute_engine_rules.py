"""What Compute Engine checks, and how it chooses what to answer: rules without a state."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from uuid import UUID

Json: TypeAlias = dict[str, Any]

PROJECT = "navarch-test"
ROOT = f"/compute/v1/projects/{PROJECT}"
LINK = f"https://www.googleapis.com{ROOT}"
STAMP = "2026-01-01T00:00:00.000-00:00"

NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")

TYPES: dict[str, Json] = {
    "a3-highgpu-8g": {"gpus": 8, "gpu": "nvidia-h100-80gb", "cpus": 208, "mb": 1916928},
    "a2-highgpu-1g": {"gpus": 1, "gpu": "nvidia-tesla-a100", "cpus": 12, "mb": 87040},
    "g2-standard-4": {"gpus": 1, "gpu": "nvidia-l4", "cpus": 4, "mb": 16384},
    "n1-standard-8": {"gpus": 0, "gpu": "", "cpus": 8, "mb": 30720},
    "a1-nothing": {"gpus": 0, "gpu": "", "cpus": 2, "mb": 4096},
}
ZONES: dict[str, tuple[str, ...]] = {
    "us-central1-a": ("a3-highgpu-8g", "a2-highgpu-1g", "g2-standard-4", "n1-standard-8"),
    "us-central1-b": ("a3-highgpu-8g", "g2-standard-4", "n1-standard-8"),
    "us-central1-c": ("g2-standard-4", "n1-standard-8", "a1-nothing"),
    "europe-west4-b": ("a3-highgpu-8g", "n1-standard-8"),
}


def problem(zone: str, body: Json) -> tuple[int, Json] | None:
    """Say what is wrong with the description of a machine."""
    if zone not in ZONES:
        return refusal(404, "notFound", f"The resource 'zones/{zone}' was not found")
    if not NAME.fullmatch(str(body.get("name", ""))):
        return refusal(400, "invalid", "Invalid value for field 'resource.name'")
    kind = str(body.get("machineType", "")).rpartition("/")[2]
    if kind not in ZONES[zone]:
        link = f"projects/{PROJECT}/zones/{zone}/machineTypes/{kind}"
        return refusal(404, "notFound", f"The resource '{link}' was not found")
    for key, value in body.get("labels", {}).items():
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
            said = f"Invalid value for field 'resource.labels': '{{{key}: {value}}}'"
            return refusal(400, "invalid", said)
    if len(body.get("labels", {})) > 64:
        return refusal(400, "invalid", "Invalid value for field 'resource.labels': too many")
    for item in body.get("metadata", {}).get("items", []):
        if "refuse-me" in item["value"]:
            said = f"Invalid value for field 'resource.metadata.items[0].value': '{item['value']}'"
            return refusal(400, "invalid", said)
    has_gpus = TYPES[kind]["gpus"] or body.get("guestAccelerators")
    if has_gpus and body.get("scheduling", {}).get("onHostMaintenance") != "TERMINATE":
        said = "Instances with guest accelerators do not support live migration."
        return refusal(400, "badRequest", said)
    if not body.get("disks") or not body.get("networkInterfaces"):
        return refusal(400, "required", "Required field 'resource.disks' not specified")
    return None


def built(zone: str, body: Json) -> Json:
    """Give the fields that a machine has of its description, and those that Google adds."""
    made = json.loads(json.dumps(body))
    del made["name"]
    kind = made["machineType"].rpartition("/")[2]
    made["machineType"] = f"{LINK}/zones/{zone}/machineTypes/{kind}"
    if TYPES[kind]["gpus"]:
        link = f"{LINK}/zones/{zone}/acceleratorTypes/{TYPES[kind]['gpu']}"
        made["guestAccelerators"] = [
            {"acceleratorType": link, "acceleratorCount": TYPES[kind]["gpus"]}
        ]
    return dict(made)


def machine_type(zone: str, name: str) -> Json:
    facts = TYPES[name]
    made: Json = {
        "kind": "compute#machineType",
        "id": "7",
        "name": name,
        "zone": zone,
        "guestCpus": facts["cpus"],
        "memoryMb": facts["mb"],
    }
    if facts["gpus"]:
        made["accelerators"] = [
            {"guestAcceleratorType": facts["gpu"], "guestAcceleratorCount": facts["gpus"]}
        ]
    return made


def quotas(told: dict[str, tuple[float, float]]) -> list[Json]:
    """Write limits and usages as regions and projects tell them."""
    return [
        {"metric": metric, "limit": limit, "usage": usage}
        for metric, (limit, usage) in told.items()
    ]


def filtering(text: str) -> Callable[[Json], bool] | None:
    """Understand the filters that we use and Google documents; None for any other one."""
    if not text:
        return lambda _: True
    if defined := re.fullmatch(r"labels\.([a-z0-9_-]+):\*", text):
        return lambda item: defined[1] in item.get("labels", {})
    if named := re.fullmatch(r'name = "([^"]*)"', text):
        return lambda item: bool(item["name"] == named[1])
    if like := re.fullmatch(r'name eq "([^"]*)"', text):
        return lambda item: re.fullmatch(like[1], item["name"]) is not None
    return None


def chosen(content: Any, fields: str) -> Any:  # noqa: ANN401 - any JSON
    """Leave of an answer what ``fields`` names: ``a``, ``a/b``, ``a(b,c)``, ``*`` for each key."""
    if isinstance(content, list):
        return [chosen(each, fields) for each in content]
    if not isinstance(content, dict):
        return content
    kept: Json = {}
    for name, below in _fields(fields):
        for key in list(content) if name == "*" else [name]:
            if key in content:
                part = chosen(content[key], below) if below else content[key]
                kept[key] = merged(kept[key], part) if key in kept else part
    return kept


def merged(left: Any, right: Any) -> Any:  # noqa: ANN401 - any JSON
    """Put two parts of one answer together."""
    if isinstance(left, dict) and isinstance(right, dict):
        both = {key: merged(left[key], right[key]) for key in left.keys() & right.keys()}
        return left | right | both
    if isinstance(left, list) and isinstance(right, list):
        return [merged(*pair) for pair in zip(left, right, strict=True)]
    return right


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """Give each field at the top, and what is asked for below it; empty for all of it."""
    depth, start = 0, 0
    for at, sign in enumerate(f"{text},"):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            one = text[start:at]
            cut = re.search(r"[/(]", one)
            below = "" if cut is None else one[cut.start() + 1 :]
            yield (
                one[: cut.start()] if cut else one,
                (below.removesuffix(")") if cut and cut[0] == "(" else below),
            )
            start = at + 1


def is_uuid(text: str) -> bool:
    try:
        return UUID(text).int != 0
    except ValueError:
        return False


def missing(zone: str, name: str) -> tuple[int, Json]:
    link = f"projects/{PROJECT}/zones/{zone}/instances/{name}"
    return refusal(404, "notFound", f"The resource '{link}' was not found")


def refusal(status: int, reason: str, message: str) -> tuple[int, Json]:
    errors = [{"reason": reason, "message": message, "domain": "global"}]
    return status, {"error": {"code": status, "message": message, "errors": errors}}
