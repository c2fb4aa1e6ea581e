"""`navarch provider`: who sells machines and what, and whether one could buy from them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.connect_server import Json, Run
from doubles.http_cloud import HttpCloud
from doubles.lambda_bench import KEY
from doubles.lambda_cloud import PREFIX, LambdaCloud
from golden_text import golden
from navarch.controlplane.clock import RealClock

LOCAL = """
providers:
  fake: {type: fake, gpu_count: 4, gpu_type: "NVIDIA H100", stock: {h100-4x: 2}}
  theirs: {type: custom, use: "absent.cloud:Cloud"}
  wrong: {type: gcp, project: X}
pools: {training: {provider: fake, max_nodes: 1}}
"""


@pytest.fixture
def local(tmp_path: Path) -> str:
    """Write a configuration of which one provider can be made."""
    file = tmp_path / "navarch.yaml"
    file.write_text(LOCAL)
    return str(file)


def cheap(tmp_path: Path, url: str) -> str:
    """Write a configuration that buys at the double of Lambda Cloud."""
    file = tmp_path / "navarch.yaml"
    file.write_text(
        "providers:\n"
        f"  cheap: {{type: lambda, url: '{url}{PREFIX}', request_interval: 1ms}}\n"
        "pools:\n"
        "  training: {provider: cheap, instance_type: h100-8x, region: us-west-1, max_nodes: 2}\n"
    )
    return str(file)


@pytest.fixture
def cloud() -> HttpCloud:
    """A double of Lambda Cloud."""
    return LambdaCloud(RealClock().now)


def document(text: str) -> Json:
    found: Json = json.loads(text)
    return found


def test_providers_are_listed_with_what_they_state_and_those_that_cannot_be_made(
    local: str, run: Run
) -> None:
    code, stdout, stderr = run("provider", "list", "--config", local)
    assert (code, stderr) == (0, "")
    assert stdout == golden(stdout, "cli/provider-list.txt")


def test_programs_get_the_list_as_a_document(local: str, run: Run) -> None:
    code, stdout, _ = run("provider", "list", "--config", local, "-o", "json")
    fake, theirs, _ = document(stdout)["providers"]
    assert code == 0
    assert (fake["name"], fake["type"], fake["problem"], fake["showsTypes"]) == (
        *("fake", "fake", ""),
        True,
    )
    assert fake["launchesAtOnce"] >= 1
    assert (theirs["launchesAtOnce"], theirs["problem"][:32]) == (
        None,
        "provider absent.cloud:Cloud: can",
    )


def test_the_catalogue_is_shown_without_a_configuration(run: Run) -> None:
    code, stdout, stderr = run("provider", "types", "--gpu", "h100", "--count", "8")
    assert (code, stderr) == (0, "")
    assert stdout == golden(stdout, "cli/provider-types.txt")


def test_the_catalogue_says_where_each_price_is_from(run: Run) -> None:
    words = ("provider", "types", "--gpu", "a100", "--count", "8", "--sort", "name", "-o", "json")
    kinds = document(run(*words).stdout)["types"]
    assert [one["type"] for one in kinds] == sorted(one["type"] for one in kinds)
    amazon = next(one for one in kinds if one["type"] == "p4d.24xlarge")
    assert amazon == {
        "provider": "aws",
        "type": "p4d.24xlarge",
        "abstract": "a100-40gb-8x",
        "gpu": "A100 SXM",
        "gpuCount": 8,
        "gpuMemoryGb": 40,
        "vcpus": 96,
        "memoryGb": 1152,
        "priceUsdPerHour": 21.957642,
        "priceFrom": "list price of us-east-1, 2026-11-09",
        "spotPriceUsdPerHour": None,
        "available": None,
        "regions": amazon["regions"],
        "note": "",
    }
    assert "us-east-1" in amazon["regions"]


def test_providers_are_asked_for_their_types_and_failures_are_told(
    cloud: HttpCloud, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDA_API_KEY", KEY)
    with cloud.serving() as url:
        file = cheap(tmp_path, url)
        code, stdout, stderr = run("provider", "types", "--config", file, "-o", "wide")
        assert (code, stderr) == (0, "")
        assert [line.split()[:3] for line in stdout.splitlines()[1:]] == [
            ["cheap", "gpu_1x_a10", "a10-1x"],
            ["cheap", "gpu_8x_h100_sxm5", "h100-8x"],
        ]
        assert "23.92" in stdout
        monkeypatch.setenv("LAMBDA_API_KEY", "of-somebody-else")
        code, stdout, stderr = run("provider", "types", "--config", file, "-o", "json")
    found = document(stdout)
    assert (code, stderr, found["types"]) == (1, "", [])
    assert [one["provider"] for one in found["failures"]] == ["cheap"]
    assert found["failures"][0]["because"].startswith("Unauthorized: ")
    assert "of-somebody-else" not in stdout


def test_everything_that_is_well_is_told_line_by_line(
    cloud: HttpCloud, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDA_API_KEY", KEY)
    with cloud.serving() as url:
        code, stdout, stderr = run("provider", "check", "--config", cheap(tmp_path, url))
    assert (code, stderr) == (0, "")
    outcomes = [line.split("  ") for line in stdout.splitlines()[1:]]
    assert [[cell.strip() for cell in row if cell][1:3] for row in outcomes] == [
        ["clock", "ok"],
        ["settings", "ok"],
        ["credentials", "ok"],
        ["price list", "ok"],
        ["pool training", "ok"],
        ["quota", "unknown"],
    ]


def test_refused_credentials_fail_the_command(
    cloud: HttpCloud, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDA_API_KEY", "of-somebody-else")
    with cloud.serving() as url:
        file = cheap(tmp_path, url)
        code, stdout, _ = run("provider", "check", "cheap", "--config", file, "-o", "json")
        table = run("provider", "check", "cheap", "--config", file)
    found = document(stdout)
    assert (code, found["passed"]) == (1, False)
    failed = [(one["check"]) for one in found["checks"] if one["outcome"] == "failed"]
    assert failed == ["credentials"]
    assert "of-somebody-else" not in stdout
    assert table.code == 1
    assert "FAILED" in table.stdout


def test_a_provider_that_is_not_there_is_wrong_usage(local: str, run: Run) -> None:
    code, stdout, stderr = run("provider", "check", "absent", "--config", local)
    assert (code, stdout) == (2, "")
    assert stderr == (
        f"navarch: no such provider: absent; {local} has fake, theirs, wrong; "
        "see navarch provider check --help\n"
    )


@pytest.mark.parametrize("command", ["list", "types", "check"])
def test_a_file_with_mistakes_is_refused_with_each_of_them(
    command: str, tmp_path: Path, run: Run
) -> None:
    file = tmp_path / "navarch.yaml"
    file.write_text("providers: {a: {type: fake, gpus: 8}, b: {type: fak}}\n")
    code, stdout, stderr = run("provider", command, "--config", str(file))
    assert (code, stdout, stderr.count("\n")) == (1, "", 2)


def test_config_check_tells_what_only_providers_can_tell(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "navarch.yaml"
    file.write_text(
        "providers:\n"
        "  gcp: {type: gcp, project: X}\n"
        "  aws: {type: aws, region: us-east-1}\n"
        "pools:\n"
        "  training: {provider: aws, instance_type: h100-4x, max_nodes: 1}\n"
    )
    code, stdout, stderr = run("config", "check", str(file))
    assert (code, stdout) == (1, "")
    assert stderr == (
        f"navarch: {file}:2: providers.gcp: gcp: 'X' cannot be a project, expected its id\n"
        f"navarch: {file}:5: pools.training.instance_type: provider aws: aws sells no 'h100-4x'; "
        "nearest: h100-8x (p5.48xlarge), h100-1x (p5.4xlarge), h200-8x (p5en.48xlarge)\n"
    )


def test_the_help_loads_no_library_of_a_cloud() -> None:
    script = (
        "import sys\n"
        "from navarch.cli.main import main\n"
        "main(['--help']); main(['provider', '--help']); main(['provider', 'types', '--help'])\n"
        "heavy = ('boto3', 'botocore', 'google.auth', 'google.cloud', 'asyncssh', 'asyncio',\n"
        "         'pyqwest', 'yaml', 'navarch.wiring', 'navarch.providers')\n"
        "print('loaded:', *(name for name in heavy if name in sys.modules))\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert printed.stdout.splitlines()[-1] == "loaded:"
