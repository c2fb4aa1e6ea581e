"""From a configuration to a blueprint: what production would run, and what is said to differ."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from navarch.config import load
from navarch.config import providers as kinds
from navarch.config.schema import Config
from navarch.controlplane.clock import RealClock
from navarch.core.model.finding import Remedy
from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from navarch.errors import ConfigError
from navarch.providers.base import facts_of
from navarch.simulator.whatif import profiles, sellers
from navarch.simulator.whatif.loads import EVERY_POOL, Load, demand_of
from navarch.simulator.whatif.preparing import Prepared, World, blueprint_of
from navarch.wiring.providers import Surroundings, make_provider
from simulation.whatif_files import FLEET, LOAD, SCALED, written

HOUR = timedelta(hours=1)
PINNED = kinds.Machine(host="h", instance_type="t", fingerprint="SHA256:" + "a" * 43)


def config_of(folder: Path, text: str) -> Config:
    return load.load(written(folder, text), environ={})


def prepared(folder: Path, text: str, **world: object) -> Prepared:
    said = {"profile": profiles.profile("h100-2024"), **world}
    return blueprint_of(config_of(folder, text), World(**said))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "written_as",
    [
        kinds.LambdaProvider(api_key_env="KEY"),
        kinds.RunPodProvider(image="ubuntu:24.04"),
        kinds.GcpProvider(project="some-project"),
        kinds.AwsProvider(region="us-east-1", timeout=timedelta(seconds=20)),
        kinds.SshProvider(machines=(PINNED,), agent=True),
        kinds.DockerProvider(image="ubuntu"),
        kinds.ProcessProvider(),
        kinds.FakeProvider(),
    ],
    ids=kinds.kind_of,
)
def test_what_a_provider_is_taken_to_state_is_what_it_states(
    written_as: kinds.Provider, tmp_path: Path
) -> None:
    around = Surroundings(clock=RealClock(), data=tmp_path)
    assert sellers.facts_of(written_as) == facts_of(make_provider("it", written_as, around))


def test_a_fleet_has_the_pools_settings_and_policy_of_its_file(tmp_path: Path) -> None:
    text = FLEET + "server: {heartbeat_interval: 15s, autoscale_interval: 45s}\n"
    blueprint = prepared(tmp_path, text).blueprint
    assert blueprint.settings.heartbeat_interval == timedelta(seconds=15)
    assert blueprint.evaluation_interval == timedelta(seconds=45)
    (pool,) = blueprint.pools
    assert pool.ladder == (Remedy.RESET_GPU, Remedy.REBOOT, Remedy.REPLACE)
    assert pool.sources[0].instance_type == "gpu_8x_h100_sxm5"
    assert blueprint.policy.name == "default"


def test_a_cloud_has_its_boot_time_limits_and_list_price(tmp_path: Path) -> None:
    (seller,) = prepared(tmp_path, FLEET).blueprint.sellers
    assert seller.boot.median == timedelta(minutes=5)
    assert seller.cloud.list_lag == timedelta(minutes=4)
    assert seller.launches_at_once == 1
    assert seller.launch_interval == timedelta(seconds=12)
    assert [each.price_per_hour for each in seller.types] == [31.92]
    assert [each.gpu_count for each in seller.types] == [8]


def test_a_policy_file_with_a_mistake_is_refused_as_production_does(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("version: v1\nrules: 5\n")
    with pytest.raises(ConfigError, match=r"server\.health_policy"):
        prepared(tmp_path, FLEET + "server: {health_policy: policy.yaml}\n")


def test_a_type_that_nobody_knows_costs_nothing_and_that_is_said(tmp_path: Path) -> None:
    found = prepared(tmp_path, FLEET.replace("h100-8x", "gpu_8x_h900"))
    assert "cloud sells gpu_8x_h900, which the catalogue does not know" in found.warnings[0]
    assert "no list price of gpu_8x_h900 at cloud is known" in found.warnings[1]


def test_spot_machines_are_taken_away_as_the_market_says(tmp_path: Path) -> None:
    text = FLEET.replace("    min_nodes", "    spot_percent: 50\n    min_nodes")
    text = text.replace("type: lambda", "type: aws, region: us-east-1")
    (seller,) = prepared(tmp_path, text, spot="aws-v100-us-west-2a").blueprint.sellers
    assert seller.spot is not None
    assert seller.spot.share_open == pytest.approx(0.775, abs=0.001)
    with pytest.raises(ConfigError, match="no spot market 'mars', expected one of median"):
        prepared(tmp_path, text, spot="mars")


def test_a_cloud_without_spot_machines_refuses_them_as_the_real_one_does(tmp_path: Path) -> None:
    text = FLEET.replace("    min_nodes", "    spot_percent: 50\n    min_nodes")
    found = prepared(tmp_path, text)
    (seller,) = found.blueprint.sellers
    assert (seller.sells_spot, seller.spot) == (False, None)
    assert "cloud sells no spot machines: it refuses them, as the real one does" in found.warnings


def test_without_spot_machines_no_market_ever_closes(tmp_path: Path) -> None:
    (seller,) = prepared(tmp_path, FLEET).blueprint.sellers
    assert seller.spot is None


def test_machines_of_ones_own_are_as_many_as_are_listed(tmp_path: Path) -> None:
    text = """\
