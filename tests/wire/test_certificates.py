"""TLS: certificates on both sides, and other ones while connections are open."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.controlplane import catalogue
from navarch.controlplane.clock import RealClock
from navarch.errors import ConfigError, WireError
from navarch.wire import certificates, listener
from navarch.wire.auth import Authenticator
from navarch.wire.certificates import Certificates, Tls, certificate_end
from navarch.wire.client import ConnectClient
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.trust import Trust
from wire.authority import Authority
from wire.conftest import LiveServer, running
from wire.test_grpc import Stub

DAY = timedelta(days=1)


WHOLE = """\
-----BEGIN CERTIFICATE-----
MIIBbTCCAROgAwIBAgIUKkvJRGZA+j0L4ww4vHXJgbDddt0wCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBeDAeFw0yNjExMjIyMzU1NTVaFw0zNjExMTkyMzU1NTVaMAwx
CjAIBgNVBAMMAXgwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATL2HXkQ9qEM5j+
S5xBSif7SQ/fVyk6xsXdw9BnUgeCbBQsofAgKXnp3rzz/3vVPYX90FHkYd3fhtuO
4aWgKLQJo1MwUTAdBgNVHQ4EFgQUvzutY9Wxp+TejHoEQwPdA8FyruYwHwYDVR0j
BBgwFoAUvzutY9Wxp+TejHoEQwPdA8FyruYwDwYDVR0TAQH/BAUwAwEB/zAKBggq
hkjOPQQDAgNIADBFAiEAiSzoOIAP+DiKFcZXUJSsa1V2SfxHnadg396zswhm7RsC
ICDng+JklMu1Eb24POSCNXffRbjGueJI8fhTVpkep5I4
-----END CERTIFICATE-----
"""
"""A certificate that signs itself; its key was thrown away."""

now = RealClock().now  # openssl signs by the real clock


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def signed(authority: Authority) -> dict[str, tuple[Path, Path]]:
    """Certificates, by the number of days that they are good for."""
    return {str(days): authority.sign(f"days-{days}", days) for days in (3, 30, 60)}


class Site:
    """The files of a server, as a secret that is mounted has them."""

    def __init__(
        self, folder: Path, authority: Authority, signed: dict[str, tuple[Path, Path]]
    ) -> None:
        self.folder = folder
        self._signed = signed
        self.trusted = authority.cert
        self.ca = folder / "ca.pem"
        shutil.copy(authority.cert, self.ca)
        self.use("30")
        self.files = Tls(str(folder / "cert.pem"), str(folder / "key.pem"))
        self.mutual = Tls(self.files.cert_file, self.files.key_file, str(self.ca))

    def use(self, days: str, *, key_of: str | None = None) -> None:
        """Put other files in their places, in one move each."""
        self.put("cert.pem", self._signed[days][0].read_bytes())
        self.put("key.pem", self._signed[key_of or days][1].read_bytes())

    def put(self, name: str, content: bytes) -> None:
        new = self.folder / f"{name}.new"
        new.write_bytes(content)
        os.replace(new, self.folder / name)  # noqa: PTH105 - the call that operators know

    def client(self, days: str | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.trusted)
        if days is not None:
            context.load_cert_chain(*self._signed[days])
        return context


@pytest.fixture
def site(tmp_path: Path, authority: Authority, signed: dict[str, tuple[Path, Path]]) -> Site:
    return Site(tmp_path, authority, signed)


def shown(server: LiveServer, site: Site, **how: str) -> str:
    """The name on the certificate that a new connection is shown."""
    with connected(server, site.client(**how)) as line:
        return name_on(line)


@contextlib.contextmanager
def connected(server: LiveServer, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as line,
    ):
        yield line


def name_on(line: ssl.SSLSocket) -> str:
    seen = line.getpeercert()
    assert seen is not None
    subject: object = seen["subject"]
    return str(subject[0][0][1])  # type: ignore[index]


# --- serving ---------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True])
def test_certificates_on_both_sides(site: Site, *, http2: bool) -> None:
    with running(
        Authenticator(), tls=Certificates(site.mutual, now, http2=http2), http2=http2
    ) as server:
        url = server.url.replace("http:", "https:")
        with ConnectClient(url, tls=site.client("30"), timeout=10) as client:
            assert client.call("Heartbeat", {"nodeId": "n1"})["acknowledged"] is True
        for context, problem in (
            (site.client(), url),  # no certificate to show; how the server hangs up differs
            (None, "its certificate is not trusted"),
        ):
            with (
                ConnectClient(url, tls=context, timeout=10) as client,
                pytest.raises(WireError) as caught,
            ):
                client.call("Heartbeat", {"nodeId": "n1"})
            assert caught.value.code == "unavailable"
            assert problem in caught.value.message


def test_grpc_over_tls_with_certificates_on_both_sides(
    site: Site, signed: dict[str, tuple[Path, Path]]
) -> None:
    cert, key = (path.read_bytes() for path in signed["30"])
    credentials = grpc.ssl_channel_credentials(site.ca.read_bytes(), key, cert)
    serving = Certificates(site.mutual, now, http2=True)
    with (
        running(Authenticator(), tls=serving, http2=True) as server,
        grpc.secure_channel(f"127.0.0.1:{server.port}", credentials) as channel,
    ):
        stub = Stub(channel)
        assert stub("GetNode", pb.GetNodeRequest(node_id="n1"), ()).node.node_id == "n1"
        facts = stub("WatchEvents", pb.WatchEventsRequest(), ())
        assert [fact.event.seq for fact in facts] == [1, 2, 3]


@pytest.mark.parametrize(
    "offered, http2, chosen",
    [
        (["h2", "http/1.1"], True, "h2"),
        (["http/1.1"], True, "http/1.1"),
        (["h2", "http/1.1"], False, "http/1.1"),
        ([], True, None),
    ],
)
def test_the_protocol_is_chosen_by_tls(
    site: Site,
    *,
    offered: list[str],
    http2: bool,
    chosen: str | None,
) -> None:
    context = site.client()
    if offered:
        context.set_alpn_protocols(offered)
    serving = Certificates(site.files, now, http2=http2)
    with running(Authenticator(), tls=serving, http2=http2) as server:
        for _ in range(2):  # with the first certificate, and with one that was read later
            with connected(server, context) as line:
                assert line.selected_alpn_protocol() == chosen
                if chosen != "h2":
                    line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert line.recv(12) == b"HTTP/1.1 200"
            site.use("60")
            assert serving.reload()
            site.use("30")


def test_tls_older_than_1_2_is_refused(site: Site) -> None:
    with running(Authenticator(), tls=Certificates(site.files, now)) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = site.client()
            context.minimum_version = context.maximum_version = version
            with connected(server, context) as line:
                assert line.version() == version.name.replace("_", ".")
        old = site.client()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError), connected(server, old):
            raise AssertionError("TLS 1.1 was accepted")


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01"], ids=["silent", "slow"])
def test_a_handshake_that_does_not_end_is_given_up(
    site: Site, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEADER_SECONDS_MAX", 0.05)
    with (
        running(Authenticator(), tls=Certificates(site.files, now)) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as patient,
    ):
        patient.sendall(begun)
        assert patient.recv(1) == b""


# --- other files -----------------------------------------------------------------------------


def test_a_new_certificate_is_shown_to_new_connections_only(site: Site) -> None:
    serving = Certificates(site.files, now)
    with running(Authenticator(), tls=serving) as server:
        with connected(server, site.client()) as old:
            site.use("60")
            assert serving.look()
            assert shown(server, site) == "days-60"
            assert name_on(old) == "days-30"
            old.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert old.recv(12) == b"HTTP/1.1 200"
        assert not serving.look()
        assert (serving.reloads, serving.refused) == (1, 0)
        assert serving.ends_at - now() > 40 * DAY


@pytest.mark.parametrize("breakage", ["pair", "empty", "half", "missing", "no CA"])
def test_what_does_not_fit_leaves_the_old_certificate(
    site: Site, breakage: str, caplog: pytest.LogCaptureFixture
) -> None:
    serving = Certificates(site.mutual, now)
    with running(Authenticator(), tls=serving) as server:
        match breakage:
            case "pair":
                site.use("60", key_of="30")
            case "empty":
                site.put("cert.pem", b"")
            case "half":
                whole = Path(site.files.cert_file).read_bytes()
                site.put("cert.pem", whole[: len(whole) // 2])
            case "missing":
                Path(site.files.key_file).unlink()
            case _:
                site.put("ca.pem", b"no certificate")
        assert not serving.look()
        assert not serving.look()  # it is not tried again before it changes again
        assert shown(server, site, days="30") == "days-30"
        assert (serving.reloads, serving.refused) == (0, 1)
        assert "tls_not_reloaded" in caplog.text


def test_half_a_renewal_becomes_a_whole_one(site: Site) -> None:
    serving = Certificates(site.files, now)
    site.use("60", key_of="30")
    assert not serving.look()
    site.use("60")
    assert serving.look()
    assert (serving.reloads, serving.refused) == (1, 1)


def test_another_authority_lets_in_its_own_and_nobody_else(
    site: Site, tmp_path: Path, authority: Authority
) -> None:
    other = Authority(tmp_path, "other")
    theirs = other.sign("theirs")
    serving = Certificates(site.mutual, now)
    with running(Authenticator(), tls=serving) as server:
        url = server.url.replace("http:", "https:")
        known = site.client("30")
        stranger = site.client()
        stranger.load_cert_chain(*theirs)
        site.put("ca.pem", other.cert.read_bytes())
        assert called(url, known)
        assert not called(url, stranger)
        assert serving.look()
        assert called(url, stranger)
        assert not called(url, known)


def called(url: str, context: ssl.SSLContext) -> bool:
    with ConnectClient(url, tls=context, timeout=10) as client:
        try:
            client.call("GetNode", {"nodeId": "n1"})
        except WireError as error:
            if error.code == "unavailable":
                return False
            raise
    return True


def test_no_session_outlives_the_authority_that_vouched_for_it(site: Site) -> None:
    with running(Authenticator(), tls=Certificates(site.mutual, now)) as server:
        context = site.client("30")
        with connected(server, context) as line:
            assert line.version() == "TLSv1.3"
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert line.recv(12) == b"HTTP/1.1 200"
            assert line.session is None or not line.session.has_ticket


def test_the_files_are_watched(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "WATCH_SECONDS", 0.001)
    serving = Certificates(site.files, now)

    async def until_reloaded() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await serving.watch()

    site.use("60")
    asyncio.run(until_reloaded())
    assert serving.reloads == 1


# --- a client's own --------------------------------------------------------------------------


def test_a_client_shows_its_new_certificate_on_its_next_connection(
    site: Site, tmp_path: Path, authority: Authority, signed: dict[str, tuple[Path, Path]]
) -> None:
    other = Authority(tmp_path, "other")
    theirs = other.sign("theirs")
    site.put("ca.pem", other.cert.read_bytes())
    cert, key = tmp_path / "agent.pem", tmp_path / "agent.key"
    shutil.copy(signed["30"][0], cert)
    shutil.copy(signed["30"][1], key)
    trust = Trust(ca=authority.cert, cert=cert, key=key)
    with (
        running(Authenticator(), tls=Certificates(site.mutual, now)) as server,
        ConnectClient(server.url.replace("http:", "https:"), tls=trust, timeout=10) as client,
    ):
        with pytest.raises(WireError):
            client.call("GetNode", {"nodeId": "n1"})
        shutil.copy(theirs[0], cert)
        shutil.copy(theirs[1], key)
        assert client.call("GetNode", {"nodeId": "n1"})
        first = trust.context()
        cert.write_text("half")  # what works stays
        assert trust.context() is first
        client.close()
        assert client.call("GetNode", {"nodeId": "n1"})


# --- their end -------------------------------------------------------------------------------


def test_a_certificate_is_warned_of_before_it_ends(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    time = [now()]
    serving = Certificates(site.files, lambda: time[0])
    said = [
        (-15 * DAY, 0, ""),
        (-13 * DAY - timedelta(hours=1), 1, "days_left=13"),
        (-13 * DAY, 0, ""),
        (-12 * DAY, 1, "days_left=12"),
        (timedelta(hours=1), 1, "certificate_expired"),
    ]
    for before_the_end, warnings, words in said:
        caplog.clear()
        time[0] = serving.ends_at + before_the_end
        serving.look()
        assert len(caplog.records) == warnings, before_the_end
        assert words in caplog.text
    site.use("60")
    assert serving.look()
    assert serving.ends_at > time[0]


def test_a_certificate_that_has_ended_does_not_replace_one_that_has_not(site: Site) -> None:
    time = [now()]
    serving = Certificates(site.files, lambda: time[0])
    time[0] += 5 * DAY
    site.use("3")
    assert not serving.look()
    assert serving.refused == 1


def test_its_end_and_what_happened_are_measured(site: Site) -> None:
    serving = Certificates(site.files, now)
    site.put("cert.pem", b"")
    serving.look()
    assert list(catalogue.faults("\n".join(serving.metrics()))) == []
    values = [line for line in serving.metrics() if not line.startswith("#")]
    assert values == [
        f"navarch_tls_certificate_end_timestamp_seconds {serving.ends_at.timestamp():.0f}",
        "navarch_tls_reloads_total 0",
        "navarch_tls_reloads_refused_total 1",
    ]


# --- files that can not be used at the start -------------------------------------------------


def test_files_that_are_missing_are_a_config_error(site: Site) -> None:
    missing = Tls(str(site.folder / "no.pem"), site.files.key_file)
    with pytest.raises(ConfigError, match=r"server.auth.tls: cannot use the TLS files: "):
        Certificates(missing, now)


def test_a_key_that_is_encrypted_is_not_waited_for(site: Site) -> None:
    key = site.folder / "key.pem"
    subprocess.run(
        ["openssl", "ec", "-aes128", "-passout", "pass:secret", "-in", str(key), "-out", str(key)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    with pytest.raises(ConfigError, match="the key is encrypted"):
        Certificates(site.files, now)


@given(st.binary(max_size=200), st.integers(0, 800), st.integers(0, 255))
def test_a_certificate_that_is_none_is_said_so(noise: bytes, at: int, byte: int) -> None:
    der = bytearray(ssl.PEM_cert_to_DER_cert(WHOLE))
    der[at % len(der)] = byte
    for wrong in (noise, bytes(der), bytes(der)[: at % len(der)]):
        try:
            assert certificate_end(ssl.DER_cert_to_PEM_cert(wrong)).tzinfo is UTC
        except ValueError as error:
            assert str(error)  # noqa: PT017 - whether it is raised depends on the bytes


def test_the_end_is_what_openssl_says(signed: dict[str, tuple[Path, Path]]) -> None:
    for cert, _ in signed.values():
        shown_end = subprocess.run(
            ["openssl", "x509", "-noout", "-enddate", "-in", str(cert)],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        end = certificate_end(cert.read_text())
        assert shown_end.strip() == f"notAfter={end:%b %e %H:%M:%S %Y} GMT"
