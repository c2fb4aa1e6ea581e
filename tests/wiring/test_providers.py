"""Providers are made as they are written, and pools are told what to buy in the sellers' words."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from golden_text import GOLDEN, golden
from navarch.config import load
from navarch.config.load import Examination
from navarch.config.schema import Config
from navarch.controlplane.clock import FakeClock
from navarch.core.model.actions import Launch
from navarch.errors import ConfigError, PluginError
from navarch.providers.aws import AwsSettings, Reservation
from navarch.providers.base import InstanceTypeLister, Provider, facts_of
from navarch.providers.gcp import GcpSettings
from navarch.providers.lambda_labs import LambdaSettings
from navarch.providers.ssh import SshSettings
from navarch.wire.auth import mint_node_token
from navarch.wiring import first_scripts, plans, providers

WHOLE = GOLDEN / "config" / "providers" / "whole.yaml"
SECRET = b"0123456789abcdef"


def examined(text: str) -> Examination:
    found = load.examine_text(text, path=Path("/etc/navarch.yaml"), environ={}, name="n")
    assert found.faults == ()
    return found


def configured(text: str) -> Config:
    config = examined(text).config
    assert config is not None
    return config


def around(data: Path = Path("/nowhere")) -> providers.Surroundings:
    clock = FakeClock(datetime(2026, 11, 22, tzinfo=UTC))
    return providers.Surroundings(clock=clock, data=data, secret=SECRET, url="http://here:1")


def made(config: Config, data: Path) -> dict[str, Provider]:
    """Make all of them, and close them again."""

    async def both() -> dict[str, Provider]:
        all_of_them = {
            name: providers.make_provider(name, one, around(data))
            for name, one in config.providers.items()
        }
        await providers.close_all(all_of_them.values())
        return all_of_them

    return asyncio.run(both())


def test_every_type_becomes_its_provider_under_the_name_that_pools_use(tmp_path: Path) -> None:
    text = """
providers:
  one: {type: lambda}
  two: {type: gcp, project: my-project}
  three: {type: aws, region: us-east-1}
  four: {type: runpod, image: a/b}
  five:
    type: ssh
    agent: true
    known_hosts_file: known
    machines: [{host: 10.0.0.1, instance_type: h100-8x}]
  docker: {type: docker, image: "a/b"}
  six: {type: process}
  seven: {type: fake}
  eight: {type: custom, use: "wiring.foreign:Rack", config: {name: eight}}
