"""The quick way: frequent calls that teach nothing, answered where they arrive.

Nearly all that a control plane is told is that nothing has changed. `HotPath` answers exactly that:
heartbeats, batches of them and polls, in the plain form in which agents send them, from callers who
may, about nodes of which nothing is new. Whatever else comes, and all that is wrong with a request,
takes the ordinary way through the Connect library: `prepare` and `answer` return None, nothing was
done, and the ordinary way decides. So no error is worded here, and what is answered here has the
same bytes.

It is synchronous and knows neither sockets nor ASGI. Two callers share it: `navarch.wire.hot_lane`
at the connection, and `navarch.wire.asgi` for requests that come another way, such as HTTP/2.

A caller is recognised by the whole header it was authenticated by before (`Authenticator.recall`),
a node's token still speaks for its node only, and roles are checked as for every call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from connectrpc.codec import Codec
from connectrpc.compression.gzip import GzipCompression
from google.protobuf.message import Message
from msgspec import Struct

from navarch.core.model import messages
from navarch.core.model.samples import Columns, Readings
from navarch.core.settings import Settings
from navarch.errors import WireError
from navarch.telemetry.log import Log
from navarch.wire import answers, auth, hot_columns, hot_reading
from navarch.wire.admission import HEARTBEATS, LoopLag
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.limits import DEFAULT, Limits
from navarch.wire.timing import SAMPLED, Timing

log = Log(__name__)

METHODS: Final = frozenset(
    {"Heartbeat", "SendHeartbeat", "HeartbeatBatch", "PollCommands", "GetNodeCommands"}
)
"""What may be answered here."""

COUNTED: Final = {
    **{method: method for method in METHODS},
    "SendHeartbeat": "Heartbeat",
    "GetNodeCommands": "PollCommands",
}
"""Under which name each of them is counted."""

_SERVICE: Final = pb.DESCRIPTOR.services_by_name["ControlPlaneService"].full_name
PATHS: Final = {f"/{_SERVICE}/{method}".encode(): method for method in METHODS}
"""Where these are called."""

PASSED_ON: Final = "navarch.passed_on"
"""Set in the ASGI scope of a request that was looked at already: it is not looked at again."""

_WORDS: Final = (b"content-type", b"authorization", b"accept-encoding", b"connect-timeout-ms")
_ONLY: Final = {b"connect-protocol-version": b"1"}
_NONE_OF: Final = frozenset(
    {
        *(b"content-encoding", b"transfer-encoding", b"expect", b"upgrade", b"trailer"),
        *(b"origin", b"sec-fetch-site", b"cookie"),  # of browsers: `browsers` looks at them
    }
)
_TIMEOUT_MS_MIN: Final = 100
"""A caller who waits for less is left to the ordinary way, which minds its clock."""
_TIMEOUT_DIGITS_MAX: Final = 10


class Hearing(Protocol):
    """Takes signs of life, at once or not at all."""

    @property
    def settings(self) -> Settings:
        """What answers are made of."""
        ...

    def heartbeat(self, node_id: str, sample: Columns | None) -> bool | None:
        """Take one; say whether commands wait. None: not at once."""
        ...

    def serving(self, heartbeat: messages.Heartbeat) -> bool | None:
        """Take one that says what runs on its node. None: not at once."""
        ...

    def heartbeats(
        self, node_ids: frozenset[str], readings: tuple[Sequence[str], Readings]
    ) -> list[str] | None:
        """Take many; list those for whom commands wait. None: not at once."""
        ...

    def poll(self, node_id: str) -> bool:
        """Take a poll for which nothing waits. False: not at once."""
        ...


Admit = Callable[[auth.Principal, str], bool]
"""Whether a caller may be heard now, about this node; an empty id stands for a batch.

Asked last, before anything is marked. False sends the call the ordinary way, which asks again and
words the refusal.
"""


class Counts(Struct):
    """What was answered here since the start, and what was not."""

    heartbeats: int = 0
    """Calls of one heartbeat each."""
    batches: int = 0
    batched: int = 0
    """Heartbeats in these batches."""
    polls: int = 0
    passed_on: int = 0
    """Calls of `METHODS` that were read here and then took the ordinary way."""


class Call(Struct, frozen=True):
    """A request as far as its headers tell: of a caller who may make it, in the plain form."""

    method: str
    is_json: bool
    gzip: bool
    """Whether the answer is to be compressed."""
    principal: auth.Principal
    epoch: int
    """It holds for as long as the path's own is the same."""


class Answer(Struct, frozen=True):
    """What to send: the status is 200."""

    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    text: bytes
    """Headers and body as HTTP/1.1 has them, from behind the status line."""


