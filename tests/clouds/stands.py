"""The clouds on trial, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from clouds.aws_stand import AwsStand, aws_stand
from clouds.docker_stand import DockerStand, docker_stand
from clouds.faults import Stand
from clouds.gcp_stand import GcpStand, gcp_stand
from clouds.http_stands import LambdaStand, RunPodStand, lambda_stand, runpod_stand
from clouds.ssh_stand import SshStand, ssh_stand


class Entry(NamedTuple):
    """One cloud."""

    slug: str
    """The provider's module in `navarch.providers`."""

    stand: type[Stand]
    running: Callable[[], AbstractContextManager[Stand]]
    """Runs its double."""


STANDS = (
    Entry("lambda_labs", LambdaStand, lambda_stand),
    Entry("runpod", RunPodStand, runpod_stand),
    Entry("gcp", GcpStand, gcp_stand),
    Entry("aws", AwsStand, aws_stand),
    Entry("ssh", SshStand, ssh_stand),
    Entry("docker", DockerStand, docker_stand),
)
