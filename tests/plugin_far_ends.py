"""What plugins talk to, in memory: a bucket that can lie and break off, and a Prometheus."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class FarEnd:
    """A server on this machine; `stop` it afterwards."""

    def __init__(self) -> None:
        far_end = self

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {key: each[0] for key, each in parse_qs(parts.query).items()}
                far_end.asked.append(self.path)
                far_end.answer(self, unquote(parts.path), query)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
                far_end.asked.append(format % args)

        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, to: BaseHTTPRequestHandler, path: str, query: Mapping[str, str]) -> None:
        """Answer a request."""
        raise NotImplementedError


def send(to: BaseHTTPRequestHandler, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """Send an answer whose length is that of its body, unless the headers say otherwise."""
    to.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        to.send_header(name, value)
    to.end_headers()
    to.wfile.write(body)


class Bucket(FarEnd):
    """Speaks as much of S3 as a download needs: lists of two keys a page, and ranges."""

    name: ClassVar = "models"

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.lying = False
        """Whether it sends other bytes than the digests say."""
        self.breaking = False
        """Whether it ends answers in the middle."""
        self.begins: list[int] = []
        """Where downloads began, in bytes."""

    def put(self, files: Mapping[str, bytes], prefix: str = "llama") -> str:
        """Put files below a prefix, and return their address."""
        self.objects |= {f"{prefix}/{name}": content for name, content in files.items()}
        return f"s3://{self.name}/{prefix}"

    def answer(self, to: BaseHTTPRequestHandler, path: str, query: Mapping[str, str]) -> None:
        if "list-type" in query:
            self._list(to, query)
            return
        content = self.objects.get(path.removeprefix(f"/{self.name}/"))
        if content is None:
            send(to, 404, b"<Error><Code>NoSuchKey</Code></Error>", {})
            return
        tag = _tag(content)
        if to.headers.get("If-Match", tag) != tag:
            send(to, 412, b"<Error><Code>PreconditionFailed</Code></Error>", {})
            return
        said = re.fullmatch(r"bytes=(\d+)-", to.headers.get("Range", "bytes=0-"))
        assert said is not None
        self.begins.append(int(said[1]))
        sent = content[int(said[1]) :]
        if self.lying:
            sent = bytes(255 - byte for byte in sent)
        headers = {"ETag": tag, "Content-Length": str(len(sent))}
        if self.breaking:
            sent = sent[: len(sent) // 2]
            to.close_connection = True
        send(to, 206, sent, headers)

    def _list(self, to: BaseHTTPRequestHandler, query: Mapping[str, str]) -> None:
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        more = len(keys) > 2
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key])}</Size>"
            f"<ETag>{escape(_tag(self.objects[key]))}</ETag></Contents>"
            for key in keys[:2]
        )
        token = f"<NextContinuationToken>{escape(keys[1])}</NextContinuationToken>" if more else ""
        body = (
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"
        )
        send(to, 200, body.encode(), {"Content-Type": "application/xml"})


class Prometheus(FarEnd):
    """Knows series of one label; whatever else it is asked has a value too, as an injection has."""

    ASKED: ClassVar = re.compile(r'(\w+)\{pool=("(?:[^"\\\n]|\\.)*")\}')

    def __init__(self) -> None:
        super().__init__()
        self.series: dict[tuple[str, str], str] = {}
        """The value by the series' name and the pool."""

    def answer(self, to: BaseHTTPRequestHandler, path: str, query: Mapping[str, str]) -> None:
        asked = self.ASKED.fullmatch(query["query"])
        value = self.series.get((asked[1], json.loads(asked[2]))) if asked else "1"
        result = [] if value is None else [{"metric": {}, "value": [1.5, value]}]
        answer = {"status": "success", "data": {"resultType": "vector", "result": result}}
        send(to, 200, json.dumps(answer).encode(), {"Content-Type": "application/json"})


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
