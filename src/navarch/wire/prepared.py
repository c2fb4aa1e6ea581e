"""Answers that know their own bytes, and the codecs that ask them.

A large answer is quicker written from parts that are ready than by a codec that walks a message.
Such an answer goes the same way as any other, past the same gates, and is compressed and framed by
the library; only where the library would have a message written, it is asked for its bytes. They
are the bytes that the codec would have made of the message.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final, TypeVar, cast

from connectrpc.compat import google_protobuf_binary_codec
from connectrpc.compression.gzip import GzipCompression
from google.protobuf.message import Message

_M = TypeVar("_M", bound=Message)


LARGE: Final = 64 * 1024
"""Bytes above which an answer is compressed in a hurry: at 100 MB a second in place of 40."""


class Gzip(GzipCompression):
    """The library's gzip, which takes less care with large answers: the event loop waits for it."""

    def __init__(self) -> None:
        """Compress small answers as the library does."""
        super().__init__()
        self._hasty = GzipCompression(level=1)

    def compress(self, data: bytes | bytearray | memoryview) -> bytes:
        """Compress an answer."""
        return self._hasty.compress(data) if len(data) > LARGE else super().compress(data)


class Prepared(ABC):
    """An answer that writes itself."""

    @abstractmethod
    def json(self) -> bytes:
        """Return what `navarch.wire.asgi.JsonCodec` would write."""

    @abstractmethod
    def proto(self) -> bytes:
        """Return what protobuf would write."""


def standing_for(_message_class: type[_M], answer: Prepared) -> _M:
    """Return the answer under the type that a method must return; the codecs know better."""
    return cast("_M", answer)


class BinaryCodec:
    """Protobuf's binary form."""

    def __init__(self) -> None:
        """Write messages as the library does."""
        self._of_messages: Any = google_protobuf_binary_codec()

    def name(self) -> str:
        """The codec's name in content types."""
        return "proto"

    def encode(self, message: Message | Prepared) -> bytes:
        """Write an answer."""
        if isinstance(message, Prepared):
            return message.proto()
        encoded: bytes = self._of_messages.encode(message)
        return encoded

    def decode(self, data: bytes | bytearray, message_class: type[Message]) -> Message:
        """Read a message. Raises the library's errors."""
        decoded: Message = self._of_messages.decode(data, message_class)
        return decoded