"""
    every = made(configured(text), tmp_path)
    assert [type(one).__name__ for one in every.values()] == [
        *("LambdaProvider", "GcpProvider", "AwsProvider", "RunPodProvider", "SshProvider"),
        *("DockerProvider", "ProcessProvider", "FakeProvider", "Rack"),
    ]
    assert [one.name for one in every.values()] == list(every)
    assert all(facts_of(one).launches_at_once >= 1 for one in every.values())
    assert [name for name, one in every.items() if not isinstance(one, InstanceTypeLister)] == [
        "eight"
    ]
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_arrives_in_the_settings(tmp_path: Path) -> None:
    config = load.load(WHOLE, {"SECRET": "hunter2"})

    def settings(name: str) -> Any:  # noqa: ANN401 - a struct of each kind
        return providers.settings_of(name, config.providers[name], around(tmp_path))

    assert settings("lambda") == LambdaSettings(
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
    assert settings("older").api_key_file == str(WHOLE.parent / "secrets/lambda")
    gcp: GcpSettings = settings("gcp")
    assert (gcp.project, gcp.network, gcp.disk_gb) == ("my-project", "", 500)
    assert gcp.credentials_file == str(WHOLE.parent / "secrets/gcp.json")
    assert gcp.more_interfaces[0].nic_type == "MRDMA"
    aws: AwsSettings = settings("aws")
    assert aws.regions == ("us-east-1", "us-west-2")
    assert (aws.public_ip, aws.access_key_id_env, aws.profile) == (False, "OUR_KEY_ID", "")
    assert aws.reservations == (
        Reservation(
            instance_type="p5.48xlarge", target="cr-1", zone="us-east-1a", capacity_block=True
        ),
    )
    assert settings("other").regions == ("eu-north-1",)
    assert settings("other").public_ip is None
    rack: SshSettings = settings("rack")
    assert (rack.machines[0].id, rack.machines[0].labels) == ("gpu-11", {"rack": "r1"})
    assert rack.key_file == WHOLE.parent / "secrets/rack"
    assert rack.memory_file == tmp_path / "ssh" / "rack.json"
    host = settings("host")
    assert (host.tls_ca, host.gpu_ids) == (str(WHOLE.parent / "tls/ca.pem"), ("0", "1"))
    assert host.types["half"].memory_gb == 128.5
    assert settings("theirs") is None


def test_the_defaults_of_the_file_are_those_of_the_providers() -> None:
    from navarch.config import providers as written

    for config, provider in (
        (written.LambdaProvider(), LambdaSettings()),
        (written.GcpProvider(project="my-project"), GcpSettings(project="my-project", image="x")),
        (written.AwsProvider(region="us-east-1"), AwsSettings(regions=("us-east-1",))),
    ):
        said = providers.settings_of("p", config, around())
        different = [
            field
            for field in said.__struct_fields__
            if getattr(said, field) != getattr(provider, field)
        ]
        assert different in ([], ["image"])  # images have no default of their own


@pytest.mark.parametrize(
    "kind,module,config",
    [
        ("aws", "botocore", "{type: aws, region: us-east-1}"),
        ("gcp", "google.auth", "{type: gcp, project: my-project}"),
        ("ssh", "asyncssh", "{type: ssh, agent: true, inventory_command: [machines]}"),
    ],
)
def test_a_missing_library_is_named_with_what_to_install(
    kind: str, module: str, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    written = configured(f"providers:\n  cloud: {config}\n").providers["cloud"]
    with pytest.raises(ConfigError) as caught:
        providers.make_provider("cloud", written, around())
    _, called = providers.LIBRARIES[kind]
    assert str(caught.value) == (
        f"providers.cloud: type {kind} needs {called}, which is not installed: "
        f"pip install 'navarch[{kind}]'"
    )


@pytest.mark.usefixtures("installed")
def test_a_provider_of_somebody_else_is_found_by_its_entry_point() -> None:
    written = configured("providers: {a: {type: custom, use: rack}}\n").providers["a"]
    assert type(providers.make_provider("a", written, around())).__name__ == "Rack"


@pytest.mark.parametrize(
    "use,expected",
    [
        ("wiring.foreign:Steady", "expected a class with provision() and terminate() and list()"),
        ("absent", "no such entry point in the group navarch.providers"),
    ],
)
def test_what_is_no_provider_is_refused(use: str, expected: str) -> None:
    text = f'providers: {{a: {{type: custom, use: "{use}"}}}}\n'
    written = configured(text).providers["a"]
    with pytest.raises(PluginError, match="provider") as caught:
        providers.make_provider("a", written, around())
    assert expected in str(caught.value)


POOLS = """
providers:
  lambda: {type: lambda}
  gcp: {type: gcp, project: my-project}
  aws: {type: aws, region: us-east-1}
  here: {type: process}
pools:
  one: {provider: lambda, instance_type: h100-8x, max_nodes: 1}
  own: {provider: aws, instance_type: p5.48xlarge, max_nodes: 1}
  local: {provider: here, instance_type: h100-8x, max_nodes: 1}
  many:
    instance_type: h100-8x
    max_nodes: 1
    providers:
      - {name: lambda, regions: [us-west-2]}
      - {name: gcp}
      - {name: aws, instance_type: h100-1x}
      - {name: here}
"""


def test_abstract_types_become_each_sellers_own() -> None:
    pools = {pool.name: pool for pool in providers.pools_of(configured(POOLS))}
    assert [(each.provider, each.instance_type) for each in pools["one"].sources] == [
        ("lambda", "gpu_8x_h100_sxm5")
    ]
    assert pools["one"].instance_type == "h100-8x"
    assert pools["own"].sources == ()
    assert pools["local"].sources == ()
    assert [(each.provider, each.instance_type) for each in pools["many"].sources] == [
        ("lambda", "gpu_8x_h100_sxm5"),
        ("gcp", "a3-highgpu-8g"),
        ("aws", "p5.4xlarge"),
        ("here", ""),
    ]
    assert pools["many"].sources[0].regions == ("us-west-2",)


def test_a_plan_has_the_sellers_words() -> None:
    plan = plans.planned(configured(POOLS))
    assert plan.pools == providers.pools_of(configured(POOLS))


MISTAKEN = """
server:
  bootstrap:
    server_url: https://cp.example:50051
    folder: somewhere
providers:
  lambda: {type: lambda, image_family: a, image_id: b}
  gcp: {type: gcp, project: X}
  aws:
    type: aws
    regions: [us-east-1]
    subnets: {us-west-2a: [subnet-1]}
  rack: {type: ssh, agent: true, machines: [{host: a, instance_type: b}]}
