"""Strategies for arbitrary protobuf messages: every field, every value that the wire can carry."""

from __future__ import annotations

from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    # Half of the texts are usable ids, so that decoding gets past the first field.
    FieldDescriptor.TYPE_STRING: st.sampled_from(["", "n1", "gpu/pool:a.b-c_d"]) | st.text(),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: st.integers(0, 8) | INT32,
    FieldDescriptor.TYPE_INT64: st.integers(0, 8) | INT64,
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_ENUM: st.integers(0, 8) | INT32,
}


def _values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    message = field.message_type
    if message is None:
        one = SCALARS[field.type]
    elif message.GetOptions().map_entry:
        return st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)
    else:
        one = _of(message)
    return st.lists(one, max_size=3) if field.is_repeated else one


def _of(descriptor: Descriptor) -> st.SearchStrategy[Message]:
    made = message_factory.GetMessageClass(descriptor)
    fields = {field.name: _values(field) for field in descriptor.fields}
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: made(**values))


def messages_of(descriptor: Descriptor) -> st.SearchStrategy[Message]:
    """Any message of this type."""
    return st.deferred(lambda: _of(descriptor))
