"""Whatever stands in a label or a command reaches the agent to the letter, in every shell."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from bootstrap.ground import NODE, Ground

SHELLS = [name for name in ("dash", "bash") if shutil.which(name)]

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)

NASTY = [
    "",
    "-n",
    "--",
    "%s%n$%{",
    "it's",
    "'",
    "''",
    "\\",
    "\\'",
    '"$(touch x)"`touch x`',
    "${HOME} $1 $$ !!",
    "END\nEND\n",
    "\n\n trailing \n\n",
    "\t\r\n\x0b\x0c",
    "".join(map(chr, range(1, 256))),
    "\x7f\x81\x88 \x9b \U0010ffff Größe 八",
    "#!/bin/sh\nexit 1",
    "*?[a]~",
]


@pytest.mark.parametrize("shell", SHELLS)
@given(texts=st.lists(TEXT, min_size=1, max_size=20))
@example(texts=NASTY)
@settings(max_examples=6)
def test_labels_and_commands_survive(shell: str, texts: list[str]) -> None:
    ground = Ground(Path(tempfile.mkdtemp(prefix="ground-")))
    try:
        _check(ground, shell, texts)
    finally:
        ground.clean()


def _check(ground: Ground, shell: str, texts: list[str]) -> None:
    labels = {f"{number}{text}".replace("=", ""): text for number, text in enumerate(texts)}
    commands = tuple(
        f"printf %s {shlex.quote(text)} >{ground.root}/told-{number}"
        for number, text in enumerate(texts)
    )
    node = structs.replace(
        NODE,
        region=texts[0],
        labels=labels,
        setup_commands=commands,
        user_data="#!/bin/sh\n: " + shlex.quote(texts[-1]),
    )

    done = ground.run(ground.with_systemd(), node, shell=shell)

    assert done.returncode == 0, done.stdout + done.stderr
    for number, text in enumerate(texts):
        assert (ground.root / f"told-{number}").read_bytes() == text.encode()
        kept = (ground.record / f"command-{number + 1}").read_bytes()
        assert kept == commands[number].encode() + b"\n"
    start = Path(ground.settings.folder) / "run-agent"
    ground.program("sleep", "#!/bin/sh\n")  # the agent's stand-in would sleep
    ground.run_file(start, shell)
    told = ground.said.read_bytes().split(b"\0")[:-1]
    expected = [f"--label={key}={value}".encode() for key, value in labels.items()]
    assert told[-len(expected) :] == expected
    assert (f"--region={texts[0]}".encode() in told) == bool(texts[0])
