"""What Google tells of a project before anything is bought: permissions and quotas."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.compute_engine_faults import Raw, Refuse
from doubles.compute_engine_rules import PROJECT
from doubles.gcp_bench import Bench
from navarch.providers.base import Finding, Wanted
from navarch.providers.gcp.examining import metric_of, permissions

H100 = "a3-highgpu-8g"


def want(pool: str = "training", **changes: object) -> Wanted:
    """Want four machines of eight GPUs."""
    said: dict[str, object] = {
        "instance_type": H100,
        "nodes": 4,
        "gpu_count": 8,
        "region": "us-central1",
        **changes,
    }
    return Wanted(pool=pool, **said)  # type: ignore[arg-type]


def told(bench: Bench, *wanted: Wanted, **changes: object) -> list[Finding]:
    return list(bench.run(lambda provider: provider.examine_for(wanted), **changes))


def allow(bench: Bench, region: str = "us-central1", **metrics: float) -> None:
    bench.double.quotas[region] = {key: (limit, 0.0) for key, limit in metrics.items()}


def test_permissions_are_asked_of_google_and_those_missing_are_named(
    bench: Bench,
) -> None:
    all_there = f"all permissions that launches take are granted in {PROJECT}"
    assert told(bench) == [("rights", True, all_there)]
    bench.double.lacks = {"compute.instances.create", "compute.disks.create"}
    text = f"not granted in {PROJECT}: compute.disks.create, compute.instances.create"
    assert told(bench) == [("rights", False, text)]


def test_only_what_the_settings_make_necessary_is_asked(bench: Bench) -> None:
    def named(**changes: object) -> set[str]:
        asked = permissions(bench.provider(**changes)._settings)  # noqa: SLF001
        return set(asked)

    tags = {"compute.instances.setTags"}
    assert named(network_tags=("a",)) - named() == tags
    assert named() - named(external_ip=False) == {"compute.subnetworks.useExternalIp"}
    account = {"compute.instances.setServiceAccount"}
    assert named(service_account="a@b.example") - named() == account
    assert named(placement_policy="close") - named() == {"compute.resourcePolicies.use"}
    elsewhere = named(subnetwork="projects/other-host/regions/r/subnetworks/s")
    assert named() - elsewhere == {
        *("compute.subnetworks.use", "compute.subnetworks.useExternalIp"),
    }
    own_image = named(image=f"projects/{PROJECT}/global/images/i")
    assert own_image - named() == {"compute.images.useReadOnly"}


def test_an_api_that_is_not_enabled_leaves_rights_unknown(bench: Bench) -> None:
    bench.double.script("rights", Refuse(403, "accessNotConfigured"))
    ((what, well, text),) = told(bench)
    assert (what, well) == ("rights", None)
    assert "accessNotConfigured" in text or "scripted" in text


@pytest.mark.parametrize(
    "instance_type,metric",
    [
        (H100, "NVIDIA_H100_GPUS"),
        ("a2-ultragpu-1g", "NVIDIA_A100_80GB_GPUS"),
        ("a2-highgpu-8g", "NVIDIA_A100_GPUS"),
        ("g2-standard-48", "NVIDIA_L4_GPUS"),
        ("n1-standard-8+nvidia-tesla-t4:2", "NVIDIA_T4_GPUS"),
        ("a3-ultragpu-8g", ""),
        ("n1-standard-8", ""),
    ],
)
def test_each_gpu_has_the_quota_that_the_api_enumerates(instance_type: str, metric: str) -> None:
    assert metric_of(instance_type) == metric


def test_a_quota_of_less_than_the_pools_may_use_fails_with_both_numbers(bench: Bench) -> None:
    allow(bench, NVIDIA_H100_GPUS=31)
    allow(bench, "", GPUS_ALL_REGIONS=32)
    _, region, everywhere = told(bench, want())
    assert region == (
        "quota of us-central1",
        False,
        "31 GPUs are allowed, 32 could be used by training: have NVIDIA_H100_GPUS raised",
    )
    assert everywhere[:2] == ("quota of all regions", True)
    allow(bench, NVIDIA_H100_GPUS=32)
    allow(bench, "", GPUS_ALL_REGIONS=31)
    assert [well for _, well, _ in told(bench, want())] == [True, True, False]


def test_pools_of_several_regions_count_once_in_the_quota_of_all(bench: Bench) -> None:
    bench.double.quotas["europe-west4"] = {"NVIDIA_H100_GPUS": (32, 0)}
    bench.double.quotas["us-central1"] = {"NVIDIA_H100_GPUS": (40, 8)}
    allow(bench, "", GPUS_ALL_REGIONS=40)
    other = want("other", nodes=1)
    found = told(bench, want(), want(region="europe-west4"), other)
    assert {what: (well, text) for what, well, text in found[1:]} == {
        "quota of us-central1": (
            True,
            (
                "40 GPUs are allowed, 8 of them in use now, 40 could be used by training, other "
                "(NVIDIA_H100_GPUS)"
            ),
        ),
        "quota of europe-west4": (
            True,
            "32 GPUs are allowed, 32 could be used by training (NVIDIA_H100_GPUS)",
        ),
        "quota of all regions": (
            True,
            "40 GPUs are allowed, 40 could be used by training, other (GPUS_ALL_REGIONS)",
        ),
    }


def test_spot_machines_are_counted_by_quotas_of_their_own(bench: Bench) -> None:
    allow(bench, NVIDIA_H100_GPUS=0, PREEMPTIBLE_NVIDIA_H100_GPUS=32)
    assert [well for _, well, _ in told(bench, want(spot=True))] == [True, True]
    allow(bench, NVIDIA_H100_GPUS=32, PREEMPTIBLE_NVIDIA_H100_GPUS=0)
    _, (_, well, text) = told(bench, want(spot=True))
    assert (well, text.partition(";")[0]) == (None, "PREEMPTIBLE_NVIDIA_H100_GPUS is none")
    allow(bench, NVIDIA_H100_GPUS=0, PREEMPTIBLE_NVIDIA_H100_GPUS=0)
    assert told(bench, want(spot=True))[1][1] is False


def test_what_cannot_be_told_is_unknown_with_the_reason(bench: Bench) -> None:
    found = told(bench, want(instance_type="a3-ultragpu-8g"), want(region=""), want())
    assert [each for each in found if each[0] != "rights"] == [
        ("quota of us-central1", None, "Google does not tell of NVIDIA_H100_GPUS"),
        ("quota of all regions", None, "Google does not tell of GPUS_ALL_REGIONS"),
        (
            "quota for training",
            None,
            "a3-ultragpu-8g: its quota is not among those that regions tell of",
        ),
        ("quota for training", None, f"{H100}: neither a region nor a zone is named"),
    ]


def test_quotas_that_we_may_not_read_are_unknown(bench: Bench) -> None:
    bench.double.script("quotas", *[Refuse(403, "forbidden", "compute.regions.get")] * 2)
    found = told(bench, want(), zones=("us-central1-a",))
    assert [well for _, well, _ in found] == [True, None, None]
    assert "compute.regions.get" in found[1][2]


NUMBERS = st.floats() | st.integers() | st.none() | st.text(max_size=4) | st.booleans()
TOLD = st.fixed_dictionaries(
    {},
    optional={
        "metric": st.sampled_from(["NVIDIA_H100_GPUS", "GPUS_ALL_REGIONS", 7, ""]),
        "limit": NUMBERS,
        "usage": NUMBERS,
    },
)
BODIES = st.binary(max_size=40) | st.builds(
    lambda quotas, permissions: json.dumps({"quotas": quotas, "permissions": permissions}).encode(),
    st.lists(TOLD, max_size=3) | st.none() | st.just({}),
    st.lists(st.text(max_size=8) | st.integers(), max_size=3) | st.none(),
)


def test_whatever_arrives_in_the_place_of_quotas_and_rights_is_a_finding(bench: Bench) -> None:
    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.sampled_from([200, 200, 200, 204, 302, 400, 403, 404, 429, 500]), BODIES, BODIES)
    def check(status: int, body: bytes, other: bytes) -> None:
        bench.double.script("rights", Raw(status, other))
        bench.double.script("quotas", Raw(status, body), Raw(status, body))
        found = told(bench, want())
        bench.double.unscript()
        assert [what for what, _, _ in found] == [
            *("rights", "quota of us-central1", "quota of all regions"),
        ]
        assert all(text and (well in {True, False, None}) for _, well, text in found)

    check()
