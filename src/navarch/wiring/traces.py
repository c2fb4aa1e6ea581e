"""Whether a control plane is traced, and where its spans go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from navarch.errors import ConfigError
from navarch.telemetry import tracing
from navarch.telemetry.log import Log

if TYPE_CHECKING:
    from navarch.controlplane.clock import Clock

log = Log(__name__)

VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""What switches traces on, by OpenTelemetry's own rules."""


@contextmanager
def traced(
    service: str, clock: Clock, endpoint: str = "", environ: Mapping[str, str] = os.environ
) -> Iterator[None]:
    """Trace this process until the end of the block, if anything says where spans go.

    That is one of `VARIABLES`, else `endpoint`, of the configuration; ``OTEL_SDK_DISABLED=true``
    overrules both. Where it is the configuration, and OpenTelemetry is not installed, this raises
    `ConfigError`; a variable may be meant for other programs on the machine, so then it is logged.
    """
    by_variable = next((name for name in VARIABLES if environ.get(name)), "")
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        by_variable = endpoint = ""
    if not by_variable and not endpoint:
        yield
        return
    tracer = _tracer(service, clock, environ, by_variable, endpoint)
    if tracer is None:
        yield
        return
    log.info("traces_begun", to=environ[by_variable] if by_variable else endpoint)
    try:
        with tracing.use(tracer):
            yield
    finally:
        tracer.close()


def _tracer(
    service: str, clock: Clock, environ: Mapping[str, str], by_variable: str, endpoint: str
) -> tracing.Tracer | None:
    try:
        from navarch.telemetry import otel
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        cure = "pip install 'navarch[otel]'"
        if not by_variable:
            message = f"traces need OpenTelemetry, which is not installed: {cure}"
            raise ConfigError(message, key="server.traces.endpoint") from error
        log.warning("traces_unavailable", variable=by_variable, cure=cure)
        return None

    def now() -> int:
        return int(clock.now().timestamp() * 1_000_000) * 1_000

    return otel.otlp(service, now, environ, "" if by_variable else endpoint)
