"""What all facts have."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct


class Event(Struct, frozen=True, tag_field="kind", omit_defaults=True):
    """What all facts have: the moment, by the clock of the control plane that took them."""

    at: datetime
