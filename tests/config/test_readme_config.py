"""The configuration that the README shows is one that can be used."""

from __future__ import annotations

import re
from pathlib import Path

from navarch.config.load import examine_text


def test_the_readmes_configuration_has_no_mistake(project: Path) -> None:
    readme = (project / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)

    examined = [examine_text(block, path=Path("navarch.yaml"), environ={}) for block in blocks]

    assert blocks
    assert [list(each.faults) for each in examined] == [[] for _ in blocks]
