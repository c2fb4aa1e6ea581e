"""Documents for tests: each the least that its kind needs, changed by dotted keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from navarch.core.model.resources import Resource
from navarch.errors import ConfigError
from navarch.plugins.resources import reading, writing

LEAST: Mapping[str, dict[str, Any]] = {
    "AgentClass": {},
    "AgentPool": {"agentClassRef": {"name": "chat"}, "runtime": {"command": ["serve"]}},
    "Model": {"weightsURI": "s3://models/llama/"},
    "ToolBinding": {
        "agentPoolRef": {"name": "chat"},
        "type": "http",
        "httpConfig": {"url": "https://tools.example/"},
    },
}


def a_document(kind: str, *, name: str = "one", **changes: object) -> dict[str, Any]:
    """Make a document; changes are keys below ``spec`` with ``__`` for a dot."""
    spec: dict[str, Any] = {key: _copied(value) for key, value in LEAST[kind].items()}
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = spec
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    metadata = {"name": name}
    return {
        "apiVersion": "neuronetes.io/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }


def _copied(value: object) -> object:
    return dict(value) if isinstance(value, dict) else value


def text_of(*documents: Mapping[str, Any]) -> str:
    """Write documents as YAML."""
    return writing.to_yaml(documents)


def read_one(document: Mapping[str, Any]) -> Resource:
    """Read a document that has no mistake."""
    found = reading.read(text_of(document), file="one.yaml")
    assert found.mistakes == ()
    (resource,) = found.resources
    return resource


def mistakes_of(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Read a document, and return the key and the words of each mistake."""
    return [(each.key, each.message) for each in found_mistakes(text_of(document))]


def found_mistakes(text: str) -> tuple[ConfigError, ...]:
    """Read a text, and return its mistakes."""
    return reading.read(text, file="one.yaml").mistakes
