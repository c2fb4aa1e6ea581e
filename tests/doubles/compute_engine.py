"""A double of Compute Engine v1, in the test's own process, behind a real socket.

It keeps what Google documents, and Google's own client runs against it (`test_gcp_honesty.py`), so
that what our provider is tested against is not our own idea of it:

- an insert answers at once with an operation; a stock-out arrives later, in the finished operation;
- a repeated ``requestId`` repeats the first operation, whatever has become of it since;
- a name is unique in its zone: 409; ids of operations are decimal text;
- ``fields`` leaves out what was not asked for; a filter that it does not know is a 400;
- names, labels, host maintenance of GPUs and request ids are checked as Google checks them;
- every request needs a token (``compute_engine_identity.py`` gives them), unless `is_open`.

Time does not pass by itself: an operation ends after so many looks at it. Faults are scripted, one
for each call of a kind to come. What it leaves out: disks, networks, prices. Quotas are told and
not kept. It answers for the Cloud Resource Manager, too.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from doubles.compute_engine_faults import Fail, Fault, HangUp, Raw, Refuse, Silence
from doubles.compute_engine_identity import Identity
from doubles.compute_engine_rules import (
    LINK,
    PROJECT,
    ROOT,
    STAMP,
    ZONES,
    Json,
    built,
    chosen,
    filtering,
    is_uuid,
    machine_type,
    missing,
    problem,
    quotas,
    refusal,
)

Answer: TypeAlias = "tuple[int, Json] | Raw"


@dataclass
class Asked:
    """One request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class _Operation:
    done: Json
    looks: int
    """How often it still answers that it runs."""
    effect: Callable[[], None]


