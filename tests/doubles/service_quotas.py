"""AWS Service Quotas on this machine: the two reads of it that we make, JSON 1.1 over HTTP.

Written from the API reference of Service Quotas, GetServiceQuota and GetAWSDefaultServiceQuota,
and the SDK's description of them (botocore 1.44, read November 2026): the operation is in the
header ``X-Amz-Target``, errors name their type in ``__type``. moto knows the quotas of VPCs only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from doubles.http_cloud import Asked, HttpCloud, Said, said_json
from navarch.controlplane.clock import RealClock

TARGET = "ServiceQuotasV20190624."
NAMES = {
    "L-417A185B": "Running On-Demand P instances",
    "L-7212CCBC": "All P4, P3 and P2 Spot Instance Requests",
    "L-C4BD4855": "All P5 Spot Instance Requests",
    "L-DB2E81BA": "Running On-Demand G and VT instances",
    "L-3819A6DF": "All G and VT Spot Instance Requests",
}


class ServiceQuotas(HttpCloud):
    """An account's quotas of EC2."""

    def __init__(self) -> None:
        super().__init__(RealClock().now)
        self.applied: dict[tuple[str, str], float] = {}
        """By region and code."""
        self.defaults: dict[str, float] = dict.fromkeys(NAMES, 0.0)
        """By code."""
        self.may_read = True
        self.said: Said | None = None
        """What is answered to everything in the place of the truth."""

    def answer(self, asked: Asked) -> Said:
        if self.said is not None:
            return self.said
        operation = asked.headers.get("x-amz-target", "").removeprefix(TARGET)
        if not self.may_read:
            return refusal(
                "AccessDeniedException",
                f"User: arn:aws:iam::1:user/n is not authorized to perform: {operation}",
            )
        scope = re.search(
            r"Credential=[^/]*/\d+/([^/]*)/servicequotas/", asked.headers["authorization"]
        )
        assert scope is not None, "it is signed for another service"
        query: dict[str, Any] = asked.json()
        code = query["QuotaCode"]
        if query["ServiceCode"] != "ec2" or code not in NAMES:
            return refusal("NoSuchResourceException", "no such quota")
        match operation:
            case "GetServiceQuota":
                value = self.applied.get((scope[1], code))
            case "GetAWSDefaultServiceQuota":
                value = self.defaults[code]
            case _:
                return refusal("UnknownOperationException", operation)
        if value is None:
            return refusal("NoSuchResourceException", "no applied value")
        quota = {"ServiceCode": "ec2", "QuotaCode": code, "QuotaName": NAMES[code], "Value": value}
        return said_json({"Quota": {**quota, "Unit": "None", "Adjustable": True}})


def refusal(kind: str, message: str) -> Said:
    """Write an error as the service does."""
    return said_json({"__type": kind, "Message": message}, 400)


@contextmanager
def service_quotas() -> Iterator[ServiceQuotas]:
    """Run it, and lead the SDK there."""
    cloud = ServiceQuotas()
    with cloud.serving() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", url)
        yield cloud
