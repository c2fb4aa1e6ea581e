"""The configuration and the resources that the README shows can be used."""

from __future__ import annotations

import re
from pathlib import Path

from navarch.config.load import examine_text
from navarch.plugins.resources import reading


def test_the_readmes_configuration_has_no_mistake(project: Path) -> None:
    readme = (project / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    blocks = [text for text in shown if not text.startswith("apiVersion:")]
    examined = [examine_text(block, path=Path("navarch.yaml"), environ={}) for block in blocks]

    assert blocks
    assert [list(each.faults) for each in examined] == [[] for _ in blocks]


def test_the_readmes_resources_have_no_mistake(project: Path) -> None:
    readme = (project / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"```yaml\n(apiVersion:.*?)```", readme, re.DOTALL)

    found = [reading.read(text, file="README.md") for text in shown]

    assert found
    assert [list(each.mistakes) for each in found] == [[] for _ in shown]
