"""The pages of the clouds that are spoken to over HTTP say what their settings are."""

from __future__ import annotations

import csv
import re
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from navarch.providers.lambda_labs import LambdaSettings
from navarch.providers.lambda_labs.answers import KINDS as LAMBDA_KINDS
from navarch.providers.lambda_labs.answers import STATUSES as LAMBDA_STATUSES
from navarch.providers.runpod import STATUSES as RUNPOD_STATUSES
from navarch.providers.runpod import TYPE, RunPodSettings

CLOUDS = [("lambda", LambdaSettings), ("runpod", RunPodSettings)]


def written(value: object) -> str:
    """Write a default as the pages do."""
    match value:
        case timedelta():
            return f"{value.total_seconds():g} s"
        case False:
            return "no"
        case "":
            return '`""`'
        case str() | ():
            return f"`{value}`"
        case (str() as only,):
            return f"`{only}`"
        case tuple():
            return ", ".join(map(str, value))
        case _:
            return "" if value is NODEFAULT else f"{value}"


@pytest.mark.parametrize("page,settings", CLOUDS)
def test_each_setting_is_on_the_page_with_its_default(
    project: Path, page: str, settings: type[Struct]
) -> None:
    text = (project / "docs" / "providers" / f"{page}.md").read_text()
    text = text.split("## Settings")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\|", text, re.MULTILINE))
    assert rows == {each.name: written(each.default) for each in fields(settings)}


def test_each_word_of_the_clouds_is_on_its_page(project: Path) -> None:
    for page, words in (
        ("lambda", [*LAMBDA_STATUSES, *(code.split("/")[-1] for code in LAMBDA_KINDS)]),
        ("runpod", [*RUNPOD_STATUSES]),
    ):
        text = (project / "docs" / "providers" / f"{page}.md").read_text()
        assert [word for word in words if word not in text] == []


def test_the_files_that_the_how_to_names_are_there(project: Path) -> None:
    text = (project / "docs" / "providers" / "adding.md").read_text()
    named = re.findall(r"`((?:src|tests|docs)/[\w/.]+\.\w+)`", text)
    assert len(named) > 5
    real = [path for path in named if "NAME" not in path]
    assert [path for path in real if not (project / path).is_file()] == []


def test_each_runpod_type_of_the_catalogue_is_one_that_the_provider_takes(project: Path) -> None:
    table = project / "src" / "navarch" / "providers" / "data" / "runpod.csv"
    with table.open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) > 5
    for line in lines:
        match = TYPE.fullmatch(line["type"])
        assert match is not None
        assert int(match[1] or 1) == int(line["gpu_count"])
