"""Several control planes over one journal, spoken to as if they were one.

One of them leads, the others are standbys that answer reads and refuse all else. Who was reached
last is asked first; who is away, or refuses as a standby, is passed over, and the next one asked at
once. Where a standby names the leader, and the leader is one of ours, that is the next one. Only
when all were tried the call has failed: how long to wait then is for the caller to say.

A request that was sent and not answered may have been done. It goes on to another control plane
only if doing it twice does no harm: both write to the same journal.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

from navarch.errors import WireError
from navarch.wire.client import ConnectClient, Json
from navarch.wire.trust import Trust

ELSEWHERE: Final = frozenset({"unavailable", "deadline_exceeded"})
"""Connect codes after which another control plane may do better."""

CONNECT_SECONDS_MAX: Final = 3.0
"""How long one of several may take to accept a connection: a SYN that was lost is sent again after
1 s (RFC 6298, 2.1), and whoever has not answered that is not there."""

REPEATABLE: Final = frozenset(
    {
        *("ListNodes", "GetNode", "ListInstances", "GetInstance", "GetBootstrapLog"),
        *("ListPools", "GetPool", "ListEvents", "WatchEvents", "Explain", "ListResources"),
        *("ListReplicas", "ListPlugins", "ListPluginTraces"),
        *("RegisterNode", "Heartbeat", "SendHeartbeat", "HeartbeatBatch", "ReportHealth"),
        *("PollCommands", "GetNodeCommands", "AckCommand"),
        *("ScalePool", "PausePool", "ClearHealth", "ApplyResources", "SetPlugin", "ApplyConfig"),
    }
)
"""Methods that leave the fleet as doing them once does, however often they are done.

`IssueCommand` issues a second command, `DeleteResource` finds nothing the second time, and a
sample that is pushed twice counts twice.
"""


class Servers:
    """Calls whichever of several control planes takes the call. For one thread at a time."""

    def __init__(
        self,
        urls: Sequence[str],
        token: str | None = None,
        *,
        timeout: float | None = 30.0,
        tls: Trust | None = None,
    ) -> None:
        """Talk to the control planes at `urls`, at least one; the rest is as in `ConnectClient`.

        Nothing is connected yet. Raises `WireError` with ``invalid_argument``.
        """
        if not urls:
            raise WireError("invalid_argument", "no address of a server")
        several = len(dict.fromkeys(urls)) > 1
        connect = CONNECT_SECONDS_MAX if several else None
        if connect is not None and timeout is not None:
            connect = min(connect, timeout)
        self._clients = [
            ConnectClient(url, token, timeout=timeout, connect_timeout=connect, tls=tls)
            for url in dict.fromkeys(urls)
        ]
        self._chosen = 0

    @property
    def clients(self) -> Sequence[ConnectClient]:
        """One for each address, in their order."""
        return tuple(self._clients)

    @property
    def chosen(self) -> ConnectClient:
        """The one that is asked first: who answered last."""
        return self._clients[self._chosen]

    def close(self) -> None:
        """Close all connections. A later call opens them again."""
        with ExitStack() as stack:
            for client in self._clients:
                stack.callback(client.close)

    def call(self, method: str, request: Mapping[str, Any] | None = None) -> Json:
        """Call a method of the first control plane that takes it.

        Raises `WireError`: what the one said that answered, else ``unavailable`` or
        ``deadline_exceeded`` with what became of each.
        """
        failures: list[WireError] = []
        for client in self._turns(failures):
            try:
                return client.call(method, request)
            except WireError as error:
                failures.append(self._passed_over(error, method))
        raise _all_failed(failures)

    def stream(
        self,
        method: str,
        request: Mapping[str, Any] | None = None,
        *,
        silence_max: float | None = None,
    ) -> Generator[Json, None, None]:
        """Call a streaming method, of the first control plane that begins to answer.

        `silence_max` is as in `ConnectClient.stream`. Raises `WireError`, while iterating.
        """
        failures: list[WireError] = []
        for client in self._turns(failures):
            messages = client.stream(method, request, silence_max=silence_max)
            begun = False
            try:
                for message in messages:
                    begun = True
                    yield message
            except WireError as error:
                if begun:
                    raise
                failures.append(self._passed_over(error, method))
            else:
                return
            finally:
                messages.close()
        raise _all_failed(failures)

    def _turns(self, failures: Sequence[WireError]) -> Iterator[ConnectClient]:
        """Yield each client once: the chosen one, then whom standbys call the leader, the rest."""
        left = [*range(self._chosen, len(self._clients)), *range(self._chosen)]
        while left:
            leader = failures[-1].leader.rstrip("/") if failures else ""
            named = (each for each in left if self._clients[each].url.rstrip("/") == leader)
            turn = next(named, left[0])
            left.remove(turn)
            self._chosen = turn
            yield self._clients[turn]
        self._chosen = (self._chosen + 1) % len(self._clients)

    def _passed_over(self, error: WireError, method: str) -> WireError:
        """Return an error after which another may be asked; raise any other."""
        if error.code not in ELSEWHERE:
            raise error
        if error.maybe_done and method not in REPEATABLE and len(self._clients) > 1:
            text = (
                f"{error.message}; it may have been done, so no other server was asked: look first"
            )
            raise WireError(error.code, text, maybe_done=True) from error
        return error


def _all_failed(failures: Sequence[WireError]) -> WireError:
    """Say what became of a call that nobody took."""
    last = failures[-1]
    if len(failures) == 1:
        return last
    texts = "; ".join(failure.message for failure in failures)
    maybe_done = any(failure.maybe_done for failure in failures)
    waits = [failure.retry_after for failure in failures if failure.retry_after is not None]
    together = WireError(
        last.code,
        f"none of {len(failures)} servers took it: {texts}",
        maybe_done=maybe_done,
        leader=last.leader,
        retry_after=max(waits, default=None),
    )
    together.__cause__ = last.__cause__
    return together
