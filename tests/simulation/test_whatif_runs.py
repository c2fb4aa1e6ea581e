"""What-if runs: what is measured is true, and where a run takes place changes nothing."""

from __future__ import annotations

import multiprocessing
import sys
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from navarch.core.model.finding import Remedy
from navarch.errors import ConfigError, NavarchError, PluginError
from navarch.simulator.broken import Broken
from navarch.simulator.report import Recorder, report_from_json
from navarch.simulator.twin.faults import Fault, FaultKind
from navarch.simulator.twin.twin import Twin
from navarch.simulator.whatif import asking, comparing, profiles, running, telling
from navarch.simulator.whatif.asking import Plan, Question
from navarch.simulator.whatif.loads import Load
from navarch.simulator.whatif.measures import Measures, measures_of
from navarch.simulator.whatif.preparing import World, blueprint_of
from navarch.simulator.whatif.varying import Vary
from simulation.whatif_files import FLEET, LOAD, SCALED, written

HOUR = timedelta(hours=1)

REPAIRED = 2 * HOUR


class Watched:
    """A fleet without faults of its own, and what is measured of it."""

    def __init__(self, folder: Path, text: str = FLEET, lasts: timedelta = 4 * HOUR) -> None:
        world = World(profiles.PROFILES["none"], lasts)
        question = Question(written(folder, text), world)
        self.prepared = blueprint_of(asking.planned(question).configs[0], world)
        self.twin = Twin(self.prepared.blueprint, 7)
        self.recorder = Recorder(self.twin, demands=self.prepared.demands)
        self.twin.run_until(HOUR)

    @property
    def node(self) -> str:
        """One of its nodes."""
        return min(self.twin.nodes)

    def result(self) -> Measures:
        """What is measured by now."""
        return measures_of(self.recorder.report(), tuple(self.twin.clouds))

    def after(self, fault: Fault) -> Measures:
        """Let a fault happen, and live on to the end."""
        assert self.twin.afflict(self.node, fault)
        self.twin.run()
        return self.result()


def planned(folder: Path, **said: object) -> Plan:
    world = World(profiles.PROFILES["a100-delta"], timedelta(hours=3))
    question = Question(written(folder, FLEET), world, seeds=2)
    return asking.planned(msgspec.structs.replace(question, **said))


def measured(plan: Plan) -> list[Measures]:
    return [ran.measures for ran in running.run_all(plan.tasks)]


# --- what is measured ------------------------------------------------------------------------


def test_a_fleet_without_faults_delivers_everything_and_costs_what_it_is_listed_for(
    tmp_path: Path,
) -> None:
    watched = Watched(tmp_path)
    watched.twin.run()
    found = watched.result()
    assert found.capacity_delivered == 1
    assert found.replacements_right == found.replacements_wrong == found.broken == 0
    hours = found.gpu_hours_good + found.gpu_hours_lost
    assert found.cost_usd == pytest.approx(hours / 8 * 31.92, rel=0.02)
    assert found.repair_seconds_p50 is None


def test_a_broken_node_is_rightly_replaced_and_its_repair_is_timed(tmp_path: Path) -> None:
    found = Watched(tmp_path).after(Fault(FaultKind.XID, xid=79, cure=Remedy.REPLACE))
    assert (found.broken, found.replacements_right, found.unrepaired) == (1, 1, 0)
    assert found.replacements_wrong == found.replacements_late == 0
    assert found.repair_seconds_p50 is not None
    assert 60 < found.repair_seconds_p50 < REPAIRED.total_seconds()
    assert found.capacity_delivered < 1
    assert found.gpu_hours_lost > 0


def test_a_dead_host_is_rightly_replaced(tmp_path: Path) -> None:
    found = Watched(tmp_path).after(Fault(FaultKind.CRASH, cure=Remedy.REPLACE))
    assert (found.broken, found.replacements_right, found.unrepaired) == (1, 1, 0)


