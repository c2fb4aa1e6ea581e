"""What Google's quotas count, by the words of a refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.errors import QuotaScope
from navarch.providers.gcp.quotas import quota_scope

EAST = "us-east4"


def said(metric: str, where: str = f"in region {EAST}") -> str:
    text = f"Quota '{metric}' exceeded.  Limit: 8.0 {where}."
    return f"gcp: launch in {EAST}-a: QUOTA_EXCEEDED: {text}"


H100 = ("a3-highgpu-*", "a3-edgegpu-*")
T4 = "*+nvidia-tesla-t4:*"
FAMILY = "GPUS-PER-GPU-FAMILY-per-project-region"


@pytest.mark.parametrize(
    "metric,kind,spot,expected",
    [
        ("NVIDIA_H100_GPUS", "a3-highgpu-8g", False, (H100, False)),
        ("NVIDIA_H100_GPUS", "a3-megagpu-8g", False, ((*H100, "a3-megagpu-*"), False)),
        ("NVIDIA_A100_GPUS", "a2-highgpu-1g", True, (("a2-highgpu-*", "a2-megagpu-*"), None)),
        ("PREEMPTIBLE_NVIDIA_L4_GPUS", "g2-standard-4", True, (("g2-*",), True)),
        ("NVIDIA_T4_GPUS", "n1-standard-8+nvidia-tesla-t4:2", False, ((T4,), False)),
        ("NVIDIA_X9_GPUS", "a9-megagpu-8g", False, (("a9-megagpu-*",), False)),
        (FAMILY, "a4-highgpu-8g", False, (("a4-highgpu-*",), False)),
        ("A2_CPUS", "a2-highgpu-1g", False, (("a2-*",), None)),
        ("PREEMPTIBLE_CPUS", "a2-highgpu-1g", True, ((), True)),
        ("SSD_TOTAL_GB", "a3-highgpu-8g", False, ((), None)),
    ],
)
def test_a_metric_says_what_its_quota_counts(
    metric: str, kind: str, *, spot: bool, expected: tuple[tuple[str, ...], bool | None]
) -> None:
    scope = quota_scope(said(metric), kind, spot=spot)
    assert scope == QuotaScope(EAST, expected[0], spot=expected[1])
    assert scope.covers(EAST, f"{EAST}-a", kind, spot=spot)


def test_a_quota_of_all_regions_is_of_the_project() -> None:
    scope = quota_scope(said("GPUS_ALL_REGIONS", "globally"), "a3-highgpu-8g", spot=False)
    assert scope is not None
    assert scope.is_everything


def test_a_refusal_that_names_no_metric_is_of_the_project() -> None:
    assert quota_scope("gcp: HTTP 403: quotaExceeded", "a3-highgpu-8g", spot=False) is None


@given(metric=st.text(), kind=st.text(), spot=st.booleans())
def test_whatever_is_said_is_read_as_of_the_region_or_of_nothing_known(
    metric: str, kind: str, *, spot: bool
) -> None:
    scope = quota_scope(said(metric), kind, spot=spot)
    assert scope is None or scope.region == EAST
