"""The pages say what the settings are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import fields

from navarch.bootstrap import BootstrapSettings
from navarch.providers.ssh import SshMachine, SshSettings

KEYS = re.compile(r"`(\w+)`")


@pytest.mark.parametrize(
    "page,table,settings",
    [
        ("providers/ssh.md", "setting", SshSettings),
        ("providers/ssh.md", "key", SshMachine),
        ("bootstrap.md", "setting", BootstrapSettings),
    ],
)
def test_each_setting_is_in_the_table(
    project: Path, page: str, table: str, settings: type[Struct]
) -> None:
    text = (project / "docs" / page).read_text().split(f"| {table} | default | meaning |")[1]
    rows = [row.split("|")[1] for row in text.split("\n\n")[0].splitlines()[2:]]

    assert [key for row in rows for key in KEYS.findall(row)] == [
        each.name for each in fields(settings)
    ]
