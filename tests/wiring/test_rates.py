"""What is configured of callers reaches the wire, and the defaults are the same in both."""

from __future__ import annotations

from msgspec.structs import asdict

from navarch.config.callers import CallerLimits
from navarch.config.schema import Server
from navarch.wire.admission import DEFAULT_RATES, Rates
from navarch.wiring.plans import rates_of


def test_the_defaults_are_those_of_the_wire() -> None:
    assert rates_of(Server()) == DEFAULT_RATES


def test_each_limit_reaches_the_wire_under_its_name() -> None:
    limits = CallerLimits(1.5, 2, 3.5, 4, 5, 6)
    assert rates_of(Server(limits=limits)) == Rates(**asdict(limits))
    assert list(asdict(limits).values()) == [1.5, 2, 3.5, 4, 5, 6]
