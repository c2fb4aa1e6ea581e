"""How requests become parameters of RunInstances."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from navarch.errors import InvalidRequest
from navarch.providers.aws import AwsSettings, Reservation
from navarch.providers.aws.launch import planned, tags_of, token_of
from navarch.providers.base import FLEET_LABEL, INSTANCE_LABEL, ProvisionRequest

SIMPLE = AwsSettings(regions=("us-east-1", "us-west-2"), image="ami-1")
P5 = "p5.48xlarge"
RICH = replace(
    SIMPLE,
    subnets={
        "us-east-1a": ("subnet-a1", "subnet-a2"),
        "us-east-1b": ("subnet-b",),
        "us-west-2a": ("subnet-w",),
    },
    security_groups={"us-east-1": ("sg-1", "sg-2")},
)
HELD = Reservation(instance_type=P5, target="cr-0abc", zone="us-east-1b")


FEW = settings(max_examples=40)


def request(name: str = "train-k3f9-0001", /, **other: object) -> ProvisionRequest:
    """Ask for one machine."""
    labels = {FLEET_LABEL: "k3f9"}
    return replace(
        ProvisionRequest(name=name, instance_type=P5, labels=labels, token=name), **other
    )


def test_the_least_that_is_said() -> None:
    plan = planned(request(ssh_key_names=("ops",), user_data="#!/bin/sh"), SIMPLE)

    tags = [
        {"Key": "Name", "Value": "train-k3f9-0001"},
        {"Key": "managed-by", "Value": "navarch"},
        {"Key": "navarch.dev/fleet", "Value": "k3f9"},
        {"Key": "navarch.dev/instance", "Value": "train-k3f9-0001"},
    ]
    assert plan.region == "us-east-1"
    assert plan.parameters == {
        "ImageId": "ami-1",
        "InstanceType": P5,
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": "train-k3f9-0001",
        "KeyName": "ops",
        "UserData": "#!/bin/sh",
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": tags},
            {"ResourceType": "volume", "Tags": tags},
        ],
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
        },
        "InstanceInitiatedShutdownBehavior": "terminate",
    }


def test_a_zone_says_the_region_and_the_subnet() -> None:
    plan = planned(request(zone="us-west-2a"), RICH)

    assert plan.region == "us-west-2"
    assert plan.parameters["SubnetId"] == "subnet-w"
    assert "SecurityGroupIds" not in plan.parameters
    assert "Placement" not in plan.parameters


def test_a_zone_of_the_default_network_is_asked_for_by_name() -> None:
    assert planned(request(zone="us-east-1c"), SIMPLE).parameters["Placement"] == {
        "AvailabilityZone": "us-east-1c"
    }


def test_the_name_chooses_the_subnet_always_the_same_one_and_all_in_turn() -> None:
    names = [f"train-k3f9-{number:04}" for number in range(60)]

    subnets = [planned(request(name), RICH).parameters["SubnetId"] for name in names]

    assert subnets == [planned(request(name), RICH).parameters["SubnetId"] for name in names]
    assert set(subnets) == {"subnet-a1", "subnet-a2", "subnet-b"}
    assert planned(request(), RICH).zone_chosen
    assert not planned(request(zone="us-east-1a"), RICH).zone_chosen
    assert not planned(request(region="us-west-2"), RICH).zone_chosen


def test_spot_machines_are_asked_for_once_and_end_when_they_are_taken() -> None:
    assert planned(request(spot=True), SIMPLE).parameters["InstanceMarketOptions"] == {
        "MarketType": "spot",
        "SpotOptions": {
            "SpotInstanceType": "one-time",
            "InstanceInterruptionBehavior": "terminate",
        },
    }


def test_what_is_reserved_is_bought_from_the_reservation_and_where_it_is() -> None:
    plan = planned(request(), replace(RICH, reservations=(HELD,)))

    assert plan.parameters["SubnetId"] == "subnet-b"
    assert plan.parameters["CapacityReservationSpecification"] == {
        "CapacityReservationTarget": {"CapacityReservationId": "cr-0abc"}
    }
    assert "InstanceMarketOptions" not in plan.parameters


def test_a_capacity_block_is_named_as_one() -> None:
    block = replace(HELD, capacity_block=True, target="arn:aws:resource-groups:us-east-1:1:group/x")

    parameters = planned(request(), replace(RICH, reservations=(block,))).parameters

    assert parameters["InstanceMarketOptions"] == {"MarketType": "capacity-block"}
    assert parameters["CapacityReservationSpecification"] == {
        "CapacityReservationTarget": {"CapacityReservationResourceGroupArn": block.target}
    }


def test_a_reservation_is_for_its_type_and_its_region_alone() -> None:
    settings = replace(RICH, reservations=(HELD,))

    for other in (request(instance_type="g6.xlarge"), request(region="us-west-2")):
        assert "CapacityReservationSpecification" not in planned(other, settings).parameters


def test_each_network_card_gets_an_efa_interface() -> None:
    settings = replace(RICH, efa_interfaces={P5: 32}, placement_group="near")

    parameters = planned(request(zone="us-east-1b"), settings).parameters

    first, second, *others = parameters["NetworkInterfaces"]
    assert first == {
        "DeviceIndex": 0,
        "NetworkCardIndex": 0,
        "InterfaceType": "efa",
        "SubnetId": "subnet-b",
        "Groups": ["sg-1", "sg-2"],
        "DeleteOnTermination": True,
    }
    assert second == {**first, "DeviceIndex": 1, "NetworkCardIndex": 1}
    assert [each["NetworkCardIndex"] for each in others] == list(range(2, 32))
    assert parameters["Placement"] == {"GroupName": "near"}
    assert "SubnetId" not in parameters
    assert "SecurityGroupIds" not in parameters


def test_a_public_address_a_profile_and_a_larger_disk_can_be_asked_for() -> None:
    settings = replace(
        SIMPLE, public_ip=False, instance_profile="gpu-node", root_volume_gb=500, hop_limit=2
    )

    parameters = planned(request(), settings).parameters

    assert parameters["NetworkInterfaces"] == [
        {
            "DeviceIndex": 0,
            "NetworkCardIndex": 0,
            "DeleteOnTermination": True,
            "AssociatePublicIpAddress": False,
        }
    ]
    assert parameters["IamInstanceProfile"] == {"Name": "gpu-node"}
    assert parameters["BlockDeviceMappings"] == [
        {
            "DeviceName": "/dev/sda1",
            "Ebs": {"VolumeSize": 500, "VolumeType": "gp3", "DeleteOnTermination": True},
        }
    ]
    assert parameters["MetadataOptions"]["HttpPutResponseHopLimit"] == 2


@pytest.mark.parametrize(
    "wrong, settings, because",
    [
        ({"name": ""}, SIMPLE, "needs a name"),
        ({"region": "eu-west-1"}, SIMPLE, "eu-west-1 is not one of the configured regions"),
        ({"zone": "eu-west-1a"}, SIMPLE, "eu-west-1a is a zone of none"),
        ({"zone": "us-west-2a", "region": "us-east-1"}, SIMPLE, "us-west-2a is not a zone of"),
        ({"zone": "us-east-1c"}, RICH, "us-east-1c has no subnet"),
        ({}, replace(SIMPLE, image=""), "no image is configured for us-east-1"),
        ({"ssh_key_names": ("a", "b")}, SIMPLE, "one key pair, and 2 are named: a, b"),
        ({"user_data": "é" * 8193}, SIMPLE, "16386 bytes, EC2 takes 16384"),
        ({"labels": {str(each): "" for each in range(50)}}, SIMPLE, "54 tags"),
        ({"labels": {"AWS:x": ""}}, SIMPLE, "cannot be the key"),
        ({"labels": {"": "x"}}, SIMPLE, "cannot be the key"),
        ({"labels": {"k" * 129: "x"}}, SIMPLE, "cannot be the key"),
        ({"labels": {"k": "x" * 257}}, SIMPLE, "257 characters"),
        ({"labels": {"k": "a\x00b"}}, SIMPLE, "cannot return"),
        ({"labels": {INSTANCE_LABEL: "other"}}, SIMPLE, "must be the same"),
        ({"spot": True}, replace(SIMPLE, reservations=(HELD,)), "spot cannot use"),
        ({"zone": "us-east-1a"}, replace(RICH, reservations=(HELD,)), "is reserved in us-east-1b"),
    ],
)
def test_what_ec2_would_refuse_is_refused_before_it_is_asked(
    wrong: dict[str, object], settings: AwsSettings, because: str
) -> None:
    with pytest.raises(InvalidRequest, match=because):
        planned(request(**wrong), settings)


@FEW
@given(st.text(max_size=200))
def test_any_token_fits_and_one_that_fits_is_left_as_it_is(token: str) -> None:
    fitted = token_of(token)

    assert len(fitted) <= 64
    assert fitted.isascii()
    assert fitted == token_of(token)
    if token.isascii() and token.isprintable() and len(token) <= 64:
        assert fitted == token


def test_tokens_that_differ_late_stay_different() -> None:
    assert token_of("a" * 65) != token_of("a" * 64 + "b")


@FEW
@given(st.dictionaries(st.text(max_size=130), st.text(max_size=260), max_size=52))
def test_labels_are_tags_to_the_letter_or_the_launch_is_refused(labels: dict[str, str]) -> None:
    try:
        tags = tags_of(request(labels=labels), SIMPLE)
    except InvalidRequest:
        return
    assert labels.items() <= tags.items()
    assert tags[INSTANCE_LABEL] == "train-k3f9-0001"
    assert FLEET_LABEL in tags
