"""What keeps a fake cloud from selling: empty shelves, quotas, and a limit of calls."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from navarch.errors import ConfigError, QuotaScope
from navarch.providers.base import ProvisionRequest
from navarch.providers.fake.machines import ZERO, Machine


class Shortage(Struct, frozen=True, kw_only=True):
    """A time for which something is sold out. What is left out holds for all."""

    instance_type: str = ""
    region: str = ""
    zone: str = ""
    """Keeps off those who ask for this very zone: whoever leaves it open is sold another."""

    is_spot: bool | None = None
    """True: spot machines alone; False: ordinary ones alone; None: both."""

    begins: datetime | None = None
    """None: it always was so."""

    ends: datetime | None = None
    """The first moment at which it is over; None: never."""

    def is_met_by(self, request: ProvisionRequest, at: datetime) -> bool:
        """Tell whether this request finds the shelf empty at that moment."""
        asked = (request.instance_type, request.region, request.zone)
        held = (self.instance_type, self.region, self.zone)
        is_here = all(ours in ("", theirs) for ours, theirs in zip(held, asked, strict=True))
        is_kind = self.is_spot in (None, request.spot)
        has_begun = self.begins is None or self.begins <= at
        return is_here and is_kind and has_begun and (self.ends is None or at < self.ends)


class Quota(Struct, frozen=True, kw_only=True):
    """How much an account may have at once. What is left out holds for all."""

    limit: int
    """0 or more, of `counts`."""

    counts: Literal["machines", "gpus"] = "machines"
    instance_type: str = ""
    region: str = ""
    is_spot: bool | None = None
    """True: it counts spot machines alone; False: ordinary ones alone; None: both."""

    @property
    def scope(self) -> QuotaScope:
        """What it counts, in the words of a refusal."""
        types = (self.instance_type,) if self.instance_type else ()
        return QuotaScope(region=self.region, instance_types=types, spot=self.is_spot)

    def size(self, instance_type: str, region: str, gpus: int, *, is_spot: bool) -> int:
        """Tell how much of the quota such a machine takes; 0 when it is not counted."""
        is_counted = (
            self.instance_type in ("", instance_type)
            and self.region in ("", region)
            and self.is_spot in (None, is_spot)
        )
        if not is_counted:
            return 0
        return gpus if self.counts == "gpus" else 1

    def size_of(self, machine: Machine) -> int:
        """Tell how much of the quota this machine takes."""
        made = machine.instance
        return self.size(made.instance_type, made.region, made.gpu_count, is_spot=machine.is_spot)


class Rate(Struct, frozen=True, kw_only=True):
    """How many calls of any kind a cloud answers in any span of a length; more are throttled."""

    calls: int
    per: timedelta = timedelta(seconds=1)

    def __post_init__(self) -> None:
        """Refuse a rate that lets nobody through.

        :raises ConfigError: `calls` is below 1, or `per` is not positive
        """
        if self.calls < 1 or self.per <= ZERO:
            text = f"a rate of {self.calls} calls in {self.per}: expected 1 or more, in some time"
            raise ConfigError(text)

    @property
    def calls_per_second(self) -> float:
        """Return the same as a number."""
        return self.calls / self.per.total_seconds()
