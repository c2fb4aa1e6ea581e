"""How a node carries out what operators ask of it.

========================  ====================================================================
cordon, uncordon          writes down what is wanted, for whoever runs work on the node
drain                     the same; no workload manager is attached, so it waits for nothing
run_diagnostic            runs the configured program, or reads the sensors if there is none
terminate                 says yes; the agent ends when the control plane knows
gpu_reset, reboot         runs a program, on nodes that allow it
load_model, unload_model  where the agent serves: `navarch.agent.serving`
start_replica, stop_replica  the same
everything else           is refused, with the reason
========================  ====================================================================

Injected sensors have no hardware: unless a program is named for it, their resets and reboots are
pretended, and nothing happens but that injected faults are over.

In a dry run nothing is done, and every command is refused with what would have been done. A
refusal is the only honest answer: whoever repairs nodes must not conclude that it happened.

Whether a command was carried out already is not known here: `navarch.agent.duties` asks once.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec
from msgspec import Struct, structs

from navarch.agent import programs
from navarch.agent.assignments import BESIDE
from navarch.agent.deeds import Deed, Unfit
from navarch.agent.programs import Arguments
from navarch.agent.reboot import (
    BOOT_ID_PATH,
    REBOOT_COMMAND,
    REBOOT_TIME_MAX,
    Note,
    reboot,
)
from navarch.agent.state import replace_file
from navarch.agent.turns import CommandFinished, Order
from navarch.core.model.command import CommandState, CommandType
from navarch.errors import NavarchError

INTENT_NAME: Final = "intent.json"

DIAGNOSTIC_TIME_MAX: Final = timedelta(minutes=25)
"""How long a diagnostic may take by default: level 3 of NVIDIA's takes 15 minutes, and the
control plane gives up after 30."""

GPU_RESET_TIME_MAX: Final = timedelta(minutes=5)
"""How long a reset may take: one of eight GPUs takes some ten seconds each."""

GPU_RESET_COMMAND: Final = ("nvidia-smi", "--gpu-reset", "-i", "{gpu}")
"""Resets one GPU; without ``-i`` it resets all (manual page of nvidia-smi; read 2026-11-22)."""

ALL_GPUS: Final = "all"

DCGM_LEVEL: Final = "1"
"""The level of NVIDIA's diagnostic where nobody asked for one: the shortest."""

