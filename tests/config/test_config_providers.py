"""Providers, what their machines run first, and what pools ask of them, as they are written."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from golden_text import GOLDEN
from navarch.config import load
from navarch.config.bootstrap import Bootstrap
from navarch.config.providers import (
    AWS_IMAGE,
    GCP_IMAGE,
    AwsProvider,
    ContainerType,
    CustomProvider,
    DockerProvider,
    GcpProvider,
    Interface,
    LambdaProvider,
    Machine,
    Reservation,
    RunPodProvider,
    SshProvider,
    kind_of,
)
from navarch.config.schema import Config

FOLDER = GOLDEN / "config" / "providers"
ENVIRON = {"SECRET": "hunter2"}


def whole() -> Config:
    """Load the file that uses every key of every provider."""
    return load.load(FOLDER / "whole.yaml", ENVIRON)


def from_text(text: str) -> Config:
    """Load a text that has no mistakes."""
    found = load.examine_text(text, path=Path("/etc/navarch.yaml"), environ={})
    assert found.faults == ()
    assert found.config is not None
    return found.config


def warnings_of(text: str) -> list[str]:
    found = load.examine_text(text, path=Path("/etc/navarch.yaml"), environ={}, name="n")
    assert found.faults == ()
    return [str(warning) for warning in found.warnings]


def test_the_shortest_forms_are_enough() -> None:
    config = from_text(
        "providers:\n"
        "  lambda: {type: lambda, api_key_env: LAMBDA_API_KEY}\n"
        "  gcp: {type: gcp, project: my-project}\n"
        "  aws: {type: aws, region: us-east-1}\n"
    )
    assert config.providers == {
        "lambda": LambdaProvider(api_key_env="LAMBDA_API_KEY"),
        "gcp": GcpProvider(project="my-project", image=GCP_IMAGE),
        "aws": AwsProvider(region="us-east-1", image=AWS_IMAGE),
    }
    assert [kind_of(one) for one in config.providers.values()] == ["lambda", "gcp", "aws"]


def test_accounts_with_a_key_are_read() -> None:
    providers = whole().providers
    assert providers["lambda"] == LambdaProvider(
        api_key_env="OUR_LAMBDA_KEY",
        region="us-west-2",
        ssh_key_name="ops",
        image_family="lambda-stack-24-04",
        file_system_names=("models",),
        firewall_ruleset_ids=("f1",),
        url="https://cloud.lambdalabs.com/api/v1",
        request_interval=timedelta(seconds=2),
        launch_interval=timedelta(seconds=15),
        timeout=timedelta(seconds=30),
        launch_timeout=timedelta(seconds=90),
    )
    assert providers["older"] == LambdaProvider(
        api_key_file=FOLDER / "secrets/lambda", image_id="0920582c"
    )
    assert providers["runpod"] == RunPodProvider(
        image="ghcr.io/example/navarch:1",
        api_key_env="OUR_RUNPOD_KEY",
        cloud="COMMUNITY",
        region="EU-RO-1",
        disk_gb=100,
        ports=("22/tcp", "9100/http"),
        registry_id="r1",
        network_volume_id="v1",
        network_volume_path="/models",
        global_networking=True,
        gpu_counts=(8,),
        url="https://api.runpod.example",
        request_interval=timedelta(seconds=2),
        timeout=timedelta(seconds=30),
        launch_timeout=timedelta(seconds=90),
    )


def test_the_large_clouds_are_read_with_their_lists_and_mappings() -> None:
    providers = whole().providers
    gcp, aws = providers["gcp"], providers["aws"]
    assert isinstance(gcp, GcpProvider)
    assert gcp.credentials_file == FOLDER / "secrets/gcp.json"
    assert gcp.more_interfaces == (
        Interface(network="rdma", subnetwork="rdma-0", nic_type="MRDMA"),
    )
    assert (gcp.network, gcp.follow) == ("", timedelta(minutes=2))
    assert isinstance(aws, AwsProvider)
    assert aws.subnets == {"us-east-1a": ("subnet-1", "subnet-2")}
    assert aws.reservations == (
        Reservation(
            instance_type="p5.48xlarge", target="cr-1", zone="us-east-1a", capacity_block=True
        ),
    )
    assert (aws.public_ip, aws.hop_limit) == (False, 2)
    assert providers["other"] == AwsProvider(region="eu-north-1", profile="research")


def test_machines_of_ones_own_are_read() -> None:
    rack = whole().providers["rack"]
    assert isinstance(rack, SshProvider)
    assert (rack.key_file, rack.known_hosts_file) == (
        FOLDER / "secrets/rack",
        FOLDER / "known_hosts",
    )
    assert rack.machines == (
        Machine(
            host="10.0.0.11",
            name="gpu-11",
            port=2222,
            user="ops",
            instance_type="h100-8x",
            gpu_count=8,
            gpu_type="NVIDIA H100 80GB HBM3",
            region="home",
            zone="row-1",
            labels={"rack": "r1"},
            fingerprint="SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
            price_per_hour=12.5,
        ),
    )


def test_containers_are_read_with_their_sizes() -> None:
    host = whole().providers["host"]
    assert isinstance(host, DockerProvider)
    assert host.types == {
        "half": ContainerType(
            gpu_count=2, gpu_type="NVIDIA H100", cpus=16, memory_gb=128.5, image="gpu:1"
        )
    }
    assert (host.tls_key, host.gpu_ids) == (FOLDER / "tls/key.pem", ("0", "1"))
    assert (host.grace, host.init) == (timedelta(seconds=20), False)


def test_the_config_of_somebody_elses_provider_is_not_shown() -> None:
    theirs = whole().providers["theirs"]
    assert theirs == CustomProvider(use="their.cloud:Cloud", config={"zone": "a", "count": 3})
    assert repr(theirs) == "CustomProvider('their.cloud:Cloud')"


def test_what_machines_run_first_is_read_and_its_secrets_are_never_shown() -> None:
    found = load.examine(FOLDER / "whole.yaml", ENVIRON)
    assert found.config is not None
    bootstrap = found.config.server.bootstrap
    assert bootstrap is not None
    assert bootstrap.servers == ("https://cp-1.example:50051", "https://cp-2.example:50051")
    assert bootstrap.environment == {"HTTPS_PROXY": "http://hunter2@proxy.example:3128"}
    assert bootstrap.tls_ca_file == FOLDER / "tls/ca.pem"
    assert "hunter2" not in repr(found)
    shown = {one.key: one.shown for one in found.readings}
    assert shown["server.bootstrap.environment.HTTPS_PROXY"] == "***"
    assert shown["server.bootstrap.pip_options[1]"] == "***"


def test_without_a_bootstrap_there_is_none() -> None:
    config = from_text("providers: {aws: {type: aws, region: us-east-1}}\n")
    assert config.server.bootstrap is None
    text = 'server: {bootstrap: {server_url: "https://a:1"}}\n'
    assert from_text(text).server.bootstrap == Bootstrap(server_url="https://a:1")


def test_a_pool_may_ask_for_a_share_of_machines_that_may_be_taken_away() -> None:
    pool = whole().pools["training"]
    assert (pool.spot_percent, pool.instance_type) == (12.5, "h100-8x")
    text = "providers: {f: {type: fake}}\npools: {a: {provider: f, max_nodes: 1}}\n"
    assert from_text(text).pools["a"].spot_percent is None


WITHOUT_SPOT = (
    "pools.a.spot_percent: lambda sells no machines that may be taken away: it refuses these "
    "launches"
)
WITHOUT_AGENT = (
    "pools.a: nobody starts an agent on machines of aws, unless their image does: write "
    "server.bootstrap, or user_data"
)
CLOUDS = """
providers:
  lambda: {type: lambda}
  aws: {type: aws, region: us-east-1}
  fake: {type: fake}
