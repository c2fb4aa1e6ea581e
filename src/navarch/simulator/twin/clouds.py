"""Clouds of a twin: sellers with price lists, limits, boot times that differ, and spot markets."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from statistics import NormalDist

from navarch.core.model import messages as msg
from navarch.core.model.actions import Launch, ListTypes
from navarch.errors import InvalidRequest
from navarch.providers.base import ProvisionRequest
from navarch.providers.fake.limits import Shortage
from navarch.simulator.clouds import Cloud, Tell
from navarch.simulator.dice import Dice, Stream
from navarch.simulator.timeline import Timeline
from navarch.simulator.twin.blueprint import BootTime, Seller

HOUR = timedelta(hours=1)
MILLISECOND = timedelta(milliseconds=1)


def waiting_time(rolls: Stream, mean: timedelta) -> timedelta:
    """Roll when something comes that may come at any moment: exponential, in milliseconds."""
    count = -math.log1p(-rolls.fraction()) * (mean / MILLISECOND)
    return int(min(count, 1e14)) * MILLISECOND


class TwinCloud(Cloud):
    """One seller of a twin."""

    def __init__(
        self,
        seller: Seller,
        time: Timeline,
        dice: Dice,
        *,
        on_made: Callable[[Cloud, str], None],
        on_closing: Callable[[TwinCloud], None],
    ) -> None:
        """Open for business; `on_closing` hears when the spot market closes."""
        super().__init__(
            seller.cloud, time, dice, on_made=on_made, may_hide=lambda _instance: False
        )
        self.seller = seller
        self._boots = dice.stream("boots", self.name)
        self._market = dice.stream("spot market", self.name)
        self._on_closing = on_closing
        self.truth.boot_time = self._boot_time
        self.truth.gpu_count = seller.gpus
        self.truth.gpu_type = seller.gpu_type
        self.truth.instance_types = seller.types
        self.truth.quota = seller.quota
        if seller.stock is not None:
            self.truth.stock = {each.name: seller.stock for each in seller.types}
        self.truth.stock |= seller.stocks
        self._next_launch = time.now
        spot = seller.spot
        if spot is not None and spot.share_open < 1:
            time.after(self._opens_for(spot.share_open, spot.mean_hours_closed), self._close)

    def launch(self, action: Launch, fleet: str, tell: Tell) -> None:
        """Sell a machine, when it is this launch's turn."""
        if action.spot and not self.seller.sells_spot:
            text = f"{self.name} sells no spot machines"
            refused = msg.LaunchRefused(action.instance_id, InvalidRequest.__name__, text)
            self._time.after(self.plan.answer_time, tell, refused)
            return
        turn = max(self._time.now, self._next_launch)
        self._next_launch = turn + self.seller.launch_interval
        if turn == self._time.now:
            super().launch(action, fleet, tell)
        else:
            self._time.after(turn - self._time.now, super().launch, action, fleet, tell)

    def list_types(self, action: ListTypes, tell: Tell) -> None:
        """Show the price list, as it is, if there is one."""
        types = tuple(
            msg.Sold(
                name=each.name,
                price_usd_per_hour=each.price_per_hour,
                spot_price_usd_per_hour=each.spot_price_per_hour,
                regions=each.regions,
                available=each.available,
            )
            for each in self.truth.price_list(self._time.now)
            if self.seller.types
        )
        listed = msg.TypesListed(action.provider, types)
        self._time.after(self.plan.answer_time, tell, listed)

    def _boot_time(self, _request: ProvisionRequest) -> timedelta:
        return boot_time(self.seller.boot, self._boots)

    # --- the spot market -----------------------------------------------------------------------

    def _opens_for(self, share_open: float, hours_closed: float) -> timedelta:
        mean = hours_closed * share_open / (1 - share_open)
        return waiting_time(self._market, mean * HOUR)

    def _close(self) -> None:
        spot = self.seller.spot
        assert spot is not None
        lasts = waiting_time(self._market, spot.mean_hours_closed * HOUR)
        now = self._time.now
        closed = Shortage(is_spot=True, begins=now, ends=now + lasts)
        self.truth.shortages = (
            *(each for each in self.truth.shortages if each.ends is None or each.ends > now),
            closed,
        )
        self._on_closing(self)
        opens_for = self._opens_for(spot.share_open, spot.mean_hours_closed)
        self._time.after(lasts + opens_for, self._close)


def boot_time(boot: BootTime, rolls: Stream) -> timedelta:
    """Roll how long a machine boots, in milliseconds."""
    fraction = min(max(rolls.fraction(), 1e-9), 1 - 1e-9)
    factor = math.exp(boot.spread * NormalDist().inv_cdf(fraction))
    count = round(boot.median / MILLISECOND * factor)
    return min(count * MILLISECOND, boot.longest)
