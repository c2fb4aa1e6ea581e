"""A script that is too long for a cloud is packed, and does the same."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec import structs

from bootstrap.ground import NODE, TOKEN, Ground
from navarch.bootstrap import COMPLETE_MARK, EC2_BYTES_MAX, fitted, render
from navarch.errors import ConfigError


def run(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "user-data"
    script.write_text(text)
    script.chmod(0o700)
    return subprocess.run(
        [str(script)],
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_short_script_stays_as_it_is(ground: Ground) -> None:
    script = render(ground.settings, NODE, TOKEN)

    assert fitted(script, EC2_BYTES_MAX) == script


def test_a_packed_script_makes_the_same_node(ground: Ground) -> None:
    commands = tuple(f"echo {number} >>{ground.root}/order" for number in range(200))
    script = render(ground.settings, structs.replace(NODE, setup_commands=commands), TOKEN)
    assert len(script) > EC2_BYTES_MAX

    packed = fitted(script, EC2_BYTES_MAX)
    done = run(packed, ground.root)

    assert len(packed) <= EC2_BYTES_MAX
    assert TOKEN not in packed
    assert done.returncode == 0, done.stderr
    assert COMPLETE_MARK in done.stdout
    assert (ground.root / "order").read_text().split() == [str(n) for n in range(200)]
    assert list(ground.root.glob("tmp*")) == []


@pytest.mark.parametrize("shebang", ["#!/bin/bash", f"#!{shutil.which('python3')} -I"])
def test_a_packed_script_keeps_its_interpreter_and_its_exit_code(
    tmp_path: Path, shebang: str
) -> None:
    line = "raise SystemExit(7)" if "python" in shebang else "[[ -n $BASH ]] && exit 7"

    done = run(fitted(f"{shebang}\n{'#' * 5_000}\n{line}\n", 1_000), tmp_path)

    assert done.returncode == 7
    assert [path.name for path in tmp_path.iterdir()] == ["user-data"]


def test_a_packed_script_that_was_cut_short_is_not_run(tmp_path: Path) -> None:
    script = "#!/bin/sh\n" + "".join(f"echo {number}\n" for number in range(2_000))
    lines = fitted(script, 12_000).splitlines()

    done = run("\n".join([*lines[:40], *lines[-2:], ""]), tmp_path)

    assert done.returncode != 0
    assert done.stdout == ""


def test_what_is_too_long_even_packed_is_refused() -> None:
    incompressible = "".join(chr(33 + (number * number * 7919) % 90) for number in range(60_000))

    with pytest.raises(ConfigError, match="bytes even compressed, and 100 are taken"):
        fitted(f"#!/bin/sh\n: {incompressible}", 100)