"""


@pytest.mark.parametrize(
    "pool,expected",
    [
        ("{provider: fake, max_nodes: 1, spot_percent: 50}", []),
        ("{provider: aws, max_nodes: 1, user_data: '#!/bin/sh', spot_percent: 50}", []),
        ("{provider: lambda, max_nodes: 1, setup_commands: [a], spot_percent: 0}", []),
        (
            "{provider: lambda, max_nodes: 1, user_data: '#!/bin/sh', spot_percent: 50}",
            [f"n:7: {WITHOUT_SPOT}"],
        ),
        (
            "{providers: [{name: lambda, spot: true}], max_nodes: 1, user_data: '#!/bin/sh'}",
            [f"n: {WITHOUT_SPOT}"],
        ),
        (
            "{provider: aws, max_nodes: 1}",
            [f"n:7: {WITHOUT_AGENT}"],
        ),
    ],
)
def test_what_is_probably_not_meant_is_told(pool: str, expected: list[str]) -> None:
    assert warnings_of(f"{CLOUDS}pools:\n  a: {pool}\n") == expected


LOGINS = """
server: {bootstrap: {server_url: "https://cp.example:50051"}}
providers:
  aws: {type: aws, region: us-east-1}
  lambda: {type: lambda}
  runpod: {type: runpod, image: i}
  docker: {type: docker, image: i}
  fake: {type: fake}
