"""Docker's engine, or Podman's in its place: nodes that are containers of one host.

`provider` makes, lists and ends containers; `settings` says how; `engine` speaks the Engine API,
and `answers` knows its words.
"""

from __future__ import annotations

from navarch.providers.docker.provider import DockerProvider
from navarch.providers.docker.settings import ContainerType, DockerSettings

__all__ = ["ContainerType", "DockerProvider", "DockerSettings"]
