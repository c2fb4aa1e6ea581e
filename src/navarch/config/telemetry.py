"""What may be written about logs and traces."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct

from navarch.config.bootstrap import SERVER
from navarch.config.key import Key


class Logs(Struct, frozen=True):
    """What the control plane logs to its standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        Key("The least grave events that are logged; LOG_LEVEL overrules it. Absent: info."),
    ] = None
    format: Annotated[
        Literal["json", "text"] | None,
        Key("How; LOG_FORMAT overrules it. Absent: text on a terminal, json elsewhere."),
    ] = None


class Traces(Struct, frozen=True):
    """Where the control plane sends OpenTelemetry spans of what it does."""

    endpoint: Annotated[
        str | None,
        Key(
            "An OTLP collector over HTTP, such as http://collector:4318; needs navarch[otel], and "
            "OTEL_EXPORTER_OTLP_ENDPOINT overrules it. Absent: nothing is traced.",
            form=SERVER,
        ),
    ] = None
