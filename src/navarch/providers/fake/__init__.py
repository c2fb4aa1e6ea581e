"""A cloud in memory that does what a script tells it, and the provider that sells from it.

`FakeCloud` is a model of a cloud: synchronous, without a clock and without chance, so that the
simulator drives it in virtual time and the same calls give the same answers for ever. Whatever
real clouds do to a control plane can be scripted: slow boots, empty shelves, quotas, throttling,
outages, answers that are late or lost, machines that vanish or are taken away with a notice, lists
that show the past, tokens that are ignored. `FakeProvider` is the asynchronous `Provider` over such
a cloud, for tests and demos.

`cloud` is the cloud, `limits` what keeps it from selling, `machines` what it is made of, `provider`
how a client sees it.
"""

from __future__ import annotations

from navarch.providers.fake.cloud import SPOT_NOTICE, Duration, FakeCloud
from navarch.providers.fake.limits import Quota, Rate, Shortage
from navarch.providers.fake.machines import ZERO, Answer, Call, Lost, Machine, Notice
from navarch.providers.fake.provider import EPOCH, FakeProvider, ManualTime

__all__ = [
    "EPOCH",
    "SPOT_NOTICE",
    "ZERO",
    "Answer",
    "Call",
    "Duration",
    "FakeCloud",
    "FakeProvider",
    "Lost",
    "Machine",
    "ManualTime",
    "Notice",
    "Quota",
    "Rate",
    "Shortage",
]
