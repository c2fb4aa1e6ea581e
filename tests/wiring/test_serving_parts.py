"""What the serving plane knows of machines that a pool would buy, and where pods are made."""

from __future__ import annotations

from pathlib import Path

from navarch.config.load import load
from navarch.controlplane.pods.elsewhere import PodsElsewhere
from navarch.core.model.fleet import Fleet
from navarch.core.model.pool import PoolSpec, Source
from navarch.plugins.turns import MachineFacts
from navarch.wiring import plans
from navarch.wiring.serving import machine_facts, serving_parts

TEXT = """
server:
  address: "127.0.0.1:0"
  kubernetes: {url: "http://127.0.0.1:1", namespace: agents, model_claim: weights}
providers:
  here: {type: process, gpu_count: 2, gpu_type: L4, serving: true}
  lambda: {type: lambda, api_key_env: KEY}
pools:
  small: {provider: here, instance_type: l4-2x, max_nodes: 3}
  large: {provider: lambda, instance_type: h100-8x, region: us-west-2, max_nodes: 3}
"""


def a_plan(folder: Path, text: str = TEXT) -> plans.Plan:
    """Return what a configuration comes to."""
    path = folder / "navarch.yaml"
    path.write_text(text)
    return plans.planned(load(path, {"KEY": "secret"}))


def test_machines_of_a_cloud_are_known_from_the_catalogue_before_one_was_bought(
    tmp_path: Path,
) -> None:
    plan = a_plan(tmp_path)
    specs = {spec.name: spec for spec in plan.pools}
    assert machine_facts(plan.providers, specs["small"]) == MachineFacts(2, "L4")
    large = machine_facts(plan.providers, specs["large"])
    assert large is not None
    assert (large.gpu_count, large.gpu_type, large.gpu_memory) == (8, "H100 SXM", 80 * 10**9)
    assert large.price_per_hour > 0


def test_what_nobody_knows_is_not_made_up(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    strange = PoolSpec("x", "lambda", sources=(Source("lambda", instance_type="gpu_1x_new"),))
    assert machine_facts(plan.providers, strange) is None
    assert machine_facts(plan.providers, PoolSpec("x", "nobody")) is None


def test_a_cluster_runs_replicas_only_where_one_is_configured(tmp_path: Path) -> None:
    assert isinstance(serving_parts(a_plan(tmp_path), Fleet).elsewhere, PodsElsewhere)
    without = TEXT.replace("  kubernetes:", "  # kubernetes:")
    assert serving_parts(a_plan(tmp_path, without), Fleet).elsewhere is None