PARAMETER: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""What a command's parameter may be called: it becomes part of a variable's name."""

ALLOWED: Final = frozenset(
    {
        CommandType.CORDON,
        CommandType.UNCORDON,
        CommandType.DRAIN,
        CommandType.RUN_DIAGNOSTIC,
        CommandType.TERMINATE,
    }
)
"""What every node does when told."""

ON_REQUEST: Final = frozenset({CommandType.GPU_RESET, CommandType.REBOOT})
"""What a node does only where whoever runs it has said so: it takes work down."""

SelfCheck = Callable[[], Awaitable[str]]
"""Reads the sensors and says in lines what they see. May raise `NavarchError`."""

Released = Callable[[], AbstractAsyncContextManager[None]]
"""Has the sensors let go of the GPUs for a while."""


class Pretence(Protocol):
    """Stands in for hardware that is not there; both say in words what they pretended."""

    def gpu_reset(self, gpu: int | None) -> str:
        """Pretend the reset of one GPU, or of all for None. May raise `NavarchError`."""
        ...

    def reboot(self) -> str:
        """Pretend a restart of the machine. May raise `NavarchError`."""
        ...


class Means(Struct, frozen=True, kw_only=True):
    """What a node may be told, and the programs it has for it."""

    allowed: frozenset[str] = ALLOWED
    dry_run: bool = False
    diagnostic: Arguments = ()
    """Empty: the sensors are read."""
    diagnostic_time_max: timedelta = DIAGNOSTIC_TIME_MAX
    gpu_reset: Arguments = ()
    """Empty: `GPU_RESET_COMMAND`, or a pretence where the sensors are injected."""
    gpu_reset_time_max: timedelta = GPU_RESET_TIME_MAX
    reboot: Arguments = ()
    """Empty: `REBOOT_COMMAND`, or a pretence where the sensors are injected."""
    reboot_time_max: timedelta = REBOOT_TIME_MAX
    boot_id_path: Path = BOOT_ID_PATH


class _Plan(NamedTuple):
    """What is going to be done, in words that follow "would", and how."""

    would: str
    do: Callable[[], Awaitable[CommandFinished]]


class Serving(Protocol):
    """Carries out what is asked about replicas and models."""

    def deed(self, order: Order) -> Deed:
        """Say what a command is going to do. Raises `Unfit` when it cannot be done as given."""
        ...


class Commands:
    """Carries out commands."""

    def __init__(
        self,
        state_folder: Path,
        self_check: SelfCheck,
        *,
        note_reboot: Note,
        now: Callable[[], datetime],
        released: Released = contextlib.nullcontext,
        means: Means = Means(),  # noqa: B008 - frozen
        pretence: Pretence | None = None,
        serving: Serving | None = None,
    ) -> None:
        """Keep what is wanted in `state_folder`.

        While GPUs are `released` they can be reset. A `pretence` stands in for missing hardware.
        Without `serving` nothing is served here.
        """
        self._serving = serving
        self._intent_path = state_folder / INTENT_NAME
        self._self_check = self_check
        self._note_reboot = note_reboot
        self._now = now
        self._released = released
        self._means = means
        self._pretence = pretence

    async def carry_out(self, order: Order) -> CommandFinished:
        """Do what is asked, and say what came of it. Nothing that may go wrong is raised."""
        try:
            plan = self._plan(order)
            if self._means.dry_run:
                return _refused(order, f"dry run, nothing was done: would {plan.would}")
            return await plan.do()
        except Unfit as error:
            return _refused(order, str(error))
        except (OSError, NavarchError) as error:
            return CommandFinished(order.id, CommandState.FAILED, str(error))

    def _plan(self, order: Order) -> _Plan:
        """Find out what is to be done. Raises `Unfit`."""
        if order.type in ON_REQUEST and order.type not in self._means.allowed:
            option = f"--allow {order.type}"
            raise Unfit(f"{order.type} is not allowed here: start the agent with {option}")
        match order.type:
            case CommandType.CORDON:
                return self._intend(order, "cordoned", "the node takes no new work")
            case CommandType.UNCORDON:
                return self._intend(order, "in_service", "the node takes work again")
            case CommandType.DRAIN:
                text = "no workload manager is attached: nothing was waited for"
                return self._intend(order, "drained", text)
            case CommandType.RUN_DIAGNOSTIC:
                return self._diagnose(order)
            case CommandType.TERMINATE:
                return _Plan("end the agent", partial(_terminate, order))
            case CommandType.GPU_RESET:
                return self._reset(order)
            case CommandType.REBOOT:
                return self._reboot(order)
            case _ if order.type in BESIDE:
                return self._serve(order)
            case _:
                raise Unfit(f"this agent does not know how to carry out {order.type!r}")

    def _serve(self, order: Order) -> _Plan:
        if self._serving is None:
            raise Unfit("nothing is served here: start the agent with --serving")
        deed = self._serving.deed(order)

        async def do() -> CommandFinished:
            return _succeeded(order, await deed.do())

        return _Plan(deed.would, do)

    def _intend(self, order: Order, intent: str, text: str) -> _Plan:
        async def do() -> CommandFinished:
            content = {"intent": intent, "command": order.id}
            replace_file(self._intent_path, msgspec.json.encode(content) + b"\n")
            return _succeeded(order, f"{text}; recorded in {self._intent_path}")

        return _Plan(f"record {intent} in {self._intent_path}", do)

    # --- diagnostics -------------------------------------------------------------------------

    def _diagnose(self, order: Order) -> _Plan:
        _demand_plain_names(order)
        if not self._means.diagnostic:
            return _Plan("read the sensors", partial(self._read_sensors, order))
        program = _diagnostic(self._means.diagnostic)
        if "level" in programs.placeholders(program):
            level = order.parameters.get("level", DCGM_LEVEL)
            order = structs.replace(order, parameters={**order.parameters, "level": level})
        time_max = self._means.diagnostic_time_max
        return self._program_plan(order, program, time_max=time_max)

    async def _read_sensors(self, order: Order) -> CommandFinished:
        return _succeeded(order, "the sensors were read", await self._self_check())

    # --- what takes work down ----------------------------------------------------------------

    def _reset(self, order: Order) -> _Plan:
        gpu = _gpu(order)
        if self._pretence is not None and not self._means.gpu_reset:
            which = None if gpu == ALL_GPUS else int(gpu)
            return _pretended(order, partial(self._pretence.gpu_reset, which))
        program = self._means.gpu_reset or GPU_RESET_COMMAND
        if gpu == ALL_GPUS and program == GPU_RESET_COMMAND:
            program = program[:-2]
        plan = self._program_plan(order, program, time_max=self._means.gpu_reset_time_max)

        async def do() -> CommandFinished:
            async with self._released():
                return await plan.do()

        return _Plan(plan.would, do)

    def _reboot(self, order: Order) -> _Plan:
        means = self._means
        if self._pretence is not None and not means.reboot:
            return _pretended(order, self._pretence.reboot)
        program = _filled(means.reboot or REBOOT_COMMAND, order)
        do = partial(
            reboot,
            order,
            program,
            boot_id_path=means.boot_id_path,
            time_max=means.reboot_time_max,
            note=self._note_reboot,
            now=self._now,
        )
        return _Plan(f"run {programs.shown(program)}", do)

    def _program_plan(self, order: Order, program: Arguments, *, time_max: timedelta) -> _Plan:
        arguments = _filled(program, order)

        async def do() -> CommandFinished:
            ending = await programs.run(arguments, time_max=time_max, parameters=order.parameters)
            state = CommandState.SUCCEEDED if ending.good else CommandState.FAILED
            return CommandFinished(order.id, state, ending.described, ending.output)

        return _Plan(f"run {programs.shown(arguments)}", do)


def _refused(order: Order, because: str) -> CommandFinished:
    return CommandFinished(order.id, CommandState.REFUSED, because)


def _succeeded(order: Order, message: str, output: str = "") -> CommandFinished:
    return CommandFinished(order.id, CommandState.SUCCEEDED, message, output)


async def _terminate(order: Order) -> CommandFinished:
    return _succeeded(order, "the agent ends as soon as this is known")


def _pretended(order: Order, pretend: Callable[[], str]) -> _Plan:
    async def do() -> CommandFinished:
        return _succeeded(order, pretend())

    return _Plan(f"pretend the {order.type}", do)


def _diagnostic(program: Arguments) -> Arguments:
    """Complete a diagnostic that is NVIDIA's, named by its program alone."""
    if len(program) == 1 and Path(program[0]).name == "dcgmi":
        return (*program, "diag", "-r", "{level}")
    return program


def _demand_plain_names(order: Order) -> None:
    """Raise `Unfit` for a parameter whose name cannot be part of a variable's."""
    for name in order.parameters:
        if PARAMETER.fullmatch(name) is None:
            text = f"parameter {name!r} is none: expected lower-case letters, digits and _"
            raise Unfit(text)


def _gpu(order: Order) -> str:
    """Read which GPU to reset: an index, or `ALL_GPUS`. Raises `Unfit`."""
    gpu = order.parameters.get("gpu", "")
    if gpu == ALL_GPUS or (gpu.isascii() and gpu.isdigit() and len(gpu) <= 2):
        return gpu
    what = f"{gpu[:40]!r} is no GPU" if gpu else "which GPU is missing"
    raise Unfit(f"{what}: expected parameter gpu with an index such as 3, or all")


def _filled(program: Arguments, order: Order) -> Arguments:
    """Put the parameters of a command into a program's arguments. Raises `Unfit`."""
    _demand_plain_names(order)
    try:
        return programs.filled(program, order.parameters)
    except ValueError as error:
        raise Unfit(str(error)) from error
