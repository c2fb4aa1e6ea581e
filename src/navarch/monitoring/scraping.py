"""A configuration of Prometheus to begin with: whom to scrape, with which token, which rules.

Form: Prometheus' documentation of its configuration, read November 2026.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

RULES_FILE: Final = "navarch.rules.yml"

_FORM: Final = """\
# Written by `navarch monitoring scrape`. One job a fleet; all its control planes are its targets,
# standbys too.
global:
  scrape_interval: {interval}
  evaluation_interval: {interval}

rule_files:
  - {rules}

scrape_configs:
  - job_name: {job}
{tls}{authorization}    static_configs:
      - targets: [{targets}]
"""
_TLS: Final = """\
    scheme: https
    tls_config:
      ca_file: {ca}
"""
_AUTHORIZATION: Final = """\
    authorization:
      credentials_file: {file}
"""


class Scraping(Struct, frozen=True, kw_only=True):
    """Where a fleet's control planes are, and who asks them."""

    targets: tuple[str, ...] = ("127.0.0.1:50051",)
    """Host and port of each control plane."""
    job: str = "navarch"
    credentials_file: str | None = "/etc/prometheus/navarch-viewer.token"
    """Holds the token of a viewer and nothing else; None: nobody is asked for one, as by `up`."""
    ca_file: str | None = None
    """Whom to trust where the control planes speak TLS; None: they speak plain HTTP."""
    interval: str = "15s"
    rules: str = RULES_FILE


def written(scraping: Scraping) -> str:
    """Write the configuration."""
    token = scraping.credentials_file
    return _FORM.format(
        interval=scraping.interval,
        rules=_quoted(scraping.rules),
        job=_quoted(scraping.job),
        tls="" if scraping.ca_file is None else _TLS.format(ca=_quoted(scraping.ca_file)),
        authorization="" if token is None else _AUTHORIZATION.format(file=_quoted(token)),
        targets=", ".join(map(_quoted, scraping.targets)),
    )


def _quoted(text: str) -> str:
    """Write text for YAML, so that none of it is read as anything else."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
