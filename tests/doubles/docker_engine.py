"""A double of Docker's engine on a real Unix socket: its answers, and what can go wrong with it.

Written from the Engine API's reference (1.41 to 1.49, read 2026-11-22) and held against an engine
20.10.24 by tests/integration/test_real_docker.py, which runs the same contract.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import struct
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
Json = dict[str, Any]


@dataclass
class Container:
    """One container."""

    id: str
    name: str
    created: int
    body: Json
    """What it was created from."""
    state: str = "created"
    files: dict[str, tuple[int, int, bytes]] = field(default_factory=dict)
    """Path to mode, owner and content."""
    printed: list[tuple[int, bytes]] = field(default_factory=list)
    """What it has printed: 1 for its output, 2 for its errors, and a line each."""
    tty: bool = False
    """Whether it has a terminal: its log has no frames then."""

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.body.get("Labels") or {})


@dataclass
class Fault:
    """What is to go wrong with the next requests of one kind."""

    call: str
    """A pattern of ``METHOD /path``, without the version."""
    status: int = 500
    message: str = "something went wrong"
    acts: bool = False
    """Whether the engine does what it was asked all the same."""
    silence: Literal["", "hang", "hang up"] = ""
    """Not to answer at all."""
    raw: bytes | None = None
    """What is said in the place of HTTP."""
    times: int = 1


@dataclass
class Asked:
    """One request."""

    call: str
    version: str
    query: dict[str, str]
    body: bytes


class DockerEngine:
    """One engine."""

    def __init__(self, versions: tuple[str, str] = ("1.24", "1.47")) -> None:
        """Speak all versions between these two."""
        self.versions = versions
        self.images = {"node:1"}
        self.gpus = {"0", "1", "2", "3"}
        self.containers: dict[str, Container] = {}
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self.info: Json = {
            "ServerVersion": "27.5.1",
            "NCPU": 8,
            "MemTotal": 64_000_000_000,
            "Runtimes": {"runc": {"path": "runc"}, "nvidia": {"path": "nvidia-container-runtime"}},
        }
        self.remaining = ""
        """A state that stopped containers are left in, in the place of being removed."""
        self.created_at = itertools.count(1_800_000_000)
        """When the next containers are created, in the engine's seconds."""
        self.interfering: list[Container] = []
        """Containers that somebody else creates at the same moment as the next one of ours."""
        self.being_made: dict[str, Container | None] = {}
        """Names that are taken by containers that are not there yet."""
        self._closing = threading.Event()
        self._lock = threading.Lock()

    def add(
        self, name: str, labels: dict[str, str] | None = None, *, state: str = "running"
    ) -> str:
        """Make a container by hand, long ago, and return its id."""
        made = Container(sha256(name.encode()).hexdigest(), name, 1, {"Labels": labels}, state)
        self.containers[made.id] = made
        return made.id

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self.faults.clear()

    def calls(self) -> list[str]:
        """What was asked, but for listings."""
        return [each.call for each in self.asked if each.call != "GET /containers/json"]

    @contextmanager
    def serving(self, folder: Path) -> Iterator[str]:
        """Serve on a socket in `folder`, and yield the address."""
        path = folder / "docker.sock"

        class Connection(BaseHTTPRequestHandler):
            engine = self

            def do_GET(self) -> None:
                self.engine.take(self)

            do_POST = do_GET  # noqa: N815 - the library finds methods by these names
            do_PUT = do_GET  # noqa: N815 - as above
            do_DELETE = do_GET  # noqa: N815 - as above

            def address_string(self) -> str:
                return "unix"

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
                """Keep the output of the tests clean."""

        class Server(ThreadingMixIn, UnixStreamServer):
            request_queue_size = 64

        server = Server(str(path), Connection)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            self._closing.set()
            server.shutdown()
            thread.join()
            server.server_close()

    # --- one request ---------------------------------------------------------------------------

    def take(self, connection: BaseHTTPRequestHandler) -> None:
        """Answer one request, or do what the script says in its place."""
        parts = urlsplit(connection.path)
        body = connection.rfile.read(int(connection.headers.get("content-length") or 0))
        found = re.fullmatch(r"(?:/v(\d+\.\d+))?(/.*)", parts.path)
        assert found is not None
        query = {key: texts[-1] for key, texts in parse_qs(parts.query).items()}
        asked = Asked(f"{connection.command} {found[2]}", found[1] or "", query, body)
        status: int = 500
        answer: object = None
        with self._lock:
            self.asked.append(asked)
            fault = self._next_fault(asked.call)
            if fault is None or fault.acts:
                status, answer = self._answer(asked)
        if fault is not None and fault.silence:
            if fault.silence == "hang":
                self._closing.wait(20)
            return
        if fault is not None and fault.raw is not None:
            with suppress(ConnectionError):
                connection.wfile.write(fault.raw)
            return
        if fault is not None:
            status, answer = fault.status, {"message": fault.message}
        self._send(connection, status, answer)

    def _next_fault(self, call: str) -> Fault | None:
        fault = next((each for each in self.faults if re.search(each.call, call)), None)
        if fault is not None:
            fault.times -= 1
            if fault.times == 0:
                self.faults.remove(fault)
        return fault

    def _send(self, connection: BaseHTTPRequestHandler, status: int, answer: object) -> None:
        said = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        content = b"" if status in (204, 304) else said
        connection.send_response(status)
        connection.send_header("api-version", self.versions[1])
        connection.send_header("content-type", "application/json")
        if status not in (204, 304):
            connection.send_header("content-length", str(len(content)))
        with suppress(ConnectionError):  # whoever asked may have given up
            connection.end_headers()
            connection.wfile.write(content)

    def _answer(self, asked: Asked) -> tuple[int, object]:
        if asked.call == "GET /_ping":
            return 200, "OK"
        spoken = tuple(map(int, asked.version.split(".")))
        oldest, newest = (tuple(map(int, each.split("."))) for each in self.versions)
        if spoken < oldest:
            return 400, _said(f"client version {asked.version} is too old. Minimum supported API")
        if spoken > newest:
            return 400, _said(f"client version {asked.version} is too new. Maximum supported API")
        match asked.call.split("/"):
            case ["GET ", "containers", "json"]:
                return 200, self._listed(asked)
            case ["GET ", "info"]:
                return 200, self.info
            case ["GET ", "images", *name, "json"]:
                image = unquote("/".join(name))
                known = image in self.images
                return (200, {"Id": "sha256:1"}) if known else (404, _said("No such image"))
            case ["POST ", "containers", "create"]:
                return self._create(asked)
            case [method, "containers", known_as, *rest]:
                container = self._find(unquote(known_as))
                if container is None:
                    return 404, _said(f"No such container: {known_as}")
                return self._act(method.strip(), "/".join(rest), container, asked)
            case _:
                return 404, _said("page not found")

    def _find(self, known_as: str) -> Container | None:
        """Find by id, by name, or by the beginning of an id, as engines do."""
        exact = [each for each in self.containers.values() if known_as in (each.id, each.name)]
        begun = [each for each in self.containers.values() if each.id.startswith(known_as)]
        found = exact or (begun if len(begun) == 1 else [])
        return found[0] if found else None

    def _listed(self, asked: Asked) -> list[Json]:
        wanted = json.loads(asked.query.get("filters", "{}")).get("label", [])
        pairs = [tuple(each.split("=", 1)) for each in wanted]
        return [
            {
                "Id": each.id,
                "Names": [f"/{each.name}"],
                "Image": each.body.get("Image", ""),
                "Created": each.created,
                "State": each.state,
                "Labels": each.labels,
                "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}},
            }
            for each in self.containers.values()
            if (asked.query.get("all") == "true" or each.state == "running")
            and all(each.labels.get(key) == value for key, value in pairs)
        ]

    def _create(self, asked: Asked) -> tuple[int, object]:
        body, name = json.loads(asked.body), asked.query["name"]
        if NAME.fullmatch(name) is None:
            return 400, _said(f"Invalid container name ({name})")
        for rival in self.interfering:
            self.containers[rival.id] = rival
        self.interfering = []
        before = next((each for each in self.containers.values() if each.name == name), None)
        if before is not None or name in self.being_made:
            return 409, _said(f'Conflict. The container name "/{name}" is already in use.')
        if body["Image"] not in self.images:
            return 404, _said(f"No such image: {body['Image']}")
        number = next(self.created_at)
        made = Container(sha256(f"{name} {number}".encode()).hexdigest(), name, number, body)
        self.containers[made.id] = made
        return 201, {"Id": made.id, "Warnings": []}

    def _act(
        self, method: str, what: str, container: Container, asked: Asked
    ) -> tuple[int, object]:
        match method, what:
            case "GET", "json":
                return 200, {
                    "Id": container.id,
                    "Name": f"/{container.name}",
                    "State": {"Status": container.state},
                    "Config": {"Labels": container.labels},
                }
            case "GET", "logs":
                return 200, _log(container, int(asked.query["tail"]))
            case "PUT", "archive":
                with tarfile.open(fileobj=io.BytesIO(asked.body)) as archive:
                    for entry in archive:
                        opened = archive.extractfile(entry)
                        assert opened is not None
                        put = (entry.mode, entry.uid, opened.read())
                        container.files[f"{asked.query['path']}{entry.name}"] = put
                return 200, None
            case "POST", "start":
                return self._start(container)
            case "POST", "stop":
                if container.state != "running":
                    return 304, None
                container.state = "exited"
                if container.body.get("HostConfig", {}).get("AutoRemove"):
                    self._gone(container)
                return 204, None
            case "DELETE", "":
                if container.state == "removing":
                    return 409, _said(f"removal of container {container.id} is in progress")
                self._gone(container)
                return 204, None
            case _:
                return 404, _said("page not found")

    def _start(self, container: Container) -> tuple[int, object]:
        if container.state == "running":
            return 304, None
        for request in container.body["HostConfig"].get("DeviceRequests") or []:
            if not set(request["DeviceIDs"]) <= self.gpus:
                return 500, _said('could not select device driver "" with capabilities: [[gpu]]')
        container.state = "running"
        return 204, None

    def _gone(self, container: Container) -> None:
        if self.remaining:
            container.state = self.remaining
        else:
            del self.containers[container.id]


def _log(container: Container, tail: int) -> bytes:
    lines = container.printed[-tail:]
    if container.tty:
        return b"".join(line for _, line in lines)
    return b"".join(struct.pack(">BxxxL", stream, len(line)) + line for stream, line in lines)


def _said(message: str) -> Json:
    return {"message": message}
