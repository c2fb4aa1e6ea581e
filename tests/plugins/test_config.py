"""What is written under ``plugins`` holds in a registry, and mistakes are told with their line."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from navarch.config import load
from navarch.errors import ConfigError, PluginError
from navarch.plugins import config
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Entry, Registry
from plugins.foreign import InZone, Polite, PreferSsd, Reader

SCHEDULER = PluginKind.SCHEDULER

PLAIN = """
scheduler-plugins:
  - name: prefer-ssd
    priority: 200
    config:
      weight: 2
metrics-provider-plugins:
  - name: second
  - {name: first, enabled: true}
guardrail-plugins:
  - {name: polite, deadline: 200ms, on_error: fail_open, shadow: true}
"""
CONFIG_MAP = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: plugin-config
data:
  scheduler-plugins: |
    - name: prefer-ssd
      priority: 200
      config:
        weight: 2
  metrics-provider-plugins: |
    - name: second
    - {name: first, enabled: true}
  guardrail-plugins: |
    - {name: polite, deadline: 200ms, on_error: fail_open, shadow: true}
"""


def a_registry() -> Registry:
    held = Registry()
    held.register(SCHEDULER, PreferSsd)
    held.register(SCHEDULER, InZone)
    held.register(PluginKind.GUARDRAIL, Polite)
    for name in ("first", "second", "third"):
        held.register(PluginKind.METRICS_PROVIDER, Reader(name))
    return held


def said(folder: Path, text: str, **environ: str) -> config.Written:
    """Read a configuration whose ``plugins`` are `text`."""
    file = folder / "navarch.yaml"
    file.write_text("plugins:\n" + textwrap.indent(text.lstrip("\n"), "  "))
    found = load.load(file, environ)
    return config.written(found.plugins, found.file, found.lines, environ)


def said_in_file(folder: Path, text: str) -> config.Written:
    """Read a configuration that names a file of plugins, which holds `text`."""
    (folder / "plugins.yaml").write_text(text)
    return said(folder, "file: plugins.yaml")


def entry(held: Registry, kind: PluginKind, name: str) -> Entry:
    found = held.find(kind, name)
    assert found is not None
    return found


def refusal(written: config.Written, held: Registry) -> str:
    with pytest.raises(ConfigError) as caught:
        config.apply(written, held)
    return str(caught.value)


@pytest.mark.parametrize("form", ["inline", "file", "config map"])
def test_the_same_holds_however_it_is_written(form: str, tmp_path: Path) -> None:
    held = a_registry()
    match form:
        case "inline":
            written = said(tmp_path, PLAIN)
        case "file":
            written = said_in_file(tmp_path, PLAIN)
        case _:
            written = said_in_file(tmp_path, CONFIG_MAP)
    assert config.apply(written, held) == (
        "scheduler prefer-ssd",
        "metrics-provider second",
        "metrics-provider first",
        "guardrail polite",
    )
    (made,) = held.schedulers
    assert isinstance(made, PreferSsd)
    assert (made.weight, entry(held, SCHEDULER, "prefer-ssd").priority) == (2.0, 200)
    assert [each.name for each in held.metrics_providers] == ["second", "first", "third"]
    polite = entry(held, PluginKind.GUARDRAIL, "polite")
    assert (polite.shadow, polite.on_error) == (True, "fail_open")
    assert polite.deadline is not None
    assert polite.deadline.total_seconds() == 0.2
    assert config.apply(written, held) == ()


MISTAKES = [
    (
        "- name: prefer-hdd",
        "[0].name",
        0,
        "no scheduler is called prefer-hdd; did you mean prefer-",
    ),
    (
        "- name: prefer-ssd\n  config:\n    wieght: 2",
        "[0].config.wieght",
        2,
        "its config has no key wieght; did you mean weight?",
    ),
    (
        "- name: prefer-ssd\n  config:\n    label: a\n    weight: heavy",
        "[0].config.weight",
        3,
        "its config does not fit: weight: Expected `float`, got `str`",
    ),
    ("- name: in-zone", "[0].config", 0, "scheduler in-zone: its config lacks zone"),
    (
        "- name: prefer-ssd\n  on_error: hold",
        "[0].on_error",
        1,
        "expected fail_closed or fail_open",
    ),
    ("- name: plugins.nothing:A", "[0].name", 0, "cannot be imported: ModuleNotFoundError"),
    ("- name: plugins.foreign:Polite", "[0].name", 0, "has no filter(), expected: def filter"),
]


