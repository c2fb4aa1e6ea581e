"""What may be written under ``providers`` and ``server``: simulated clouds and control plane."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from msgspec import Struct

from navarch.config.key import PLUGIN, WORD, Key
from navarch.config.providers import GPUS_MAX
from navarch.config.schema import Repair
from navarch.config.values import DURATION, INTERVAL, PATH, SECONDS
from navarch.core.settings import Settings
from navarch.simulator.scenarios.events_schema import NODES_MAX

PRICE_MAX = 100_000
"""US dollars an hour: far above any machine's price."""
TIMES_MAX = 1_000
"""Shortages of one provider."""


class Sold(Struct, frozen=True, kw_only=True):
    """One line of a price list."""

    name: Annotated[str, Key("The type, as pools name it.", form=WORD)]
    price: Annotated[
        float, Key("US dollars for one machine for one hour.", minimum=0, maximum=PRICE_MAX)
    ] = 0.0
    spot_price: Annotated[
        float,
        Key("The same where it may be taken away; 0: as price.", minimum=0, maximum=PRICE_MAX),
    ] = 0.0
    gpu_count: Annotated[int, Key("GPUs of each.", minimum=0, maximum=GPUS_MAX)] = 8
    gpu_type: Annotated[str, Key("What they call themselves.", maximum=253)] = (
        "NVIDIA H100 80GB HBM3"
    )
    regions: Annotated[
        tuple[Annotated[str, Key("A region.", form=WORD)], ...],
        Key("Where it is sold. None: anywhere."),
    ] = ()


class Shortage(Struct, frozen=True, kw_only=True):
    """A time for which something is sold out; what is left out holds for all."""

    begins: Annotated[timedelta, Key("When, after the beginning.", form=DURATION)] = timedelta()
    lasts: Annotated[timedelta | None, Key("For how long. Absent: to the end.", form=INTERVAL)] = (
        None
    )
    instance_type: Annotated[str, Key("Which type.", maximum=253)] = ""
    region: Annotated[str, Key("Where.", maximum=253)] = ""
    zone: Annotated[str, Key("In which part of it.", maximum=253)] = ""
    spot: Annotated[bool | None, Key("True: spot machines alone; false: the others alone.")] = None


class Outage(Struct, frozen=True, kw_only=True):
    """A time in which the provider refuses every call."""

    begins: Annotated[timedelta, Key("When, after the beginning.", form=DURATION)]
    lasts: Annotated[timedelta, Key("For how long.", form=INTERVAL)]


class CallErrors(Struct, frozen=True, kw_only=True):
    """How often calls go wrong, each from 0 to 1."""

    refused: Annotated[float, Key("Nothing is done, and it says so.", minimum=0, maximum=1)] = 0.0
    request_lost: Annotated[
        float, Key("Nothing is done, and no answer comes.", minimum=0, maximum=1)
    ] = 0.0
    answer_lost: Annotated[float, Key("It is done, and no answer comes.", minimum=0, maximum=1)] = (
        0.0
    )
    answer_late: Annotated[
        float, Key("It is done, and the answer comes too late.", minimum=0, maximum=1)
    ] = 0.0


class Throttle(Struct, frozen=True, kw_only=True):
    """How many calls are answered; more are told to come later."""

    calls: Annotated[int, Key("How many.", minimum=1, maximum=1_000_000)]
    per: Annotated[timedelta, Key("In which time.", form=INTERVAL)] = timedelta(seconds=1)


class Spot(Struct, frozen=True, kw_only=True):
    """Machines that may be taken away again."""

    mean_time_to_interruption: Annotated[
        timedelta | None,
        Key("How long one is left on average. Absent: until the market closes.", form=INTERVAL),
    ] = None
    share_open: Annotated[
        float, Key("In which share of the time any are sold.", minimum=0.01, maximum=1)
    ] = 1.0
    mean_time_closed: Annotated[
        timedelta, Key("How long the market stays closed.", form=INTERVAL)
    ] = timedelta(hours=1)
    notice: Annotated[
        timedelta, Key("How long before its end a machine is told.", form=DURATION)
    ] = timedelta(minutes=2)


