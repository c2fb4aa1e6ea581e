"""What is answered below ``/`` and ``/ui/``, and to whom."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.served import SECRET, TOKENS, Served
from navarch.dashboard import shelf
from navarch.wire.auth import mint_node_token
from navarch.wire.sessions import cookie_name

CALL = "/navarch.ControlPlaneService/"


class Asked:
    """One answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever was answered
        return json.loads(self.body)


class Browsing:
    """What a browser does with one server: it keeps the cookie and says whose page it shows."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.cookie = ""
        self.csrf = ""

    def ask(self, method: str, path: str, body: object = None, **headers: str | None) -> Asked:
        said = {"Origin": self.served.url} if method == "POST" else {}
        if self.cookie:
            said["Cookie"] = self.cookie
        if self.csrf and method == "POST":
            said["X-Navarch-CSRF"] = self.csrf
        if body is not None:
            said["Content-Type"] = "application/json"
        for name, value in headers.items():
            key = name.replace("_", "-")
            said = {each: kept for each, kept in said.items() if each.lower() != key.lower()}
            if value is not None:
                said[key] = value
        line = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=20)
        content = None if body is None else json.dumps(body)
        line.request(method, path, content, said)
        asked = Asked(line.getresponse())
        line.close()
        return asked

    def log_in(self, name: str) -> Browsing:
        answer = self.ask("POST", "/ui/login", {"token": TOKENS[name][1]})
        assert answer.status == 200, answer.body
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        self.csrf = answer.json["csrf"]
        return self


@pytest.fixture
def nobody(served: Served) -> Browsing:
    return Browsing(served)


@pytest.fixture(scope="module")
def olaf(served: Served) -> Browsing:
    return Browsing(served).log_in("olaf")


@pytest.fixture(scope="module")
def vera(served: Served) -> Browsing:
    return Browsing(served).log_in("vera")


@pytest.fixture
def open_to_all(tmp_path: Path) -> Iterator[Browsing]:
    """A control plane without tokens."""
    with Served(tmp_path, names=()) as running:
        yield Browsing(running)


CORDON = {"nodeId": "node-1", "commandType": "NODE_COMMAND_TYPE_CORDON", "reason": "looks odd"}

# --- files ---------------------------------------------------------------------------------------


def test_the_page_forbids_browsers_what_it_does_not_need(nobody: Browsing) -> None:
    for path in ("/", "/ui/assets/app.js", "/ui/me", "/ui/fleet", "/ui/nothing"):
        headers = nobody.ask("GET", path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_every_file_of_the_page_is_served_and_asked_for_again_by_its_tag(
    nobody: Browsing,
) -> None:
    files = shelf.load()
    assert {"index.html", "app.js", "theme.css", "pages/fleet.js"} <= files.keys()
    for name, file in files.items():
        path = "/" if name == "index.html" else f"/ui/assets/{name}"
        plain = nobody.ask("GET", path)
        assert (plain.status, plain.body) == (200, file.body)
        assert plain.headers["content-type"].startswith(file.content_type.partition(";")[0])
        again = nobody.ask("GET", path, If_None_Match=plain.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        packed = nobody.ask("GET", path, Accept_Encoding="gzip")
        if packed.headers["content-encoding"] == "gzip":
            assert gzip.decompress(packed.body) == file.body


def test_all_that_the_page_names_is_there() -> None:
    files = shelf.load()
    page = files["index.html"].body.decode()
    named = [part.partition('"')[0] for part in page.split("/ui/assets/")[1:]]
    assert named
    assert [name for name in named if name not in files] == []


def test_no_file_outside_of_the_folder_is_served(nobody: Browsing) -> None:
    for path in ("/ui/assets/../site.py", "/ui/assets/%2e%2e/site.py", "/ui/assets/", "/ui/assets"):
        assert nobody.ask("GET", path).status in (401, 404), path


def test_a_head_has_no_body_and_other_methods_are_refused(nobody: Browsing) -> None:
    head = nobody.ask("HEAD", "/")
    assert (head.status, head.body) == (200, b"")
    assert nobody.ask("POST", "/", {}).status == 405
    assert nobody.ask("GET", "/ui/login").status == 405


# --- who looks -----------------------------------------------------------------------------------


def test_nobody_sees_the_fleet_without_a_token(nobody: Browsing) -> None:
    for path in ("/ui/fleet", "/ui/events", "/ui/events/1", "/ui/stream", "/ui/nothing"):
        assert nobody.ask("GET", path).status == 401, path
    me = nobody.ask("GET", "/ui/me")
    assert (me.status, me.json["role"], me.json["fleet"]) == (200, "", "")


def test_a_session_is_kept_from_scripts_and_from_other_sites(nobody: Browsing) -> None:
    answer = nobody.ask("POST", "/ui/login", {"token": TOKENS["vera"][1]})
    cookie = answer.headers["set-cookie"]
    assert "; HttpOnly" in cookie
    assert "; SameSite=Strict" in cookie
    assert "; Path=/" in cookie
    assert TOKENS["vera"][1] not in cookie
    assert cookie.startswith(cookie_name("http", nobody.served.port))
    assert (answer.json["name"], answer.json["role"]) == ("vera", "viewer")


def test_a_session_that_was_begun_over_tls_is_never_sent_without(nobody: Browsing) -> None:
    here = f"127.0.0.1:{nobody.served.port}"
    token = {"token": TOKENS["vera"][1]}
    plain = nobody.ask("POST", "/ui/login", token)
    assert "Secure" not in plain.headers["set-cookie"]
    proxied = nobody.ask(
        "POST", "/ui/login", token, Origin=f"https://{here}", Sec_Fetch_Site="same-origin"
    )
    assert proxied.headers["set-cookie"].endswith("; Secure")


def test_whoever_logs_out_is_out_also_with_a_copy_of_the_cookie(served: Served) -> None:
    browsing = Browsing(served).log_in("vera")
    assert browsing.ask("GET", "/ui/fleet").status == 200
    assert "Max-Age=0" in browsing.ask("POST", "/ui/logout", {}).headers["set-cookie"]
    assert browsing.ask("GET", "/ui/fleet").status == 401


def test_a_token_of_a_node_opens_no_dashboard(served: Served) -> None:
    token = mint_node_token(SECRET, "node-1")
    browsing = Browsing(served)
    assert browsing.ask("POST", "/ui/login", {"token": token}).status == 403
    assert browsing.ask("GET", "/ui/fleet", Authorization=f"Bearer {token}").status == 403


def test_programs_may_read_views_with_their_token(nobody: Browsing) -> None:
    token = TOKENS["vera"][1]
    assert nobody.ask("GET", "/ui/fleet", Authorization=f"Bearer {token}").status == 200
    assert nobody.ask("GET", "/ui/fleet", Authorization="Bearer wrong").status == 401


def test_a_login_needs_json_of_a_modest_size(nobody: Browsing) -> None:
    assert nobody.ask("POST", "/ui/login", ["token"]).status == 400
    form = nobody.ask("POST", "/ui/login", {"token": "x"}, Content_Type="text/plain")
    assert form.status == 400
    assert nobody.ask("POST", "/ui/login", {"token": "x" * 20_000}).status == 429


# --- acting --------------------------------------------------------------------------------------


def test_an_operator_acts_with_the_session_and_the_journal_knows_who_and_why(
    olaf: Browsing,
) -> None:
    olaf.served.register("node-1")
    answer = olaf.ask("POST", CALL + "IssueCommand", CORDON)
    assert answer.status == 200, answer.body
    facts = olaf.ask("GET", "/ui/events?kind=intent_changed").json["events"]
    assert facts[0]["because"] == "cordon by olaf: looks odd"
    assert facts[0]["pages"] == ["nodes"]


def test_a_viewer_cannot_act(vera: Browsing) -> None:
    for method, body in (("IssueCommand", CORDON), ("ScalePool", {}), ("ClearHealth", {})):
        answer = vera.ask("POST", CALL + method, body)
        assert (answer.status, answer.json["code"]) == (403, "permission_denied"), method
    assert vera.ask("POST", CALL + "ListPools", {}).status == 200


def test_a_session_alone_changes_nothing(olaf: Browsing) -> None:
    for headers in ({"X_Navarch_CSRF": None}, {"X_Navarch_CSRF": "0" * 64}):
        answer = olaf.ask("POST", CALL + "IssueCommand", CORDON, **headers)
        assert (answer.status, answer.json["code"]) == (403, "permission_denied")
    assert olaf.ask("POST", "/ui/logout", {}, X_Navarch_CSRF=None).status == 403
    assert olaf.ask("GET", "/ui/fleet").status == 200, "still logged in"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_a_page_of_another_origin_cannot_act_even_with_all_codes(
    olaf: Browsing, headers: dict[str, str]
) -> None:
    for path in (CALL + "IssueCommand", CALL + "Heartbeat", "/ui/login", "/ui/logout"):
        answer = olaf.ask("POST", path, CORDON, **headers)
        assert (answer.status, answer.json["code"]) == (403, "permission_denied"), path


def test_a_page_of_another_origin_reads_nothing(olaf: Browsing) -> None:
    for path in ("/ui/fleet", "/ui/stream", "/ui/me", "/metrics"):
        answer = olaf.ask("GET", path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")
        assert answer.status == 403, path


def test_an_open_control_plane_needs_no_login_and_still_no_stranger_acts(
    open_to_all: Browsing,
) -> None:
    open_to_all.served.register("node-1")
    assert open_to_all.ask("GET", "/ui/me").json["open"] is True
    assert open_to_all.ask("POST", CALL + "IssueCommand", CORDON).status == 200
    here = f"evil.example:{open_to_all.served.port}"
    for path in (CALL + "IssueCommand", CALL + "Heartbeat", CALL + "ListNodes"):
        for headers in (
            {"Origin": "http://evil.example"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Host": here, "Origin": f"http://{here}"},
        ):
            assert open_to_all.ask("POST", path, CORDON, **headers).status == 403, (path, headers)
    for path in ("/", "/ui/fleet", "/ui/me", "/ui/stream", "/metrics"):
        assert open_to_all.ask("GET", path, Host=here).status == 403, path


# --- the stream ----------------------------------------------------------------------------------


def test_a_stream_begins_with_who_looks_and_ends_with_the_session(served: Served) -> None:
    browsing = Browsing(served).log_in("ada")
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as line:
        ask = "GET /ui/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        ask += f"Cookie: {browsing.cookie}\r\n\r\n"
        line.sendall(ask.encode())
        reading = line.makefile("rb")
        hello = _message(reading, "hello")
        assert (hello["name"], hello["role"]) == ("ada", "admin")
        assert hello["standing"]["role"] == "leader"
        served.register("node-of-a-stream")
        rows = _message(reading, "nodes")["rows"]
        assert [(row["id"], row["state"]) for row in rows] == [("node-of-a-stream", "active")]
        browsing.ask("POST", "/ui/logout", {})
        served.register("node-that-nobody-sees")
        assert b"node-that-nobody-sees" not in reading.read()


def _message(reading: Any, kind: str) -> Any:  # noqa: ANN401 - what stands in a message
    while line := reading.readline():
        if line == f"event: {kind}\n".encode():
            return json.loads(reading.readline().removeprefix(b"data: "))
    raise AssertionError(f"the stream has ended without {kind}")


def test_nobody_has_more_than_so_many_streams(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("navarch.dashboard.stream.VIEWERS_OF_ONE_MAX", 1)
    browsing = Browsing(served).log_in("ada")
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as line:
        ask = "GET /ui/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        ask += f"Cookie: {browsing.cookie}\r\n\r\n"
        line.sendall(ask.encode())
        _message(line.makefile("rb"), "hello")
        answer = browsing.ask("GET", "/ui/stream")
        assert (answer.status, answer.json["code"]) == (429, "resource_exhausted")


# --- last, for it spends what this address may try -----------------------------------------------


def test_guesses_are_limited_and_who_is_in_stays_in(served: Served) -> None:
    browsing = Browsing(served).log_in("vera")
    guessing = Browsing(served)
    codes = [guessing.ask("POST", "/ui/login", {"token": "guess"}).status for _ in range(12)]
    assert codes[-1] == 429
    assert browsing.ask("GET", "/ui/fleet").status == 200
