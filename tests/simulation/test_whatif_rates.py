"""Rates, spot markets and profiles: the tables are sound, and what is made of them adds up."""

from __future__ import annotations

import csv
import importlib.util
from importlib import resources
from pathlib import Path

import pytest

from navarch.core.model.finding import Remedy
from navarch.errors import ConfigError
from navarch.simulator.twin.faults import FaultKind
from navarch.simulator.whatif import listing, profiles, rates
from navarch.simulator.whatif.profiles import PROFILES, Area

SOURCES = {
    *(rates.LLAMA3, "Llama3 herd", rates.DELTA_A100, rates.DELTA_H100),
    *(rates.RSC_1, rates.RSC_2, rates.OPT, rates.LABLUP),
}


def test_rates_have_unique_keys_known_sources_and_numbers_that_agree() -> None:
    found = rates.rates()
    assert len(found) == 43
    assert len({(each.component, each.source) for each in found}) == len(found)
    assert {each.source for each in found} == SOURCES
    for each in found:
        assert each.per_gpu_hour >= 0
        nodes = each.per_gpu_hour * 8 * 24 * 1000
        assert each.per_1000_8gpu_node_days == pytest.approx(nodes, rel=0.01, abs=0.001)


def test_llama_3s_parts_add_up_to_the_whole() -> None:
    parts = [each for each in rates.rates() if each.source == rates.LLAMA3]
    assert sum(int(each.count) for each in parts) == 419
    whole = rates.rate("ALL", "Llama3 herd").per_gpu_hour
    assert sum(each.per_gpu_hour for each in parts) == pytest.approx(whole, rel=0.001)


def test_spot_traces_have_unique_keys_and_numbers_that_agree() -> None:
    found = rates.spot_traces()
    assert len(found) == 34
    assert len({each.trace for each in found}) == len(found)
    for each in found:
        assert 0 < each.share_time_available <= 1
        assert each.days == pytest.approx(each.tick_s * each.ticks / 86_400, abs=0.06)
        if each.node_losses == 0:
            assert each.mean_hours_to_preemption is None
        else:
            mean = each.instance_hours / each.node_losses
            assert each.mean_hours_to_preemption == pytest.approx(mean, rel=0.01)


def test_no_cell_of_the_tables_has_blanks_around_it() -> None:
    folder = resources.files("navarch.simulator.whatif").joinpath("data")
    for name in ("failure_rates.csv", "spot_trace_stats.csv"):
        for row in csv.reader(folder.joinpath(name).read_text("utf-8").splitlines()):
            assert all(cell == cell.strip() for cell in row)


def test_a_market_loses_machines_as_often_as_its_trace_and_is_open_as_long() -> None:
    market = rates.spot_markets()["aws-v100-us-west-2b"]
    traces = [each for each in rates.spot_traces() if each.market == "aws-v100-us-west-2b"]
    hours = sum(each.instance_hours for each in traces)
    losses = sum(each.node_losses for each in traces)
    assert len(traces) == 3
    assert listing.mean_life(market) == pytest.approx(hours / losses)
    cycle = listing.open_hours(market) + market.mean_hours_closed
    assert listing.open_hours(market) / cycle == pytest.approx(market.share_open)


def test_a_market_that_never_lost_a_machine_loses_none() -> None:
    market = rates.spot_markets()["gcp-c3-88-us-central1-a"]
    assert listing.mean_life(market) is None


def test_every_profile_uses_each_rate_of_its_studies_or_says_why_not() -> None:
    for each in PROFILES.values():
        used = [(one.component, one.source) for one in each.mappings]
        left = [(one.component, one.source) for one in each.left_out]
        assert len(set(used + left)) == len(used + left), each.name
        studies = {source for _, source in used}
        known = {(one.component, one.source) for one in rates.rates() if one.source in studies} | {
            ("ALL", rates.LLAMA3)
        }
        missing = known - set(used) - set(left)
        assert missing <= {("ALL", rates.LLAMA3)}, each.name


def test_shares_of_a_rate_make_the_whole() -> None:
    for each in PROFILES.values():
        for mapping in each.mappings:
            assert sum(share.share for share in mapping.shares) == pytest.approx(1)


def test_a_profile_of_all_causes_breaks_nodes_as_often_as_its_study_says() -> None:
    for name, expected in (("meta-rsc", 6.5), ("meta-rsc-2", 2.34), ("opt-175b", 14.1)):
        hazards = PROFILES[name].hazards(8)
        found = profiles.per_1000_node_days(hazards, broken=True)
        assert found == pytest.approx(expected, rel=0.01)


def test_h100_2024_counts_hardware_once_and_application_errors_as_logged() -> None:
    hazards = PROFILES["h100-2024"].hazards(8)
    broken = profiles.per_1000_node_days(hazards, broken=True)
    left_out = sum(
        rates.rate(name, rates.LLAMA3).per_1000_8gpu_node_days
        for name in (
            *("software_bug", "nccl_watchdog_unknown", "dependency", "silent_data_corruption"),
        )
    )
    assert broken == pytest.approx(3.789 - left_out, rel=0.01)
    application = [each for each in hazards if each.fault.xid == 31]
    assert [each.per_node_day for each in application] == [pytest.approx(0.1565, rel=0.001)]
    assert application[0].fault.cure is Remedy.NONE


def test_hazards_grow_with_the_gpus_of_a_node_and_keep_their_pools() -> None:
    one = PROFILES["h100-2024"].hazards(1, ("a",))
    eight = PROFILES["h100-2024"].hazards(8)
    for small, large in zip(one, eight, strict=True):
        assert large.per_node_day == pytest.approx(8 * small.per_node_day)
        assert small.pools == ("a",)
        assert large.source


def test_software_is_never_put_right_by_touching_a_machine() -> None:
    for each in PROFILES.values():
        for mapping in each.mappings:
            if mapping.area is Area.SOFTWARE:
                cures = {share.fault.cure for share in mapping.shares}
                assert cures == {Remedy.NONE}
            for share in mapping.shares:
                if share.fault.kind is FaultKind.CRASH:
                    assert mapping.area is Area.HOST


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no profile 'h200', expected one of h100-2024"):
        profiles.profile("h200")


def test_the_page_of_profiles_is_up_to_date() -> None:
    path = Path(__file__).resolve().parents[2] / "tools" / "profile_page.py"
    spec = importlib.util.spec_from_file_location("profile_page", path)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.PAGE.read_text() == tool.page(), "run: python tools/profile_page.py"
