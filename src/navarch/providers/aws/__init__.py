"""Machines from Amazon EC2.

`provider` is the `Provider`; the other modules know one thing each: `settings` what a site says,
`launch` how a request becomes RunInstances, `answers` what EC2's answers mean, `refusals` what its
errors mean, `clients` how EC2 is spoken to, `lanes` the threads in which that happens.

Nothing here imports the SDK (botocore) before the first call.
"""

from __future__ import annotations

from navarch.providers.aws.provider import AwsProvider
from navarch.providers.aws.settings import AwsSettings, Reservation

__all__ = ["AwsProvider", "AwsSettings", "Reservation"]
