"""The registry: who comes in, in which order, and what changes at run time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from navarch.core.model.fleet import PluginSetting
from navarch.errors import PluginError
from navarch.plugins import builtin, registering, registry
from navarch.plugins.candidates import Candidate
from navarch.plugins.kinds import KINDS, SERVING, kind_of, word_of
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Configured, Registry
from plugins.foreign import Carrier, InZone, Polite, PreferSsd, Reader, Steady
from wiring.foreign import Backwards, Rack, Tickets
from wiring.foreign import Steady as SteadyNodes

SCHEDULER = PluginKind.SCHEDULER


def variant(of: type, **attributes: object) -> Any:  # noqa: ANN401 - of whatever class
    return type("Variant", (of,), attributes)()


def refusal(kind: PluginKind, plugin: object) -> str:
    with pytest.raises(PluginError) as caught:
        Registry().register(kind, plugin)
    return str(caught.value)


def names(held: Registry, kind: PluginKind = SCHEDULER) -> list[str]:
    return [getattr(each, "name", "") for each in held.plugins(kind)]


# --- who comes in ----------------------------------------------------------------------------


class Observer:
    """Hears of sick nodes."""

    name = "pager"

    def on_node_unhealthy(self, node_id: str) -> None:
        raise RuntimeError(node_id)


class Telling:
    """A notifier that tells nobody."""

    name = "telling"

    async def cordon(self, node: object, reason: str, *, intent: int | None = None) -> None: ...
    async def uncordon(self, node: object, reason: str, *, intent: int | None = None) -> None: ...
    async def drain(
        self, node: object, reason: str, deadline: object, *, intent: int | None = None
    ) -> None: ...
    async def drained(self, node: object) -> None: ...
    async def close(self) -> None: ...


PLUGINS: dict[PluginKind, type] = {
    PluginKind.PROVIDER: Rack,
    PluginKind.AUTOSCALER: SteadyNodes,
    PluginKind.RANKER: Backwards,
    PluginKind.METRICS_SOURCE: Tickets,
    PluginKind.HEALTH_OBSERVER: Observer,
    PluginKind.NOTIFIER: Telling,
    PluginKind.SCHEDULER: PreferSsd,
    PluginKind.REPLICA_AUTOSCALER: Steady,
    PluginKind.MODEL_LOADER: Carrier,
    PluginKind.METRICS_PROVIDER: Reader,
    PluginKind.GUARDRAIL: Polite,
}


def test_every_kind_is_tried_here() -> None:
    assert set(PLUGINS) == set(PluginKind) == set(KINDS)


@pytest.mark.parametrize("kind", PluginKind)
def test_an_object_and_a_class_of_every_kind_are_taken(kind: PluginKind) -> None:
    held = Registry()
    made = PLUGINS[kind]()
    assert held.register(kind, made) is made
    assert held.plugins(kind) == (made,)
    other = Registry()
    assert isinstance(other.register(kind, PLUGINS[kind]), PLUGINS[kind])


@pytest.mark.parametrize("kind", PluginKind)
def test_a_plugin_that_lacks_any_method_of_its_kind_is_refused(kind: PluginKind) -> None:
    for method in KINDS[kind].methods:
        broken = variant(PLUGINS[kind], **{method.name: None})
        assert f"has no {method.name}(), expected: {method}" in refusal(kind, broken)


async def awaits(self: object, pod: object, node: object, pool: object) -> bool:
    return True


def short(self: object, pod: object, node: object) -> bool:
    return True


def raising(self: object) -> float:
    return 1 / 0


def at_once(self: object, request: object) -> bool:
    return True


@pytest.mark.parametrize(
    "kind,plugin,expected",
    [
        (
            SCHEDULER,
            variant(PreferSsd, filter=short),
            "too many positional arguments; expected: def filter(self, pod, node, pool)",
        ),
        (SCHEDULER, variant(PreferSsd, filter=awaits), "filter() is async, expected a plain"),
        (SCHEDULER, variant(PreferSsd, score=7), "score is 7, expected a method"),
        (SCHEDULER, variant(PreferSsd, priority=True), "its priority is True, expected a whole"),
        (SCHEDULER, variant(PreferSsd, priority=1.5), "its priority is 1.5, expected a whole"),
        (SCHEDULER, variant(PreferSsd, priority=1_000_001), "from -1,000,000 to 1,000,000"),
        (SCHEDULER, variant(PreferSsd, priority=short), "priority is a method, expected"),
        (SCHEDULER, variant(PreferSsd, name=""), "scheduler Variant: its name is '', expected"),
        (SCHEDULER, variant(PreferSsd, name=7), "scheduler Variant: its name is 7, expected"),
        (SCHEDULER, variant(PreferSsd, name="x" * 129), "its name has 129 characters, expected"),
        (SCHEDULER, variant(PreferSsd, name="a/b"), "its name is 'a/b', expected a text without"),
        (PluginKind.GUARDRAIL, variant(Polite, check=at_once), "check() is not async, expected"),
        (PluginKind.GUARDRAIL, variant(Polite, type=""), "its type is '', expected a text"),
        (
            PluginKind.REPLICA_AUTOSCALER,
            variant(Steady, metric_names="queue-depth"),
            "its metric_names is 'queue-depth', expected a list of texts",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_expected(
    kind: PluginKind, plugin: object, expected: str
) -> None:
    told = refusal(kind, plugin)
    assert expected in told
    assert told.startswith(KINDS[kind].noun)


def test_a_property_that_raises_is_named() -> None:
    told = refusal(PluginKind.REPLICA_AUTOSCALER, variant(Steady, metric_names=property(raising)))
    assert told.endswith("metric_names cannot be read: ZeroDivisionError: division by zero")


def test_the_richer_form_of_a_scheduler_needs_no_plain_one() -> None:
    rich = variant(PreferSsd, filter=None, mask=at_once)
    assert Registry().register(SCHEDULER, rich) is rich


def test_a_name_is_taken_once_in_a_kind_unless_it_is_to_be_replaced() -> None:
    held = Registry()
    held.register(SCHEDULER, PreferSsd())
    with pytest.raises(PluginError) as caught:
        held.register(SCHEDULER, PreferSsd())
    assert str(caught.value) == (
        "scheduler prefer-ssd: the name is taken by one that is registered, expected another name"
    )
    other = PreferSsd()
    held.register(SCHEDULER, other, replace=True)
    assert held.get(SCHEDULER, "prefer-ssd") is other
    held.unregister(SCHEDULER, "prefer-ssd")
    assert held.plugins(SCHEDULER) == ()


def test_a_name_that_is_not_there_is_told_which_there_are() -> None:
    held = Registry()
    held.register(SCHEDULER, PreferSsd)
    for call in (held.get, held.unregister, held.set):
        with pytest.raises(PluginError) as caught:
            call(SCHEDULER, "prefer-hdd")
        assert str(caught.value) == "no scheduler is called prefer-hdd; there are: prefer-ssd"


# --- decorators ------------------------------------------------------------------------------


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry of the process that this test has for itself."""
    held = Registry()
    monkeypatch.setattr(registering, "get_global_registry", lambda: held)
    return held


