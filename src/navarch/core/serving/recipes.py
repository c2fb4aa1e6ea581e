"""Recipes: how the replicas of a pool of agents are to run, put together from its resources."""

from __future__ import annotations

import zlib

import msgspec
from msgspec import Struct

from navarch.core.model.fleet import Fleet
from navarch.core.model.resources import AgentClass, AgentPool, AgentPoolSpec, Model

_encoder = msgspec.json.Encoder(order="deterministic")


class Recipe(Struct, frozen=True):
    """All that is needed to run a replica."""

    pool: AgentPool
    agent_class: AgentClass | None
    """None where the pool names none."""
    model: Model | None
    """None where there is nothing to load."""
    template: str
    """A digest of how it is to run: replicas of another one are replaced."""


class Missing(Struct, frozen=True):
    """Why there is no recipe."""

    text: str


def recipe(fleet: Fleet, agent_pool: str) -> Recipe | Missing:
    """Put a pool's recipe together, `agent_pool` being its ``namespace/name``."""
    applied = fleet.resource("AgentPool", agent_pool)
    if applied is None or not isinstance(applied.resource, AgentPool):
        return Missing(f"agent pool {agent_pool} is not wanted")
    pool = applied.resource
    named = pool.spec.agent_class_ref.name
    if not named:
        return Recipe(pool, None, None, _template(pool.spec, None))
    class_name = f"{pool.metadata.namespace}/{named}"
    found = fleet.resource("AgentClass", class_name)
    if found is None or not isinstance(found.resource, AgentClass):
        return Missing(f"agent class {class_name} is not there")
    agent_class = found.resource
    model_ref = agent_class.spec.model_ref.name
    if not model_ref:
        return Recipe(pool, agent_class, None, _template(pool.spec, None))
    model_name = f"{pool.metadata.namespace}/{model_ref}"
    held = fleet.resource("Model", model_name)
    if held is None or not isinstance(held.resource, Model):
        return Missing(f"model {model_name} is not there")
    return Recipe(pool, agent_class, held.resource, _template(pool.spec, held.resource))


def bounded(pool: AgentPool, target: int) -> int:
    """Cut a number of replicas to what the pool allows, whole gangs only where it has a size."""
    spec = pool.spec
    kept = max(spec.min_replicas, min(target, spec.max_replicas))
    size = gang_size(spec)
    if size <= 1:
        return kept
    up = -(-kept // size) * size
    return up if up <= spec.max_replicas else spec.max_replicas // size * size


def gang_size(spec: AgentPoolSpec) -> int:
    """How many replicas are placed together; 0: as many as are wanted at one time; 1: each alone.

    ``gang: true`` is 0, ``gang: false`` is 1.
    """
    gang = spec.scheduling.gang
    if isinstance(gang, bool):
        return 0 if gang else 1
    return max(gang, 1)


def _template(spec: AgentPoolSpec, model: Model | None) -> str:
    """Digest what a running replica can not change about itself."""
    weights = model.spec.weights_uri if model is not None else ""
    parts = (spec.runtime, spec.gpu_requirements, spec.mig_profile, weights)
    return f"{zlib.crc32(_encoder.encode(parts)):08x}"
