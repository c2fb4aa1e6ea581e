"""Rebooting the machine once, and knowing afterwards whether it happened.

The kernel draws a new boot id at each start of the machine. The id of before is written to the
record of commands, durably, before the machine is asked to go down::

    started ──▶ rebooting, boot id X ──▶ the program runs ──▶ the machine goes down
                                                                     │
    FAILED "did not reboot" ◀── same boot id, time is up     another boot id ──▶ SUCCEEDED

An agent that begins anywhere after the second step never runs the program again: it looks at the
boot id, and waits for what is left of the time. One that was killed before the second step has
asked for nothing, and the command has failed as interrupted.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from navarch.agent import programs
from navarch.agent.record import Rebooting
from navarch.agent.turns import CommandFinished, Order
from navarch.core.model.command import CommandState

BOOT_ID_PATH: Final = Path("/proc/sys/kernel/random/boot_id")
"""Drawn anew at each start of the machine (Linux, random(4); read 2026-11-22)."""

BOOT_ID: Final = re.compile(r"[0-9a-fA-F-]{8,64}")

REBOOT_TIME_MAX: Final = timedelta(minutes=10)
"""How long a machine may take from being asked until it is down: services may take 90 s each."""

REBOOT_COMMAND: Final = ("systemctl", "reboot")
"""Asks systemd for an orderly restart (systemctl(1); read 2026-11-22)."""

ASKING_TIME_MAX: Final = timedelta(minutes=1)
"""How long the program that asks for a restart may take."""

Note = Callable[[Rebooting], Awaitable[None]]
"""Writes durably that a reboot is asked for now. Raises `OSError` when that cannot be written."""


class BootIdError(Exception):
    """The boot id cannot be read; the text says why."""


def read_boot_id(path: Path) -> str:
    """Read which start of the machine this is. Raises `BootIdError`."""
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BootIdError(f"{path}: the boot id cannot be read: {reason}") from error
    if BOOT_ID.fullmatch(text) is None:
        raise BootIdError(f"{path}: {text[:40]!r} is no boot id")
    return text


def boot_id_or_empty(path: Path) -> str:
    """Read which start of the machine this is; empty where nobody can tell."""
    try:
        return read_boot_id(path)
    except BootIdError:
        return ""


async def reboot(
    order: Order,
    program: programs.Arguments,
    *,
    boot_id_path: Path,
    time_max: timedelta,
    note: Note,
    now: Callable[[], datetime],
) -> CommandFinished:
    """Ask the machine to go down, having written that down; it returns only where that fails.

    Raises `OSError` when the record cannot be written or the program cannot be started.
    """
    try:
        boot_id = read_boot_id(boot_id_path)
    except BootIdError as error:
        text = f"not begun, for nobody could tell afterwards whether it happened: {error}"
        return CommandFinished(order.id, CommandState.REFUSED, text)
    asked = Rebooting(order.id, boot_id, now())
    await note(asked)
    ending = await programs.run(
        program, time_max=ASKING_TIME_MAX, parameters=order.parameters, leaves_processes=True
    )
    if not ending.good:
        text = f"the machine was not rebooted: {ending.described}"
        return CommandFinished(order.id, CommandState.FAILED, text, ending.output)
    return await outlived(asked, time_max=time_max, now=now, output=ending.output)


def settled(asked: Rebooting, boot_id_path: Path) -> CommandFinished | None:
    """Say what came of a reboot that an earlier agent asked for; None while it may still come."""
    try:
        boot_id = read_boot_id(boot_id_path)
    except BootIdError as error:
        text = f"nobody can tell whether the machine rebooted: {error}"
        return CommandFinished(asked.id, CommandState.FAILED, text)
    if boot_id == asked.boot_id:
        return None
    text = f"rebooted: boot id {boot_id}, before {asked.boot_id}"
    return CommandFinished(asked.id, CommandState.SUCCEEDED, text)


async def outlived(
    asked: Rebooting, *, time_max: timedelta, now: Callable[[], datetime], output: str = ""
) -> CommandFinished:
    """Wait for the machine to go down; returning means that it did not."""
    left = min(max(asked.at + time_max - now(), timedelta()), time_max)
    await asyncio.sleep(left.total_seconds())
    text = f"the machine did not reboot within {time_max}: its boot id is still {asked.boot_id}"
    return CommandFinished(asked.id, CommandState.FAILED, text, output)
