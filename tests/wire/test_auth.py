"""Who may call what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.errors import ConfigError, WireError
from navarch.wire import auth
from navarch.wire.auth import Authenticator, Principal, Role, StaticToken
from navarch.wire.generated import navarch_pb2 as pb

SECRET = b"0123456789abcdef"
SERVICE = pb.DESCRIPTOR.services_by_name["ControlPlaneService"]
TOKENS = [
    StaticToken("ops", Role.OPERATOR, "ops-token"),
    StaticToken("eyes", Role.VIEWER, "eyes-token"),
]

node_ids = st.text(
    alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/-",
    min_size=1,
    max_size=253,
)


def code_of(call: object, *args: object) -> str:
    with pytest.raises(WireError) as caught:
        call(*args)  # type: ignore[operator]  # a method under test
    return caught.value.code


def test_every_method_has_an_access_rule_and_every_rule_a_method() -> None:
    assert set(auth.ACCESS) == {method.name for method in SERVICE.methods}


def test_every_method_for_nodes_names_the_node() -> None:
    for method in SERVICE.methods:
        if auth.ACCESS[method.name].node:
            assert "node_id" in method.input_type.fields_by_name, method.name


def test_nodes_may_do_only_what_nodes_do() -> None:
    node = Principal("n1", Role.NODE, node_id="n1")
    allowed = {method for method, access in auth.ACCESS.items() if access.node}
    for method in auth.ACCESS:
        if method in allowed:
            auth.check_access(node, method)
        else:
            assert code_of(auth.check_access, node, method) == "permission_denied"
    assert allowed == {
        *("RegisterNode", "Heartbeat", "SendHeartbeat", "ReportHealth"),
        *("PollCommands", "GetNodeCommands", "AckCommand"),
    }


def test_viewers_read_and_operators_change() -> None:
    viewer, operator = Principal("v", Role.VIEWER), Principal("o", Role.OPERATOR)
    auth.check_access(viewer, "ListNodes")
    auth.check_access(viewer, "WatchEvents")
    for method in ("IssueCommand", "ScalePool", "PausePool", "HeartbeatBatch", "Heartbeat"):
        assert code_of(auth.check_access, viewer, method) == "permission_denied"
        auth.check_access(operator, method)


def test_only_administrators_configure() -> None:
    operator, admin = Principal("o", Role.OPERATOR), Principal("a", Role.ADMIN)
    assert code_of(auth.check_access, operator, "ApplyConfig") == "permission_denied"
    auth.check_access(admin, "ApplyConfig")


def test_a_method_without_a_rule_is_closed_to_all() -> None:
    assert code_of(auth.check_access, Principal("a", Role.ADMIN), "Nope") == "permission_denied"


def test_a_token_tells_who_calls() -> None:
    authenticator = Authenticator(TOKENS)
    assert authenticator.authenticate("Bearer ops-token") == Principal("ops", Role.OPERATOR)
    assert authenticator.authenticate("bearer  eyes-token ") == Principal("eyes", Role.VIEWER)


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "ops-token", "Basic b3BzOg==", "Bearer ops-toke", "Bearer x y"],
)
def test_anything_else_is_unauthenticated(header: str | None) -> None:
    assert code_of(Authenticator(TOKENS).authenticate, header) == "unauthenticated"


def test_without_tokens_everybody_is_admin_but_a_wrong_token_is_refused() -> None:
    authenticator = Authenticator()
    assert authenticator.open
    assert authenticator.authenticate(None).role is Role.ADMIN
    assert code_of(authenticator.authenticate, "Bearer something") == "unauthenticated"


def test_node_tokens_work_beside_open_access_and_stay_bound() -> None:
    authenticator = Authenticator(fleet_secret=SECRET)
    token = auth.mint_node_token(SECRET, "n1")
    assert authenticator.open
    assert authenticator.authenticate(f"Bearer {token}") == Principal("n1", Role.NODE, "n1")


@given(node_ids)
def test_a_node_token_names_its_node(node_id: str) -> None:
    assert auth.verify_node_token(SECRET, auth.mint_node_token(SECRET, node_id)) == node_id


@given(node_ids, node_ids)
def test_a_node_token_works_for_no_other_node(one: str, other: str) -> None:
    prefix, name, code = auth.mint_node_token(SECRET, one).split(".")
    _, other_name, _ = auth.mint_node_token(SECRET, other).split(".")
    forged = auth.verify_node_token(SECRET, f"{prefix}.{other_name}.{code}")
    assert (forged == other) == (one == other)
    assert auth.verify_node_token(b"another secret of ours", f"{prefix}.{name}.{code}") is None


@given(st.text() | st.text().map(lambda tail: f"nvn1.{tail}"))
def test_junk_is_no_node_token(token: str) -> None:
    assert auth.verify_node_token(SECRET, token) is None


def test_a_node_token_has_one_spelling() -> None:
    token = auth.mint_node_token(SECRET, "n1")
    prefix, name, code = token.split(".")
    for other in (f"{prefix}.{name}=.{code}", f"{prefix}.{name}.{code.upper()}", f"{token}."):
        assert auth.verify_node_token(SECRET, other) is None


def test_a_principal_speaks_for_itself() -> None:
    Principal("n1", Role.NODE, "n1").check_speaks_for("n1")
    Principal("ops", Role.OPERATOR).check_speaks_for("n1")
    node = Principal("n1", Role.NODE, "n1")
    assert code_of(node.check_speaks_for, "n2") == "permission_denied"
    assert code_of(node.check_speaks_for, "") == "permission_denied"


@pytest.mark.parametrize(
    "tokens, message",
    [
        ([StaticToken("a", Role.ADMIN, "")], "the token of 'a' is empty or not plain ASCII"),
        ([StaticToken("a", Role.ADMIN, "é")], "the token of 'a' is empty or not plain ASCII"),
        ([StaticToken("a", Role.NODE, "x")], "the token of 'a': nodes get tokens of their own"),
        (
            [StaticToken("a", Role.ADMIN, "x"), StaticToken("b", Role.VIEWER, "x")],
            "'a' and 'b' have the same token",
        ),
    ],
)
def test_unusable_tokens_are_refused_at_the_start(tokens: list[StaticToken], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Authenticator(tokens)
    assert str(caught.value) == message


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ConfigError, match="15 bytes; at least 16"):
        Authenticator(fleet_secret=b"x" * 15)
    with pytest.raises(ConfigError, match="0 bytes"):
        auth.mint_node_token(b"", "n1")


def test_a_token_does_not_show_itself() -> None:
    assert repr(TOKENS[0]) == "StaticToken(name='ops', role=OPERATOR)"


# --- known again -----------------------------------------------------------------------------


def test_whoever_was_verified_is_known_again_by_the_same_header() -> None:
    checks = Authenticator([StaticToken("root", Role.ADMIN, "secret-token")], SECRET)
    node = f"Bearer {auth.mint_node_token(SECRET, 'n1')}"
    for header in ("Bearer secret-token", node, "bearer  secret-token "):
        known = checks.authenticate(header)
        assert checks.recall(header.encode()) == known
        assert checks.recall(header.encode()) is checks.recall(header.encode())


@pytest.mark.parametrize(
    "header", [None, b"", b"Bearer", b"Bearer wrong", b"Basic secret-token", b"Bearer \xff"]
)
def test_whoever_was_refused_is_not_known(header: bytes | None) -> None:
    checks = Authenticator([StaticToken("root", Role.ADMIN, "secret-token")], SECRET)
    assert checks.recall(header) is None
    assert checks.recall(header) is None
    assert Authenticator().recall(None) == Authenticator().authenticate(None)


def test_a_bounded_number_of_headers_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "RECALLED_MAX", 2)
    checks = Authenticator([], SECRET)
    headers = [f"Bearer {auth.mint_node_token(SECRET, f'n{n}')}".encode() for n in range(5)]
    for header in headers:
        assert checks.recall(header) == checks.recall(header)
        assert len(checks._recalled) <= 2  # noqa: SLF001 - what it holds in mind


def test_keys_of_node_tokens_are_told_apart_by_marks_that_say_nothing_of_them() -> None:
    mark = Authenticator(fleet_secret=SECRET).node_key
    assert mark == Authenticator(fleet_secret=SECRET).node_key
    assert mark != Authenticator(fleet_secret=SECRET + b"!").node_key
    assert len(mark) == 8
    assert Authenticator().node_key == ""
