"""Clouds: what becomes of the control plane's effects.

A `Cloud` is a `FakeCloud` with dice. It answers as the provider behind the real effects would: a
result when one came in time, a refusal when surely nothing was done, and otherwise that nobody
knows. It goes on with what it was asked even when the asker has died since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from msgspec.structs import replace

from navarch.controlplane.effects import machine_of, refused
from navarch.core.model import messages as msg
from navarch.core.model.actions import Launch, ListTypes, TakeInventory, Terminate
from navarch.errors import (
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import (
    FLEET_LABEL,
    INSTANCE_LABEL,
    POOL_LABEL,
    Instance,
    InstanceStatus,
    ProvisionRequest,
)
from navarch.providers.fake import Call, FakeCloud, Lost, Machine, Rate
from navarch.simulator.dice import Dice
from navarch.simulator.faults import NO_FAULTS, CallFaults, CloudPlan
from navarch.simulator.incidents import Incident, call_fault
from navarch.simulator.markets import BOOT_MAX, MINUTE, ZERO, Trouble
from navarch.simulator.timeline import EPOCH, Timeline

Tell = Callable[[msg.Message], None]
"""Takes the outcome of one effect; whoever asked may be dead when it comes."""

CALL_TIMEOUT = timedelta(seconds=60)
"""How long an answer is waited for, as by the real effects."""

REFUSALS: tuple[type[ProviderError], ...] = (
    NoCapacity,
    QuotaExceeded,
    Throttled,
    Unavailable,
    Unauthorized,
)

TROUBLES: dict[type[ProviderError], Incident] = {
    NoCapacity: Incident.STOCK_OUT,
    QuotaExceeded: Incident.QUOTA,
    Throttled: Incident.RATE,
    Unauthorized: Incident.BAD_KEY,
}
"""What a refusal by the state of the market counts as."""

WAITS = (None, timedelta(seconds=30), timedelta(minutes=2), timedelta(hours=2))
"""How long a cloud that is asked too often may want to be left alone."""

HALF_MADE_MIN = timedelta(seconds=5)
HALF_MADE_MAX = timedelta(seconds=90)
"""How long it takes to find out that there is no room for a machine which is being made: longer
than answers are waited for, at times."""


class Cloud:
    """One provider, its machines, and what goes wrong with it."""

    def __init__(
        self,
        plan: CloudPlan,
        time: Timeline,
        dice: Dice,
        *,
        on_made: Callable[[Cloud, str], None],
        may_hide: Callable[[Instance], bool],
    ) -> None:
        """Open for business; `on_made` hears of each new machine, by the cloud's own id.

        A list may leave a machine out, against the cloud's promise, only if `may_hide` says so.
        """
        self.plan = plan
        self.name = plan.name
        self.truth = FakeCloud(
            name=plan.name,
            boot_time=plan.boot_time if not plan.habits.boot_spread else self._boots_in,
            end_time=plan.end_time,
            answer_time=plan.answer_time,
            list_lag=plan.staleness,
            remembers_ended=plan.remembers_ended,
            honours_tokens=plan.honours_tokens,
        )
        self.hidden: dict[str, None] = {}
        """Machines that a list has left out though they were there."""
        self.spot: dict[str, None] = {}
        """Machines that it may take away again."""
        self.twins: dict[str, None] = {}
        """Machines that it made although it was asked for one, which it made, too."""
        self.healed = False
        self._time = time
        self._rolls = dice.stream("cloud", plan.name)
        self._price_rolls = dice.stream("prices", plan.name)
        self._half_rolls = dice.stream("half-made", plan.name)
        self._wait_rolls = dice.stream("waits", plan.name)
        self._habit_rolls = dice.stream("habits", plan.name)
        self._happened = dice.happened
        self._on_made = on_made
        self._may_hide = may_hide
        if plan.outage_at is not None:
            time.after(plan.outage_at, self._fail)

    def alive(self, ref: str) -> bool:
        """Whether the machine exists now."""
        return self.truth.machines[ref].is_alive(self._time.now)

    def machines(self) -> list[Machine]:
        """The machines that exist now: the truth."""
        return list(self.truth.alive(self._time.now))

    def limit(self) -> None:
        """Let its quota and its limit of calls hold from now on, until it is healed."""
        habits = self.plan.habits
        if habits.quota is not None:
            self.truth.quota = habits.quota + len(self.machines())
        if habits.calls_a_minute is not None:
            self.truth.rate = Rate(calls=habits.calls_a_minute, per=MINUTE)

    def heal(self) -> None:
        """From now on nothing goes wrong any more."""
        self.healed = True
        self.truth.heal()

    def vanish(self, ref: str) -> None:
        """Take a machine away without a word."""
        self.truth.vanish(ref, self._time.now)

    # --- effects ---------------------------------------------------------------------------

    def launch(self, action: Launch, fleet: str, tell: Tell) -> None:
        """Sell a machine."""
        request = ProvisionRequest(
            name=action.instance_id,
            instance_type=action.instance_type,
            region=action.region,
            zone=action.zone,
            labels={
                **action.labels,
                FLEET_LABEL: fleet,
                INSTANCE_LABEL: action.instance_id,
                POOL_LABEL: action.pool,
            },
            spot=action.spot,
            token=action.instance_id,
        )
        lateness = ZERO
        if not self.healed:
            lateness = self._rolls.between(ZERO, self.plan.lateness_max)
            self._happened[Incident.LATE_LAUNCH] += lateness > ZERO
        self._time.after(lateness, self._make, request, lateness, tell)

    def terminate(self, action: Terminate, tell: Tell) -> None:
        """End a machine."""
        self._plan_fault("terminate", self.plan.terminate)
        answer = self.truth.terminate(action.ref, self._time.now)

        def answered(error: str) -> msg.Message:
            return msg.TerminateAnswered(action.provider, action.ref, action.instance_id, error)

        self._note_throttling(answer.result)
        if isinstance(answer.result, Lost) or answer.after > CALL_TIMEOUT:
            self._time.after(CALL_TIMEOUT, tell, answered("no answer"))
        elif isinstance(answer.result, ProviderError) and not isinstance(answer.result, NotFound):
            self._time.after(answer.after, tell, answered(_name(answer.result)))
        else:
            self._time.after(answer.after, tell, answered(""))

    def take_inventory(self, action: TakeInventory, tell: Tell) -> None:
        """Show what there is."""
        self._plan_fault("list", self.plan.list)
        begun_at = self._time.now
        answer = self.truth.list(begun_at)
        self._note_throttling(answer.result)
        self._happened[Incident.LATE_LIST] += self.plan.staleness > ZERO
        if isinstance(answer.result, Lost) or answer.after > CALL_TIMEOUT:
            failed = msg.InventoryFailed(action.provider, "no answer")
            self._time.after(CALL_TIMEOUT, tell, failed)
            return
        if isinstance(answer.result, ProviderError):
            failed = msg.InventoryFailed(action.provider, _name(answer.result))
            self._time.after(answer.after, tell, failed)
            return
        machines = tuple(
            machine_of(instance)
            for instance in answer.result
            if instance.status is not InstanceStatus.TERMINATED and not self._hides(instance)
        )
        taken = msg.InventoryTaken(action.provider, begun_at, self.plan.list_lag, machines)
        self._time.after(answer.after, tell, taken)

    def list_types(self, action: ListTypes, tell: Tell) -> None:
        """Show the price list, if there is one and it can be read."""
        rolls, plan = self._price_rolls, self.plan
        if plan.price_usd_per_hour is None:
            self._time.after(plan.answer_time, tell, msg.TypesListed(action.provider, ()))
            return
        if not self.healed and rolls.chance(plan.list.refused + plan.list.request_lost):
            self._happened[Incident.NO_PRICES] += 1
            self._time.after(plan.answer_time, tell, msg.TypesListed(action.provider, None))
            return
        usual = plan.price_usd_per_hour
        habits = plan.habits
        if habits.price_factor != 1 and self._time.now - EPOCH >= habits.price_changes_at:
            self._happened[Incident.PRICE_CHANGED] += 1
            usual *= habits.price_factor
        price = round(usual * (0.8 + 0.4 * rolls.fraction()), 2)
        types = tuple(
            msg.Sold(
                name=name,
                price_usd_per_hour=price,
                spot_price_usd_per_hour=round(price / 3, 2) if rolls.chance(0.5) else None,
                available=not self._is_out_of_stock(),
            )
            for name in plan.types
        )
        self._time.after(plan.answer_time, tell, msg.TypesListed(action.provider, types))

    def _is_out_of_stock(self) -> bool:
        """Whether all it sells is sold out everywhere, as far as its price list knows."""
        return any(
            trouble.failure is NoCapacity and not trouble.place for trouble in self._troubles()
        )

    def _troubles(self) -> Iterator[Trouble]:
        """Yield what keeps it from selling now, somewhere."""
        since = self._time.now - EPOCH
        for trouble in self.plan.troubles:
            lasting = trouble.lasts is None or (
                not self.healed and since < trouble.begins + trouble.lasts
            )
            if lasting and since >= trouble.begins:
                yield trouble

    def _make(self, request: ProvisionRequest, lateness: timedelta, tell: Tell) -> None:
        now = self._time.now
        place, kind, spot = (request.region, request.zone), request.instance_type, request.spot
        concerned = (one for one in self._troubles() if one.concerns(*place, kind, spot=spot))
        trouble = next(concerned, None)
        if trouble is not None:
            error = trouble.error(f"{self.name} has trouble at {trouble.place or 'all places'}")
            self.truth.fail_next(error)
            lasting = trouble.lasts is None
            self._happened[Incident.NEVER_SELLS if lasting else TROUBLES[trouble.failure]] += 1
        elif not self.healed and self._half_rolls.chance(self.plan.half_made):
            self._make_half(request, lateness, NoCapacity(f"{self.name} has none after all"), tell)
            return
        else:
            self._plan_fault("launch", self.plan.launch)
        before = len(self.truth.machines)
        answer = self.truth.launch(request, now)
        if isinstance(answer.result, QuotaExceeded) and "the account may" in str(answer.result):
            self._happened[Incident.QUOTA] += 1
        self._note_throttling(answer.result)
        if len(self.truth.machines) > before:
            self._welcome(next(reversed(self.truth.machines)), request)
            self._make_twin(request)
        instance_id = request.name
        if isinstance(answer.result, Lost) or lateness + answer.after > CALL_TIMEOUT:
            lost = msg.LaunchLost(instance_id, "no answer")
            self._time.after(max(CALL_TIMEOUT - lateness, ZERO), tell, lost)
        elif isinstance(answer.result, ProviderError):
            self._time.after(answer.after, tell, refused(instance_id, answer.result))
        else:
            launched = msg.Launched(instance_id, machine_of(answer.result))
            self._time.after(answer.after, tell, launched)

    def _welcome(self, ref: str, request: ProvisionRequest) -> None:
        if request.spot:
            self.spot[ref] = None
        self._on_made(self, ref)

    def _make_twin(self, request: ProvisionRequest) -> None:
        """Make a second machine of the same name at times, as a front that asks twice does."""
        twins = self.plan.habits.twins
        if self.healed or not twins or not self._habit_rolls.chance(twins):
            return
        before = len(self.truth.machines)
        self.truth.launch(replace(request, token=""), self._time.now)
        if len(self.truth.machines) > before:
            ref = next(reversed(self.truth.machines))
            self.twins[ref] = None
            self._happened[Incident.TWIN] += 1
            self._welcome(ref, request)

    def _boots_in(self, _request: ProvisionRequest) -> timedelta:
        """Roll how long a machine boots: half of them not much longer than usual."""
        usual = self.plan.boot_time
        spread = 0.0 if self.healed else self.plan.habits.boot_spread
        took = usual * (1 + spread * (1 / (1 - self._habit_rolls.fraction()) - 1))
        self._happened[Incident.SLOW_BOOT] += took > 2 * usual
        return min(took, BOOT_MAX)

    def _note_throttling(self, result: object) -> None:
        if isinstance(result, Throttled) and "more than" in str(result):
            self._happened[Incident.RATE] += 1

    def _make_half(
        self, request: ProvisionRequest, lateness: timedelta, error: ProviderError, tell: Tell
    ) -> None:
        """Begin to make a machine that lists show and that never runs, and give it up later."""
        before = len(self.truth.machines)
        answer = self.truth.launch(request, self._time.now)
        if isinstance(answer.result, ProviderError) or len(self.truth.machines) == before:
            self._time.after(answer.after, tell, refused(request.name, error))
            return
        self._happened[Incident.HALF_MADE] += 1
        ref = next(reversed(self.truth.machines))
        gives_up_after = self._half_rolls.between(HALF_MADE_MIN, HALF_MADE_MAX)
        self._time.after(gives_up_after, self._give_up, ref)
        if lateness + gives_up_after > CALL_TIMEOUT:
            lost = msg.LaunchLost(request.name, "no answer")
            self._time.after(max(CALL_TIMEOUT - lateness, ZERO), tell, lost)
        else:
            self._time.after(gives_up_after, tell, refused(request.name, error))

    def _give_up(self, ref: str) -> None:
        if self.alive(ref):
            self.truth.vanish(ref, self._time.now)

    def _plan_fault(self, call: Call, faults: CallFaults) -> None:
        """Roll what goes wrong with the next call of this kind."""
        if self.healed or faults is NO_FAULTS:
            return
        roll = self._rolls.fraction()
        if roll < faults.refused:
            self._happened[call_fault(call, "refused")] += 1
            kind = self._rolls.pick(REFUSALS)
            text = f"{self.name} is having a bad day"
            error = kind(text)
            if kind is Throttled:
                error = Throttled(text, retry_after=self._wait_rolls.pick(WAITS))
            self.truth.fail_next(error, call=call)
        elif (roll := roll - faults.refused) < faults.request_lost:
            self._happened[call_fault(call, "request lost")] += 1
            self.truth.lose_request(call=call)
        elif (roll := roll - faults.request_lost) < faults.answer_lost:
            self._happened[call_fault(call, "answer lost")] += 1
            self.truth.lose_answer(call=call)
        elif roll - faults.answer_lost < faults.answer_late:
            self._happened[call_fault(call, "answer late")] += 1
            self.truth.answer_after(2 * CALL_TIMEOUT, call=call)

    def _hides(self, instance: Instance) -> bool:
        if self.healed or not self._may_hide(instance):
            return False
        hides = self._rolls.chance(self.plan.hidden_share)
        if hides:
            self._happened[Incident.HIDDEN] += 1
            self.hidden[instance.id] = None
        return hides

    def _fail(self) -> None:
        self._happened[Incident.OUTAGE] += 1
        until = self._time.now + self.plan.outage_for
        calls: tuple[Call, ...] = ("launch", "terminate", "list")
        for call in calls:
            self.truth.fail_until(Unavailable(f"{self.name} is down"), until, call=call)


def _name(error: ProviderError) -> str:
    return f"{type(error).__name__}: {error}"
