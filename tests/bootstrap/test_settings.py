"""What a script cannot be made from is refused, by name, before anything is bought."""

from __future__ import annotations

import pytest
from msgspec import structs

from navarch.bootstrap import BootstrapSettings, NodeFacts, render
from navarch.errors import ConfigError

SETTINGS = BootstrapSettings(servers=("https://cp.example:50051",))
NODE = NodeFacts(node_id="training-k3f9-0001")


@pytest.mark.parametrize(
    "key,value",
    [
        ("servers", ()),
        ("servers", ("cp.example:50051",)),
        ("servers", ("https://user@cp.example",)),
        ("folder", "opt/navarch"),
        ("folder", "/"),
        ("folder", "/opt"),
        ("folder", "/opt/nav arch"),
        ("folder", "/opt/../etc"),
        ("state_folder", "/var/lib/$HOME"),
        ("config_folder", "/etc/navarch\n"),
        ("record_folder", ""),
        ("unit_folder", "/etc/systemd/'"),
        ("log", "/var/log/"),
        ("executable", "navarch"),
        ("python", "python3 -I"),
        ("unit", "navarch agent"),
        ("user", "Robert'); --"),
        ("environment", {"A-B": "1"}),
        ("environment", {"TOKEN": "1"}),
        ("environment", {"A": "\0"}),
        ("pip_options", ("\ud800",)),
        ("prepare_commands", ("x" * 100_001,)),
        ("agent_options", ("--allow",) * 1_001),
        ("install", {"requirement": "navarch\0"}),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(key: str, value: object) -> None:
    changes = value if isinstance(value, dict) and key == "install" else {key: value}

    with pytest.raises(ConfigError) as refused:
        render(structs.replace(SETTINGS, **changes), NODE, "token")

    assert refused.value.key == key


@pytest.mark.parametrize(
    "key,value",
    [
        ("node_id", ""),
        ("node_id", "a b"),
        ("labels", {"": "x"}),
        ("labels", {"a=b": "x"}),
        ("labels", {"a": "\0"}),
        ("user_data", "#cloud-config\npackages: [x]"),
        ("user_data", "#!/bin/sh\0"),
        ("setup_commands", ("echo \0",)),
        ("place", {"zone": "\ud800"}),
    ],
)
def test_a_fact_that_cannot_be_used_is_named(key: str, value: object) -> None:
    changes = value if isinstance(value, dict) and key == "place" else {key: value}

    with pytest.raises(ConfigError) as refused:
        render(SETTINGS, structs.replace(NODE, **changes), "token")

    assert refused.value.key == key


@pytest.mark.parametrize("token", ["", "two words", "line\n", "ü", "x" * 4097])
def test_a_token_that_no_node_could_use_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ConfigError) as refused:
        render(SETTINGS, NODE, token)

    assert refused.value.key == "token"
    assert not token or token not in str(refused.value)


def test_a_wheel_and_a_program_that_is_there_contradict_each_other() -> None:
    settings = structs.replace(SETTINGS, executable="/usr/bin/navarch", wheel="/tmp/x.whl")

    with pytest.raises(ConfigError, match="goes with no wheel"):
        render(settings, NODE, None)


def test_nothing_secret_is_in_the_words_for_a_log() -> None:
    settings = structs.replace(
        SETTINGS, environment={"HTTPS_PROXY": "secret"}, pip_options=("--secret",)
    )

    assert repr(settings) == (
        "BootstrapSettings(servers=('https://cp.example:50051',), "
        "install='navarch[nvml]==0.1.0', environment=<HTTPS_PROXY>)"
    )


def test_without_a_token_none_is_written_and_none_is_named() -> None:
    script = render(SETTINGS, NODE, None)

    assert "step token" not in script
    assert "--token-file" not in script