def test_a_decorator_registers_a_class_and_leaves_it_as_it_is(process: Registry) -> None:
    @registering.scheduler
    class Plain(PreferSsd):
        name = "plain"

    @registering.register_scheduler(priority=300, config={"weight": 2})
    class First(PreferSsd):
        name = "first"

    assert isinstance(Plain, type)
    assert names(process) == ["first", "plain"]
    (first, _) = process.schedulers
    assert isinstance(first, First)
    assert first.weight == 2


def test_there_is_a_function_for_every_kind(process: Registry) -> None:
    functions: dict[PluginKind, Callable[..., object]] = {
        each.kind: each
        for name, each in vars(registering).items()
        if name.startswith("register_") and isinstance(each, registering.Registration)
    }
    assert set(functions) == set(PluginKind)
    for kind, function in functions.items():
        function(PLUGINS[kind]())
        assert len(process.plugins(kind)) == 1
    registering.register(SCHEDULER, variant(PreferSsd, name="generic"))
    assert names(process) == ["generic", "prefer-ssd"]


# --- order and changes -----------------------------------------------------------------------


def three() -> Registry:
    held = Registry()
    for name, priority in (("b", 5), ("a", 5), ("z", 9)):
        held.register(SCHEDULER, variant(PreferSsd, name=name, priority=priority))
    return held


