"""What a running process tells of itself: events in its log, and spans of its traces.

`log` is how all of this package logs: an event word and fields. `values` makes fields plain and
short, `redaction` takes secrets out, `writing` and `formats` make a line of it, and `outlet` writes
that and never waits for long. `sparing` keeps what happens often from flooding. `tracing` is the
protocol of traces; `otel` speaks OpenTelemetry, and is the only module that may import it.
"""
