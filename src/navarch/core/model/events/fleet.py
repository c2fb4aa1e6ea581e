"""Facts about the fleet as a whole, and its control plane."""

from __future__ import annotations

from navarch.core.model.events.base import Event


class FleetFounded(Event, frozen=True, tag="fleet_founded"):
    """The journal was begun; from now on ids carry this tag."""

    tag: str


class Resumed(Event, frozen=True, tag="resumed"):
    """A control plane took up the journal. Every silence is counted anew from here."""

    version: str
    holder: str = ""


class PolicyAdopted(Event, frozen=True, tag="policy_adopted"):
    """From now on this policy judges. Open findings are judged anew by it."""

    name: str
    digest: str
    because: str


class RecordsForgotten(Event, frozen=True, tag="records_forgotten"):
    """Ended records were kept long enough and left the fleet's memory; their facts stay."""

    because: str
    instances: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
