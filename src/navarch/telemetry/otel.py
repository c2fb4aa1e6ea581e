"""Spans by OpenTelemetry, handed on by OTLP over HTTP. Comes with the extra ``navarch[otel]``.

The library's own environment variables hold: ``OTEL_EXPORTER_OTLP_ENDPOINT``, ``..._HEADERS``,
``OTEL_TRACES_SAMPLER``, ``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES`` and the rest
(opentelemetry.io, environment variable specification, read 2026). Spans are handed on by a thread
of the library's; what finds no room in its queue is dropped.

Attributes without a dot in their names get ``navarch.`` before them. Texts are shortened, and
secrets taken out, as in logs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from navarch.telemetry import redaction
from navarch.telemetry.tracing import Kind, Origin, Span, Value
from navarch.version import VERSION

TEXT_MAX: Final = 1_000
"""Characters of an attribute, and of why a span failed."""
FLUSH_SECONDS: Final = 3.0
"""How long the end of a process waits for the collector."""

_KINDS: Final[Mapping[Kind, trace.SpanKind]] = {
    "internal": trace.SpanKind.INTERNAL,
    "server": trace.SpanKind.SERVER,
    "client": trace.SpanKind.CLIENT,
}
_W3C: Final = TraceContextTextMapPropagator()
_NOWHERE: Final = Context()
_here: ContextVar[Context | None] = ContextVar("navarch_span", default=None)


class OtelSpan:
    """A span of the library, in our words."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        """Wrap one that is open."""
        self._span = span

    def set(self, **attributes: Value) -> None:
        """Add attributes."""
        self._span.set_attributes(_named(attributes))

    def fail(self, why: str) -> None:
        """Mark it as failed."""
        self._span.set_status(trace.Status(trace.StatusCode.ERROR, _clean(why)))


class OtelTracer:
    """A `navarch.telemetry.tracing.Tracer`."""

    def __init__(self, provider: TracerProvider, now: Callable[[], int]) -> None:
        """Make spans by `provider`; `now` tells nanoseconds since 1970, as the library does."""
        self._provider = provider
        self._tracer = provider.get_tracer("navarch", VERSION)
        self.now = now
        """Tells the time as spans are told it, in nanoseconds."""

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Mapping[str, Value],
        *,
        kind: Kind = "internal",
        within: Origin | None = None,
        links: Sequence[Origin] = (),
        since: int | None = None,
    ) -> Iterator[Span]:
        """Make a span for the time of the block; see `Tracer.span`."""
        parent = within if isinstance(within, Context) else _here.get() or _NOWHERE
        span = self._tracer.start_span(
            name,
            context=parent,
            kind=_KINDS[kind],
            attributes=_named(attributes),
            links=[trace.Link(_place(each)) for each in links if isinstance(each, Context)],
            start_time=since,
        )
        wrapped = OtelSpan(span)
        before = _here.get()
        _here.set(trace.set_span_in_context(span, _NOWHERE))
        try:
            yield wrapped
        except BaseException as error:
            wrapped.fail(f"{type(error).__name__}: {error}")
            raise
        finally:
            _here.set(before)
            span.end()

    def past(
        self, name: str, attributes: Mapping[str, Value], *, seconds: float, failed: str = ""
    ) -> None:
        """Make a span of what has just ended."""
        ended = self.now()
        span = self._tracer.start_span(
            name,
            context=_here.get() or _NOWHERE,
            attributes=_named(attributes),
            start_time=ended - int(seconds * 1e9),
        )
        if failed:
            OtelSpan(span).fail(failed)
        span.end(end_time=ended)

    def here(self) -> Origin | None:
        """Return the place where we are; None outside of any span."""
        return _here.get()

    def from_headers(self, headers: Mapping[str, str]) -> Origin | None:
        """Read ``traceparent`` and ``tracestate``; None where there are none, or no good ones."""
        parent = headers.get("traceparent")
        if not parent:
            return None
        carrier = {"traceparent": parent, "tracestate": headers.get("tracestate") or ""}
        found = _W3C.extract(carrier, context=_NOWHERE)
        return found if _place(found).is_valid else None

    def ids(self) -> tuple[str, str] | None:
        """Return trace id and span id in hexadecimal; None outside of any span."""
        here = _here.get()
        if here is None:
            return None
        place = _place(here)
        return trace.format_trace_id(place.trace_id), trace.format_span_id(place.span_id)

    def close(self) -> None:
        """Hand on what is left, for `FLUSH_SECONDS` at most, and stop.

        The library tries each batch for as long as the exporter may take, so a thread waits for it
        that nobody waits for longer.
        """
        ending = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        ending.start()
        ending.join(FLUSH_SECONDS)


def otlp(
    service: str, now: Callable[[], int], environ: Mapping[str, str], endpoint: str = ""
) -> OtelTracer:
    """Make a tracer that hands its spans on to a collector, as the `environ` says.

    `endpoint` is where it is, such as ``http://collector:4318``; empty: the environment says it.
    """
    attributes = {} if environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: f"navarch-{service}"}
    resource = Resource.create({**attributes, "service.version": VERSION})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    where = f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None
    seconds = None if environ.get("OTEL_EXPORTER_OTLP_TIMEOUT") else FLUSH_SECONDS
    exporter = OTLPSpanExporter(endpoint=where, timeout=seconds)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return OtelTracer(provider, now)


def _place(context: Context) -> trace.SpanContext:
    return trace.get_current_span(context).get_span_context()


def _named(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {
        name if "." in name else f"navarch.{name}": _clean(value)
        if isinstance(value, str)
        else value
        for name, value in attributes.items()
    }


def _clean(text: str) -> str:
    shown = redaction.without_secrets(text[: 2 * TEXT_MAX])
    return shown if len(shown) <= TEXT_MAX else f"{shown[: TEXT_MAX - 1]}…"