def test_a_node_that_a_reset_puts_right_is_repaired_in_place(tmp_path: Path) -> None:
    found = Watched(tmp_path).after(Fault(FaultKind.XID, xid=95, cure=Remedy.RESET_GPU))
    assert (found.broken, found.repairs_in_place, found.unrepaired) == (1, 1, 0)
    assert found.replacements_right == 0


def test_an_application_error_breaks_nothing(tmp_path: Path) -> None:
    found = Watched(tmp_path).after(Fault(FaultKind.XID, xid=31))
    assert found.broken == found.replacements_right == found.replacements_wrong == 0
    assert found.capacity_delivered == 1


def test_replacing_a_well_node_is_wrong(tmp_path: Path) -> None:
    text = FLEET.replace("[reset_gpu, reboot, replace]", "[replace]")
    found = Watched(tmp_path, text).after(Fault(FaultKind.XID, xid=79))
    assert (found.broken, found.replacements_right, found.replacements_wrong) == (0, 0, 1)


def test_repairs_that_wait_for_a_budget_are_counted(tmp_path: Path) -> None:
    watched = Watched(tmp_path, FLEET.replace("max_unavailable: 1", "max_replacements_per_hour: 0"))
    found = watched.after(Fault(FaultKind.XID, xid=79, cure=Remedy.REPLACE))
    assert found.budget_hits == 1
    assert found.budget_wait_hours == pytest.approx(3, abs=0.2)
    assert (found.unrepaired, found.repair_seconds_p50) == (1, None)
    assert found.availability < 0.5


def test_spot_machines_that_are_taken_away_are_counted(tmp_path: Path) -> None:
    text = FLEET.replace("    min_nodes", "    spot_percent: 100\n    min_nodes")
    text = text.replace("type: lambda", "type: aws, region: us-east-1")
    world = World(profiles.PROFILES["none"], timedelta(hours=6), spot="aws-v100-us-east-1c")
    plan = asking.planned(Question(written(tmp_path, text), world, seeds=1))
    (found,) = measured(plan)
    assert found.spot_interruptions > 0
    assert "no spot price of cloud is known: spot machines cost the list price" in plan.warnings


def test_spot_machines_that_nobody_sells_are_bought_as_ordinary_ones(tmp_path: Path) -> None:
    text = FLEET.replace("    min_nodes", "    spot_percent: 100\n    min_nodes")
    world = World(profiles.PROFILES["none"], timedelta(hours=3))
    plan = asking.planned(Question(written(tmp_path, text), world, seeds=1))
    (found,) = measured(plan)
    assert found.spot_interruptions == 0
    assert found.capacity_delivered > 0.9


def test_capacity_that_no_load_needs_is_idle(tmp_path: Path) -> None:
    load = Load("", written(tmp_path, LOAD, "load.csv"))
    world = World(profiles.PROFILES["none"], timedelta(hours=3), loads=(load,))
    plan = asking.planned(Question(written(tmp_path, SCALED), world, seeds=1))
    (found,) = measured(plan)
    # One node for an hour, five for the next, one for the last: seven node-hours of 4 GPUs.
    assert found.gpu_hours_good == pytest.approx(7 * 4, abs=4)
    assert found.gpu_hours_idle > 0


