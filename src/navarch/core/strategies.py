"""What `decide` is given besides the state: patience and judgement, chosen by configuration."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from navarch.core.judging import HealthPolicy, Unjudged
from navarch.core.selection import BUILT_IN
from navarch.core.selection.base import Ranker
from navarch.core.settings import Settings


class Strategies(Struct, frozen=True):
    """How to decide. None of it is a fact: a restart may bring other strategies."""

    settings: Settings = Settings()
    policy: HealthPolicy = Unjudged()
    rankers: Mapping[str, Ranker] = BUILT_IN
    """What pools' strategies may name."""
