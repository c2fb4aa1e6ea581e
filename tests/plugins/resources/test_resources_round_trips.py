"""Any resource reads back as it was written, and junk becomes mistakes and nothing else."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from navarch.core.model import resources as res
from navarch.errors import ConfigError
from navarch.plugins.resources import reading, shapes, writing
from navarch.plugins.resources.shapes import Anything, Block, Choice, Items, Kind, Scalar
from plugins.resources.documents import a_document

_DURATIONS = st.integers(1, 10**9).map(lambda ms: timedelta(milliseconds=ms))
_NAMES = st.sampled_from(["a", "chat", "x-1"])


def _values(shape: shapes.Shape) -> st.SearchStrategy[Any]:
    """Draw any value of a shape that breaks no rule of a single key."""
    match shape:
        case Block():
            made = _parts(shape)
            return st.none() | made if shape.optional else made
        case Items():
            return st.lists(_values(shape.item), max_size=2).map(tuple)
        case Anything():
            plain = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab:#é", max_size=4)
            return st.dictionaries(_NAMES, plain | st.lists(plain, max_size=2), max_size=2)
        case Choice():
            return st.sampled_from(shape.words)
        case Scalar():
            return _singles(shape)
        case _:
            return st.dictionaries(st.sampled_from(["team", "b"]), _NAMES, max_size=2)


def _singles(shape: Scalar) -> st.SearchStrategy[Any]:
    rule = shape.rule
    low = rule.minimum if rule.minimum is not None else 1
    high = rule.maximum if rule.maximum is not None else 1_000
    match shape.kind:
        case Kind.TEXT:
            return _texts(shape)
        case Kind.WHOLE:
            return st.integers(int(low), int(high))
        case Kind.DECIMAL:
            above = rule.above is not None
            return st.floats(rule.above if above else low, high, exclude_min=above).map(
                lambda number: round(number, 3) or 1.0
            )
        case Kind.SWITCH:
            return st.booleans()
        case Kind.DURATION:
            return _DURATIONS
        case Kind.SIZE:
            return st.integers(0, 2**50)
        case Kind.TARGET:
            return st.integers(1, 10**6).map(lambda number: number / 1000)
        case Kind.GANG:
            return st.booleans() | st.just(1)
        case Kind.MOMENT:
            raise NotImplementedError("nobody writes a time")


def _texts(shape: Scalar) -> st.SearchStrategy[str]:
    form = shape.rule.form
    if form is None:
        return st.text(max_size=8).filter(lambda text: "\0" not in text and text.isprintable())
    fitting = [
        *("a", "chat", "s3://b/k", "https://x/y", "POST", "1g.10gb", "10/minute", "/healthz"),
    ]
    return st.sampled_from([text for text in fitting if form.fits(text)])


@st.composite
def _parts(draw: st.DrawFn, block: Block) -> Any:  # noqa: ANN401 - of the block's own type
    values = {}
    for slot in block.slots.values():
        if slot.required or draw(st.booleans()) or (isinstance(slot.shape, Block)):
            values[slot.attribute] = draw(_values(slot.shape))
    return block.type(**values)


@st.composite
def _resources(draw: st.DrawFn) -> res.Resource:
    type_ = draw(st.sampled_from(list(res.KINDS.values())))
    return type_(
        metadata=draw(_parts(shapes.block(res.ObjectMeta))), spec=draw(_parts(shapes.spec(type_)))
    )


@given(_resources(), st.booleans())
def test_what_is_written_reads_back_equal_or_breaks_a_rule_of_several_keys(
    resource: res.Resource,
    as_json: bool,  # noqa: FBT001 - drawn
) -> None:
    document = writing.to_document(resource, status=False)
    text = writing.to_json(document) if as_json else writing.to_yaml([document])
    found = reading.read(text, file="f")
    for mistake in found.mistakes:
        assert _is_of_several_keys(mistake), str(mistake)
    if not found.mistakes:
        assert writing.to_document(found.resources[0], status=False) == document
        (again,) = found.resources
        if not isinstance(resource, res.AgentPool):
            assert again == resource


def _is_of_several_keys(mistake: ConfigError) -> bool:
    words = ("maxReplicas", "a share of one", "slice", "twice", "compares with", "operator")
    more = ("has none", "needs it", "maxBackoff", "100 percent", "image")
    return any(word in mistake.message for word in (*words, *more))


_JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["500ms", "40Gi", "1e999", "chat", "\ud800", "0x10", "2026-01-01"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["spec", "metadata", "name", "metrics", "target", "autoscaling", "gang"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.text(max_size=200)
    | st.builds(
        lambda kind, junk, more: json.dumps(
            {**a_document(kind), **(junk if isinstance(junk, dict) else {}), "spec": more}
        ),
        st.sampled_from(list(res.KINDS)),
        _JUNK,
        _JUNK,
    )
)
def test_junk_is_a_list_of_mistakes_and_nothing_else(text: str) -> None:
    found = reading.read(text, file="junk")
    assert found.mistakes or found.resources
    assert all(isinstance(each, ConfigError) for each in found.mistakes)
    assert all(str(each).isprintable() for each in found.mistakes)
    assert not (found.mistakes and found.resources)
    for resource in found.resources:
        assert yaml.safe_load(writing.to_yaml([writing.to_document(resource)]))


@given(st.sampled_from(list(res.KINDS)), st.data())
def test_a_key_with_junk_in_it_is_read_or_named(kind: str, data: st.DataObject) -> None:
    spec = shapes.spec(res.KINDS[kind])
    key = data.draw(st.sampled_from(list(spec.slots)))
    document = {**a_document(kind)}
    document["spec"] = {**document["spec"], key: data.draw(_JUNK)}
    found = reading.read(json.dumps(document), file="junk")
    assert bool(found.mistakes) is not bool(found.resources)
