"""Amazon EC2 on this machine: moto's own application behind a layer that has what moto lacks.

moto knows EC2's shapes: instances, tags, filters, pages, types. It launches twice for one client
token, never fails, and forgets nothing late. The layer in front of it keeps EC2's rules:

- *Client tokens*, by region: a token that comes back with equal parameters brings the first answer
  and launches nothing; with others it is `IdempotentParameterMismatch`, a changed zone excepted,
  and also where the first request had failed; for a terminated machine it is
  `IdempotentInstanceTerminated`. At most 64 ASCII characters. (EC2 developer guide, "Ensuring
  idempotency"; error codes of the API reference; for failed and for terminated machines the
  threads boto3#4406 and ubicloud#5898; read November 2026.)
- *Refusals* of types, ids and page sizes that moto lets pass, and of access keys not in `keys`.
- *Faults by script*, one for each call of an operation, and *lists that lag*.

moto keeps its world in the process, so one double is used at a time; each begins without machines.
"""

from __future__ import annotations

import functools
import io
import re
import socket
import threading
import urllib.parse
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from moto.core.base_backend import AccountSpecificBackend
    from moto.ec2.models import EC2Backend
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication

Environ: TypeAlias = dict[str, Any]
Headers: TypeAlias = list[tuple[str, str]]

ACCOUNT: Final = "123456789012"
XMLNS: Final = "http://ec2.amazonaws.com/doc/2016-11-15"
INSTANCE_ID: Final = re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})")
MADE: Final = re.compile(r"<instanceId>(i-[0-9a-f]+)</instanceId>")
PAGE_MIN, PAGE_MAX = 5, 1000
"""Bounds of MaxResults in DescribeInstances (API reference, read November 2026)."""
TOKEN_MAX: Final = 64
HOLD_SECONDS_MAX: Final = 30.0

STATUS_OF: Final = {
    "AuthFailure": 401,
    "ExpiredToken": 401,
    "InsufficientInstanceCapacity": 500,
    "InsufficientReservedInstanceCapacity": 500,
    "InternalError": 500,
    "OptInRequired": 401,
    "RequestLimitExceeded": 503,
    "Unavailable": 503,
    "UnauthorizedOperation": 403,
}
"""HTTP status of an error code; of all others 400."""


@dataclass(frozen=True)
class Answer:
    """A whole answer of HTTP."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/xml;charset=UTF-8"),)


@dataclass(frozen=True)
class Step:
    """What happens to one call: the default is what EC2 would do anyway."""

    answer: Answer | None = None
    """Given in place of EC2's own."""
    acts: bool = True
    """Whether EC2 does what it was asked for."""
    drops: bool = False
    """Whether the connection ends in place of an answer."""
    waits_for: threading.Event | None = None
    """What EC2 waits for before it does anything."""
    answers_after: threading.Event | None = None
    """What the answer waits for, everything being done."""


@dataclass(frozen=True)
class Asked:
    """One call that arrived."""

    operation: str
    region: str
    key: str
    """The access key id that signed it."""
    session_token: str
    query: dict[str, str]


@dataclass
class _Used:
    """What became of a client token."""

    parameters: dict[str, str]
    answer: Answer | None = None
    instance_id: str = ""


def refusal(code: str, message: str = "scripted by the test") -> Answer:
    """Write an error as EC2 does."""
    body = (
        "<?xml version='1.0' encoding='UTF-8'?><Response><Errors><Error>"
        f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        "</Error></Errors><RequestID>1a2b3c4d-0000</RequestID></Response>"
    )
    return Answer(STATUS_OF.get(code, 400), body.encode())