"""
OF_RUNPOD = "gives its pods another port than 22, at an address that others have too"
BOTH = "ssh_user: ubuntu, ssh_private_key_path: ops"
KEY = "n:10: pools.a.ssh_private_key_path: is not used"


@pytest.mark.parametrize(
    "pool,expected",
    [
        (f"{{provider: aws, max_nodes: 1, {BOTH}}}", []),
        (f"{{providers: [{{name: aws}}, {{name: lambda}}], max_nodes: 1, {BOTH}}}", []),
        (
            f"{{providers: [{{name: aws}}, {{name: docker}}], max_nodes: 1, {BOTH}}}",
            [f"{KEY} on machines of docker, which shows the logs of its containers itself"],
        ),
        (
            f"{{provider: runpod, max_nodes: 1, {BOTH}}}",
            [f"{KEY} on machines of runpod, which {OF_RUNPOD}"],
        ),
        (
            f"{{provider: fake, max_nodes: 1, {BOTH}}}",
            [f"{KEY} on machines of fake, which has no machines that anybody could log in on"],
        ),
        (
            "{provider: aws, max_nodes: 1, ssh_private_key_path: ops}",
            [f"{KEY} without ssh_user"],
        ),
        (
            "{provider: aws, max_nodes: 1, ssh_user: ubuntu}",
            ["n:10: pools.a.ssh_user: is not used without ssh_private_key_path"],
        ),
    ],
)
def test_a_key_to_log_in_with_that_no_machine_is_shown_is_told(
    pool: str, expected: list[str]
) -> None:
    assert warnings_of(f"{LOGINS}pools:\n  a: {pool}\n") == expected


def test_a_key_to_log_in_with_needs_a_log_to_read() -> None:
    text = f"{CLOUDS}pools:\n  a: {{provider: aws, max_nodes: 1, user_data: '#!/bin/sh', {BOTH}}}\n"
    key = "n:7: pools.a.ssh_private_key_path"
    why = "is not used without server.bootstrap, whose script writes the log that is read"
    assert warnings_of(text) == [f"{key}: {why}"]


def test_a_pool_says_who_logs_in_and_by_which_key() -> None:
    pool = from_text(f"{LOGINS}pools:\n  a: {{provider: aws, max_nodes: 1, {BOTH}}}\n").pools["a"]
    assert pool.ssh_user == "ubuntu"
    assert pool.ssh_private_key_path.endswith("/ops")
