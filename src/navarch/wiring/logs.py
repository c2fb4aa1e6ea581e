"""How a daemon logs: to its standard error, as JSON where a program reads it, else for people."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Mapping
from typing import Final

from navarch.config.telemetry import Logs as Written
from navarch.errors import ConfigError
from navarch.telemetry import formats, redaction
from navarch.telemetry.log import Log
from navarch.telemetry.outlet import Lines, Outlet

LEVELS: Final = ("debug", "info", "warning", "error")
"""What ``LOG_LEVEL`` may say."""
FORMATS: Final = ("json", "text")
"""What ``LOG_FORMAT`` may say."""

QUIET: Final = ("uvicorn", "botocore", "asyncssh", "hpack", "opentelemetry")
"""Libraries of which only warnings are logged: at info they tell of each connection."""

log = Log(__name__)


def level_of(environ: Mapping[str, str], written: str | None = None) -> int:
    """How much is logged: what ``LOG_LEVEL`` says, else what is `written`, else info.

    Raises `ConfigError` when it is no level.
    """
    word = environ.get("LOG_LEVEL", "").strip().lower() or written or "info"
    if word not in LEVELS:
        message = f"LOG_LEVEL is {word[:40]!r}, expected one of {', '.join(LEVELS)}"
        raise ConfigError(message)
    return logging.getLevelNamesMapping()[word.upper()]


def format_of(
    environ: Mapping[str, str], written: str | None = None, *, terminal: bool
) -> formats.Format:
    """How it is written: what ``LOG_FORMAT`` says, else what is `written`.

    Where neither says anything: text on a terminal, JSON elsewhere. Raises `ConfigError` when it is
    no format.
    """
    usual = written or ("text" if terminal else "json")
    word = environ.get("LOG_FORMAT", "").strip().lower() or usual
    if word not in FORMATS:
        message = f"LOG_FORMAT is {word[:40]!r}, expected one of {', '.join(FORMATS)}"
        raise ConfigError(message)
    return "json" if word == "json" else "text"


def to_stderr(service: str, environ: Mapping[str, str] = os.environ, **always: str) -> None:
    """Send all logs of this process to its standard error, as the environment says.

    `service` is what the process is: ``server``, ``up``, ``agent`` or ``relay``; it stands in each
    line of JSON, as what is said `always` does. Libraries stay at info or above; warnings of
    Python, and what raises where nobody catches it, are events too. Raises `ConfigError` when
    level or format is none.
    """
    level, form = level_of(environ), format_of(environ, terminal=sys.stderr.isatty())
    redaction.know_environment(environ)
    always = {"service": service, **always}
    handler = _to_stderr(formats.formatter(form, always))
    logging.basicConfig(level=max(level, logging.INFO), handlers=[handler], force=True)
    _set_levels(level)
    logging.captureWarnings(capture=True)
    threading.excepthook = _thread_broke
    sys.unraisablehook = _unraisable


def as_written(written: Written, environ: Mapping[str, str] = os.environ) -> None:
    """Log from now on as the configuration says, where the environment says nothing else."""
    _set_levels(level_of(environ, written.level))
    form = format_of(environ, written.format, terminal=sys.stderr.isatty())
    for handler in logging.root.handlers:
        if isinstance(handler.formatter, formats.Named):
            handler.setFormatter(formats.formatter(form, handler.formatter.always))


def _to_stderr(formatter: formats.Named) -> logging.Handler:
    """Write to the standard error, which is a stream without a descriptor in some programs."""
    try:
        return Lines(Outlet(sys.stderr.fileno()), formatter)
    except io.UnsupportedOperation:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(formatter)
        return handler


def _set_levels(level: int) -> None:
    logging.root.setLevel(max(level, logging.INFO))
    _set_level("navarch", level)
    for library in QUIET:
        _set_level(library, max(level, logging.WARNING))


def _set_level(name: str, level: int) -> None:
    logging.getLogger(name).setLevel(level)  # noqa: TID251 - it logs nothing


def _thread_broke(broke: threading.ExceptHookArgs) -> None:
    name = broke.thread.name if broke.thread is not None else ""
    log.error("thread_broke", thread=name, raised=broke.exc_value)


def _unraisable(broke: sys.UnraisableHookArgs) -> None:
    log.error("error_ignored", where=repr(broke.object)[:200], raised=broke.exc_value)