class Cloud(Struct, frozen=True, kw_only=True):
    """One seller of machines, as it behaves."""

    gpu_count: Annotated[
        int, Key("GPUs of a machine whose type is not listed.", minimum=0, maximum=GPUS_MAX)
    ] = 8
    gpu_type: Annotated[str, Key("What they call themselves.", maximum=253)] = (
        "NVIDIA H100 80GB HBM3"
    )
    instance_types: Annotated[
        tuple[Annotated[Sold, Key("One of them.")], ...],
        Key("What it sells, for how much. None: everything, for nothing."),
    ] = ()
    boot_time: Annotated[
        timedelta, Key("From launch to agent, for half of its machines.", form=DURATION)
    ] = timedelta(minutes=3)
    boot_spread: Annotated[
        float,
        Key("How different they are: the deviation of the logarithm.", minimum=0, maximum=3),
    ] = 0.25
    boot_longest: Annotated[timedelta, Key("What no machine takes longer than.", form=INTERVAL)] = (
        timedelta(hours=1)
    )
    never_starts: Annotated[
        float, Key("The share of machines whose agents never speak.", minimum=0, maximum=1)
    ] = 0.0
    answer_time: Annotated[timedelta, Key("How long a call takes.", form=DURATION)] = timedelta(
        seconds=1
    )
    end_time: Annotated[timedelta, Key("How long an end takes.", form=DURATION)] = timedelta()
    list_lag: Annotated[
        timedelta, Key("How old the world is that its lists show.", form=DURATION)
    ] = timedelta()
    quota: Annotated[
        int | None,
        Key("Machines that the account may have. Absent: any.", minimum=0, maximum=NODES_MAX),
    ] = None
    stock: Annotated[
        dict[str, Annotated[int, Key("How many.", minimum=0, maximum=NODES_MAX)]],
        Key("How many of a type there are; of the others, any number.", maximum=TIMES_MAX),
    ] = {}
    shortages: Annotated[
        tuple[Annotated[Shortage, Key("One of them.")], ...], Key("When what is sold out.")
    ] = ()
    outage: Annotated[Outage | None, Key("When it refuses everything.")] = None
    launch_errors: Annotated[CallErrors, Key("How often launches go wrong.")] = CallErrors()
    terminate_errors: Annotated[CallErrors, Key("How often ends go wrong.")] = CallErrors()
    list_errors: Annotated[CallErrors, Key("How often lists go wrong.")] = CallErrors()
    throttle: Annotated[Throttle | None, Key("How often it may be asked.")] = None
    spot: Annotated[Spot | None, Key("How it takes spot machines away.")] = None


class CustomPolicy(Struct, frozen=True, kw_only=True):
    """A judge of somebody else."""

    use: Annotated[str, Key("Where its class is: package.module:Class.", form=PLUGIN)]
    config: Annotated[
        dict[str, Annotated[object, Key("Anything.")]],
        Key("What its class is called with, by the names of its arguments."),
    ] = {}


class ControlPlane(Struct, frozen=True, kw_only=True):
    """The control plane, as far as it matters in virtual time."""

    heartbeat_interval: Annotated[
        timedelta, Key("How often agents say that they are alive.", form=SECONDS)
    ] = Settings().heartbeat_interval
    health_check_interval: Annotated[
        timedelta, Key("How often agents run their checks.", form=SECONDS)
    ] = Settings().health_check_interval
    autoscale_interval: Annotated[
        timedelta, Key("How often autoscalers are asked.", form=INTERVAL)
    ] = timedelta(seconds=30)
    drain_timeout: Annotated[timedelta, Key("How long a drain may take.", form=INTERVAL)] = (
        Settings().drain_timeout
    )
    registration_timeout: Annotated[
        timedelta, Key("How long a machine may take to register.", form=INTERVAL)
    ] = Settings().registration_timeout
    repair: Annotated[Repair, Key("How patient repair is.")] = Repair()
    health_policy: Annotated[
        Path | None,
        Key("The rules that judge what nodes report. Absent: those built in.", form=PATH),
    ] = None
    custom_policy: Annotated[
        CustomPolicy | None, Key("A judge of your own, in the place of health_policy.")
    ] = None
