"""The settings of the provider ``gcp``, and what it costs to have it about."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields

from navarch.errors import ConfigError
from navarch.providers.base import InstanceTypeLister, Provider, facts_of
from navarch.providers.fake import ManualTime
from navarch.providers.gcp import GcpProvider, GcpSettings
from navarch.providers.gcp.resources import STATUS
from navarch.providers.gcp.tokens import KINDS

GOOD: dict[str, Any] = {"project": "navarch-test", "image": "projects/i/global/images/family/gpu"}


@pytest.mark.parametrize(
    "change, says",
    [
        ({"project": "x"}, "'x' cannot be a project"),
        ({"project": "../../other"}, "cannot be a project"),
        ({"image": ""}, "image is empty"),
        ({"region": "us central"}, "cannot be a region"),
        ({"zones": ("us-central1",)}, "cannot be a zone"),
        ({"credentials_file": "f", "use_metadata_server": True}, "give one of"),
        ({"disk_gb": 1}, "disk_gb is 1"),
        ({"follow": timedelta(minutes=5)}, "follow is 0:05:00"),
        ({"follow": timedelta(seconds=-1)}, "follow is"),
        ({"network": ""}, "give network, subnetwork or both"),
        ({"reservation_bound": True}, "needs the name"),
        ({"metadata": {"startup-script": "x"}}, "set by Navarch"),
        ({"ssh_keys": {"ops": "ssh-ed25519 AAAA"}}, "ops is no key"),
        ({"ssh_keys": {"ops": "ops:ssh-ed25519 A\nroot:ssh-rsa B"}}, "ops is no key"),
        ({"url": "http://compute.example.com"}, "unencrypted"),
        ({"url": "compute.example.com"}, "unencrypted"),
    ],
)
def test_settings_that_cannot_work_say_so(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        GcpSettings(**{**GOOD, **change})


def test_a_project_of_an_old_organization_is_one() -> None:
    assert GcpSettings(**{**GOOD, "project": "example.com:my-project"}).project


def test_the_provider_is_what_the_contract_wants() -> None:
    time = ManualTime()
    provider = GcpProvider(GcpSettings(**GOOD), now=time.now, sleep=time.sleep)

    assert isinstance(provider, Provider)
    assert isinstance(provider, InstanceTypeLister)
    assert facts_of(provider).honours_tokens
    assert facts_of(provider).list_lag == timedelta(minutes=2)


def test_without_google_auth_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    time = ManualTime()

    with pytest.raises(ConfigError, match=r"pip install 'navarch\[gcp\]'"):
        GcpProvider(GcpSettings(**GOOD), now=time.now, sleep=time.sleep)


def test_the_module_brings_no_library_of_googles() -> None:
    program = (
        "import sys, navarch.providers.gcp;"
        "heavy = [n for n in sys.modules if n.startswith(('google.auth', 'google.cloud', 'google."
        "oauth2', 'google.api_core', 'requests', 'urllib3', 'cryptography', 'grpc'))];"
        "print(heavy)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_each_setting_is_on_its_page(project: Path) -> None:
    text = (project / "docs" / "providers" / "gcp.md").read_text()
    text = text.split("## Settings")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\|", text, re.MULTILINE))

    assert list(rows) == [each.name for each in fields(GcpSettings)]
    assert {rows[each.name] for each in fields(GcpSettings) if each.default == ""} == {'`""`'}
    assert rows["follow"] == "60 s"
    assert rows["disk_gb"] == "200"


def test_each_word_of_googles_is_on_the_page(project: Path) -> None:
    text = (project / "docs" / "providers" / "gcp.md").read_text()

    assert [word for word in STATUS if f"`{word}`" not in text] == []
    assert [word for word in KINDS if f"`{word}`" not in text] == []
