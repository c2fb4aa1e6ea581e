"""A real Prometheus on this machine that scrapes one address every second.

Needs the program ``prometheus``, from Debian's package of that name. It lives in one folder, on a
port that was free, and is ended by process id.
"""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode

from infra.real_parts import free_ports, require, wait_for

CONFIGURATION = """
global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}
scrape_configs: [{{job_name: fleet, static_configs: [{{targets: ["{target}"]}}]}}]
"""


class RealPrometheus:
    """A running Prometheus."""

    def __init__(
        self,
        folder: Path,
        target: str,
        *,
        configuration: str = CONFIGURATION,
        job: str = "fleet",
        port: int | None = None,
    ) -> None:
        """Start it; returns when it has scraped `target`, a host and port, once.

        A `configuration` of one's own has a job called `job`, and `{target}` where that stands.
        """
        require(["prometheus"], "prometheus")
        port = port or free_ports(1)[0]
        self.url = f"http://127.0.0.1:{port}"
        self._job = job
        (folder / "prometheus.yml").write_text(configuration.format(target=target))
        with (folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: self.is_up() == 1, f"the first scrape, see {folder}")

    def is_up(self) -> float | None:
        """What it says of its target: 1 up, 0 down, None nothing yet."""
        try:
            result = self.query(f'up{{job="{self._job}"}}')
        except (URLError, ConnectionError):
            return None
        return float(result[0]["value"][1]) if result else None

    def rules(self) -> list[dict[str, Any]]:
        """All its rules as it runs them, each with its ``name``, ``health`` and ``lastError``."""
        url = f"{self.url}/api/v1/rules"
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own address
            groups = json.load(answer)["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Give the series that an expression finds now, each with its ``metric`` and ``value``.

        Raises `URLError` or `ConnectionError` when it does not answer, or not so.
        """
        url = f"{self.url}/api/v1/query?{urlencode({'query': expression})}"
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own address
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def freeze(self) -> None:
        """Let it stand still: connections open, and nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self._process.pid}/stat")
        wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it stands still")

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
