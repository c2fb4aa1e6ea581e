"""The built-in metrics providers of agents, one by one; Prometheus against scripted answers."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_demands import a_pool
from factories import at
from http_double import Asked, serving
from navarch.core.model.gpu import GPUSample, NodeSample
from navarch.core.model.replica import Replica, ReplicaState
from navarch.core.model.resources import AgentPool, ObjectMeta
from navarch.core.scaling.base import Quality, Reading
from navarch.errors import ConfigError
from navarch.plugins.protocols import MetricsProviderPlugin
from navarch.plugins.signals import (
    BUILT_IN,
    GatewayMetricsProvider,
    PrometheusMetricsProvider,
    PushedSample,
    StaticMetricsProvider,
    StoreMetricsProvider,
    gateway,
    gpu_load,
)
from navarch.plugins.signals.base import SampleProvider
from navarch.plugins.signals.prometheus import escaped

POOL = a_pool()


def read(provider: SampleProvider, *metrics: str) -> dict[str, Reading]:
    return dict(asyncio.run(provider.get_samples(POOL, metrics)))


# --- static ----------------------------------------------------------------------------------


def test_static_values_of_a_pool_count_before_those_of_all() -> None:
    provider = StaticMetricsProvider(
        values={"queueDepth": 3, "ttft": 0.5}, pools={"chat": {"queue_depth": 9}, "x/y": {"rps": 1}}
    )
    found = read(provider, "queue_depth", "ttft-p95", "tool-call-rate")
    assert {name: sample.value for name, sample in found.items()} == {
        "queue-depth": 9,
        "ttft-p95": 0.5,
    }
    assert provider.list_metrics() == ["queue-depth", "requests-per-second", "ttft-p95"]


def test_a_static_value_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"values\.queue_depth: -1 cannot be"):
        StaticMetricsProvider(values={"queue_depth": -1})


def test_every_provider_has_the_documents_form_too() -> None:
    made = [
        GatewayMetricsProvider(),
        StoreMetricsProvider(lambda _: {}),
        PrometheusMetricsProvider("http://127.0.0.1:9"),
        StaticMetricsProvider(),
    ]
    assert {type(one) for one in made} == set(BUILT_IN)
    assert all(isinstance(one, MetricsProviderPlugin) for one in made)
    static = StaticMetricsProvider(values={"queue_depth": 3})
    assert asyncio.run(static.get_metric(POOL, "queueDepth")) == 3
    with pytest.raises(LookupError, match="static: ttft-p95 of default/chat: there is none"):
        asyncio.run(static.get_metric(POOL, "ttft"))


# --- pushed ----------------------------------------------------------------------------------


def pushed(*samples: PushedSample) -> Reading:
    provider = GatewayMetricsProvider()
    assert provider.push(samples, at()).accepted == len(samples)
    [found] = read(provider, samples[0].metric).values()
    return found


def test_values_of_several_sources_become_one_by_the_rule_of_the_signal() -> None:
    depth = [PushedSample("chat", "queue_depth", n, source=f"gw-{n}") for n in (1, 2, 6)]
    assert pushed(*depth).value == 9
    delay = [PushedSample("default/chat", "ttft", n, source=f"gw-{n}") for n in (1, 2, 6)]
    assert pushed(*delay).value == 6


def test_the_newest_of_one_source_counts_whatever_the_order() -> None:
    late = PushedSample("chat", "queue_depth", 5, at(seconds=-1), "gw")
    early = PushedSample("chat", "queue_depth", 9, at(seconds=-2), "gw")
    assert pushed(late, early) == Reading(5, "requests", at(seconds=-1), source="gw")


def test_a_sample_from_the_future_counts_as_of_now() -> None:
    found = pushed(PushedSample("chat", "queue_depth", 5, at(hours=1)))
    assert found == Reading(5, "requests", at(), source="gateway")


def test_a_sum_is_as_old_as_its_oldest_part_until_that_source_is_forgotten() -> None:
    provider = GatewayMetricsProvider(forget_after_seconds=300)
    provider.push([PushedSample("chat", "queue_depth", 5, source="a")], at())
    for second in (100, 200, 300):
        provider.push([PushedSample("chat", "queue_depth", 1, source="b")], at(seconds=second))
    [found] = read(provider, "queue_depth").values()
    assert (found.value, found.observed_at, found.source) == (6, at(), "2 sources, the oldest a")
    provider.push([PushedSample("chat", "queue_depth", 1, source="b")], at(seconds=301))
    [found] = read(provider, "queue_depth").values()
    assert (found.value, found.observed_at) == (1, at(seconds=301))


@pytest.mark.parametrize(
    "sample,words",
    [
        (PushedSample("", "queue_depth", 5), "expected a pool and a metric"),
        (PushedSample("chat", "", 5), "expected a pool and a metric"),
        (PushedSample("chat", "x" * 300, 5), "short names"),
        (PushedSample("chat", "queue_depth", math.nan), "queue-depth of default/chat: nan cannot"),
        (PushedSample("chat", "gpu_utilization", 130), "130 cannot be, at most 100.5"),
        (PushedSample("chat", "queue_depth", 5, at(hours=-1)), "3600 s old"),
    ],
)
def test_a_sample_that_cannot_be_is_refused_and_the_others_are_taken(
    sample: PushedSample, words: str
) -> None:
    provider = GatewayMetricsProvider()
    found = provider.push([sample, PushedSample("chat", "queue_depth", 7)], at())
    assert (found.accepted, found.pools) == (1, frozenset({"default/chat"}))
    assert words in found.refused[0]


def test_what_is_pushed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "POOLS_MAX", 2)
    provider = GatewayMetricsProvider()
    many = [PushedSample("chat", "queue_depth", 1, source=f"s{n}") for n in range(1002)]
    assert provider.push(many, at()).accepted == 1000
    assert "1000 sources already" in provider.push(many[-1:], at()).refused[0]
    names = [PushedSample("chat", f"m{n}", 1) for n in range(80)]
    assert provider.push(names, at()).accepted == 63
    two = [PushedSample("b", "m", 1), PushedSample("c", "m", 1)]
    assert provider.push(two, at()).refused == ("default/c: 2 pools already",)
    assert provider.push(two[1:], at(hours=1)).accepted == 1


def test_a_pool_can_be_forgotten() -> None:
    provider = GatewayMetricsProvider()
    provider.push([PushedSample("chat", "queue_depth", 5)], at())
    provider.forget("default/chat")
    assert read(provider, "queue_depth") == {}


texts = st.text(max_size=8) | st.sampled_from(["chat", "default/chat", "queue_depth", "x" * 300])


def _moved(by: Any) -> Any:  # noqa: ANN401 - a moment, as near to it as there are moments
    try:
        return at() + by
    except OverflowError:
        return at()


@given(
    st.lists(
        st.builds(
            PushedSample,
            texts,
            texts,
            st.floats(),
            st.none() | st.timedeltas().map(_moved),
            texts,
        ),
        max_size=20,
    )
)
def test_whatever_is_pushed_only_sane_values_come_out(samples: Sequence[PushedSample]) -> None:
    provider = GatewayMetricsProvider()
    answer = provider.push(samples, at())
    assert answer.accepted + len(answer.refused) >= min(len(samples), 10)
    for sample in samples:
        for found in read(provider, sample.metric).values():
            assert found.value >= 0
            assert found.observed_at is not None
            assert found.observed_at <= at()


# --- the store -------------------------------------------------------------------------------


def a_replica(
    node: str, gpus: tuple[int, ...], share: float = 1.0, *, ready: bool = True
) -> Replica:
    state = ReplicaState.READY if ready else ReplicaState.LOADING
    return Replica(
        f"r-{node}-{gpus}", "default/chat", at(), state, node_id=node, gpus=gpus, share=share
    )


NODES = {
    "n1": NodeSample(
        gpus=(GPUSample(0, utilization_percent=90), GPUSample(1, utilization_percent=30))
    ),
    "n2": NodeSample(gpus=(GPUSample(0, utilization_percent=10),)),
}


def test_the_load_is_that_of_the_gpus_that_serving_replicas_have() -> None:
    replicas = [a_replica("n1", (0,)), a_replica("n2", (0,)), a_replica("n1", (1,), ready=False)]
    heard = {"n1": at(seconds=-5), "n2": at(seconds=-9)}
    found = gpu_load(replicas, NODES.get, heard.get)
    assert found == Reading(50, "percent", at(seconds=-9), source="store")


def test_a_share_of_a_gpu_counts_for_as_much() -> None:
    replicas = [a_replica("n1", (0,), 0.25), a_replica("n2", (0,), 0.75)]
    assert gpu_load(replicas, NODES.get, lambda _: at()).value == 30


def test_a_node_that_told_nothing_makes_an_error_and_no_zero() -> None:
    found = gpu_load([a_replica("n1", (0,)), a_replica("n3", (0,))], NODES.get, lambda _: at())
    assert found.quality is Quality.ERROR
    assert found.detail == "1 of 2 serving replicas are on nodes that told nothing"
    assert gpu_load([], NODES.get, lambda _: at()).quality is Quality.ABSENT


def test_the_store_gives_what_it_is_given() -> None:
    provider = StoreMetricsProvider(
        lambda pool: {"gpu-utilization": Reading(40, "percent", source=pool.full_name)}
    )
    assert read(provider, "gpuUtilization", "ttft")["gpu-utilization"].source == "default/chat"
    assert provider.list_metrics() == ["gpu-utilization"]


# --- Prometheus ------------------------------------------------------------------------------


def vector(*series: tuple[dict[str, str], str]) -> str:
    result = [{"metric": labels, "value": [at().timestamp(), value]} for labels, value in series]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def timed(*values: str, age: float = 3) -> str:
    stamp = str(at(seconds=-age).timestamp())
    return vector(
        *(({"pod": f"p{n}", "navarch_part": "value"}, value) for n, value in enumerate(values)),
        *(({"pod": f"p{n}", "navarch_part": "time"}, stamp) for n in range(len(values))),
    )


def ask(
    script: Callable[[Asked], None],
    metric: str = "queue_depth",
    **settings: Any,  # noqa: ANN401 - whatever the provider takes
) -> tuple[Reading, str]:
    async def story(url: str) -> Reading:
        provider = PrometheusMetricsProvider(url, **settings)
        try:
            [found] = (await provider.get_samples(POOL, [metric])).values()
            return found
        finally:
            await provider.close()

    with serving(script) as web:
        found = asyncio.run(story(web.url))
        return found, web.asked[0].query["query"]


def test_the_documents_query_is_asked_and_series_become_one_by_the_rule() -> None:
    found, query = ask(lambda asked: asked.answer(timed("3", "4")))
    assert found == Reading(7, "requests", at(seconds=-3), source="prometheus")
    assert query.startswith('label_replace(neuronetes_queue_depth{pool="chat"}, "navarch_part"')
    assert 'timestamp(neuronetes_queue_depth{pool="chat"})' in query
    delay, _ = ask(lambda asked: asked.answer(timed("3", "4")), "ttft_p95")
    assert delay.value == 4


def test_an_expression_of_its_own_in_its_own_unit() -> None:
    found, query = ask(
        lambda asked: asked.answer(vector(({}, "250"))),
        "ttft",
        queries={"ttft_p95": 'ttft_ms{p="${pool}",ns="$namespace"}'},
        units={"ttft_p95": "ms"},
        sample_times=False,
    )
    assert found == Reading(0.25, "seconds", at(), source="prometheus")
    assert query == 'ttft_ms{p="chat",ns="default"}'


@pytest.mark.parametrize(
    "body,quality,words",
    [
        (vector(), Quality.ABSENT, "gives nothing"),
        (timed("NaN"), Quality.ABSENT, "gives nothing"),
        (timed("+Inf"), Quality.ERROR, "inf cannot be"),
        (timed("-1"), Quality.ERROR, "-1.0 cannot be"),
        (timed("soon"), Quality.ERROR, "'soon' is no number"),
        (vector(({}, "5")), Quality.ERROR, "values without times"),
        ('{"status": "error", "error": "too slow"}', Quality.ERROR, "too slow"),
        ("<html>", Quality.ERROR, "no answer of Prometheus"),
    ],
)
def test_what_is_no_value_says_why(body: str, quality: Quality, words: str) -> None:
    found, _ = ask(lambda asked: asked.answer(body))
    assert found.quality is quality
    assert words in found.detail


@pytest.mark.parametrize(
    "settings,words",
    [
        ({"template": "x{p='$pol'}"}, r"template: \$pol is not known, expected \$metric"),
        ({"queries": {"ttft": " "}}, "queries.ttft: is empty"),
        ({"units": {"ttft": "tokens"}}, "units.ttft: tokens cannot become seconds"),
        ({"credentials": {"tokn": "x"}}, "credentials: "),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(
    settings: Any,  # noqa: ANN401 - as for `ask`
    words: str,
) -> None:
    with pytest.raises(ConfigError, match=words):
        PrometheusMetricsProvider("http://127.0.0.1:9", **settings)


def test_a_name_cannot_break_out_of_its_quotes() -> None:
    provider = PrometheusMetricsProvider("http://127.0.0.1:9")
    pool = AgentPool(ObjectMeta('a"} or vector(1) #\\\n'))
    query = provider.query(pool, 'queue"depth')
    assert query == 'neuronetes_queue_depth{pool="a\\"} or vector(1) #\\\\\\n"}'


@given(st.text())
def test_an_escaped_text_reads_back_as_itself(text: str) -> None:
    written = escaped(text)
    assert "\n" not in written
    assert _unescaped(written) == text


def _unescaped(text: str) -> str:
    letters, out = iter(text), []
    for letter in letters:
        if letter == '"':
            raise AssertionError("a quote that nothing escapes")
        if letter == "\\":
            after = next(letters)
            out.append("\n" if after == "n" else after)
        else:
            out.append(letter)
    return "".join(out)