def test_what_is_compared_is_what_the_report_says(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    found = watched.after(Fault(FaultKind.XID, xid=79, cure=Remedy.REPLACE))
    report = watched.recorder.report()
    assert found.availability == report.fleet.availability < 1
    assert found.cost_usd == pytest.approx(report.fleet.usd, abs=0.01)
    assert found.repair_seconds_p50 == report.troubles.seconds_to_repair.p50
    assert found.broken == report.troubles.count
    assert found.gpu_hours_lost == report.fleet.gpu_hours.lost


def test_a_replacement_that_is_decided_late_is_right_and_late(tmp_path: Path) -> None:
    watched = Watched(tmp_path, FLEET.replace("max_unavailable: 1", "max_replacements_per_hour: 0"))
    assert watched.twin.afflict(watched.node, Fault(FaultKind.CRASH, cure=Remedy.REPLACE))
    watched.twin.run_until(2 * HOUR)
    spec = watched.prepared.blueprint.pools[0]
    disruption = msgspec.structs.replace(spec.disruption, max_replacements_per_hour=10)
    watched.twin.server.configure((msgspec.structs.replace(spec, disruption=disruption),))
    watched.twin.run()
    found = watched.result()
    assert (found.replacements_right, found.replacements_late, found.unrepaired) == (1, 1, 0)
    assert 0.8 < found.budget_wait_hours < 1.2


def test_the_first_boot_takes_nothing_from_availability_and_later_holes_do(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    booted = watched.recorder.report().fleet
    assert booted.first_full_seconds is not None
    assert booted.first_full_seconds > 60
    assert booted.availability == 1
    assert booted.node_hours_delivered == booted.node_hours_wanted
    found = watched.after(Fault(FaultKind.CRASH, cure=Remedy.REPLACE))
    assert found.availability < 1
    assert found.capacity_delivered < 1


# --- where it takes place --------------------------------------------------------------------


def document(
    plan: Plan, *, jobs: int = 1, ray: str = "", on_done: running.Done = lambda: None
) -> bytes:
    outcome = asking.answered(plan, jobs=jobs, ray=ray, on_done=on_done)
    return msgspec.json.encode(telling.document(outcome))


def test_runs_are_the_same_again_and_in_other_processes(tmp_path: Path) -> None:
    plan = planned(tmp_path, varied=(Vary("pools.training.max_nodes", ("4", "6")),))
    done: list[None] = []
    here = document(plan, jobs=1, on_done=lambda: done.append(None))
    assert len(done) == 4
    assert document(plan, jobs=2) == here


def test_variants_of_other_sizes_suffer_the_same_faults(tmp_path: Path) -> None:
    plan = planned(tmp_path, varied=(Vary("pools.training.max_nodes", ("6", "60")),), seeds=1)
    world = World(profiles.PROFILES["a100-delta"], timedelta(hours=6), places=plan.places)
    tasks = [msgspec.structs.replace(task, world=world, seed=32) for task in plan.tasks]
    small, large = (ran.measures for ran in running.run_all(tasks))
    assert small.broken == 1
    assert small == large


def test_a_first_seed_chooses_other_runs(tmp_path: Path) -> None:
    seeds = planned(tmp_path, first_seed=11).seeds
    assert seeds == (11, 12)


@pytest.mark.filterwarnings("default")  # Ray's own
def test_runs_on_ray_are_the_same_as_here(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray, as pip install 'navarch[ray]' brings it")
    plan = planned(tmp_path)
    assert document(plan, jobs=1, ray=running.LOCAL) == document(plan)


@pytest.mark.soak
@pytest.mark.filterwarnings("default")  # Ray's own
def test_a_failure_on_ray_is_told_as_it_is_here(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray, as pip install 'navarch[ray]' brings it")
    plan = planned(tmp_path)
    bad = World(plan.question.world.profile, plan.question.world.lasts, spot="mars")
    tasks = [msgspec.structs.replace(task, world=bad) for task in plan.tasks]
    with pytest.raises(NavarchError, match="no spot market 'mars'"):
        running.run_all(tasks, ray=running.LOCAL)


def test_without_ray_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PluginError, match=r"pip install 'navarch\[ray\]'"):
        running.run_all(planned(tmp_path).tasks, ray="somewhere:6379")


def test_a_failure_in_another_process_ends_all_and_is_told(
    tmp_path: Path,
) -> None:
    plan = planned(tmp_path)
    bad = World(plan.question.world.profile, plan.question.world.lasts, spot="mars")
    tasks = [msgspec.structs.replace(task, world=bad) for task in plan.tasks]
    with pytest.raises(ConfigError, match="no spot market 'mars'"):
        running.run_all(tasks, jobs=2)
    assert not multiprocessing.active_children()


def test_ctrl_c_ends_all_processes(tmp_path: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        running.run_all(planned(tmp_path, seeds=4).tasks, jobs=2, on_done=interrupted)
    assert not multiprocessing.active_children()


def test_a_run_that_breaks_a_rule_says_which_variant_and_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Recorder, now: object) -> None:
        raise Broken("rule", "it does not hold")

    monkeypatch.setattr(Recorder, "sampled", broken)
    with pytest.raises(NavarchError, match=r"as it is, seed 1: .*it does not hold"):
        running.run_all(planned(tmp_path).tasks)


@pytest.mark.parametrize("seeds", [0, 1001])
def test_too_few_and_too_many_seeds_are_refused(tmp_path: Path, seeds: int) -> None:
    with pytest.raises(ConfigError, match=f"{seeds} seeds, expected from 1 to 1000"):
        planned(tmp_path, seeds=seeds)


def test_what_was_asked_is_written_into_a_folder(tmp_path: Path) -> None:
    plan = planned(tmp_path, seeds=1, varied=(Vary("pools.training.max_nodes", ("4", "6")),))
    outcome = asking.answered(plan)
    telling.write(outcome, tmp_path / "report")
    assert "capacity delivered" in (tmp_path / "report" / "what-if.txt").read_text()
    lines = (tmp_path / "report" / "runs.csv").read_text().splitlines()
    assert lines[0].split(",")[:3] == ["variant", "seed", "availability"]
    assert len(lines) == 3
    found = msgspec.json.decode((tmp_path / "report" / "what-if.json").read_bytes())
    assert [each["name"] for each in found["variants"]] == ["max_nodes=4", "max_nodes=6"]
    assert not (tmp_path / "report" / "max_nodes=4").exists()
    with pytest.raises(NavarchError, match="cannot be written"):
        telling.write(outcome, tmp_path / "fleet.yaml")


def test_the_first_run_of_each_variant_has_its_report(tmp_path: Path) -> None:
    varied = (Vary("pools.training.zones", ("[a]", "[b]", "[a, b]")),)
    plan = planned(tmp_path, seeds=2, varied=varied, reported=True)
    outcome = asking.answered(plan, jobs=2)
    assert telling.folders(outcome) == ["zones=-a", "zones=-b", "zones=-a-b"]
    telling.write(outcome, tmp_path / "report")
    for folder, runs in zip(telling.folders(outcome), outcome.runs, strict=True):
        raw = (tmp_path / "report" / folder / "report.json").read_bytes()
        report = report_from_json(raw)
        assert report.seed == plan.question.first_seed
        assert report.fleet.gpu_hours.good == runs[0].gpu_hours_good
        assert (tmp_path / "report" / folder / "report.html").stat().st_size > 10_000


def test_folders_of_variants_are_told_apart_and_stay_where_they_belong(tmp_path: Path) -> None:
    outcome = asking.answered(planned(tmp_path, seeds=1))
    (one,) = outcome.variants
    names = ("../..", "a/b", "a b", "x" * 300, "as it is")
    variants = tuple(msgspec.structs.replace(one, name=name) for name in names)
    found = telling.folders(msgspec.structs.replace(outcome, variants=variants))
    assert found == ["1", "a-b", "a-b-3", "x" * 100, "as-it-is"]


def test_the_sentence_of_one_seed_promises_nothing(tmp_path: Path) -> None:
    plan = planned(tmp_path, seeds=1, varied=(Vary("pools.training.max_nodes", ("4", "6")),))
    (said,) = comparing.verdicts(asking.answered(plan).variants)
    assert said.endswith("One seed cannot tell which is better: run more.")
