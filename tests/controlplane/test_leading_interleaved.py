"""Two control planes, whatever happens to them: nothing acknowledged is lost, nothing is doubled.

They are killed, stand still past their lease and go on, and lose the journal, all by a seed. Then
the world is healed, and has to become what was wanted.
"""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from controlplane.rival_world import World
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.core.model.instance import InstanceState

CHAOS_STEPS: Final = 160
CALM_STEPS: Final = 240
TARGET: Final = 3
SECONDS_MAX: Final = 60.0


def live(seed: int) -> World:
    """Run one story, check it, and return its world."""

    async def story() -> World:
        async with asyncio.timeout(SECONDS_MAX):
            world = World(seed)
            for _ in range(CHAOS_STEPS):
                await world.step()
                world.chaos()
            world.heal()
            await settle(world)
            check(world)
            await world.end()
            return world

    return asyncio.run(story())


async def settle(world: World) -> None:
    """Wait until the fleet is what an operator wants in the end."""
    for step in range(CALM_STEPS):
        await world.step()
        leading = [each for each in world.members if each.control_plane.leads]
        if step % 20 == 5 and leading:
            world.ask(leading[0], msg.ScalePool("training", TARGET), "")
        if step > 60 and is_calm(world):
            return
    raise AssertionError(f"not calm: machines {world.instances()}, {shown(world)}")


def is_calm(world: World) -> bool:
    """Whether one leads, the other has folded all of it, and the machines are those wanted."""
    leading = [each.control_plane for each in world.members if each.control_plane.leads]
    seqs = {each.control_plane.standing().seq for each in world.members}
    if len(leading) != 1 or seqs != {world.journal.facts.last_seq_now}:
        return False
    instances = leading[0].runtime.machine.fleet.instances.values()
    running = sorted(each.id for each in instances if each.state is InstanceState.RUNNING)
    living = [each for each in instances if each.live]
    return len(running) == len(living) == TARGET and sorted(world.instances()) == running


def shown(world: World) -> list[tuple[str, str, int]]:
    """What the members believe, for whoever reads a failure."""
    standings = [each.control_plane.standing() for each in world.members]
    return [(each.role, each.leader, each.seq) for each in standings]


def check(world: World) -> None:
    """Nothing acknowledged is lost, nobody acted who did not lead, and all folds agree."""
    assert not world.violations
    registered = {fact.node_id for fact in world.facts(ev.NodeRegistered)}
    assert set(world.acknowledged) <= registered
    whole = world.folded()
    for member in world.members:
        assert fleets.encode(member.control_plane.runtime.machine.fleet) == whole
    for refusal in world.refusals:  # nobody is told that something was not done that was
        assert refusal.startswith(("unavailable: ", "unknown: it may have been done")), refusal


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_to_two_control_planes(seed: int) -> None:
    world = live(seed)
    assert world.effects


def test_the_stories_hold_what_they_are_told_for() -> None:
    worlds = [live(seed) for seed in (100, 101, 102)]
    assert sum(world.journal.term for world in worlds) > 6
    assert sum(len(world.ended) for world in worlds) > 2
    assert any("this control plane is a standby" in each for w in worlds for each in w.refusals)
    assert all(world.acknowledged for world in worlds)


@pytest.mark.soak
@pytest.mark.parametrize("hundred", range(10))
def test_a_thousand_stories(hundred: int) -> None:
    for seed in range(1000 + 100 * hundred, 1100 + 100 * hundred):
        live(seed)