class ComputeEngine:
    """One project; what is in it is open to the test."""

    def __init__(self) -> None:
        self.identity = Identity()
        self.is_open = False
        """Whether requests need no token."""
        self.url = ""
        self.instances: dict[tuple[str, str], Json] = {}
        """By (zone, name)."""
        self.consoles: dict[str, str] = {}
        """What machines wrote to their first serial port, by name."""
        self.asked: list[Asked] = []
        self.operation_looks = 1
        """How many looks an operation takes; -1 for more than anybody has."""
        self.status_while_made = "PROVISIONING"
        self.status_when_made = "RUNNING"
        self.is_silent = False
        """Whether nothing is answered at all, and nothing done."""
        self.page = 500
        """Machines a page, at most."""
        self.unreachable = ""
        """A zone that does not answer; lists say so in their warnings."""
        self.unseen_lists = 0
        """How many lists leave out the machines that are made from now on."""
        self.quotas: dict[str, dict[str, tuple[float, float]]] = {"": {}, "us-central1": {}}
        """Limit and usage by region, empty for the project, and by metric."""
        self.lacks: set[str] = set()
        """Permissions that nobody has."""
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._operations: dict[str, _Operation] = {}
        self._answers: dict[tuple[str, str], Json] = {}
        self._unseen: dict[tuple[str, str], int] = {}
        self._serial = 1000
        self._lock = threading.Lock()
        self.closing = threading.Event()

    def script(self, call: str, *faults: Fault) -> None:
        """Let the next calls of a kind end so; None is an ordinary one.

        Kinds: insert, delete, get, list, types, operation, operations, quotas, rights.
        """
        self._faults[call].extend(faults)

    def unscript(self) -> None:
        """Forget the faults that have not come up."""
        self._faults.clear()

    def delete_by_hand(self, name: str) -> None:
        """Remove a machine behind our back."""
        for key in [key for key in self.instances if key[1] == name]:
            del self.instances[key]

    def put_by_hand(self, zone: str, name: str, **fields: object) -> None:
        """Make a machine that nobody asked us for."""
        self.instances[zone, name] = {
            "kind": "compute#instance",
            "id": str(self._next()),
            "name": name,
            "zone": f"{LINK}/zones/{zone}",
            "status": "RUNNING",
            "machineType": f"{LINK}/zones/{zone}/machineTypes/n1-standard-8",
            "creationTimestamp": STAMP,
            **fields,
        }

    def set_status(self, name: str, status: str) -> None:
        """Give a machine another status."""
        for key, machine in self.instances.items():
            if key[1] == name:
                machine["status"] = status

    def forget_requests(self) -> None:
        """Forget the request ids, as Google does after a while."""
        self._answers.clear()

    def inserts(self) -> list[Asked]:
        """List the requests for machines that came, refused ones included."""
        return [
            each
            for each in self.asked
            if each.method == "POST" and each.path.endswith("/instances")
        ]

    def handle(self, asked: Asked) -> tuple[Answer | HangUp | Silence, dict[str, str]]:
        """Answer a request; the second value are headers."""
        with self._lock:
            self.asked.append(asked)
            if self.is_silent:
                return Silence(), {}
            if (own := self.identity.answer(asked)) is not None:
                return Raw(*own), {}
            call, act = self._route(asked)
            faults = self._faults[call]
            fault = faults.popleft() if faults else None
            if isinstance(fault, Raw):
                return fault, fault.headers
            if isinstance(fault, Refuse):
                return refusal(fault.status, fault.reason, fault.message), fault.headers
            if isinstance(fault, HangUp) and not fault.is_done:
                return fault, {}
            if not self.is_open and not self.identity.knows(asked.headers.get("authorization", "")):
                return refusal(401, "authError", "Invalid Credentials"), {}
            answer = act(fault if isinstance(fault, Fail) else None)
            if isinstance(fault, HangUp | Silence):
                return fault, {}
            status, content = answer
            if status == 200 and "fields" in asked.query:
                content = chosen(content, asked.query["fields"])
            return (status, content), {}

    def _route(self, asked: Asked) -> tuple[str, Callable[[Fail | None], tuple[int, Json]]]:
        if asked.path == f"/v1/projects/{PROJECT}:testIamPermissions":
            return "rights", lambda _: self._rights(asked)
        path = asked.path.removeprefix(ROOT)
        parts = path.strip("/").split("/")
        match asked.method, parts:
            case "POST", ["zones", zone, "instances"]:
                return "insert", lambda fault: self._insert(zone, asked, fault)
            case "GET", ["zones", zone, "instances", name]:
                return "get", lambda _: self._get(zone, name)
            case "GET", ["zones", zone, "instances", name, "serialPort"]:
                return "serial", lambda _: self._serial_port(zone, name, asked)
            case "DELETE", ["zones", zone, "instances", name]:
                return "delete", lambda fault: self._delete(zone, name, asked, fault)
            case "GET", [""]:
                return "quotas", lambda _: self._quotas("")
            case "GET", ["regions", region]:
                return "quotas", lambda _: self._quotas(region)
            case "GET", ["aggregated", "instances"]:
                return "list", lambda _: self._list(asked)
            case "GET", ["aggregated", "machineTypes"]:
                return "types", lambda _: self._types(asked)
            case "GET", ["zones", zone, "operations"]:
                return "operations", lambda _: self._operations_of(zone, asked)
            case "GET", ["zones", zone, "operations", name]:
                return "operation", lambda _: self._look(zone, name)
            case "POST", ["zones", zone, "operations", name, "wait"]:
                return "operation", lambda _: self._look(zone, name, is_waiting=True)
            case _:
                return "", lambda _: refusal(404, "notFound", f"{asked.path} was not found")

    def _rights(self, asked: Asked) -> tuple[int, Json]:
        has = [each for each in asked.body["permissions"] if each not in self.lacks]
        return 200, {"permissions": has} if has else {}

    def _quotas(self, region: str) -> tuple[int, Json]:
        if region not in self.quotas:
            return refusal(404, "notFound", f"The resource 'regions/{region}' was not found")
        return 200, {"name": region, "quotas": quotas(self.quotas[region])}

    def _insert(self, zone: str, asked: Asked, fault: Fail | None) -> tuple[int, Json]:
        body = asked.body if isinstance(asked.body, dict) else {}
        request_id = asked.query.get("requestId", "")
        if request_id and not is_uuid(request_id):
            return refusal(400, "invalid", f"Invalid value for field 'requestId': '{request_id}'")
        if known := self._answers.get((zone, request_id)):
            return 200, self._shown(known["name"])
        if wrong := problem(zone, body):
            return wrong
        name = body["name"]
        if (zone, name) in self.instances:
            link = f"projects/{PROJECT}/zones/{zone}/instances/{name}"
            return refusal(409, "alreadyExists", f"The resource '{link}' already exists")

        def fail() -> None:
            if fault is not None and not fault.leaves:
                self.instances.pop((zone, name), None)
            else:
                self._boot(zone, name)

        self.put_by_hand(zone, name, **built(zone, body), status=self.status_while_made)
        self._unseen[zone, name] = self.unseen_lists
        operation = self._begin("insert", zone, name, fault, fail)
        if request_id:
            operation["clientOperationId"] = request_id
            self._answers[zone, request_id] = operation
        return 200, self._shown(operation["name"])

    def _boot(self, zone: str, name: str) -> None:
        machine = self.instances.get((zone, name))
        if machine is None or machine["status"] == "STOPPING":
            return
        machine["status"] = self.status_when_made
        number = len(self.instances) % 250 + 1
        nic = machine["networkInterfaces"][0]
        nic["networkIP"] = f"10.128.0.{number}"
        for access in nic.get("accessConfigs", []):
            access["natIP"] = f"192.0.2.{number}"

    def _get(self, zone: str, name: str) -> tuple[int, Json]:
        machine = self.instances.get((zone, name))
        return (200, machine) if machine else missing(zone, name)

    def _serial_port(self, zone: str, name: str, asked: Asked) -> tuple[int, Json]:
        """Show what was written from a byte on, or the last so many bytes of it."""
        if (zone, name) not in self.instances:
            return missing(zone, name)
        start = int(asked.query.get("start", "0"))
        written = self.consoles.get(name, "").encode()
        begun = max(0, len(written) + start) if start < 0 else start
        shown = written[begun:].decode(errors="replace")
        numbers = {"start": str(begun), "next": str(len(written))}
        return 200, {"kind": "compute#serialPortOutput", "contents": shown, **numbers}

    def _delete(self, zone: str, name: str, asked: Asked, fault: Fail | None) -> tuple[int, Json]:
        if (zone, name) not in self.instances:
            return missing(zone, name)
        self.instances[zone, name]["status"] = "STOPPING"

        def end() -> None:
            if fault is not None:
                return
            self.instances.pop((zone, name), None)
            for each in self._operations.values():
                if each.done["targetLink"].endswith(f"/{zone}/instances/{name}"):
                    each.looks = 0

        operation = self._begin("delete", zone, name, fault, end)
        return 200, self._shown(operation["name"])

    def _begin(
        self, kind: str, zone: str, name: str, fault: Fail | None, effect: Callable[[], None]
    ) -> Json:
        number = self._next()
        done: Json = {
            "kind": "compute#operation",
            "id": str(number),
            "name": f"operation-{number}",
            "operationType": kind,
            "status": "DONE",
            "progress": 100,
            "zone": f"{LINK}/zones/{zone}",
            "targetLink": f"{LINK}/zones/{zone}/instances/{name}",
            "insertTime": STAMP,
        }
        if fault is not None:
            reason = {"code": fault.code, "message": fault.message}
            done["error"] = {"errors": [reason]}
            done["httpErrorStatusCode"] = fault.status
            done["httpErrorMessage"] = "SCRIPTED"
        self._operations[done["name"]] = _Operation(done, self.operation_looks, effect)
        return done

    def _shown(self, name: str) -> Json:
        """Show an operation as it is now; what is over shows how it ended."""
        operation = self._operations[name]
        if operation.looks == 0:
            return operation.done
        hidden = {"error", "httpErrorStatusCode", "httpErrorMessage"}
        shown = {key: value for key, value in operation.done.items() if key not in hidden}
        return shown | {"status": "RUNNING", "progress": 0}

    def finish(self) -> None:
        """End all operations that are under way."""
        for operation in self._operations.values():
            if operation.looks != 0:
                operation.looks = 0
                operation.effect()

    def _look(self, zone: str, name: str, *, is_waiting: bool = False) -> tuple[int, Json]:
        operation = self._operations.get(name)
        if operation is None or zone not in operation.done["zone"]:
            return refusal(404, "notFound", f"operation {name} was not found")
        if operation.looks != 0:
            operation.looks = 0 if is_waiting else operation.looks - 1
            if operation.looks == 0:
                operation.effect()
        return 200, self._shown(name)

    def _operations_of(self, zone: str, asked: Asked) -> tuple[int, Json]:
        if asked.query.get("filter") != '(operationType = "insert") (status != "DONE")':
            return refusal(400, "invalid", "Invalid value for field 'filter'")
        if zone not in ZONES:
            return refusal(404, "notFound", f"zone {zone} was not found")
        items = [
            self._shown(name)
            for name, each in self._operations.items()
            if f"/zones/{zone}" in each.done["zone"]
            and each.looks != 0
            and each.done["operationType"] == "insert"
        ]
        return 200, {"kind": "compute#operationList", "id": "o", "items": items}

    def _list(self, asked: Asked) -> tuple[int, Json]:
        chooses = filtering(asked.query.get("filter", ""))
        if chooses is None:
            return refusal(400, "invalid", "Invalid value for field 'filter'")
        seen = [
            (zone, machine)
            for (zone, name), machine in sorted(self.instances.items())
            if self._unseen.get((zone, name), 0) <= 0 and chooses(machine)
        ]
        for key, lists in self._unseen.items():
            self._unseen[key] = lists - 1
        answer = self._paged("instance", "instances", seen, asked)
        for name, each in list(self._operations.items()):
            self._look(each.done["zone"], name)  # things go on while nobody looks
        return answer

    def _types(self, asked: Asked) -> tuple[int, Json]:
        chooses = filtering(asked.query.get("filter", ""))
        if chooses is None:
            return refusal(400, "invalid", "Invalid value for field 'filter'")
        every = [
            (zone, machine_type(zone, name)) for zone, names in ZONES.items() for name in names
        ]
        found = [(zone, each) for zone, each in every if chooses(each)]
        return self._paged("machineType", "machineTypes", found, asked)

    def _paged(
        self, kind: str, key: str, found: list[tuple[str, Json]], asked: Asked
    ) -> tuple[int, Json]:
        start = int(asked.query.get("pageToken", "p0").removeprefix("p"))
        size = min(self.page, int(asked.query.get("maxResults", "500")))
        if self.unreachable and asked.query.get("returnPartialSuccess") != "true":
            return refusal(503, "backendError", f"{self.unreachable} is unreachable")
        items: Json = {
            f"zones/{zone}": {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": "none here"}}
            for zone in ZONES
        }
        for zone, each in found[start : start + size]:
            scope = items.setdefault(f"zones/{zone}", {})
            scope.pop("warning", None)
            scope.setdefault(key, []).append(each)
        page: Json = {"kind": f"compute#{kind}AggregatedList", "id": "l", "items": items}
        if self.unreachable:
            page["unreachables"] = [f"{LINK}/zones/{self.unreachable}"]
        if start + size < len(found):
            page["nextPageToken"] = f"p{start + size}"
        return 200, page

    def _next(self) -> int:
        self._serial += 1
        return self._serial


@contextmanager
def compute_engine() -> Iterator[ComputeEngine]:
    """Run a double on a free port of this machine."""
    double = ComputeEngine()

    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two packets

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("content-length") or 0)
            content = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            is_json = "json" in headers.get("content-type", "")
            body = json.loads(content) if is_json and content else content
            query = dict(parse_qsl(parts.query))
            asked = Asked(self.command, unquote(parts.path), query, headers, body)
            answer, more = double.handle(asked)
            if isinstance(answer, HangUp):
                self.close_connection = True
            elif isinstance(answer, Silence):
                double.closing.wait(30)
                self.close_connection = True
            else:
                self.say(answer, more)

        do_POST = do_GET  # noqa: N815 - the names are the library's
        do_DELETE = do_GET  # noqa: N815 - as above

        def say(self, answer: Answer, headers: dict[str, str]) -> None:
            status, content = (
                (answer.status, answer.body)
                if isinstance(answer, Raw)
                else (answer[0], json.dumps(answer[1]).encode())
            )
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-type", "application/json; charset=UTF-8")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client has had enough

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Connection)
    double.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield double
    finally:
        double.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