@pytest.mark.parametrize("text,key,below,expected", MISTAKES)
def test_a_mistake_is_told_with_its_line_and_key(
    text: str, key: str, below: int, expected: str, tmp_path: Path
) -> None:
    plain = "scheduler-plugins:\n" + textwrap.indent(text, "  ")
    told = refusal(said(tmp_path, plain), a_registry())
    assert told.startswith(f"{tmp_path}/navarch.yaml:{3 + below}: plugins.scheduler-plugins{key}: ")
    assert expected in told
    inner = textwrap.indent(text, "    ")
    mapped = f"kind: ConfigMap\n\ndata:\n  # ours\n  scheduler-plugins: |\n{inner}\n"
    told = refusal(said_in_file(tmp_path, mapped), a_registry())
    assert told.startswith(f"{tmp_path}/plugins.yaml:{6 + below}: scheduler-plugins{key}: ")
    assert expected in told


@pytest.mark.parametrize(
    "text,expected",
    [
        (
            "kind: ConfigMap\ndata:\n  scheduler-plugin: |\n    []\n",
            "3: scheduler-plugin: unknown key",
        ),
        (
            "kind: ConfigMap\ndata:\n  scheduler-plugins: []\n",
            "3: data.scheduler-plugins: expected",
        ),
        ("kind: ConfigMap\ndata:\n  scheduler-plugins: |\n    - {\n", "data.scheduler-plugins: "),
        (
            "scheduler-plugins:\n  - {name: a}\n  - {name: a}\n",
            "3: scheduler-plugins[1].name: a is",
        ),
        ("file: other.yaml\n", "1: file: names another file"),
        ("", "is empty"),
    ],
)
def test_a_file_of_plugins_is_read_as_strictly(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        said_in_file(tmp_path, text)
    assert f"{tmp_path}/plugins.yaml" in str(caught.value)
    assert expected in str(caught.value)


def test_a_file_stands_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        said(tmp_path, "file: plugins.yaml\nmodules: [a]")
    assert str(caught.value).endswith(
        ":3: plugins.modules: stands beside plugins.file, expected it in that file"
    )


def test_after_a_mistake_nothing_is_used_otherwise(tmp_path: Path) -> None:
    held = a_registry()
    text = "scheduler-plugins:\n  - {name: prefer-ssd, priority: 7}\n  - {name: in-zone}"
    refusal(said(tmp_path, text), held)
    assert entry(held, SCHEDULER, "prefer-ssd").priority == 150
    assert not entry(held, SCHEDULER, "prefer-ssd").configured


def test_what_is_named_no_longer_is_as_it_was(tmp_path: Path) -> None:
    held = a_registry()
    text = "scheduler-plugins:\n  - {name: prefer-ssd, enabled: false}"
    config.apply(said(tmp_path, text), held)
    assert held.plugins(SCHEDULER) == ()
    assert config.apply(said(tmp_path, "modules: []"), held) == ("scheduler prefer-ssd",)
    assert len(held.schedulers) == 1


def test_a_class_is_used_by_its_place_for_as_long_as_it_is_named(tmp_path: Path) -> None:
    held = Registry()
    text = """
    scheduler-plugins:
      - name: plugins.foreign:InZone
        config: {zone: "${ZONE}"}
    """
    written = said(tmp_path, textwrap.dedent(text), ZONE="b")
    config.apply(written, held)
    (made,) = held.schedulers
    assert isinstance(made, InZone)
    assert made.config.zone == "b"
    assert config.apply(written, held) == ()
    assert held.schedulers[0] is made
    config.apply(said(tmp_path, "modules: []"), held)
    assert held.entries(SCHEDULER) == ()


def test_modules_are_imported_first_and_a_broken_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "team_plugins.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    told = refusal(said(tmp_path, "modules: [textwrap, team_plugins]"), Registry())
    assert told.endswith(
        ":2: plugins.modules[1]: module team_plugins: cannot be imported: "
        "ZeroDivisionError: division by zero"
    )


def test_the_schema_of_a_plugin_says_which_keys_it_takes() -> None:
    held = a_registry()
    schema = config.schema_of(entry(held, SCHEDULER, "prefer-ssd"))
    assert schema["title"] == "Configuration of the scheduler prefer-ssd"
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert list(properties) == ["weight", "label", "patience"]
    with pytest.raises(PluginError, match="guardrail polite: has no Config"):
        config.schema_of(entry(held, PluginKind.GUARDRAIL, "polite"))
