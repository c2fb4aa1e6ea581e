"""What command-line arguments may look like beyond words and numbers."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from navarch.cli import clock

GPUS_MAX = 64
"""GPUs a node: the limit of the wire."""


class Duration(click.ParamType[timedelta]):
    """A duration, by the rules of the configuration: ``500ms``, ``30s``, ``5m``, ``2h``, ``1d``."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it, or end the program with a usage error."""
        from navarch.config import values

        if isinstance(value, timedelta):
            return value
        try:
            return values.parse_duration(str(value))
        except ValueError as error:
            message = f"{value!r} is no duration such as 30s or 5m: {error}"
            self.fail(message, param, ctx)


class HostPort(click.ParamType[tuple[str, int]]):
    """Where to listen: ``HOST:PORT``, or ``:PORT`` for every interface."""

    name = "host:port"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Read it, or end the program with a usage error."""
        from navarch.config import values

        if isinstance(value, tuple):
            return value
        try:
            address = values.parse_address(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is no address to listen on: {error}", param, ctx)
        return address.host, address.port


class Moment(click.ParamType[datetime]):
    """A time: a duration ago, or RFC 3339 with its zone."""

    name = "duration|time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it, or end the program with a usage error."""
        from navarch.config import values

        if isinstance(value, datetime):
            return value
        try:
            return clock.now() - values.parse_duration(str(value))
        except ValueError:
            pass
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            message = f"{value!r} is neither a duration such as 10m nor a time such as "
            self.fail(f"{message}2026-01-31T12:00:00Z", param, ctx)
        return moment


class Label(click.ParamType[tuple[str, str]]):
    """A label, ``NAME=VALUE``."""

    name = "name=value"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Read it, or end the program with a usage error."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is no label such as team=ml", param, ctx)
        return name, text


class Gpu(click.ParamType[str]):
    """Which GPU of a node: its index, or ``all``."""

    name = "index|all"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Read it, or end the program with a usage error."""
        text = str(value)
        if text != "all" and text not in map(str, range(GPUS_MAX)):
            last = GPUS_MAX - 1
            self.fail(f"{text!r} is no GPU: expected an index from 0 to {last}, or all", param, ctx)
        return text


DURATION = Duration()
MOMENT = Moment()
LABEL = Label()
GPU = Gpu()
HOST_PORT = HostPort()
