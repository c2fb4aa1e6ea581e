"""What EC2's quotas count: a region, a bucket of families, on demand or spot."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from navarch.errors import QuotaScope
from navarch.providers import catalog
from navarch.providers.aws.quotas import ON_DEMAND, SPOT, quota_scope

P = ("p[0-9]*",)
G = ("g[0-9]*", "gr[0-9]*", "vt[0-9]*")


@pytest.mark.parametrize(
    "code,kind,spot,expected",
    [
        ("VcpuLimitExceeded", "p5.48xlarge", False, QuotaScope("r", P, spot=False)),
        ("Client.VcpuLimitExceeded", "g6e.xlarge", False, QuotaScope("r", G, spot=False)),
        ("InstanceLimitExceeded", "p4d.24xlarge", False, QuotaScope("r", P, spot=False)),
        (
            "MaxSpotInstanceCountExceeded",
            "p5en.48xlarge",
            True,
            QuotaScope("r", ("p5*",), spot=True),
        ),
        (
            "MaxSpotInstanceCountExceeded",
            "p4de.24xlarge",
            True,
            QuotaScope("r", ("p[2-4]*",), spot=True),
        ),
        ("MaxSpotInstanceCountExceeded", "p6-b200.48xlarge", True, None),
        ("VcpuLimitExceeded", "zz9.large", False, QuotaScope("r", ("zz9.*",), spot=False)),
        ("VolumeLimitExceeded", "p5.48xlarge", False, QuotaScope("r")),
        ("NewThingLimitExceeded", "p5.48xlarge", True, QuotaScope("r")),
    ],
)
def test_a_code_says_what_its_quota_counts(
    code: str, kind: str, *, spot: bool, expected: QuotaScope | None
) -> None:
    expected = expected or QuotaScope("r", ("p6-b200.*",), spot=True)
    scope = quota_scope(code, "r", kind, spot=spot)
    assert scope == expected
    assert expected.covers("r", "ra", kind, spot=spot)


@pytest.mark.parametrize("code", ["PendingVerification", "Blocked", ""])
def test_what_is_of_the_account_has_no_part(code: str) -> None:
    assert quota_scope(code, "r", "p5.48xlarge", spot=False) is None


@pytest.mark.parametrize("buckets", [ON_DEMAND, SPOT])
def test_no_type_is_in_two_buckets(buckets: tuple[tuple[str, ...], ...]) -> None:
    kinds = [each.type for each in catalog.table() if each.cloud == "aws"]
    kinds += ["m7i.large", "inf2.xlarge", "trn1.2xlarge", "hpc7a.96xlarge", "im4gn.large"]
    for kind in [*kinds, "dl1.24xlarge", "x2idn.large", "u7i-12tb.224xlarge", "d3.xlarge"]:
        found = [each for each in buckets if any(fnmatchcase(kind, one) for one in each)]
        assert len(found) <= 1, kind
