"""Every mistake in a configuration is named with its file, its line, its key and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden_text import GOLDEN, golden
from navarch.config import document, load
from navarch.errors import ConfigError

ENVIRON = {"TRAINING_MIN": "2", "SECRET": "hunter2", "MANY": "54321", "HOST": "no host"}
FAULTY = sorted(path.stem for path in (GOLDEN / "config").glob("*.yaml") if path.stem != "whole")


def rendered(text: str) -> str:
    """Show everything that is wrong with a text, one mistake a line."""
    try:
        found = load.examine_text(text, path=Path("navarch.yaml"), environ=ENVIRON)
    except ConfigError as error:
        return f"{error}\n"
    return "".join(f"{fault}\n" for fault in found.faults)


@pytest.mark.parametrize("case", FAULTY)
def test_mistakes_are_named_as_the_golden_files_say(case: str) -> None:
    actual = rendered((GOLDEN / "config" / f"{case}.yaml").read_text())
    assert actual == golden(actual, f"config/{case}.txt")
    assert actual != ""
    assert "hunter2" not in actual
    assert "54321" not in actual


def test_load_raises_the_first_mistake_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "navarch.yaml"
    path.write_text("providers: {}\npools:\n  a: {provider: x, max_nodes: many}\n")
    with pytest.raises(ConfigError) as caught:
        load.load(path, {})
    fault = caught.value
    assert (fault.file, fault.line, fault.key) == (str(path), 3, "pools.a.max_nodes")
    assert fault.message == 'expected a whole number from 0 to 100,000, got "many"'


def refusal(path: Path) -> str:
    """Load a file that must be refused, and return why, without its name."""
    with pytest.raises(ConfigError) as caught:
        load.load(path, {})
    assert caught.value.file == str(path)
    return str(caught.value).removeprefix(str(path))


def test_what_is_no_readable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "absent.yaml") == ": there is no such file"
    assert refusal(tmp_path) == ": this is a directory, expected a YAML file"
    assert refusal(tmp_path / "file" / "below") == ": cannot be read: Not a directory"
    assert refusal(Path("/proc/self/mem")) == ": cannot be read: Input/output error"
    assert refusal(Path("nul\0")) == ": cannot be read: embedded null byte"


@pytest.mark.parametrize(
    "content,expected",
    [
        (b"", ": is empty, expected at least {}"),
        (b"\n# nothing\n\n", ": is empty, expected at least {}"),
        (b"server: {}\n# caf\xe9\n", ":2: byte 0xe9 is not UTF-8, expected UTF-8 text"),
        (b"server: {}\n# \x07\n", ":2: character U+0007 is not allowed in YAML"),
        (b"#" * (document.FILE_MAX + 1), ": is larger than 1 MiB, expected a configuration"),
        (b"[" * 10_000, ":1: not valid YAML: nested more than 32 levels deep"),
        (
            b'server: {data: "\\UFFFFFFFF"}',
            ": not valid YAML: the number of an escape or a directive is too large",
        ),
        (
            b"%YAML 1." + b"9" * 5_000 + b"\n--- {}",
            ": not valid YAML: the number of an escape or a directive is too large",
        ),
        (
            b'server: {data: "\\uD800"}',
            ":1: server.data: expected text without NUL and lone surrogates",
        ),
    ],
    ids=[
        "empty",
        "comments",
        "latin-1",
        "control",
        "large",
        "deep",
        "escape",
        "version",
        "surrogate",
    ],
)
def test_what_is_no_text_of_yaml_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "navarch.yaml"
    path.write_bytes(content)
    assert refusal(path) == expected


def test_anchors_cannot_make_a_small_file_large() -> None:
    lists = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9))
    bomb = f"a0: &a0 [x]\n{lists}\nproviders: {{}}\n"
    assert "unknown key" in rendered(bomb)
    names = ", ".join(f"k{i}: v" for i in range(10_000))
    pools = "\n".join(f"  p{i}: {{provider: x, max_nodes: 1, labels: *many}}" for i in range(100))
    wide = f"defaults: {{labels: &many {{{names}}}}}\npools:\n{pools}\n"
    assert "holds more than 200,000 values, anchors counted where they are used" in rendered(wide)


def test_a_hundred_mistakes_are_enough() -> None:
    many = "".join(f"mistake{i}: 1\n" for i in range(5_000))
    assert len(rendered(many).splitlines()) == 100


WORDS = st.sampled_from(
    [
        *("server", "providers", "pools", "defaults", "auth", "tokens", "labels", "type", "data"),
        *("fake", "process", "name", "role", "admin", "provider", "max_nodes", "min_nodes", "<<"),
        *("30s", "${HOME}", "${", "$$", "~", "yes", "1", "-1", "1e999", ".nan", "2026-01-31"),
        *("autoscaling", "reactive", "composite", "custom", "use", "config", "metrics", "store"),
        *("address", ":1", "store", "memory://", "sqlite:///", "health", "disruption", "zones"),
        *("&a", "*a", "!!set", "{", "}", "[", "]", ":", "- ", "\n", "  ", ", ", "\t", "'", '"'),
    ]
)


@given(st.text() | st.lists(WORDS, max_size=60).map(" ".join) | st.lists(WORDS).map("".join))
def test_no_text_raises_anything_but_a_config_error(text: str) -> None:
    assert isinstance(rendered(text), str)


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), WORDS, st.dates()
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
BLOCKS = st.dictionaries(
    st.sampled_from(["server", "providers", "pools", "defaults"]),
    st.dictionaries(WORDS | st.sampled_from(["a", "b"]), VALUES, max_size=4),
)


@given(BLOCKS)
def test_every_mistake_is_one_line_with_a_place(content: object) -> None:
    import yaml

    text = yaml.safe_dump(content, allow_unicode=True)
    found = load.examine_text(text, path=Path("navarch.yaml"), environ=ENVIRON)
    assert (found.config is None) == bool(found.faults)
    for fault in found.faults:
        assert fault.line is not None
        assert str(fault).isprintable()
        assert 1 <= fault.line <= text.count("\n") + 1
