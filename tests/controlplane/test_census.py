"""What is paid for, and what it gives, from fact to fact."""

from __future__ import annotations

from msgspec.structs import replace

from factories import (
    POOL,
    PROVIDER,
    START,
    a_stranger,
    ending,
    fold_all,
    founded,
    gpus,
    launched,
    lost,
    name,
    registered,
    requested,
    running,
    sick,
    well,
)
from navarch.controlplane.census import NOTHING, Bought, Census, Look, Paid
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet


class Followed:
    """A census, and what it told of each machine last."""

    def __init__(self, fleet: Fleet) -> None:
        self.looks: dict[str, Look] = {}
        self.census = Census(fleet, self.changed)

    def changed(self, id_: str, before: Look, after: Look) -> None:
        assert self.looks.pop(id_, NOTHING) == before
        assert before != after
        if after != NOTHING:
            self.looks[id_] = after


def test_what_is_paid_for_is_known_from_the_launch_to_the_end() -> None:
    fleet = Fleet()
    followed = Followed(fleet)
    paid: list[tuple[Paid, int, bool]] = []

    def tell(*facts: ev.Fact) -> None:
        for fact in facts:
            fold.apply(fleet, fact)
            followed.census.refresh(getattr(fact, "instance_id", ""))
        look = followed.looks.get(name(2), NOTHING)
        paid.append((look.paid, look.gpus, look.bought is not None))

    tell(*founded(), *running(1), requested(2))
    tell(launched(2))
    tell(replace(registered(2), gpus=gpus(4)))
    tell(lost(2, START))
    tell(ev.NodeReturned(START, name(2), "it speaks"))
    tell(sick(2, START))
    tell(well(2, START))
    tell(ending(2, START))
    tell(ev.InstanceTerminated(START, name(2), "gone"))
    assert paid == [
        (Paid.NOT, 0, False),  # asked for, and not there
        (Paid.LOST, 8, True),  # it boots, and has as many GPUs as the other one
        (Paid.SERVING, 4, True),
        (Paid.LOST, 4, True),
        (Paid.SERVING, 4, True),
        (Paid.LOST, 4, True),
        (Paid.SERVING, 4, True),
        (Paid.LOST, 4, True),
        (Paid.NOT, 0, False),
    ]
    assert followed.looks[name(1)].bought == Bought(POOL, PROVIDER, "h100-8x", spot=False)


def test_a_machine_of_others_costs_nothing_that_we_know_of() -> None:
    fleet = fold_all(founded(), a_stranger())
    look = Followed(fleet).looks["lab-1"]
    assert (look.pool, look.bought, look.paid) == ("", None, Paid.SERVING)
