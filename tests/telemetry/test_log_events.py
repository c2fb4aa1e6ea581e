"""Every event that the code logs is explained in docs/logs.md, and nothing else is."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _tool() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "tools" / "log_events.py"
    spec = importlib.util.spec_from_file_location("log_events", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["log_events"] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


log_events = _tool()
EVENTS = log_events.events_of()
WORD = re.compile(r"[a-z]+(_[a-z]+)*")


def test_the_page_has_each_event_with_its_levels_and_fields() -> None:
    text = log_events.PAGE.read_text()
    assert log_events.page(text, EVENTS) == text, "run: python tools/log_events.py"


def test_events_are_words() -> None:
    events = EVENTS
    assert len(events) > 90
    assert [word for word in events if not WORD.fullmatch(word)] == []


def test_an_event_without_words_is_found(tmp_path: Path) -> None:
    (tmp_path / "new.py").write_text('log.warning("pool_on_fire", pool=name, degrees=3)\n')
    events = log_events.events_of(tmp_path)
    assert list(events["pool_on_fire"].fields) == ["pool", "degrees"]
    with pytest.raises(ValueError, match=r"no meaning in tools/log_events\.py: pool_on_fire"):
        log_events.table({**EVENTS, **events})


def test_an_explanation_without_event_is_found() -> None:
    fewer = {word: each for word, each in EVENTS.items() if word != "fact_recorded"}
    with pytest.raises(ValueError, match="never logged: fact_recorded"):
        log_events.table(fewer)


def test_a_field_that_is_not_on_the_page_is_found(tmp_path: Path) -> None:
    (tmp_path / "new.py").write_text('log.info("serving", url=url, colour="red")\n')
    events = {**EVENTS, **log_events.events_of(tmp_path)}
    text = log_events.PAGE.read_text()
    assert log_events.page(text, events) != text
    assert "`colour`" in log_events.page(text, events)


@pytest.mark.parametrize("call", ['log.info("node %s lost" % node)', "log.info(text)"])
def test_what_is_no_plain_word_is_refused(tmp_path: Path, call: str) -> None:
    (tmp_path / "new.py").write_text(f"\n{call}\n")
    with pytest.raises(ValueError, match=r"new.py:2: the event is .*, expected a word"):
        log_events.events_of(tmp_path)
