"""Catches a plugin that looks at more than what it is given.

Pure plugins (schedulers, autoscalers, rankers) are asked again in what-if studies, in the simulator
and when a decision is explained, and must say the same there. Within `Watched` every call of the
thread is looked at before it happens, however the function was imported; one that reads a clock,
draws lots, opens a file or a connection, or starts a program is refused with `Forbidden`, and
remembered, so that a plugin that catches the exception is found too.

What it does not see: what compiled extensions do inside, and other threads.
"""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, Self

CALLS: Final = {
    "time": frozenset(
        {
            *("clock_gettime", "clock_gettime_ns", "ctime", "localtime", "monotonic"),
            *("monotonic_ns", "perf_counter", "perf_counter_ns", "process_time"),
            *("process_time_ns", "sleep", "thread_time", "thread_time_ns", "time", "time_ns"),
        }
    ),
    "posix": frozenset({"getrandom", "open", "posix_spawn", "system", "urandom", "fork"}),
    "_io": frozenset({"open"}),
    "io": frozenset({"open"}),
    "_socket": frozenset({"getaddrinfo", "gethostbyname", "socketpair"}),
    "_posixsubprocess": frozenset({"fork_exec"}),
    "_uuid": frozenset({"generate_time_safe"}),
}
"""Built-in functions that reach the world, by module."""

FUNCTIONS: Final = {
    "uuid": frozenset({"uuid1", "uuid4", "getnode"}),
    "socket": frozenset({"create_connection", "getaddrinfo", "socketpair"}),
    "subprocess": frozenset({"run", "check_output"}),
    "secrets": frozenset({"token_bytes", "token_hex", "randbelow", "choice"}),
}
"""Functions of the standard library that do; named before what they call."""

QUIET: Final = frozenset({"logging", "importlib._bootstrap", "importlib._bootstrap_external"})
"""Modules that may: a line of a log has its time, and an import reads a file."""

CLOCKS: Final = frozenset({"now", "today", "utcnow"})


class Forbidden(RuntimeError):
    """A pure plugin reached for the world."""


class Watched:
    """A stretch of code during which nothing may be read but memory."""

    culprit: str = ""
    """The first forbidden call, and where it stands; empty: there was none."""

    def __enter__(self) -> Self:
        self._before = sys.getprofile()
        sys.setprofile(self._look)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        sys.setprofile(self._before)

    def _look(self, frame: FrameType, event: str, called: object) -> None:
        """Be told by the interpreter of each call, before it is made."""
        if event == "c_call":
            name, caller = _built_in(called), frame
        elif event == "call" and frame.f_back is not None:
            name, caller = _written(frame), frame.f_back
        else:
            return
        if not name or caller.f_globals.get("__name__") in QUIET:
            return
        place = f"{Path(caller.f_code.co_filename).name}:{caller.f_lineno}"
        found = f"{name} in {caller.f_code.co_name} ({place})"
        self.culprit = self.culprit or found
        raise Forbidden(f"{found}: this kind of plugin looks at nothing but its arguments")


def _built_in(called: object) -> str:
    """Name a built-in function that reaches the world; empty for all others."""
    name = getattr(called, "__name__", "")
    module = getattr(called, "__module__", None)
    owner = getattr(called, "__self__", None)
    if isinstance(module, str) and name in CALLS.get(module, ()):
        return f"{module.lstrip('_').replace('posix', 'os')}.{name}()"
    if isinstance(owner, type) and issubclass(owner, date) and name in CLOCKS:
        return f"{owner.__name__}.{name}()"
    chance = sys.modules.get("random")
    if chance is not None and owner is getattr(chance, "_inst", None):
        return f"random.{name}()"
    network = sys.modules.get("_socket")
    if network is not None and isinstance(owner, network.socket):
        return f"socket.{name}()"
    return ""


def _written(frame: FrameType) -> str:
    """Name a function of the standard library that reaches the world; empty for all others."""
    module, name = frame.f_globals.get("__name__"), frame.f_code.co_name
    if not isinstance(module, str):
        return ""
    if name in FUNCTIONS.get(module, ()):
        return f"{module}.{name}()"
    if name == "__init__" and module in {"random", "socket", "subprocess"}:
        return _constructed(module, frame)
    owner = frame.f_locals.get("self") if module == "random" else None
    if owner is not None and owner is frame.f_globals.get("_inst"):
        return f"random.{name}()"
    return ""


def _constructed(module: str, frame: FrameType) -> str:
    made = type(frame.f_locals.get("self")).__name__
    if module == "random" and frame.f_locals.get("x") is not None and made != "SystemRandom":
        return ""  # seeded: the same every time
    return f"{module}.{made}()" if module != "random" else f"{module}.{made}() without a seed"