providers:
  rack:
    type: ssh
    agent: true
    machines:
      - {host: a, instance_type: big, gpu_count: 4, price_per_hour: 2}
      - {host: b, instance_type: big, gpu_count: 4}
pools:
  training: {provider: rack, instance_type: big, max_nodes: 2}
"""
    (seller,) = prepared(tmp_path, text).blueprint.sellers
    assert seller.stocks == {"big": 2}
    assert seller.types[0].gpu_count == 4


def test_a_provider_of_somebody_else_is_said_to_be_simulated_in_general(tmp_path: Path) -> None:
    text = FLEET.replace("type: lambda", "type: custom, use: 'some.module:Cloud'")
    found = prepared(tmp_path, text)
    assert "provider cloud is somebody else's and cannot be simulated" in found.warnings[0]


def test_a_pool_without_load_holds_its_minimum_and_that_is_said(tmp_path: Path) -> None:
    found = prepared(tmp_path, SCALED)
    assert found.blueprint.scaled == ()
    assert "pool serving has an autoscaler and no load: it holds 1 nodes" in found.warnings


def test_a_load_drives_the_autoscaler_of_the_file(tmp_path: Path) -> None:
    trace = written(tmp_path, LOAD, "load.csv")
    for pool in (EVERY_POOL, "serving"):
        found = prepared(tmp_path, SCALED, loads=(Load(pool, trace),))
        (scaled,) = found.blueprint.scaled
        assert isinstance(scaled.autoscaler, QueueBasedAutoscaler)
        assert scaled.demand.jobs_per_node == 10
        assert scaled.demand.jobs(HOUR * 1.5) == 50


def test_a_trace_begins_anew_when_it_ends(tmp_path: Path) -> None:
    demand = demand_of(written(tmp_path, LOAD, "load.csv"), None)
    hours = [0, 1, 2, 3, 4.5]
    assert [demand.jobs(HOUR * each) for each in hours] == [1, 5, 1, 1, 5]


def test_a_load_for_nobody_is_refused(tmp_path: Path) -> None:
    trace = written(tmp_path, LOAD, "load.csv")
    with pytest.raises(ConfigError, match="no pool 'web' for a load, expected one of serving"):
        prepared(tmp_path, SCALED, loads=(Load("web", trace),))
    with pytest.raises(ConfigError, match="for pools with an autoscaler, and no pool has one"):
        prepared(tmp_path, FLEET, loads=(Load(EVERY_POOL, trace),))
    with pytest.raises(ConfigError, match="expected a CSV file with the columns time and value"):
        prepared(tmp_path, SCALED, loads=(Load("serving", written(tmp_path, "a\n", "b.csv")),))


def test_pools_with_other_machines_have_faults_at_other_rates(tmp_path: Path) -> None:
    text = FLEET + "  small: {provider: cloud, instance_type: h100-1x, max_nodes: 1}\n"
    hazards = [each for each in prepared(tmp_path, text).blueprint.hazards if each.fault.xid == 31]
    rates = {each.pools: each.per_node_day for each in hazards}
    assert rates["training",] == pytest.approx(8 * rates["small",])