class HotPath:
    """Answers what can be answered at once."""

    def __init__(
        self,
        hearing: Hearing,
        authenticator: auth.Authenticator,
        codecs: tuple[Codec[Message, Message], Codec[Message, Message]],
        limits: Limits = DEFAULT,
        admit: Admit | None = None,
    ) -> None:
        """Ask `hearing`, and write with these codecs, of which the first is binary.

        `admit` None: everybody is heard.
        """
        self.counts = Counts()
        self._hearing = hearing
        self._authenticator = authenticator
        self._binary, self._json = codecs
        self._gzip = GzipCompression()
        self._limits = limits
        self._admit = admit
        self.lag: LoopLag | None = None
        """How late we are; None: never."""
        self.timing: Timing | None = None
        """Is told how long every `SAMPLED`th call took; None: nobody is."""
        self._untimed = 1
        """Calls until the next one that is measured."""
        self._epoch = 0
        self._settings: Settings | None = None
        self._known: dict[tuple[bool, bool, bool], Answer] = {}
        """Answers to heartbeats, by pending, JSON and gzip; for these settings."""

    def forget(self) -> None:
        """Let no request pass on the strength of headers that were looked at before."""
        self._epoch += 1

    def prepare(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Call | None:
        """Look at a request's headers, whose names are in lower case; the HTTP method is POST.

        None: it takes the ordinary way. Cost: O(headers), and a verification for a caller who was
        not seen before.
        """
        if method not in METHODS:
            return None
        said: dict[bytes, bytes] = {}
        for name, value in headers:
            if not (name.isascii() and value.isascii()) or name in _NONE_OF:
                return None
            if name in _WORDS:
                if name in said:
                    return None
                said[name] = value
            elif _ONLY.get(name, value) != value:
                return None
        if not _has_time(said.get(b"connect-timeout-ms")):
            return None
        form = said.get(b"content-type")
        if form not in (b"application/json", b"application/proto"):
            return None
        principal = self._authenticator.recall(said.get(b"authorization"))
        if principal is None:
            return None
        try:
            auth.check_access(principal, method)
        except WireError:
            return None
        gzip = _wants_gzip(said.get(b"accept-encoding", b""))
        return Call(method, form == b"application/json", gzip, principal, self._epoch)

    def answer(self, call: Call, body: bytes) -> Answer | None:
        """Answer a request, or do nothing and return None: then it takes the ordinary way."""
        if call.epoch != self._epoch or len(body) > self._limits.body_bytes:
            return None
        if self.lag is not None and self.lag.refusing and call.method in HEARTBEATS:
            return None  # it is refused before it is read
        began = 0.0
        self._untimed -= 1
        if not self._untimed:
            self._untimed = SAMPLED
            began = 0.0 if self.timing is None else self.timing.stopwatch()
        try:
            if call.method == "HeartbeatBatch":
                answer = self._batch(call, body)
            elif call.method in ("PollCommands", "GetNodeCommands"):
                answer = self._poll(call, body)
            else:
                answer = self._heartbeat(call, body)
        except Exception:  # the ordinary way has an answer for our own mistakes, too
            log.exception("quick_answer_broke", method=call.method)
            answer = None
        if answer is None:
            self.counts.passed_on += 1
        elif began and self.timing is not None:
            self.timing.took(COUNTED[call.method], self.timing.stopwatch() - began, SAMPLED)
        return answer

    def _heartbeat(self, call: Call, body: bytes) -> Answer | None:
        read = hot_reading.heartbeat_json if call.is_json else hot_reading.heartbeat
        said = read(body, self._limits)
        if said is None:
            return None
        if isinstance(said, messages.Heartbeat):
            if not self._may(call, said.node_id):
                return None
            pending = self._hearing.serving(said)
        else:
            node_id, sample = said
            if not self._may(call, node_id):
                return None
            pending = self._hearing.heartbeat(node_id, sample)
        if pending is None:
            return None
        self.counts.heartbeats += 1
        settings = self._hearing.settings
        if settings is not self._settings:
            self._settings = settings
            self._known.clear()
        kind = (pending, call.is_json, call.gzip)
        known = self._known.get(kind)
        if known is None:
            accepted = messages.HeartbeatAccepted(pending)
            known = self._known[kind] = self._written(call, answers.heartbeat(accepted, settings))
        return known

    def _batch(self, call: Call, body: bytes) -> Answer | None:
        read = hot_reading.batch_json if call.is_json else hot_columns.batch
        said = read(body, self._limits)
        if said is None or (self._admit is not None and not self._admit(call.principal, "")):
            return None
        waiting = self._hearing.heartbeats(said.node_ids, (said.sampled, said.readings))
        if waiting is None:
            return None
        count = len(said.node_ids)
        self.counts.batches += 1
        self.counts.batched += count
        accepted = messages.HeartbeatBatchAccepted(tuple(waiting), ())
        told = answers.heartbeat_batch(accepted, (), count, self._hearing.settings)
        return self._written(call, told)

    def _poll(self, call: Call, body: bytes) -> Answer | None:
        read = hot_reading.poll_json if call.is_json else hot_reading.poll
        node_id = read(body)
        if node_id is None or not self._may(call, node_id) or not self._hearing.poll(node_id):
            return None
        self.counts.polls += 1
        return self._written(call, pb.GetNodeCommandsResponse())

    def _may(self, call: Call, node_id: str) -> bool:
        """Whether the caller speaks for this node, and is heard now."""
        principal = call.principal
        if principal.node_id is not None and principal.node_id != node_id:
            return False
        return self._admit is None or self._admit(principal, node_id)

    def _written(self, call: Call, message: Message) -> Answer:
        """Write an answer as the Connect library writes it."""
        codec = self._json if call.is_json else self._binary
        body = bytes(codec.encode(message))
        if call.gzip:
            body = self._gzip.compress(body)
        headers = (
            (b"content-type", b"application/json" if call.is_json else b"application/proto"),
            (b"content-encoding", b"gzip" if call.gzip else b"identity"),
            (b"vary", b"Accept-Encoding"),
            (b"content-length", str(len(body)).encode()),
        )
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return Answer(headers, body, lines + b"\r\n" + body)


def _has_time(timeout_ms: bytes | None) -> bool:
    """Whether a caller waits long enough; None: for ever."""
    if timeout_ms is None:
        return True
    plain = timeout_ms.isdigit() and len(timeout_ms) <= _TIMEOUT_DIGITS_MAX
    return plain and int(timeout_ms) >= _TIMEOUT_MS_MIN


def _wants_gzip(accepted: bytes) -> bool:
    """Choose as the Connect library does: the first that it knows, whatever weights are given."""
    for each in accepted.split(b","):
        name = each.strip()
        if name in (b"gzip", b"identity"):
            return name == b"gzip"
    return False
