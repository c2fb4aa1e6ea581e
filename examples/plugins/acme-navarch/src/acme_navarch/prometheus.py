"""A metrics provider that asks a Prometheus server by its HTTP API.

The API: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries. A pool's name
is quoted as PromQL quotes strings, so that a name cannot ask for something else.
"""

from __future__ import annotations

import asyncio
import json
import math
import urllib.parse
import urllib.request
from datetime import timedelta

from msgspec import Struct

from navarch.plugins import AgentPool

ANSWER_MAX = 1 << 20
"""Bytes of an answer: one value needs less than a thousand."""


class PrometheusProvider:
    """Reads the load of a pool of agents from Prometheus."""

    name = "acme-prometheus"
    version = "1.0.0"

    class Config(Struct, frozen=True):
        """Where it is, and what its series are called."""

        url: str = "http://127.0.0.1:9090"
        prefix: str = "neuronetes_"
        timeout: timedelta = timedelta(seconds=2)
        metrics: tuple[str, ...] = (
            *("tokens-per-second", "ttft-p95"),
            *("concurrent-sessions", "queue-depth"),
        )

    def __init__(self, config: Config | None = None) -> None:
        """Ask this server."""
        self.config = config or self.Config()
        if urllib.parse.urlsplit(self.config.url).scheme not in ("http", "https"):
            raise ValueError(f"url is {self.config.url!r}, expected http:// or https://")

    def list_metrics(self) -> list[str]:
        """The signals that it can give."""
        return list(self.config.metrics)

    async def get_metric(self, pool: AgentPool, metric_type: str) -> float:
        """Read a value.

        Raises `LookupError` when there is none, and `OSError` when the server does not answer.
        """
        if metric_type not in self.config.metrics:
            raise LookupError(f"{self.name} has no {metric_type}")
        series = self.config.prefix + metric_type.replace("-", "_")
        query = f"{series}{{pool={json.dumps(pool.name, ensure_ascii=False)}}}"
        return _parse(await asyncio.to_thread(self._ask, query), metric_type)

    def _ask(self, query: str) -> bytes:
        parameters = urllib.parse.urlencode({"query": query}, errors="replace")
        url = f"{self.config.url}/api/v1/query?{parameters}"
        limit = self.config.timeout.total_seconds()
        with urllib.request.urlopen(url, timeout=limit) as answer:  # noqa: S310 - see __init__
            content: bytes = answer.read(ANSWER_MAX)
            return content


def _parse(content: bytes, metric_type: str) -> float:
    try:
        answer = json.loads(content)
        samples = answer["data"]["result"]
        if not samples:
            raise LookupError(f"Prometheus has no {metric_type} of this pool")
        [sample] = samples
        value = float(sample["value"][1])
    except (ValueError, KeyError, TypeError) as error:
        raise LookupError(f"{metric_type}: Prometheus answers what is no single value") from error
    if not math.isfinite(value):
        raise LookupError(f"{metric_type} is {value}")
    return value


def main() -> list[str]:
    """Say what it can give; asking needs a server."""
    return PrometheusProvider().list_metrics()


if __name__ == "__main__":
    print("\n".join(main()))