def test_higher_priorities_come_first_and_ties_go_by_name() -> None:
    held = three()
    assert names(held) == ["z", "a", "b"]
    before = held.generation
    held.set(SCHEDULER, "b", priority=10, because="it is quick")
    assert names(held) == ["b", "z", "a"]
    assert held.generation > before
    entry = held.find(SCHEDULER, "b")
    assert entry is not None
    assert (entry.priority, entry.because) == (10, "it is quick")


def test_disabled_plugins_and_those_in_shadow_are_not_asked() -> None:
    held = three()
    held.set(SCHEDULER, "z", enabled=False, because="it is wrong")
    held.set(SCHEDULER, "a", shadow=True)
    assert names(held) == ["b"]
    assert [getattr(each, "name", "") for each in held.shadows(SCHEDULER)] == ["a"]
    assert [each.name for each in held.entries(SCHEDULER)] == ["z", "a", "b"]
    with pytest.raises(PluginError, match="scheduler z: is disabled: it is wrong"):
        held.get(SCHEDULER, "z")


def test_a_registry_follows_what_the_fleet_holds_and_nothing_else() -> None:
    held = three()
    held.set(SCHEDULER, "a", enabled=False)
    held.follow({"scheduler/z": PluginSetting("wrong", enabled=False)})
    assert names(held) == ["a", "b"]
    held.follow({"scheduler/later": PluginSetting("early", priority=99)})
    assert names(held) == ["z", "a", "b"]
    held.register(SCHEDULER, variant(PreferSsd, name="later"))
    assert names(held)[0] == "later"


def test_a_priority_that_cannot_be_is_refused_at_run_time_too() -> None:
    held = three()
    with pytest.raises(PluginError, match="its priority is 1000001"):
        held.set(SCHEDULER, "a", priority=1_000_001)
    assert names(held) == ["z", "a", "b"]


def test_many_threads_register_and_read_at_the_same_time() -> None:
    held = Registry()
    broken: list[object] = []

    def work(number: int) -> None:
        for turn in range(20):
            plugin = variant(PreferSsd, name=f"p{number}-{turn}", priority=turn)
            held.register(SCHEDULER, plugin)
            held.set(SCHEDULER, plugin.name, priority=turn + 1)
            seen = [each.priority for each in held.entries(SCHEDULER)]
            if seen != sorted(seen, reverse=True):
                broken.append(seen)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (broken, len(held.schedulers)) == ([], 120)


# --- configuration of one --------------------------------------------------------------------


def configured(**config: object) -> PreferSsd:
    held = Registry()
    held.register(SCHEDULER, PreferSsd)
    held.configure(SCHEDULER, "prefer-ssd", Configured(config=config))
    (plugin,) = held.schedulers
    assert isinstance(plugin, PreferSsd)
    return plugin


def test_a_config_is_typed_before_the_plugin_is_made() -> None:
    plugin = configured(weight=2, patience="500ms")
    assert (plugin.weight, plugin.patience) == (2.0, timedelta(milliseconds=500))


@pytest.mark.parametrize(
    "config,expected",
    [
        (
            {"wieght": 2},
            "its config has no key wieght; did you mean weight? it takes weight, label",
        ),
        ({"weight": "much"}, "its config does not fit: weight: Expected `float`, got `str`"),
        ({"patience": "5"}, "patience: expected a duration such as 500ms, 30s or 5m, got '5'"),
    ],
)
def test_a_config_that_does_not_fit_is_told_with_its_key(
    config: dict[str, object], expected: str
) -> None:
    with pytest.raises(PluginError) as caught:
        configured(**config)
    assert expected in str(caught.value)


