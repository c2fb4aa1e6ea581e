"""The options of `navarch agent`: what each becomes, and that all of them are described."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import click
import pytest

from cli.connect_server import Run
from navarch import wiring
from navarch.agent.commands import ALLOWED, Means
from navarch.agent.settings import AgentSettings, Serving
from navarch.cli.daemons import agent

NEEDED = ("agent", "--server", "http://a:1", "--node-id", "n1", "--state-dir", "/var/state")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[AgentSettings]:
    """Return the settings with which agents were begun; none begins really."""
    begun: list[AgentSettings] = []

    def begin(settings: AgentSettings) -> int:
        begun.append(settings)
        return 0

    monkeypatch.setattr(wiring, "run_agent", begin)
    monkeypatch.setenv("NAVARCH_NODE_TOKEN", "secret")
    return begun


def test_by_default_the_sensors_are_real_and_no_work_is_taken_down(
    run: Run, begun: list[AgentSettings]
) -> None:
    assert run(*NEEDED).code == 0
    expected = AgentSettings(
        servers=("http://a:1",), node_id="n1", state_dir=Path("/var/state"), token="secret"
    )
    assert begun == [expected]
    assert (expected.sensors, expected.means.allowed) == ("real", ALLOWED)


def test_every_option_becomes_a_setting(run: Run, begun: list[AgentSettings]) -> None:
    options = [
        *("--server", "http://b:2", "--provider", "p", "--region", "r", "--zone", "z"),
        *("--instance-type", "t", "--label", "a=b", "--sensors", "injected"),
        *("--expected-gpus", "4", "--kernel-log", "/log", "--gpu-count", "4", "--gpu-type", "A100"),
        *("--boot-check", "probe 'a b'", "--boot-check", "other", "--boot-check-register-anyway"),
        *("--diagnostic", "dcgmi diag -r {level}", "--diagnostic-time-max", "10m"),
        *("--allow", "gpu_reset", "--allow", "reboot", "--dry-run-commands"),
        *("--gpu-reset-command", "reset {gpu}", "--reboot-command", "shutdown -r now"),
        *("--serving", "--model-cache-dir", "/models", "--model-cache-quota", "2Ti"),
        *("--model-cache-listen", "10.0.0.7:9650", "--plugin-module", "acme.loaders"),
    ]
    assert run(*NEEDED, *options).code == 0
    assert begun == [
        AgentSettings(
            servers=("http://a:1", "http://b:2"),
            node_id="n1",
            state_dir=Path("/var/state"),
            token="secret",
            provider="p",
            region="r",
            zone="z",
            instance_type="t",
            labels={"a": "b"},
            sensors="injected",
            expected_gpus=4,
            kernel_log=Path("/log"),
            gpu_count=4,
            gpu_type="A100",
            boot_checks=(("probe", "a b"), ("other",)),
            boot_check_register_anyway=True,
            means=Means(
                allowed=ALLOWED | {"gpu_reset", "reboot"},
                dry_run=True,
                diagnostic=("dcgmi", "diag", "-r", "{level}"),
                diagnostic_time_max=timedelta(minutes=10),
                gpu_reset=("reset", "{gpu}"),
                reboot=("shutdown", "-r", "now"),
            ),
            serving=Serving(
                cache_dir=Path("/models"),
                cache_quota=2 * 1024**4,
                cache_listen="10.0.0.7:9650",
                plugin_modules=("acme.loaders",),
            ),
        )
    ]


@pytest.mark.parametrize(
    "options, problem",
    [
        (["--diagnostic", "it's"], "is no command: no closing quotation"),
        (["--reboot-command", " "], "it is empty, expected a program and its arguments"),
        (["--boot-check", "'' x"], "it is empty, expected a program and its arguments"),
        (["--allow", "terminate"], "'terminate' is not one of 'gpu_reset', 'reboot'"),
        (["--gpu-count", "8"], "--gpu-count and --gpu-type go with --sensors injected only"),
        (["--model-cache-quota", "1T"], "--model-cache-… and --plugin-module go with --serving"),
        (["--serving", "--model-cache-quota", "-1"], "'-1' is no size such as 500G or 2Ti"),
        (["--serving", "--model-cache-listen", "9650"], "is no place to listen such as 10.0.0.7"),
        (["--serving", "--plugin-module", "a-b"], "'a-b' is no module such as acme.loaders"),
        (["--expected-gpus", "65"], "65 is not in the range 0<=x<=64"),
    ],
)
def test_wrong_options_are_refused(
    run: Run, begun: list[AgentSettings], options: list[str], problem: str
) -> None:
    outcome = run(*NEEDED, *options)
    assert (outcome.code, begun) == (2, [])
    assert problem in outcome.stderr


# --- TLS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate that signs itself, and its key."""
    openssl = shutil.which("openssl")
    assert openssl is not None, "the tests of TLS need the openssl program"
    folder = tmp_path_factory.mktemp("agent-tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    names = ["-nodes", "-subj", "/CN=n1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([openssl, *request, *names], check=True, capture_output=True, timeout=60)
    return cert, key


def test_certificates_are_trusted_and_shown(
    run: Run, begun: list[AgentSettings], certificate: tuple[Path, Path]
) -> None:
    cert, key = map(str, certificate)
    outcome = run(*NEEDED, "--tls-ca", cert, "--tls-cert", cert, "--tls-key", key)
    assert outcome.code == 0
    (settings,) = begun
    assert settings.tls is not None
    assert [each["subject"] for each in settings.tls.context().get_ca_certs()] == [
        ((("commonName", "n1"),),)
    ]


def test_what_is_wrong_with_tls_names_the_file(
    run: Run, begun: list[AgentSettings], certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = map(str, certificate)
    junk = tmp_path / "junk"
    junk.write_text("junk")
    for options, problem in [
        (["--tls-cert", cert], "tls-key: is missing: a certificate and its key go together"),
        (["--tls-key", key], "tls-cert: is missing: a certificate and its key go together"),
        (["--tls-ca", "/nowhere"], "/nowhere: no certificates to trust: No such file"),
        (["--tls-ca", str(junk)], f"{junk}: no certificates to trust: no certificate or crl found"),
        (["--tls-cert", str(junk), "--tls-key", key], f"{junk}: no certificate with the key"),
        (["--tls-cert", cert, "--tls-key", "/nowhere"], f"{cert}: no certificate with the key"),
    ]:
        outcome = run(*NEEDED, *options)
        assert (outcome.code, outcome.stdout, begun) == (1, "", [])
        assert outcome.stderr.startswith(f"navarch: {problem}")
        assert outcome.stderr.count("\n") == 1


# --- the page about it -------------------------------------------------------------------------


def described(project: Path) -> set[str]:
    """Return the options in the table of the page."""
    page = (project / "docs" / "agent.md").read_text()
    table = page.partition("## All options")[2].partition("## ")[0]
    cells = re.findall(r"^\|([^|]*)\|", table, re.MULTILINE)
    return {option for cell in cells for option in re.findall(r"--[a-z-]+", cell)} - {"--"}


def test_the_page_names_every_option_and_no_other(project: Path) -> None:
    there = {option for each in agent.params for option in each.opts if option.startswith("--")}
    assert {option for option in described(project) if option.strip("-")} == there


def test_the_example_of_the_page_is_a_good_command_line(
    project: Path, run: Run, begun: list[AgentSettings], tmp_path: Path
) -> None:
    page = (project / "docs" / "agent.md").read_text()
    example = re.findall(r"```sh\nnavarch (agent .*?)```", page, re.DOTALL)[0]
    (tmp_path / "token").write_text("secret")
    words = example.replace("\\\n", " ").replace("/etc/navarch/token", str(tmp_path / "token"))
    assert run(*words.split()).code == 0
    assert begun[0].means.allowed == ALLOWED | {"gpu_reset", "reboot"}


def test_the_defaults_shown_are_the_defaults() -> None:
    from navarch.agent.commands import GPU_RESET_COMMAND
    from navarch.agent.reboot import REBOOT_COMMAND
    from navarch.agent.settings import KERNEL_LOG

    options = {each.name: each for each in agent.params if isinstance(each, click.Option)}
    for name, command in [
        ("gpu_reset_command", GPU_RESET_COMMAND),
        ("reboot_command", REBOOT_COMMAND),
    ]:
        assert str(options[name].help).endswith(f"[default: {' '.join(command)}]")
    assert options["kernel_log"].default == KERNEL_LOG
