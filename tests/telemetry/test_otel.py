"""Spans, as a collector of OpenTelemetry gets them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest

from navarch.controlplane.clock import FakeClock, RealClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core.model.messages import ScalePool
from navarch.errors import ConfigError
from navarch.plugins.calls import About
from navarch.plugins.protocols import PluginKind
from navarch.plugins.traces import Traced
from navarch.providers.base import Instance, ProvisionRequest
from navarch.telemetry import tracing
from navarch.telemetry.log import Log
from navarch.wiring.traces import traced
from pools import MONDAY, TellingProvider, a_spec, run, until
from telemetry.collector import Collector, collecting

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(name="collector")
def _collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def environ_of(collector: Collector) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}


def at(collector: Collector) -> AbstractContextManager[None]:
    return traced("server", RealClock(), collector.url, {})


def test_spans_lie_in_one_another_and_say_what_they_are(collector: Collector) -> None:
    with at(collector):
        tracer = tracing.active
        assert tracer is not None
        outside = tracer.from_headers({"traceparent": PARENT, "tracestate": "a=b"})
        with tracer.span("rpc GetNode", {"rpc.method": "GetNode"}, kind="server", within=outside):
            here = tracing.here()
            tracer.past("plugin scheduler.filter", {"plugin": "p"}, seconds=1.5)
            with tracing.span("a", {"seq": 3}) as span:
                span.set(pool="x")
                span.fail("no: token=hunter2hunter2")
        with pytest.raises(ValueError, match="broke"), tracing.span("b", {}):
            raise ValueError("broke")
        with tracer.span("c", {}, within=here, links=[outside]):
            assert tracing.here() is not None
        assert tracing.here() is None
    rpc, past, a, b, c = (
        collector.named(name)[0]
        for name in ("rpc GetNode", "plugin scheduler.filter", "a", "b", "c")
    )
    assert (rpc.trace, rpc.parent, rpc.kind) == (PARENT[3:35], PARENT[36:52], "server")
    assert (past.parent, a.parent, c.parent, b.parent) == (rpc.id, rpc.id, rpc.id, "")
    assert past.seconds == pytest.approx(1.5, abs=0.001)
    assert a.attributes == {"navarch.seq": 3, "navarch.pool": "x"}
    assert (a.failed, b.failed, c.failed) == ("no: token=***", "ValueError: broke", None)
    assert c.links == (PARENT[36:52],)
    assert collector.resource["service.name"] == "navarch-server"


@pytest.mark.parametrize("parent", ["", "x", PARENT.replace("0af7", "zzzz"), "00-" + "0" * 51])
def test_a_traceparent_that_is_none_begins_a_trace_of_our_own(
    collector: Collector, parent: str
) -> None:
    with at(collector):
        assert tracing.active is not None
        assert tracing.active.from_headers({"traceparent": parent}) is None


def test_a_log_line_names_its_span(collector: Collector) -> None:
    import json
    import logging

    from navarch.telemetry import formats
    from navarch.telemetry.log import Event

    form = formats.formatter("json", {})
    entry = logging.LogRecord("x", 20, "", 0, Event("node_lost", {}), None, None)
    with at(collector):
        outside = json.loads(form.format(entry))
        with tracing.span("a", {}):
            inside = json.loads(form.format(entry))
    (span,) = collector.named("a")
    assert "trace_id" not in outside
    assert (inside["trace_id"], inside["span_id"]) == (span.trace, span.id)


# --- one decision, from the wish to the journal ------------------------------------------------


class Logging(TellingProvider):
    """A provider that logs, as libraries do, and whose calls take a moment."""

    async def provision(self, request: ProvisionRequest) -> Instance:
        Log("navarch.test").warning("asked_of_the_cloud", name=request.name)
        return await super().provision(request)


def test_a_scale_up_is_one_trace_and_one_number_in_the_log(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock(MONDAY)

    async def story() -> None:
        plane = ControlPlane(ServerConfig(clock=clock))
        plane.register_provider(Logging("fake", clock), "fake")
        async with plane:
            await plane.configure_pools([a_spec(min_nodes=0, max_nodes=4)])
            tracer = tracing.active
            assert tracer is not None
            wish = tracer.from_headers({"traceparent": PARENT})
            with tracer.span("rpc ScalePool", {}, kind="server", within=wish):
                await plane.runtime.ask(ScalePool(a_spec().name, 1, "a test"))
            await until(
                lambda: any(each.ref for each in plane.runtime.machine.fleet.instances.values())
            )

    with caplog.at_level("INFO"), at(collector):
        run(story())
    (launch,) = collector.named("provider.provision")
    ours = [each for each in collector.spans if each.trace == PARENT[3:35]]
    by_id = {each.id: each for each in ours}
    decisions = [each for each in ours if each.name == "decide"]
    commits = [each for each in ours if each.name == "journal.commit"]
    wished, learned = sorted(decisions, key=lambda each: each.attributes["navarch.seq"])
    (rpc,) = [each for each in ours if each.name == "rpc ScalePool"]
    assert (wished.parent, launch.parent, learned.parent) == (rpc.id, wished.id, launch.id)
    assert "launch_requested" in wished.attributes["navarch.kinds"]
    assert "instance_launched" in learned.attributes["navarch.kinds"]
    assert {by_id[each.parent].name for each in commits} == {"decide"}
    assert [each.attributes["navarch.seq"] for each in commits] == [
        by_id[each.parent].attributes["navarch.seq"] for each in commits
    ]
    assert launch.kind == "client"
    seq = launch.attributes["navarch.seq"]
    assert wished.attributes["navarch.first_seq"] <= seq <= wished.attributes["navarch.seq"]
    assert launch.attributes["navarch.provider"] == "fake"
    assert launch.attributes["navarch.pool"] == a_spec().name
    told = [each.getMessage() for each in caplog.records]
    (_,) = [each for each in told if f"seq={seq} kind=launch_requested" in each]
    (performed,) = [each for each in told if each.startswith("effect_performed")]
    (library,) = [each for each in told if each.startswith("asked_of_the_cloud")]
    assert f"seq={seq} call=provision" in performed
    assert f"seq={seq} " in library


def test_a_plugin_s_call_is_a_span_where_it_was_made(collector: Collector) -> None:
    def fail() -> bool:
        raise ValueError("no such thing")

    traces = Traced(RealClock().now, lambda: 0.0)
    about = About(PluginKind.SCHEDULER, "fit", "filter", pool="agents/chat")
    with at(collector), tracing.span("serving.turn", {"seq": 7}):
        assert traces.call(about, lambda: True) is True
        traces.call(about, fail)
    (turn,) = collector.named("serving.turn")
    good, bad = collector.named("plugin scheduler.filter")
    assert good.attributes == {
        "navarch.kind": "scheduler",
        "navarch.plugin": "fit",
        "navarch.point": "filter",
        "navarch.pool": "agents/chat",
    }
    assert (good.parent, bad.parent) == (turn.id, turn.id)
    assert (good.failed, bad.failed) == (None, "ValueError: no such thing")


# --- on and off -----------------------------------------------------------------------------------


def test_what_is_off_is_not_imported() -> None:
    code = (
        "import sys, navarch.wiring, navarch.wiring.running, navarch.wiring.traces\n"
        "from navarch.controlplane.clock import RealClock\n"
        "from navarch.telemetry import tracing\n"
        "off = {'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://x', 'OTEL_SDK_DISABLED': 'true'}\n"
        "for environ in ({}, off):\n"
        "    with navarch.wiring.traces.traced('up', RealClock(), '', environ):\n"
        "        assert tracing.active is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] == "opentelemetry" or name == "navarch.telemetry.otel":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    from navarch import telemetry

    monkeypatch.delattr(telemetry, "otel", raising=False)


def test_without_the_extra_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_opentelemetry(monkeypatch)
    with pytest.raises(ConfigError) as caught, traced("server", RealClock(), "http://c:4318", {}):
        pass
    assert str(caught.value) == (
        "server.traces.endpoint: traces need OpenTelemetry, which is not installed: "
        "pip install 'navarch[otel]'"
    )
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}
    with traced("server", RealClock(), "", environ):
        assert tracing.active is None
    (told,) = caplog.records
    assert told.getMessage().startswith("traces_unavailable variable=OTEL_EXPORTER_OTLP_ENDPOINT ")
    assert "pip install 'navarch[otel]'" in told.getMessage()


def test_the_environment_overrules_the_configuration(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "fleet-east")
    environ = {**environ_of(collector), "OTEL_SERVICE_NAME": "fleet-east"}
    with traced("server", RealClock(), "http://127.0.0.1:9", environ), tracing.span("a", {}):
        assert tracing.here() is not None
    assert tracing.here() is None
    assert [each.name for each in collector.spans] == ["a"]
    assert collector.resource["service.name"] == "fleet-east"


def test_a_collector_that_is_away_does_not_hold_up_the_end() -> None:
    loop = asyncio.new_event_loop()
    began = loop.time()
    with traced("server", RealClock(), "http://127.0.0.1:9", {}):
        for _ in range(1_500):  # three batches
            with tracing.span("a", {}):
                assert tracing.active is not None
    took = loop.time() - began
    loop.close()
    assert took < timedelta(seconds=6).total_seconds()


def test_no_secret_gets_into_a_span(collector: Collector) -> None:
    secret = "S3cr3tW0rdOfTheHouse"
    with at(collector):
        with tracing.span("a", {"error": f"Bearer {secret}", "url": f"http://a:{secret}@b"}) as one:
            one.set(text=f"password={secret}")
        with pytest.raises(RuntimeError), tracing.span("b", {}):
            raise RuntimeError(f"x-api-key: {secret}")
    assert len(collector.spans) == 2
    assert secret.encode() not in collector.raw