pools:
  one: {provider: lambda, instance_type: h100-16x, max_nodes: 1}
  two:
    provider: aws
    max_nodes: 1
  three:
    instance_type: h100-8x
    max_nodes: 1
    providers:
      - name: gcp
      - name: aws
        instance_type: h100-4x
"""


def test_what_only_a_provider_can_tell_is_found_with_its_line() -> None:
    found = examined(MISTAKEN)
    assert found.config is not None
    told = [f"{fault}\n" for fault in providers.faults(found.config, found.readings)]
    assert "".join(told) == golden("".join(told), "config/faults-of-providers.txt")
    with pytest.raises(ConfigError, match="give one of image_family and image_id"):
        plans.planned(found.config)


def test_closing_one_that_fails_closes_the_others_too() -> None:
    from wiring.foreign import Rack

    class Stuck(Rack):
        async def close(self) -> None:
            raise RuntimeError("stuck")

    last = Rack()
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(providers.close_all([Rack(), Stuck(), last]))
    assert [str(each) for each in caught.value.exceptions] == ["stuck"]
    assert last.closed == 1


# --- what machines run first -----------------------------------------------------------------


BOOTSTRAP = """
server:
  bootstrap: {server_url: "https://cp.example:50051", agent_options: [--allow, gpu_reset]}
"""
LAUNCH = Launch(
    provider="aws",
    instance_id="training-7",
    pool="training",
    instance_type="p5.48xlarge",
    region="us-east-1",
    labels={"team": "ml"},
    user_data="#!/bin/sh\nmodprobe nvidia\n",
)


def test_a_machine_runs_the_agent_under_a_token_of_its_own() -> None:
    settings = first_scripts.settings_of(configured(BOOTSTRAP).server.bootstrap)
    write = first_scripts.boot_script("lambda", settings, SECRET)
    assert write is not None
    script = write(LAUNCH)
    assert script.startswith("#!/bin/sh\n")
    assert mint_node_token(SECRET, "training-7") in script
    assert "modprobe nvidia" in script
    for option in ("--server=https://cp.example:50051", "--node-id=training-7", "--allow"):
        assert option in script
    assert "--label=team=ml" in script


@pytest.mark.parametrize(
    "kind,sold,expected",
    [
        ("lambda", "gpu_4x_h100_sxm5", "--expected-gpus=4 "),
        ("gcp", "a2-highgpu-1g", "--expected-gpus=1 "),
        ("lambda", "gpu_4x_x900", ""),
        ("ssh", "h100-8x", ""),
    ],
)
def test_the_gpus_of_a_known_type_are_expected_on_its_machines(
    kind: str, sold: str, expected: str
) -> None:
    settings = first_scripts.settings_of(configured(BOOTSTRAP).server.bootstrap)
    write = first_scripts.boot_script(kind, settings, SECRET)
    assert write is not None
    script = write(structs.replace(LAUNCH, instance_type=sold))
    assert expected in script
    assert ("--expected-gpus" in script) == bool(expected)


def test_a_script_is_packed_only_where_it_would_be_too_long() -> None:
    settings = first_scripts.settings_of(configured(BOOTSTRAP).server.bootstrap)
    write = first_scripts.boot_script("aws", settings, SECRET)
    assert write is not None
    long = Launch(
        provider="aws", instance_id="a", pool="p", user_data="#!/bin/sh\n" + "true\n" * 3000
    )
    assert len(write(long)) < 16_384
    assert "base64 -d" in write(long)
    plain = first_scripts.boot_script("lambda", settings, SECRET)
    assert plain is not None
    assert len(plain(long)) > 16_384


@pytest.mark.parametrize("kind", ["fake", "process"])
def test_machines_here_run_no_script(kind: str) -> None:
    settings = first_scripts.settings_of(configured(BOOTSTRAP).server.bootstrap)
    assert first_scripts.boot_script(kind, settings, SECRET) is None
    assert first_scripts.boot_script("aws", None, SECRET) is None


def test_certificates_are_read_from_their_file(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    file = tmp_path / "navarch.yaml"
    file.write_text('server: {bootstrap: {server_url: "https://a:1", tls_ca_file: ca.pem}}\n')
    settings = first_scripts.settings_of(load.load(file, {}).server.bootstrap)
    assert settings is not None
    assert settings.tls_ca == "-----BEGIN CERTIFICATE-----\n"
    (tmp_path / "ca.pem").unlink()
    with pytest.raises(ConfigError, match="there is no such file"):
        first_scripts.settings_of(load.load(file, {}).server.bootstrap)
