"""The catalogue: one meaning of each abstract name at each cloud, and a source for every fact."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.errors import ConfigError
from navarch.providers import catalog
from navarch.providers.catalog import CLOUDS, Entry, abstract_of, entry_of, resolve, table

GATHERED = date(2026, 11, 22)


@pytest.mark.parametrize(
    "kind,asked,expected",
    [
        ("lambda", "h100-8x", "gpu_8x_h100_sxm5"),
        ("lambda", "h100-4x", "gpu_4x_h100_sxm5"),
        ("lambda", "h100-1x", "gpu_1x_h100_sxm5"),
        ("lambda", "b200-8x", "gpu_8x_b200_sxm6"),
        ("lambda", "a100-8x", "gpu_8x_a100"),
        ("lambda", "a100-80gb-8x", "gpu_8x_a100_80gb_sxm4"),
        ("gcp", "h100-8x", "a3-highgpu-8g"),
        ("gcp", "h200-8x", "a3-ultragpu-8g"),
        ("gcp", "a100-4x", "a2-highgpu-4g"),
        ("gcp", "a100-80gb-1x", "a2-ultragpu-1g"),
        ("aws", "h100-8x", "p5.48xlarge"),
        ("aws", "h100-1x", "p5.4xlarge"),
        ("aws", "h200-8x", "p5en.48xlarge"),
        ("aws", "b200-8x", "p6-b200.48xlarge"),
        ("aws", "a100-8x", "p4d.24xlarge"),
        ("aws", "a100-80gb-8x", "p4de.24xlarge"),
        ("aws", "l40s-1x", "g6e.xlarge"),
        ("runpod", "h100-8x", "8x NVIDIA H100 80GB HBM3"),
        ("runpod", "a100-8x", "8x NVIDIA A100-SXM4-80GB"),
        ("runpod", "l40s-1x", "NVIDIA L40S"),
    ],
)
def test_an_abstract_type_means_one_of_the_clouds_own(kind: str, asked: str, expected: str) -> None:
    assert resolve(kind, asked) == expected


@pytest.mark.parametrize(
    "kind,own",
    [
        ("lambda", "gpu_8x_h100_sxm5"),
        ("lambda", "gpu_16x_x900_sxm9"),
        ("gcp", "n1-standard-8"),
        ("gcp", "a9-hypergpu-8g"),
        ("aws", "p9.48xlarge"),
        ("runpod", "NVIDIA A40"),
        ("runpod", "2x NVIDIA X900"),
        ("process", "h100-8x"),
        ("ssh", "whatever they are called"),
        ("custom", "h100-900x"),
        ("aws", ""),
    ],
)
def test_a_sellers_own_name_passes_whether_it_is_known_or_not(kind: str, own: str) -> None:
    assert resolve(kind, own) == own


H100_8X = "h100-8x (gpu_8x_h100_sxm5)"
H100_4X = "h100-4x (gpu_4x_h100_sxm5)"


@pytest.mark.parametrize(
    "kind,asked,expected",
    [
        ("aws", "h100-4x", "h100-8x (p5.48xlarge), h100-1x (p5.4xlarge), h200-8x (p5en.48xlarge)"),
        ("lambda", "h200-8x", f"{H100_8X}, b200-8x (gpu_8x_b200_sxm6), gh200-1x (gpu_1x_gh200)"),
        ("lambda", "h100-16x", f"h100-1x (gpu_1x_h100_sxm5), {H100_8X}, {H100_4X}"),
        ("lambda", "p5.48xlarge", f"{H100_8X}, {H100_4X}, h100-2x (gpu_2x_h100_sxm5)"),
    ],
)
def test_an_unknown_type_is_refused_with_the_nearest(kind: str, asked: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(kind, asked)
    assert caught.value.message == f"{kind} sells no {asked!r}; nearest: {expected}"


def test_the_most_precise_abstract_name_is_told() -> None:
    assert abstract_of("lambda", "gpu_8x_a100") == "a100-40gb-8x"
    assert abstract_of("runpod", "8x NVIDIA A100-SXM4-80GB") == "a100-80gb-8x"
    assert abstract_of("runpod", "a100-8x") == "a100-80gb-8x"
    assert abstract_of("gcp", "a3-megagpu-8g") == ""
    assert abstract_of("aws", "m7i.large") == ""
    assert abstract_of("ssh", "h100-8x") == ""
    assert entry_of("ssh", "h100-8x") is None


def test_every_abstract_name_means_one_type_of_a_cloud_and_every_type_stands_once() -> None:
    names = Counter((one.cloud, name) for one in table() for name in one.abstract)
    types = Counter((one.cloud, one.type) for one in table())
    assert [name for name, count in {**names, **types}.items() if count > 1] == []
    assert {one.cloud for one in table()} == set(CLOUDS)


def test_the_names_that_pools_use_most_are_sold_by_several_clouds() -> None:
    for name in ("h100-8x", "h100-1x", "b200-8x", "a100-8x", "a100-80gb-8x"):
        clouds = {one.cloud for one in table() if name in one.abstract}
        assert {"lambda", "aws", "gcp", "runpod"} - clouds <= {"aws", "gcp"}, name
        assert len(clouds) >= 3, name


@pytest.mark.parametrize("one", table(), ids=lambda one: f"{one.cloud}:{one.type}")
def test_every_row_agrees_with_itself_and_names_its_sources(one: Entry) -> None:
    for name in one.abstract:
        assert catalog.ABSTRACT.fullmatch(name)
        assert name.endswith(f"-{one.gpu_count}x")
        assert one.gpu.lower().replace(" sxm", "").partition(" ")[0] in name
    assert catalog.OWN[one.cloud].fullmatch(one.type)
    assert one.facts_source
    assert one.facts_read <= GATHERED
    assert 1 <= one.gpu_count <= 8
    assert one.gpu_memory_gb in {24, 40, 48, 80, 96, 141, 180}
    priced = one.price_usd_per_hour is not None
    assert priced == bool(one.price_source) == bool(one.price_where) == (one.price_read is not None)
    if one.price_usd_per_hour is not None and one.price_read is not None:
        assert 0.5 < one.price_usd_per_hour / one.gpu_count < 20
        assert date(2026, 8, 1) <= one.price_read <= GATHERED
    assert list(one.regions) == sorted(set(one.regions))


def test_a_promise_of_memory_is_kept() -> None:
    for one in table():
        for name in one.abstract:
            if "-80gb-" in name or "-40gb-" in name:
                assert f"-{one.gpu_memory_gb}gb-" in name
            elif name.startswith("a100-"):
                assert one.gpu_memory_gb >= 40


@given(st.sampled_from([*CLOUDS, "ssh"]), st.text(max_size=60))
def test_any_name_is_resolved_or_refused_on_one_line(kind: str, asked: str) -> None:
    try:
        told = resolve(kind, asked)
    except ConfigError as error:
        told = error.message
    assert told == asked or told.startswith(f"{kind} sells no {asked!r}; nearest: ")
    assert told == asked or told.isprintable()


def documented() -> str:
    """Write the table of abstract types, as the documentation has it."""
    names = dict.fromkeys(name for one in table() for name in one.abstract)
    rows = ["| type | lambda | gcp | aws | runpod |", "|---|---|---|---|---|"]
    for name in sorted(names, key=_by_gpu_and_size):
        found = {one.cloud: f"`{one.type}`" for one in table() if name in one.abstract}
        rows.append(f"| `{name}` | {' | '.join(found.get(cloud, '') for cloud in CLOUDS)} |")
    return "".join(f"{row}\n" for row in rows)


def _by_gpu_and_size(name: str) -> tuple[str, int]:
    gpu, _, count = name.rpartition("-")
    return gpu, -int(count.removesuffix("x"))


def test_the_documentation_has_every_abstract_type() -> None:
    path = Path(__file__).resolve().parents[2] / "docs" / "providers" / "README.md"
    before, start, rest = path.read_text(encoding="utf-8").partition("<!-- types -->\n")
    written, end, after = rest.partition("<!-- end -->\n")
    assert start
    assert end
    if os.environ.get("NAVARCH_WRITE_GOLDEN"):
        path.write_text(f"{before}{start}{documented()}{end}{after}", encoding="utf-8")
        written = documented()
    assert written == documented()


def test_no_sdk_is_loaded_by_providers_or_by_their_names() -> None:
    script = (
        "import sys\n"
        "import navarch.providers, navarch.providers.catalog, navarch.providers.base\n"
        "import navarch.providers.aws, navarch.providers.gcp, navarch.providers.ssh\n"
        "import navarch.providers.lambda_labs, navarch.providers.runpod, navarch.providers.docker\n"
        "navarch.providers.catalog.table()\n"
        "heavy = ('boto3', 'botocore', 'google.auth', 'google.cloud', 'asyncssh')\n"
        "print(*(name for name in heavy if name in sys.modules))\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert printed.stdout == "\n"
