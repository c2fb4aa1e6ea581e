"""The page about EC2 says what the settings are and what EC2's words mean."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from msgspec import NODEFAULT
from msgspec.structs import FieldInfo, fields

from navarch.providers.aws import AwsSettings
from navarch.providers.aws.answers import STATUS
from navarch.providers.aws.clients import OPERATIONS


def default_of(field: FieldInfo) -> str:
    """Write a default as the page does."""
    if field.default_factory is not NODEFAULT:
        return "`{}`"
    match field.default:
        case None:
            return "as the subnet has it"
        case timedelta() as span:
            return f"{span.total_seconds():g} s"
        case "":
            return '`""`'
        case str() | () as value:
            return f"`{value}`"
        case tuple() as values:
            return ", ".join(f"`{each}`" for each in values)
        case value:
            return "" if value is NODEFAULT else f"{value}"


def test_each_setting_is_on_the_page_with_its_default(project: Path) -> None:
    text = (project / "docs" / "providers" / "aws.md").read_text()
    table = text.split("## Settings")[1].split("\n## ")[0]

    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\|", table, re.MULTILINE))

    assert rows == {each.name: default_of(each) for each in fields(AwsSettings)}


def test_all_that_is_asked_for_and_all_states_are_on_the_page(project: Path) -> None:
    text = (project / "docs" / "providers" / "aws.md").read_text()

    assert [each for each in OPERATIONS if f"ec2:{each}" not in text] == []
    assert [each for each in STATUS if f"`{each}`" not in text] == []
