"""The options of an agent that serves replicas, for the command that has them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from navarch.agent.settings import Serving

Command = Callable[..., None]

UNITS: Final[dict[str, int]] = {
    "": 1,
    **{unit: 1000**power for power, unit in enumerate("KMGT", start=1)},
    **{f"{unit}i": 1024**power for power, unit in enumerate("KMGT", start=1)},
}

SIZE: Final = re.compile(r"([0-9]{1,12})([KMGT]i?)?")

MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class Size(click.ParamType[int]):
    """A number of bytes: ``500G``, ``2Ti``."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read it, or end the program with a usage error."""
        if isinstance(value, int):
            return value
        found = SIZE.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is no size such as 500G or 2Ti", param, ctx)
        return int(found[1]) * UNITS[found[2] or ""]


class Listening(click.ParamType[str]):
    """Where to listen: an address and a port."""

    name = "host:port"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Check it, or end the program with a usage error."""
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            self.fail(f"{value!r} is no place to listen such as 10.0.0.7:9650", param, ctx)
        return str(value)


OPTIONS: Final = (
    click.option(
        "--serving", is_flag=True, help="Run replicas and keep models, as the control plane says."
    ),
    click.option(
        "--model-cache-dir",
        type=click.Path(path_type=Path),
        help="Where models are kept.  [default: in the state folder]",
    ),
    click.option(
        "--model-cache-quota",
        type=Size(),
        help="How much of the disk they may take, such as 2Ti.  [default: most of it]",
    ),
    click.option(
        "--model-cache-listen",
        type=Listening(),
        help="Where other nodes may fetch models; port 0 is any.  [default: nowhere]",
    ),
    click.option(
        "--plugin-module",
        "plugin_modules",
        multiple=True,
        metavar="MODULE",
        help="Registers loaders of models when imported; may be repeated.",
    ),
)


def serving_options(command: Command) -> Command:
    """Give a command these options, as one argument: `serving`, a `Serving` or None."""

    @functools.wraps(command)
    def wrapped(
        *args: Any,  # noqa: ANN401 - whatever click hands over
        serving: bool,
        model_cache_dir: Path | None,
        model_cache_quota: int | None,
        model_cache_listen: str | None,
        plugin_modules: tuple[str, ...],
        **others: Any,  # noqa: ANN401 - as above
    ) -> None:
        cache = (model_cache_dir, model_cache_quota, model_cache_listen)
        if not serving and (plugin_modules or any(each is not None for each in cache)):
            raise click.UsageError("--model-cache-… and --plugin-module go with --serving only")
        chosen = _serving(*cache, plugin_modules) if serving else None
        command(*args, serving=chosen, **others)

    for option in reversed(OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _serving(
    folder: Path | None, quota: int | None, listen: str | None, modules: tuple[str, ...]
) -> Serving:
    from navarch.agent.settings import Serving

    for module in modules:
        if MODULE.fullmatch(module) is None:
            message = f"{module!r} is no module such as acme.loaders"
            raise click.BadParameter(message, param_hint="'--plugin-module'")
    return Serving(
        cache_dir=None if folder is None else folder.absolute(),
        cache_quota=quota or 0,
        cache_listen=listen or "",
        plugin_modules=modules,
    )