@functools.cache
def _moto() -> DomainDispatcherApplication:
    """Make moto's application, which takes a while."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    return DomainDispatcherApplication(create_backend_app)


def backends() -> AccountSpecificBackend[EC2Backend]:
    """Return moto's own memory of the account, by region.

    Importing it takes more than a second, which only the tests pay that ask for it.
    """
    from moto.ec2.models import ec2_backends

    return ec2_backends[ACCOUNT]


def _is_sold(kind: str) -> bool:
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    return kind in INSTANCE_TYPES


class Ec2Double:
    """The layer, and the world behind it."""

    def __init__(self) -> None:
        """Begin with an account without machines."""
        for backend in backends().values():
            backend.reservations.clear()
        self.asked: list[Asked] = []
        """Every call, in the order of arrival."""
        self.finished: Counter[str] = Counter()
        """How many calls of each operation were carried out, or refused."""
        self.keys: set[str] | None = None
        """The access key ids that are accepted; None: any."""
        self.lists_lag = False
        """Whether machines launched from now on are unknown to EC2, until `catch_up`."""
        self.boots = True
        """Whether machines come to run; until then they are pending."""
        self.hangs: threading.Event | None = None
        """What every call waits for before anything is done; None: nothing."""
        self.spot: dict[tuple[str, str], float] = {}
        """Spot prices by type and zone; empty: as moto has them."""
        self.crowd = 0
        """How many machines DescribeInstances shows in place of those that there are; 0: none."""
        self._app = _moto()
        self._lock = threading.Lock()
        self._launching = threading.Lock()
        self._steps: dict[str, deque[Step]] = defaultdict(deque)
        self._tokens: dict[tuple[str, str], _Used] = {}
        self._hidden: set[str] = set()

    # The script.

    def next(self, operation: str, *steps: Step) -> None:
        """Let these happen to the next calls of an operation."""
        with self._lock:
            self._steps[operation].extend(steps)

    def fail_next(
        self, code: str, message: str = "scripted by the test", *, operation: str = "RunInstances"
    ) -> None:
        """Let the next call do nothing and be refused with this code."""
        self.next(operation, Step(answer=refusal(code, message), acts=False))

    def heal(self) -> None:
        """Let go of whatever hangs, forget the script, and let machines boot."""
        with self._lock:
            self._steps.clear()
            hanging, self.hangs = self.hangs, None
        self.boots, self.keys = True, None
        if hanging is not None:
            hanging.set()

    def catch_up(self) -> None:
        """Let EC2 know all that it has done."""
        self.lists_lag = False
        with self._lock:
            self._hidden.clear()

    def forget(self, instance_id: str, region: str = "us-east-1") -> None:
        """Take a machine away with no trace, as EC2 does an hour after its end."""
        reservations = backends()[region].reservations
        for reservation in reservations.values():
            reservation.instances = [
                each for each in reservation.instances if each.id != instance_id
            ]

    def calls(self, operation: str) -> list[Asked]:
        """List the calls of one operation."""
        with self._lock:
            return [each for each in self.asked if each.operation == operation]

    def alive(self) -> list[Any]:
        """Return moto's own objects of the machines that exist: the truth, whatever lists say."""
        return [
            instance
            for backend in backends().values()
            for instance in backend.all_instances()
            if instance.state not in {"terminated", "shutting-down"}
        ]

    # What EC2 does.

    def __call__(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request of HTTP."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        query = dict(urllib.parse.parse_qsl(body.decode("latin1"), keep_blank_values=True))
        scope = re.search(r"Credential=([^/]*)/\d+/([^/]*)/", environ.get("HTTP_AUTHORIZATION", ""))
        key, region = scope.groups() if scope else ("", "")
        session_token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
        call = Asked(query.get("Action", ""), region, key, session_token, query)
        with self._lock:
            self.asked.append(call)
            steps = self._steps[call.operation]
            step = steps.popleft() if steps else Step()
        self._wait(self.hangs)
        self._wait(step.waits_for)
        answer = self._done(call, step, environ, body)
        with self._lock:
            self.finished[call.operation] += 1
        self._wait(step.answers_after)
        if step.drops:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError
        start(
            f"{answer.status} Scripted",
            [*answer.headers, ("Content-Length", str(len(answer.body)))],
        )
        return [answer.body]

    def _wait(self, event: threading.Event | None) -> None:
        if event is not None:
            assert event.wait(HOLD_SECONDS_MAX), "a held call was never let go"

    def _done(self, call: Asked, step: Step, environ: Environ, body: bytes) -> Answer:
        def act() -> Answer:
            return self._moto(environ, body) if step.acts else step.answer or Answer(500, b"")

        if self.keys is not None and call.key not in self.keys:
            return refusal("AuthFailure", "AWS was not able to validate the provided credentials")
        match call.operation:
            case "RunInstances":
                with self._launching:
                    answer = self._launched(call, act)
            case "TerminateInstances":
                answer = self._ids_refused(call) or act()
            case "DescribeInstances":
                answer = self._described(call, act)
            case "DescribeSpotPriceHistory" if self.spot:
                answer = self._priced()
            case _:
                answer = act()
        return step.answer or answer

    def _moto(self, environ: Environ, body: bytes) -> Answer:
        heads: list[tuple[str, Headers]] = []

        def start(status: str, headers: Headers, exc_info: object = None) -> None:
            heads.append((status, headers))

        inner = {**environ, "wsgi.input": io.BytesIO(body)}
        content = b"".join(self._app(inner, start))
        status, headers = heads[0]
        kept = tuple(each for each in headers if each[0].lower() != "content-length")
        return Answer(int(status.split()[0]), content, kept)

    def _launched(self, call: Asked, act: Callable[[], Answer]) -> Answer:
        token = call.query.get("ClientToken", "")
        if len(token) > TOKEN_MAX or not token.isascii():
            return refusal("InvalidParameterValue", "Invalid value for clientToken")
        kind = call.query.get("InstanceType", "")
        if not _is_sold(kind):
            return refusal("InvalidParameterValue", f"Invalid value '{kind}' for InstanceType.")
        parameters = {
            key: value for key, value in call.query.items() if key != "Placement.AvailabilityZone"
        }
        used = self._tokens.get((call.region, token)) if token else None
        if used is None:
            used = _Used(parameters)
            if token:
                self._tokens[call.region, token] = used
        elif used.parameters != parameters:
            return refusal(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in "
                "previous request(s).",
            )
        if used.answer is not None:
            if used.instance_id not in {each.id for each in self.alive()}:
                return refusal(
                    "IdempotentInstanceTerminated",
                    "The client token you have provided is associated with a terminated instance.",
                )
            return used.answer
        answer = act()
        made = MADE.search(answer.body.decode(errors="replace")) if answer.status == 200 else None
        if made is not None:
            used.answer, used.instance_id = answer, made[1]
            if self.lists_lag:
                with self._lock:
                    self._hidden.add(made[1])
        return answer

    def _ids_refused(self, call: Asked) -> Answer | None:
        wanted = [value for key, value in call.query.items() if key.startswith("InstanceId.")]
        for each in wanted:
            if not INSTANCE_ID.fullmatch(each):
                return refusal("InvalidInstanceID.Malformed", f'Invalid id: "{each}"')
            if each in self._hidden:
                return refusal(
                    "InvalidInstanceID.NotFound", f"The instance ID '{each}' does not exist"
                )
        return None

    def _described(self, call: Asked, act: Callable[[], Answer]) -> Answer:
        size = int(call.query.get("MaxResults", PAGE_MAX))
        if not PAGE_MIN <= size <= PAGE_MAX:
            return refusal("InvalidParameterValue", f"Value ( {size} ) for maxResults is invalid.")
        if self.crowd:
            return self._crowded(size, int(call.query.get("NextToken", "0")))
        answer = act()
        if not self.boots:
            running = b"<code>16</code><name>running</name>"
            body = answer.body.replace(running, b"<code>0</code><name>pending</name>")
            answer = Answer(answer.status, body, answer.headers)
        if not self._hidden or answer.status != 200:
            return answer
        root = ET.fromstring(answer.body)  # noqa: S314 - moto's own
        for instances in root.iter(f"{{{XMLNS}}}instancesSet"):
            for item in list(instances):
                if item.findtext(f"{{{XMLNS}}}instanceId") in self._hidden:
                    instances.remove(item)
        return Answer(answer.status, ET.tostring(root), answer.headers)

    def _crowded(self, size: int, start: int) -> Answer:
        end = min(start + size, self.crowd)
        items = "".join(map(_item, range(start, end)))
        following = f"<nextToken>{end}</nextToken>" if end < self.crowd else ""
        return Answer(
            200,
            f'<DescribeInstancesResponse xmlns="{XMLNS}"><requestId>1a2b</requestId>'
            f"<reservationSet>{items}</reservationSet>{following}"
            "</DescribeInstancesResponse>".encode(),
        )

    def _priced(self) -> Answer:
        items = "".join(
            f"<item><instanceType>{kind}</instanceType><availabilityZone>{zone}</availabilityZone>"
            f"<productDescription>Linux/UNIX</productDescription><spotPrice>{price}</spotPrice>"
            "<timestamp>2026-11-22T12:00:00.000Z</timestamp></item>"
            for (kind, zone), price in self.spot.items()
        )
        return Answer(
            200,
            f'<DescribeSpotPriceHistoryResponse xmlns="{XMLNS}"><requestId>1a2b</requestId>'
            f"<spotPriceHistorySet>{items}</spotPriceHistorySet><nextToken/>"
            "</DescribeSpotPriceHistoryResponse>".encode(),
        )


def _item(number: int) -> str:
    """One machine as EC2 lists it, as long as such an entry is: 3 KB."""
    tags = {
        "Name": f"crowd-{number}",
        "managed-by": "navarch",
        "navarch.dev/fleet": "k3f9",
        "navarch.dev/instance": f"crowd-{number}",
        "navarch.dev/pool": "crowd",
    }
    tag_items = "".join(
        f"<item><key>{key}</key><value>{value}</value></item>" for key, value in tags.items()
    )
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    group = (
        "<groupSet><item><groupId>sg-0123456789abcdef0</groupId><groupName>gpu</groupName></item>"
        "</groupSet>"
    )
    card = (
        f"<item><networkInterfaceId>eni-{number:017x}</networkInterfaceId><status>in-use</status>"
        f"<ownerId>{ACCOUNT}</ownerId><subnetId>subnet-0123456789abcdef0</subnetId>{group}"
        f"<privateIpAddress>{address}</privateIpAddress><sourceDestCheck>true</sourceDestCheck>"
        "<attachment><deviceIndex>0</deviceIndex><status>attached</status></attachment>"
        "<interfaceType>efa</interfaceType></item>"
    )
    disk = (
        "<item><deviceName>/dev/sda1</deviceName><ebs><status>attached</status>"
        f"<volumeId>vol-{number:017x}</volumeId><deleteOnTermination>true</deleteOnTermination>"
        "<attachTime>2026-11-22T12:00:00.000Z</attachTime></ebs></item>"
    )
    return (
        f"<item><reservationId>r-{number:017x}</reservationId><ownerId>{ACCOUNT}</ownerId>"
        f"<groupSet/><instancesSet><item><instanceId>i-{number:017x}</instanceId>"
        "<imageId>ami-0123456789abcdef0</imageId><instanceState><code>16</code>"
        "<name>running</name></instanceState>"
        f"<privateDnsName>ip-{number}.ec2.internal</privateDnsName><dnsName/>"
        f"<instanceType>p5.48xlarge</instanceType><clientToken>crowd-{number}</clientToken>"
        "<launchTime>2026-11-22T12:00:00.000Z</launchTime><placement>"
        "<availabilityZone>us-east-1a</availabilityZone><tenancy>default</tenancy></placement>"
        "<monitoring><state>disabled</state></monitoring>"
        f"<subnetId>subnet-0123456789abcdef0</subnetId>{group}"
        f"<privateIpAddress>{address}</privateIpAddress><architecture>x86_64</architecture>"
        "<rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/sda1</rootDeviceName>"
        f"<blockDeviceMapping>{disk}</blockDeviceMapping><tagSet>{tag_items}</tagSet>"
        f"<networkInterfaceSet>{card * 4}</networkInterfaceSet><hypervisor>xen</hypervisor>"
        "<metadataOptions><state>applied</state><httpTokens>required</httpTokens>"
        "</metadataOptions></item></instancesSet></item>"
    )


@dataclass
class Served:
    """A running double."""

    cloud: Ec2Double
    url: str


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - its own name
        """Say nothing: the calls are in `Ec2Double.asked`."""


@contextmanager
def serving() -> Iterator[Served]:
    """Run a double on a free port of this machine."""
    cloud = Ec2Double()
    server = make_server("127.0.0.1", 0, cloud, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Served(cloud, f"http://127.0.0.1:{server.port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
