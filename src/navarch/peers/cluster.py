"""The Kubernetes cluster that this process is itself a pod of: its address, its credentials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from navarch.errors import ConfigError
from navarch.peers.endpoint import Credentials

SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where Kubernetes puts a pod's own credentials."""


def own(environ: Mapping[str, str], service_account: str) -> tuple[str, Credentials]:
    """Return the address of the API server, and where this pod's own credentials are.

    :raises ConfigError: this is no pod
    """
    host = environ.get("KUBERNETES_SERVICE_HOST", "")
    port = environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ConfigError(
            "KUBERNETES_SERVICE_HOST is not set: this is no pod; give the server's address"
        )
    folder = Path(service_account)
    url = f"https://{f'[{host}]' if ':' in host else host}:{port}"
    return url, Credentials(token_file=str(folder / "token"), ca_file=str(folder / "ca.crt"))
