"""What a site may say about EC2, and what it may not."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest

from navarch.errors import ConfigError
from navarch.providers.aws import AwsProvider, AwsSettings, Reservation
from navarch.providers.fake import ManualTime


@pytest.mark.parametrize(
    "wrong, named",
    [
        ({"regions": ()}, "regions: needs at least one"),
        ({"regions": ("us-east-1", "us-east-1")}, "twice"),
        ({"regions": ("us-east-1a",)}, "'us-east-1a' is no region"),
        ({"regions": ("../x",)}, "is no region"),
        ({"images": {"eu-west-1": "ami-1"}}, "images.eu-west-1"),
        ({"security_groups": {"eu-west-1": ("sg-1",)}}, "security_groups.eu-west-1"),
        ({"subnets": {"eu-west-1a": ("subnet-1",)}}, "subnets.eu-west-1a"),
        ({"subnets": {"us-east-1a": ()}}, "needs the id of a subnet"),
        ({"access_key_id_env": "A"}, "give both or none"),
        ({"session_token_env": "A"}, "session_token_env"),
        (
            {"access_key_id_env": "A", "secret_access_key_env": "B", "profile": "p"},
            "give one of them",
        ),
        ({"hop_limit": 0}, "hop_limit: must be 1 to 64"),
        ({"root_volume_gb": -1}, "root_volume_gb"),
        ({"timeout": timedelta()}, "timeout"),
        ({"consistency": timedelta(seconds=-1)}, "consistency"),
        ({"efa_interfaces": {"p5.48xlarge": 65}}, "efa_interfaces.p5.48xlarge"),
        ({"type_patterns": ()}, "type_patterns"),
        ({"endpoint_url": "ec2.example"}, "endpoint_url: 'ec2.example' is no address"),
        (
            {"reservations": (Reservation(instance_type="p5", target="cr-1", zone="eu-west-1a"),)},
            "eu-west-1a is a zone of none",
        ),
        (
            {
                "regions": ("us-east-1", "us-west-2"),
                "reservations": (Reservation(instance_type="p5", target="cr-1"),),
            },
            "cr-1 needs its zone",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        AwsSettings(**{"regions": ("us-east-1",), **wrong})  # type: ignore[arg-type]


def test_a_reservation_needs_a_type_and_a_target() -> None:
    with pytest.raises(ConfigError, match="instance_type"):
        Reservation(instance_type="", target="cr-1")
    with pytest.raises(ConfigError, match="not 'p5'"):
        Reservation(instance_type="p5", target="p5")


def test_a_zone_belongs_to_the_region_it_is_named_after() -> None:
    settings = AwsSettings(regions=("us-west-2", "us-east-1"))

    assert settings.region_of("us-east-1a") == "us-east-1"
    assert settings.region_of("us-west-2-lax-1a") == "us-west-2"
    assert settings.region_of("us-east-11a") is None
    assert settings.region_of("us-east-1") is None
    assert settings.region_of("") is None


def test_an_image_is_an_id_or_the_name_of_a_parameter() -> None:
    settings = AwsSettings(
        regions=("us-east-1", "us-west-2", "eu-west-1"),
        image="/aws/service/deeplearning/ami/latest",
        images={"us-west-2": "ami-0123456789abcdef0", "eu-west-1": "resolve:ssm:gpu:3"},
    )

    assert settings.image_of("us-east-1") == "resolve:ssm:/aws/service/deeplearning/ami/latest"
    assert settings.image_of("us-west-2") == "ami-0123456789abcdef0"
    assert settings.image_of("eu-west-1") == "resolve:ssm:gpu:3"


def test_a_missing_sdk_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", {}.get)

    with pytest.raises(ConfigError, match=r"pip install 'navarch\[aws\]'"):
        AwsProvider(AwsSettings(regions=("us-east-1",)), now=ManualTime().now)


def test_importing_the_provider_loads_no_sdk() -> None:
    program = (
        "import sys, navarch.providers.aws\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('boto3', 'botocore', 'urllib3')])"
    )

    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert shown.stdout.strip() == "[]"
