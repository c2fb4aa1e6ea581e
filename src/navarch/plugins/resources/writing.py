"""From resources to documents in Kubernetes' shape, which read back equal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import yaml

from navarch.core.model import resources as res
from navarch.plugins.resources import quantities, shapes
from navarch.plugins.resources.shapes import Block, Items, Kind, Scalar, Shape

# What JSON has.
Json = dict[str, Any]


def to_document(resource: res.Resource, *, status: bool = True) -> Json:
    """Make the document of a resource. Defaults of its spec are left out; its status is whole."""
    metadata = _block(shapes.block(res.ObjectMeta), resource.metadata)
    written: Json = {
        "apiVersion": res.API_VERSION,
        "kind": res.kind_of(resource),
        "metadata": {
            "name": resource.name,
            "namespace": resource.metadata.namespace,
            **metadata,
        },
        "spec": _block(shapes.spec(type(resource)), resource.spec),
    }
    if status:
        written["status"] = _block(shapes.status(type(resource)), resource.status, whole=True)
    return written


def to_yaml(documents: Iterable[Mapping[str, Any]]) -> str:
    """Write documents as YAML, one below the other."""
    return yaml.safe_dump_all(list(documents), sort_keys=False, allow_unicode=True)


def to_json(document: Mapping[str, Any]) -> str:
    """Write a document as JSON on one line."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def value_of(shape: Shape, value: object) -> object:
    """Write one value, other than the target of a metric, as documents have it."""
    return _value(shape, value, res.Ref(), whole=False)


def _block(block: Block, value: res.Part, *, whole: bool = False) -> Json:
    written: Json = {}
    for key, slot in block.slots.items():
        inner = getattr(value, slot.attribute)
        plain = inner == slot.default and not _is_other_type(inner, slot.default)
        if inner is None or (plain and not whole and not slot.required):
            continue
        written[key] = _value(slot.shape, inner, value, whole=whole)
    return written


def _is_other_type(value: object, default: object) -> bool:
    """Whether equal values differ all the same: 1 is not true."""
    return isinstance(value, bool) is not isinstance(default, bool)


def _value(shape: Shape, value: object, owner: res.Part, *, whole: bool) -> object:
    match shape:
        case Block():
            assert isinstance(value, res.Part)
            return _block(shape, value, whole=whole)
        case Items():
            assert isinstance(value, tuple)
            return [_value(shape.item, each, owner, whole=False) for each in value]
        case Scalar(kind=Kind.DURATION):
            return quantities.DURATION.write(value)
        case Scalar(kind=Kind.SIZE, rule=rule):
            assert rule.quantity is not None
            return rule.quantity.write(value)
        case Scalar(kind=Kind.TARGET):
            assert isinstance(owner, res.MetricTarget)
            return quantities.format_target(owner.target, owner.type)
        case Scalar(kind=Kind.MOMENT):
            assert isinstance(value, datetime)
            return value.isoformat(timespec="seconds").replace("+00:00", "Z")
        case Scalar(kind=Kind.DECIMAL):
            assert isinstance(value, int | float)
            return int(value) if value == int(value) else value
        case _:
            return value
