"""How a node carries out what operators ask of it.

========================  ====================================================================
cordon, uncordon          writes down what is wanted, for whoever runs work on the node
drain                     the same; no workload manager is attached, so it waits for nothing
run_diagnostic            runs the configured program, or reads the sensors if there is none
terminate                 says yes; the agent ends when the control plane knows
everything else           is refused, with the reason
========================  ====================================================================

Whether a command was carried out already is not known here: `navarch.agent.duties` asks once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from navarch.agent.state import replace_file
from navarch.agent.turns import CommandFinished, Order
from navarch.core.model.command import OUTPUT_BYTES_MAX, CommandState, CommandType
from navarch.errors import NavarchError

INTENT_NAME: Final = "intent.json"

DIAGNOSTIC_TIME_MAX: Final = timedelta(minutes=25)
"""How long a diagnostic may take by default: level 3 of NVIDIA's takes 15 minutes, and the
control plane gives up after 30."""

PARAMETER: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""What a diagnostic's parameter may be called: it becomes part of a variable's name."""

SECRETS: Final = frozenset({"NAVARCH_NODE_TOKEN", "NAVARCH_AUTH_TOKEN"})
"""Variables that no program started by the agent gets to see."""

SelfCheck = Callable[[], Awaitable[str]]
"""Reads the sensors and says in lines what they see. May raise `NavarchError`."""


class Commands:
    """Carries out one command at a time."""

    def __init__(
        self,
        state_folder: Path,
        self_check: SelfCheck,
        *,
        diagnostic: tuple[str, ...] = (),
        time_max: timedelta = DIAGNOSTIC_TIME_MAX,
    ) -> None:
        """Keep what is wanted in `state_folder`; an empty `diagnostic` means the `self_check`."""
        self._intent_path = state_folder / INTENT_NAME
        self._self_check = self_check
        self._diagnostic = diagnostic
        self._time_max = time_max

    async def carry_out(self, order: Order) -> CommandFinished:
        """Do what is asked, and say what came of it. Nothing that may go wrong is raised."""
        try:
            match order.type:
                case CommandType.CORDON:
                    return self._intend(order, "cordoned", "the node takes no new work")
                case CommandType.UNCORDON:
                    return self._intend(order, "in_service", "the node takes work again")
                case CommandType.DRAIN:
                    text = "no workload manager is attached: nothing was waited for"
                    return self._intend(order, "drained", text)
                case CommandType.RUN_DIAGNOSTIC:
                    return await self._diagnose(order)
                case CommandType.TERMINATE:
                    return _succeeded(order, "the agent ends as soon as this is known")
                case _:
                    text = f"this agent does not know how to carry out {order.type!r}"
                    return CommandFinished(order.id, CommandState.REFUSED, text)
        except (OSError, NavarchError) as error:
            return CommandFinished(order.id, CommandState.FAILED, str(error))

    def _intend(self, order: Order, intent: str, text: str) -> CommandFinished:
        content = {"intent": intent, "command": order.id}
        replace_file(self._intent_path, msgspec.json.encode(content) + b"\n")
        return _succeeded(order, f"{text}; recorded in {self._intent_path}")

    # --- diagnostics -------------------------------------------------------------------------

    async def _diagnose(self, order: Order) -> CommandFinished:
        strange = [name for name in order.parameters if not PARAMETER.fullmatch(name)]
        if strange:
            text = f"parameter {strange[0]!r} is none: expected lower-case letters, digits and _"
            return CommandFinished(order.id, CommandState.REFUSED, text)
        if not self._diagnostic:
            return _succeeded(order, "the sensors were read", await self._self_check())
        return await self._run(order)

    async def _run(self, order: Order) -> CommandFinished:
        """Run the program in a session of its own, which ends with it or with us."""
        process = await asyncio.create_subprocess_exec(
            *self._diagnostic,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment(os.environ, order.parameters),
            start_new_session=True,
        )
        output = bytearray()
        try:
            async with asyncio.timeout(self._time_max.total_seconds()):
                await _read_tail(process, output)
                code = await process.wait()
        except TimeoutError:
            text = f"{self._diagnostic[0]} took longer than {self._time_max} and was ended"
            return CommandFinished(order.id, CommandState.FAILED, text, _text(output))
        finally:
            await _end(process)
        state = CommandState.SUCCEEDED if code == 0 else CommandState.FAILED
        ending = f"ended with {code}" if code >= 0 else f"was ended by signal {-code}"
        return CommandFinished(order.id, state, f"{self._diagnostic[0]} {ending}", _text(output))


def _succeeded(order: Order, message: str, output: str = "") -> CommandFinished:
    return CommandFinished(order.id, CommandState.SUCCEEDED, message, output)


async def _read_tail(process: asyncio.subprocess.Process, output: bytearray) -> None:
    """Read what the program prints into `output`, of which only the end is kept."""
    assert process.stdout is not None
    while chunk := await process.stdout.read(OUTPUT_BYTES_MAX):
        output += chunk
        del output[:-OUTPUT_BYTES_MAX]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave nothing behind that the program started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _text(output: bytearray) -> str:
    """Decode what a program printed; what is no text, and half a first character, is left out."""
    return output.decode(errors="ignore")


def _environment(ours: Mapping[str, str], parameters: Mapping[str, str]) -> dict[str, str]:
    """Give a diagnostic our variables but no secrets; parameter x is NAVARCH_PARAMETER_X."""
    environment = {name: text for name, text in ours.items() if name not in SECRETS}
    for name, text in parameters.items():
        environment[f"NAVARCH_PARAMETER_{name.upper()}"] = text.replace("\0", "")
    return environment
