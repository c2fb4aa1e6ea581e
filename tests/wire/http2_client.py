"""A client of HTTP/2 that sends one request and enforces nothing of what it sends."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

import zttp


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)


def ask(port: int, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Post a body, and wait for the whole answer."""
    connection = zttp.Connection(zttp.CLIENT, protocol=zttp.HTTP2)
    told = {"host": "localhost", "te": "trailers", **headers}
    stream = connection.send_request(
        b"POST",
        path.encode(),
        b"2",
        [(name.encode(), text.encode()) for name, text in told.items()],
    )
    stream.send_data(body)
    stream.end_message()
    answer, got = Answer(), bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        while True:
            line.sendall(connection.data_to_send())
            connection.receive_data(line.recv(65_536))
            while (event := connection.next_event()) is not zttp.NEED_DATA:
                if isinstance(event, zttp.Response):
                    answer.status = event.status_code
                    answer.headers = _texts(list(event.headers))
                elif isinstance(event, zttp.Data):
                    got += event.data
                elif isinstance(event, zttp.EndOfMessage):
                    answer.body, answer.trailers = bytes(got), _texts(event.trailers)
                    return answer
                assert not isinstance(event, (zttp.RstStream, zttp.GoAway)), event


def _texts(fields: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in fields}
