"""HTTP over a Unix socket and over TLS: against peers of our own that say any bytes."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from navarch.errors import ConfigError
from navarch.peers.unanswered import Unanswered
from navarch.peers.unix_http import HEAD_BYTES_MAX, Reply, SocketClient, TlsFiles, Unsent

SECONDS = timedelta(seconds=5)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Y: z\r\n\r\nok"

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(path: Path, talk: Talk) -> AsyncIterator[str]:
    """Serve on a socket; every connection is closed after its talk."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        async with server:
            yield f"unix://{path}"
    finally:
        os.unlink(path)  # noqa: PTH108 - the next example takes the same path


def saying(said: bytes) -> Talk:
    """Read a request's beginning, say these bytes, and hang up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    return talk


async def asked(
    path: Path, talk: Talk, *, bytes_max: int = 1000, deadline: timedelta = SECONDS
) -> Reply:
    async with peer(path, talk) as address:
        client = SocketClient(address, bytes_max=bytes_max)
        return await client.send("GET", "/x?y=1", deadline=deadline)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a socket may be."""
    return tmp_path / "s"


# --- what is said ------------------------------------------------------------------------------


def test_a_request_carries_its_headers_and_its_body(path: Path) -> None:
    heard = bytearray()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.readuntil(b"\r\n\r\n"))
        heard.extend(await reader.readexactly(4))
        writer.write(OK)

    async def scenario() -> Reply:
        async with peer(path, talk) as address:
            client = SocketClient(address)
            headers = {"content-type": "a/b"}
            return await client.send("PUT", "/p", body=b"body", headers=headers, deadline=SECONDS)

    assert asyncio.run(scenario()) == Reply(200, b"ok", {"content-length": "2", "x-y": "z"})
    lines = bytes(heard).split(b"\r\n")
    assert lines[0] == b"PUT /p HTTP/1.1"
    assert {b"connection: close", b"content-length: 4", b"content-type: a/b"} <= {*lines}
    assert lines[-1] == b"body"


@pytest.mark.parametrize(
    "said, expected",
    [
        (OK, b"ok"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
            b"ab",
        ),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 500 No\r\ncontent-length: 1\r\n\r\nx", b"x"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
def test_whole_answers_are_read(path: Path, said: bytes, expected: bytes) -> None:
    assert asyncio.run(asked(path, saying(said))).body == expected


def test_an_answer_counts_although_the_request_was_not_read_to_its_end(path: Path) -> None:
    """A refusal of a long body comes early, and the peer hangs up."""

    async def scenario() -> Reply:
        async with peer(path, saying(OK)) as address:
            client = SocketClient(address)
            return await client.send("PUT", "/p", body=b"x" * 4_000_000, deadline=SECONDS)

    assert asyncio.run(scenario()).body == b"ok"


# --- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: tcp\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * (2 * HEAD_BYTES_MAX),
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    ],
)
def test_what_is_no_whole_answer_is_unanswered(path: Path, said: bytes) -> None:
    with pytest.raises(Unanswered) as caught:
        asyncio.run(asked(path, saying(said)))
    assert not isinstance(caught.value, Unsent)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n" + b"x" * 1001,
        b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 40_000,
    ],
)
def test_an_answer_that_is_too_long_is_not_read_to_its_end(path: Path, said: bytes) -> None:
    with pytest.raises(Unanswered, match="above 1000 bytes"):
        asyncio.run(asked(path, saying(said)))


def test_a_peer_that_drips_does_not_outlast_the_deadline(path: Path) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.005)

    with pytest.raises(Unanswered, match=r"no answer within 0\.1 s") as caught:
        asyncio.run(asked(path, drip, bytes_max=10**6, deadline=timedelta(milliseconds=100)))
    assert not isinstance(caught.value, Unsent)


def test_where_nobody_listens_nothing_was_sent(path: Path) -> None:
    async def ask(address: str) -> None:
        await SocketClient(address).send("POST", "/", deadline=SECONDS)

    for address in (f"unix://{path}", "tcp://127.0.0.1:1"):
        with pytest.raises(Unsent, match="POST /"):
            asyncio.run(ask(address))


@pytest.mark.parametrize("target", ["/a b", "/\r\nx: y", "/ä", ""])
def test_a_target_that_cannot_be_said_is_not_sent(path: Path, target: str) -> None:
    async def scenario() -> None:
        async with peer(path, saying(OK)) as address:
            await SocketClient(address).send("GET", target, deadline=SECONDS)

    with pytest.raises(Unsent):
        asyncio.run(scenario())


def test_giving_up_leaves_no_connection(path: Path) -> None:
    async def scenario() -> bytes:
        ended = asyncio.get_running_loop().create_future()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            ended.set_result(await reader.read())

        async with peer(path, wait) as address:
            request = SocketClient(address).send("GET", "/", deadline=SECONDS)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(request, 0.05)
            return await asyncio.wait_for(ended, 5)

    assert asyncio.run(scenario()) == b""


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1.0 204 N\r\n"),
                *(b"content-length: 2\r\n", b"content-length: -1\r\n", b"\r\n", b"ok", b"\xff"),
                *(b"transfer-encoding: chunked\r\n", b"2\r\nok\r\n", b"0\r\n\r\n", b"x:\x00\r\n"),
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: tcp\r\n\r\n",
            ]
        )
    ).map(b"".join)
)
@example(said=b"HTTP/1.1 999 \r\n\r\n")
def test_any_bytes_are_an_answer_or_unanswered(path: Path, said: bytes) -> None:
    with suppress(Unanswered):
        assert 200 <= asyncio.run(asked(path, saying(said))).status <= 999


# --- addresses and certificates ----------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["", "/run/x", "unix://", "unix:///", "unix://host/x", "http://h:1", "tcp://h", "tcp://h:1/x",
     "tcp://h:99999", "unix:///a\0b"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        SocketClient(address)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate of both sides that vouches for itself."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "keyUsage=digitalSignature"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder


def test_over_tcp_both_sides_show_a_certificate(certificates: Path) -> None:
    cert, key = str(certificates / "cert.pem"), str(certificates / "key.pem")

    async def scenario(tls: TlsFiles) -> Reply:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=cert)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(cert, key)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await saying(OK)(reader, writer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            client = SocketClient(f"tcp://127.0.0.1:{port}", tls=tls)
            return await client.send("GET", "/", deadline=SECONDS)

    assert asyncio.run(scenario(TlsFiles(ca=cert, cert=cert, key=key))).body == b"ok"
    with pytest.raises(Unsent, match="certificate verify failed"):
        asyncio.run(scenario(TlsFiles(cert=cert, key=key)))
    with pytest.raises(Unsent, match="certificates cannot be used: No such file"):
        asyncio.run(scenario(TlsFiles(ca=str(certificates / "none"))))
    with pytest.raises(Unanswered):
        asyncio.run(scenario(TlsFiles(ca=cert)))
