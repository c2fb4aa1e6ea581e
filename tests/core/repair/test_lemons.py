"""Lemons: a GPU that made two machines sick is not trusted in a third."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from factories import (
    POOL,
    SETTINGS,
    a_finding,
    a_fleet,
    a_list,
    a_machine,
    a_spec,
    at,
    fold_all,
    gpus,
    lost,
    name,
    registered,
    requested,
    sick,
    sighted,
    xid,
)
from navarch.core import fold_repair
from navarch.core.decide import decide
from navarch.core.model import events as ev
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Lemon
from navarch.core.model.last_heard import LastHeard
from navarch.core.model.pool import Disruption
from navarch.core.model.report import Health
from navarch.core.model.sightings import Sightings
from navarch.core.repair import beginning
from navarch.core.strategies import Strategies

SILENT = at(minutes=2)
LATER = at(minutes=4)


def begun(fleet: Fleet) -> list[ev.Fact]:
    """Return what repair begins, while the provider lists every machine."""
    listed = a_list(LATER, *map(a_machine, range(1, fleet.serial + 1)))
    return list(beginning.begun(fleet, sighted(fleet, listed), LATER, SETTINGS))


def budget(at_once: int) -> ev.Fact:
    """Return the configuration of a pool that may lose so many nodes to repair."""
    return ev.PoolConfigured(at(), a_spec(disruption=Disruption(at_once)))


LEMON = "GPU-bad"


def with_gpu(n: int, uuid: str = LEMON, when: datetime = LATER) -> ev.NodeRegistered:
    """Return that machine n registered, and its GPU 5 is this one."""
    mine = [replace(gpu, uuid=f"{gpu.uuid}-of-{n}") for gpu in gpus()]
    mine[5] = replace(mine[5], uuid=uuid)
    return replace(registered(n, when), gpus=tuple(mine))


def made_sick(n: int, uuid: str = LEMON) -> ev.InstanceCondemned:
    """Return that machine n is replaced because of a GPU."""
    return ev.InstanceCondemned(SILENT, name(n), "xid 79", cause="sickness", hardware=(uuid,))


def test_a_gpu_that_made_two_machines_sick_condemns_the_third() -> None:
    facts: list[ev.Fact] = [made_sick(1), with_gpu(2), made_sick(2), with_gpu(3)]
    fleet = a_fleet(9, budget(9), *facts, target=7)
    because = "GPU GPU-bad has made 2 machines sick, last at 2026-05-01 12:02"
    assert fleet.nodes[name(3)].lemon == because
    assert begun(fleet) == [ev.InstanceCondemned(LATER, name(3), because, cause="lemon")]
    assert fleet.nodes[name(3)].health is Health.UNKNOWN


def test_once_may_be_the_machine_around_it() -> None:
    fleet = a_fleet(9, made_sick(1), with_gpu(2))
    assert (fleet.nodes[name(2)].lemon, begun(fleet)) == ("", [])


def test_one_machine_that_is_condemned_twice_is_one_machine() -> None:
    reprieved = ev.InstanceReprieved(SILENT, name(1), "well")
    fleet = a_fleet(9, made_sick(1), reprieved, made_sick(1), with_gpu(2))
    assert fleet.lemons[LEMON].count == 1
    assert begun(fleet) == []


def test_the_gpus_of_a_silent_machine_are_not_distrusted() -> None:
    fleet = a_fleet(3, sick(1, at()), lost(1, SILENT))
    fold_all(begun(fleet), fleet=fleet)
    assert fleet.lemons == {}


def test_sick_machines_leave_the_names_of_their_gpus_behind() -> None:
    finding = a_finding(event=xid(79, gpu_index=5))
    fleet = a_fleet(9, with_gpu(1, when=at()), sick(1, SILENT, finding))
    fold_all(begun(fleet), fleet=fleet)
    (fact,) = (instance for instance in fleet.instances.values() if instance.condemned)
    assert fleet.lemons == {LEMON: Lemon(1, LATER, fact.condemned_because, name(1))}


def test_lemons_respect_pool_budget_pause_and_the_wish_not_to_replace() -> None:
    facts: list[ev.Fact] = [made_sick(1), with_gpu(2), made_sick(2), with_gpu(3)]
    gone = [ev.InstanceTerminated(SILENT, name(n), "gone") for n in (1, 2)]
    assert begun(a_fleet(9, *facts)) == []  # two are in replacement
    assert len(begun(a_fleet(9, *facts, *gone))) == 1
    assert begun(a_fleet(9, *facts, *gone, ev.PoolPaused(at(), POOL, "so"))) == []
    assert begun(a_fleet(9, *facts, *gone, spec=a_spec(auto_replace=False))) == []
    dry = begun(a_fleet(9, *facts, *gone, spec=a_spec(dry_run=True)))
    assert [type(fact) for fact in dry] == [ev.RepairWithheld]


def test_distrust_confirms_no_sickness() -> None:
    """A reset because of one slip of a sensor would be one too many, here as anywhere."""
    spec = a_spec(ladder=(Remedy.RESET_GPU,), auto_replace=False)
    facts: list[ev.Fact] = [made_sick(1), with_gpu(2), made_sick(2), with_gpu(3)]
    slip = sick(3, LATER, a_finding(Remedy.RESET_GPU), reports=1)
    assert begun(a_fleet(9, *facts, slip, spec=spec)) == []


def test_what_an_operator_sets_aside_is_trusted_again() -> None:
    facts: list[ev.Fact] = [made_sick(1), with_gpu(2), made_sick(2), with_gpu(3)]
    fleet = a_fleet(9, *facts, ev.HealthCleared(LATER, name(3), "it was the slot"))
    assert (fleet.nodes[name(3)].lemon, LEMON in fleet.lemons) == ("", False)
    fold_all(replace(with_gpu(3), zone="b"), fleet=fleet)
    assert begun(fleet) == []


def test_a_new_machine_with_the_old_gpu_is_replaced_in_one_decision() -> None:
    """The whole loop: it registers, is condemned, and another is bought."""
    fleet = a_fleet(2, budget(9), made_sick(1), with_gpu(2), made_sick(2), target=1)
    fold_all(
        [ev.InstanceTerminated(SILENT, name(n), "gone") for n in (1, 2)],
        requested(3, SILENT),
        ev.InstanceLaunched(SILENT, name(3), "m-3", "fake launched it"),
        with_gpu(3),
        fleet=fleet,
    )
    seen = Sightings(heard=LastHeard({name(3): LATER}))
    facts = decide(fleet, seen, LATER, Strategies())
    assert [ev.kind(fact) for fact in facts] == ["instance_condemned", "launch_requested"]


def test_only_so_many_are_remembered_and_the_oldest_are_forgotten() -> None:
    fleet = a_fleet(1)
    many = [f"GPU-{n}" for n in range(fold_repair.LEMONS_MAX + 5)]
    fold_all(ev.InstanceCondemned(SILENT, name(1), "so", "sickness", tuple(many)), fleet=fleet)
    assert list(fleet.lemons) == many[5:]