def test_a_class_that_needs_a_config_waits_for_it() -> None:
    held = Registry()
    assert held.register(SCHEDULER, InZone) is None
    assert held.plugins(SCHEDULER) == ()
    (entry,) = held.entries(SCHEDULER)
    assert entry.broken == "it has to be configured: its config is needed"
    with pytest.raises(PluginError, match="scheduler in-zone: its config lacks zone"):
        held.configure(SCHEDULER, "in-zone", Configured())
    held.configure(SCHEDULER, "in-zone", Configured(config={"zone": "a"}, priority=7))
    (made,) = held.schedulers
    assert isinstance(made, InZone)
    assert made.config.zone == "a"
    held.restore(SCHEDULER, "in-zone")
    assert held.schedulers == ()


def test_an_object_cannot_be_configured() -> None:
    held = Registry()
    held.register(SCHEDULER, PreferSsd())
    with pytest.raises(PluginError, match="is registered as an object, which cannot be given"):
        held.configure(SCHEDULER, "prefer-ssd", Configured(config={"weight": 2}))


def test_the_same_config_makes_no_new_plugin() -> None:
    held = Registry()
    held.register(SCHEDULER, PreferSsd, priority=3)
    said = Configured(config={"weight": 2})
    held.configure(SCHEDULER, "prefer-ssd", said)
    before = held.schedulers
    assert held.configure(SCHEDULER, "prefer-ssd", said).priority == 3
    assert held.schedulers[0] is before[0]
    held.configure(SCHEDULER, "prefer-ssd", Configured(config={"weight": 4}))
    assert held.schedulers[0] is not before[0]


# --- what is there before anybody comes ------------------------------------------------------

ENTRY_POINTS = """
[navarch.schedulers]
prefer-ssd = plugins.foreign:PreferSsd
broken = plugins.foreign:Nothing
twice = plugins.foreign:PreferSsd
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package of somebody else."""
    folder = tmp_path / "site" / "foreign-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(folder.parent))


@pytest.mark.usefixtures("installed")
def test_plugins_of_packages_are_there_and_a_broken_one_is_only_listed() -> None:
    held = Registry(filler=builtin.candidates)
    found = {each.name: each for each in held.entries(SCHEDULER) if each.origin == "foreign 1.0"}
    assert set(found) == {"prefer-ssd", "broken"}
    assert found["prefer-ssd"].plugin in held.schedulers
    assert found["prefer-ssd"].summary == "Prefers nodes that have a fast disk."
    assert found["prefer-ssd"].version == "1.2"
    assert not found["broken"].enabled
    assert "has no attribute 'Nothing'" in found["broken"].broken


@pytest.mark.parametrize("kind", SERVING)
def test_our_own_plugins_come_through_the_same_door(kind: PluginKind) -> None:
    held = Registry(filler=builtin.candidates)
    for entry in held.entries(kind):
        assert entry.origin == "built-in"
        assert entry.summary


def test_a_filler_that_registers_by_itself_is_no_loop() -> None:
    def filler(kind: PluginKind) -> Iterator[Candidate]:
        held.register(SCHEDULER, PreferSsd)
        yield Candidate(PreferSsd, "built-in")

    held = Registry(filler=filler)
    assert names(held) == ["prefer-ssd"]


def test_the_registry_of_the_process_is_one() -> None:
    assert registry.get_global_registry() is registry.get_global_registry()


# --- the words of kinds ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", PluginKind)
def test_every_kind_is_found_by_its_own_word(kind: PluginKind) -> None:
    word = word_of(kind)
    assert kind_of(word) is kind
    assert kind_of(f"{word}s") is kind
    assert kind_of(word.replace("-", "_").upper()) is kind


def test_to_operators_an_autoscaler_is_that_of_replicas() -> None:
    assert kind_of("autoscaler") is PluginKind.REPLICA_AUTOSCALER
    assert kind_of("pool-autoscaler") is PluginKind.AUTOSCALER
    with pytest.raises(PluginError, match="no such kind of plugin: 'schedule'; there are: prov"):
        kind_of("schedule")
