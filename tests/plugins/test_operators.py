"""Plugins at run time: listed, switched and traced by calls and by pages, also after a restart."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import pytest

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.plugin_host import PluginHost
from navarch.controlplane.server_config import ServerConfig
from navarch.controlplane.service import Service
from navarch.controlplane.serving import ServingParts
from navarch.core import requests
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet, PluginSetting
from navarch.errors import ConfigError, WireError
from navarch.plugins.calls import About, Failed
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Registry
from navarch.plugins.traces import FAILURES_MAX
from navarch.stores.memory import MemoryStore
from navarch.wire.asgi import Application, Readiness
from navarch.wire.auth import Authenticator, Role, StaticToken, mint_node_token
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.generated.navarch_connect import ControlPlaneService
from navarch.wire.pages import Pages
from navarch.wiring import health, logs
from plugins.foreign import InZone, Polite, PreferSsd
from wiring.foreign import Steady as SteadyNodes

T = TypeVar("T")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SCHEDULER = PluginKind.SCHEDULER
SECRET = b"0123456789abcdef"
ABOUT = About(SCHEDULER, "prefer-ssd", "filter", "default/chat", "pod-1")


def a_registry() -> Registry:
    held = Registry()
    held.register(SCHEDULER, PreferSsd)
    held.register(SCHEDULER, InZone)
    held.register(PluginKind.GUARDRAIL, Polite)
    held.register(PluginKind.AUTOSCALER, SteadyNodes)
    return held


def a_plane(held: Registry, store: MemoryStore | None = None) -> ControlPlane:
    return ControlPlane(
        ServerConfig(clock=FakeClock(NOW)), store, serving=ServingParts(plugins=held)
    )


def served(call: Callable[[ControlPlane, Service], Awaitable[T]]) -> T:
    async def story() -> T:
        async with a_plane(a_registry()) as plane:
            return await call(plane, Service(plane.runtime, plugins=plane.plugins))

    return asyncio.run(story())


async def put(service: Service, kind: str, name: str, **wish: Any) -> pb.PluginInfo:  # noqa: ANN401
    request = pb.SetPluginRequest(kind=kind, name=name, reason="a test", **wish)
    return (await service.set_plugin(request, None)).plugin


# --- calls -----------------------------------------------------------------------------------


def test_plugins_are_listed_by_kind_with_what_they_did() -> None:
    async def call(plane: ControlPlane, service: Service) -> list[pb.PluginInfo]:
        plane.plugins.calls.call(ABOUT, lambda: True)
        plane.plugins.shadows.compare(ABOUT, "gpu-1", "gpu-2")
        return list((await service.list_plugins(pb.ListPluginsRequest(), None)).plugins)

    listed = served(call)
    assert [(each.kind, each.name) for each in listed] == [
        ("pool-autoscaler", "steady"),
        ("scheduler", "in-zone"),
        ("scheduler", "prefer-ssd"),
        ("guardrail", "polite"),
    ]
    ssd = listed[2]
    assert ssd.disagreements == 1
    assert (ssd.calls, ssd.version, ssd.enabled, ssd.origin) == (1, "1.2", True, "registered")
    assert listed[1].broken == "it has to be configured: its config is needed"
    assert (listed[1].last_failure, ssd.broken, ssd.isolated, ssd.because) == ("", "", "", "")


def test_what_operators_decide_holds_at_once_and_after_a_restart() -> None:
    async def story() -> None:
        store = MemoryStore()
        async with a_plane(a_registry(), store) as plane:
            service = Service(plane.runtime, plugins=plane.plugins)
            shown = await put(service, "guardrails", "polite", enabled=False, priority=7)
            assert (shown.enabled, shown.priority) == (False, 7)
            assert shown.because == "changed by an operator: a test"
            assert plane.plugins.registry.plugins(PluginKind.GUARDRAIL) == ()
            await put(service, "scheduler", "prefer-ssd", shadow=True)
        async with a_plane(a_registry(), store) as plane:
            held = plane.plugins.registry
            assert held.plugins(PluginKind.GUARDRAIL) == ()
            assert len(held.shadows(SCHEDULER)) == 1
            plane.plugins.calls.call(ABOUT, lambda: True)
            assert plane.plugins.calls.traces(SCHEDULER)[0].shadow
            service = Service(plane.runtime, plugins=plane.plugins)
            await put(service, "guardrail", "polite", enabled=True)
            assert len(held.guardrails) == 1
            polite = held.find(PluginKind.GUARDRAIL, "polite")
            assert polite is not None
            assert polite.because == "changed by an operator: a test"

    asyncio.run(story())


@pytest.mark.parametrize(
    "kind,name,wish,code,expected",
    [
        ("scheduler", "nobody", {"enabled": True}, "not_found", "no scheduler is called nobody"),
        ("schedule", "polite", {"enabled": True}, "invalid_argument", "no such kind of plugin"),
        ("guardrail", "polite", {}, "invalid_argument", "enabled: is required, or priority"),
        ("guardrail", "", {"enabled": True}, "invalid_argument", "name: is required"),
        ("guardrail", "polite", {"priority": 1_000_001}, "invalid_argument", "priority: 1000001"),
        ("scheduler", "in-zone", {"enabled": True}, "failed_precondition", "has to be configured"),
        ("pool-autoscaler", "steady", {"enabled": False}, "failed_precondition", "is what the"),
    ],
)
def test_a_wish_that_cannot_be_is_refused(
    kind: str, name: str, wish: dict[str, object], code: str, expected: str
) -> None:
    async def call(plane: ControlPlane, service: Service) -> WireError:
        with pytest.raises(WireError) as caught:
            await put(service, kind, name, **wish)
        assert plane.runtime.machine.fleet.plugins == {}
        return caught.value

    refused = served(call)
    assert refused.code == code
    assert expected in refused.message


def test_traces_are_shown_by_kind_and_pool() -> None:
    async def call(plane: ControlPlane, service: Service) -> list[list[pb.PluginTrace]]:
        plane.plugins.calls.call(ABOUT, lambda: True)
        plane.plugins.calls.call(About(SCHEDULER, "prefer-ssd", "score", "default/code"), lambda: 7)
        asked = [
            pb.ListPluginTracesRequest(kind="scheduler"),
            pb.ListPluginTracesRequest(pool="default/chat"),
            pb.ListPluginTracesRequest(kind="guardrail"),
            pb.ListPluginTracesRequest(limit=1),
        ]
        return [list((await service.list_plugin_traces(each, None)).traces) for each in asked]

    both, chat, none, newest = served(call)
    assert [each.point for each in both] == ["filter", "score"]
    assert [each.verdict for each in chat] == ["true"]
    assert none == []
    assert [each.point for each in newest] == ["score"]


def test_a_plugin_that_is_switched_on_is_called_again_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, logger="navarch.plugins")

    async def call(plane: ControlPlane, service: Service) -> pb.PluginInfo:
        for _ in range(FAILURES_MAX):
            plane.plugins.calls.call(ABOUT, lambda: 1 / 0)
        isolated = (
            await service.list_plugins(pb.ListPluginsRequest(kind="scheduler"), None)
        ).plugins
        assert isinstance(plane.plugins.calls.call(ABOUT, lambda: 1), Failed)
        await put(service, "scheduler", "prefer-ssd", enabled=True)
        assert plane.plugins.calls.call(ABOUT, lambda: 1) == 1
        return isolated[1]

    told = served(call)
    assert told.isolated.startswith("until 00:00:30 UTC after 5 failures in a row")
    assert told.last_failure == "filter: ZeroDivisionError: division by zero"


# --- the fact --------------------------------------------------------------------------------


def test_only_what_is_different_becomes_a_fact() -> None:
    fleet = Fleet()
    fleet.plugins["guardrail/polite"] = PluginSetting("before", enabled=False, priority=7)
    wish = msg.SetPlugin("guardrail", "polite", enabled=False, priority=8, reason="later")
    because = "changed by an operator: later"
    changed = ev.PluginChanged(NOW, "guardrail", "polite", because, None, 8, None)
    assert requests.set_plugin(fleet, wish, NOW) == [changed]
    same = msg.SetPlugin("guardrail", "polite", enabled=False)
    assert requests.set_plugin(fleet, same, NOW) == ()


def test_no_more_plugins_are_remembered_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests, "PLUGINS_MAX", 1)
    fleet = Fleet()
    fleet.plugins["guardrail/polite"] = PluginSetting("before")
    refused = requests.set_plugin(fleet, msg.SetPlugin("guardrail", "new", enabled=True), NOW)
    assert isinstance(refused, msg.Refused)
    assert refused.code is msg.Refusal.RESOURCE_EXHAUSTED


# --- pages -----------------------------------------------------------------------------------


class Answer:
    """What a page answered."""

    def __init__(self, sent: list[dict[str, Any]]) -> None:
        start, body = sent
        self.status = start["status"]
        self.type = dict(start["headers"])[b"content-type"].decode()
        self.body = body["body"]

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the page holds
        return json.loads(self.body)


class Site:
    """An application with the pages of some plugins, asked without a socket."""

    def __init__(self, authenticator: Authenticator | None = None) -> None:
        self.host = PluginHost(a_registry(), FakeClock(NOW))
        pages = Pages()
        self.host.serve(pages)
        self.application = Application(
            cast("ControlPlaneService", None),  # no call is made
            authenticator=authenticator or Authenticator(),
            ready=lambda: Readiness(ready=True),
            pages=pages,
        )

    def get(self, path: str, token: str = "", method: str = "GET") -> Answer:
        sent: list[dict[str, Any]] = []
        path, _, query = path.partition("?")
        headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode("latin-1"),
            "headers": headers,
        }

        async def send(event: Any) -> None:  # noqa: ANN401 - as ASGI has it
            sent.append(dict(event))

        async def receive() -> Any:  # noqa: ANN401 - as ASGI has it
            raise AssertionError("a page reads no body")

        asyncio.run(self.application(scope, receive, send))
        return Answer(sent)


def test_the_documented_paths_show_plugins_and_their_calls() -> None:
    site = Site()
    site.host.calls.call(ABOUT, lambda: True)
    site.host.shadows.compare(ABOUT, 1, 2)
    names = [each["name"] for each in site.get("/debug/plugins").json["plugins"]]
    assert names == ["steady", "in-zone", "prefer-ssd", "polite"]
    (polite,) = site.get("/debug/plugins/guardrail").json["plugins"]
    assert (polite["kind"], polite["broken"]) == ("guardrail", "")
    (trace,) = site.get("/debug/plugins/scheduler/trace").json["traces"]
    assert (trace["plugin"], trace["outcome"], trace["verdict"]) == ("prefer-ssd", "ok", "true")
    assert site.get("/debug/plugins/scheduler/trace?pool=other&limit=5").json == {"traces": []}
    assert site.get("/debug/plugins/autoscaler/trace").json == {"traces": []}
    (differs,) = site.get("/debug/plugins/scheduler/shadow").json["disagreements"]
    assert (differs["effective"], differs["shadow"]) == ("1", "2")
    metrics = site.get("/metrics")
    assert metrics.type.startswith("text/plain; version=0.0.4")
    assert b'plugin_name="prefer-ssd",point="filter",le="+Inf"} 1\n' in metrics.body


@pytest.mark.parametrize(
    "path,status,expected",
    [
        ("/debug/plugins/nothing/trace", 400, "no such kind of plugin: 'nothing'"),
        ("/debug/plugins/scheduler/what", 404, "no such path"),
        ("/debug/plugins/scheduler/trace?limit=0", 400, "limit: '0' is not a whole number"),
        ("/debug/plugins/scheduler/trace?limit=99999999999999999999", 400, "limit: "),
        ("/debug/plugins/scheduler/trace?limit=x", 400, "limit: 'x' is not"),
        ("/debug/plugins?" + "a=b&" * 2000, 400, "the query has more than 4096 bytes"),
        ("/debug/plugins?" + "a=b&" * 20, 400, "the query cannot be read"),
        ("/debug/plugins?\xff", 400, "the query cannot be read"),
        ("/metrics/all", 404, "there is nothing below /metrics"),
        ("/debug", 404, "no such path: /debug"),
        ("/debug/pluginsx", 404, "no such path"),
    ],
)
def test_a_path_that_is_none_is_told(path: str, status: int, expected: str) -> None:
    answer = Site().get(path)
    assert answer.status == status
    assert expected in answer.json["message"]


@pytest.mark.parametrize("path", ["/debug/plugins", "/metrics"])
def test_pages_are_for_viewers_where_tokens_are_configured(path: str) -> None:
    site = Site(Authenticator([StaticToken("eyes", Role.VIEWER, "see")], SECRET))
    assert site.get(path).status == 401
    assert site.get(path, "wrong").status == 401
    assert site.get(path, mint_node_token(SECRET, "n1")).status == 403
    assert site.get(path, "see").status == 200
    assert site.get(path, "see", method="POST").status == 405
    assert site.application.refused == {
        "unauthenticated": 2,
        "permission_denied": 1,
        "http_method": 1,
    }


# --- health observers ------------------------------------------------------------------------


class Pager:
    """Hears of sick nodes, and may break."""

    def __init__(self, name: str, heard: list[str], *, breaks: bool = False) -> None:
        self.name = name
        self.heard = heard
        self.breaks = breaks

    async def on_node_unhealthy(self, node_id: str) -> None:
        if self.breaks:
            raise ConnectionError("no pager")
        self.heard.append(f"{self.name}: {node_id}")


def test_every_health_observer_hears_though_one_breaks(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    held = Registry()
    assert health.observers_of(held) is None
    for name, breaks in (("a", False), ("b", True), ("c", False)):
        held.register(PluginKind.HEALTH_OBSERVER, Pager(name, heard, breaks=breaks))
    observers = health.observers_of(held)
    assert observers is not None
    asyncio.run(observers.on_node_unhealthy("n1"))
    assert heard == ["a: n1", "c: n1"]
    assert "plugin_broke kind=health-observer plugin=b node=n1" in caplog.text


# --- logs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word,level", [("", logging.INFO), ("debug", logging.DEBUG), ("WARNING", logging.WARNING)]
)
def test_the_environment_says_how_much_is_logged(word: str, level: int) -> None:
    assert logs.level_of({"LOG_LEVEL": word}) == level


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        logs.level_of({"LOG_LEVEL": "loud"})
    assert str(caught.value) == ("LOG_LEVEL is 'loud', expected one of debug, info, warning, error")
