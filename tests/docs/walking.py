"""A page that tells somebody what to do, done from top to bottom.

What a walk does with the blocks of a page, in their order:

- One with a title is a file: it is written below the walk's folder.
- One of ``console`` is a session. Its commands are run, and what is shown below each has to be
  what it prints; a line ``...`` stands for any lines, and a command with nothing below it may
  print anything. Commands end with 0, unless ``echo $?`` follows and shows what they end with.
- All others are not done: they are output, or they explain.

Of the shell a walk knows what pages need: ``export``, ``cd``, a ``&`` at the end, and ``kill %1``.
A command of ours that only looks is repeated until it prints what is shown, for at most a minute:
what is done between two commands takes as long as it takes. Ours run in this process, but for those
that stay.

Ports are replaced by free ones, and the tag of the fleet that is shown by that of the walk's own.
``NAVARCH_WRITE_GOLDEN=1`` writes what was printed into the page instead of comparing it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from docs.fences import PROJECT, Fence, Typed, fences, typed
from docs.masking import fits, tags
from machines import processes_of
from navarch.cli.main import main

PATIENCE_SECONDS = 60.0
"""How long is waited for what a command is to print, and for a program to end."""

LOOKS = frozenset({"list", "get", "explain", "events", "pool list", "pool get", "policy backtest"})
"""Commands that change nothing, and so may be asked again."""

_ADDRESS = re.compile(r"127\.0\.0\.1:(\d{4,5})")


class Walk:
    """One page, in a folder of its own."""

    def __init__(self, page: Path, folder: Path) -> None:
        """Prepare to walk through `page`; relative paths count from `folder`."""
        self.page = page
        self.folder = folder
        self._ports: dict[str, int] = {}
        self._tags: dict[str, str] = {}
        self._stays: list[subprocess.Popen[bytes]] = []
        self._code = 0
        self._written: list[tuple[Typed, str]] = []
        (folder / "examples").symlink_to(PROJECT / "examples")

    def go(self) -> int:
        """Do everything that the page says, and return how many commands that were.

        Raises `AssertionError` with the page, the line and the command that did otherwise.
        """
        text = self.page.read_text(encoding="utf-8")
        done = 0
        with _at(self.folder):
            try:
                for fence in fences(text, str(self.page.relative_to(PROJECT))):
                    done += self._do(fence)
            finally:
                self._end()
        if os.environ.get("NAVARCH_WRITE_GOLDEN"):
            for each, printed in self._written:
                if each.output and "..." not in each.output.splitlines():
                    text = text.replace(each.output, printed.strip("\n"), 1)
            self.page.write_text(text, encoding="utf-8")
        return done

    def _do(self, fence: Fence) -> int:
        if fence.title:
            path = Path(fence.title)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._ours(fence.text), encoding="utf-8")
        if fence.language != "console":
            return 0
        commands = typed(fence.text)
        for number, each in enumerate(commands):
            asked = commands[number + 1 : number + 2]
            wanted = int(asked[0].output) if asked and asked[0].command == "echo $?" else 0
            if each.command != "echo $?":
                self._type(each, wanted, f"{fence}: {each.command}")
        return len(commands)

    def _type(self, each: Typed, wanted: int, place: str) -> None:
        words = shlex.split(self._ours(each.command))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            printed = self._run(words)
            printed = printed.replace(f"{self.folder}/", "")
            good = self._code == wanted and fits(printed, self._ours(each.output))
            if good or not _only_looks(words) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        if os.environ.get("NAVARCH_WRITE_GOLDEN"):
            self._written.append((each, printed))
        else:
            assert self._code == wanted, f"{place}: ended with {self._code}:\n{printed}"
            assert good, f"{place}: printed\n{printed}\nand the page shows\n{each.output}"
        self._tags |= dict(zip(tags(each.output), tags(printed), strict=False))

    def _run(self, words: list[str]) -> str:
        self._code = 0
        match words:
            case ["export", setting]:
                name, _, value = setting.partition("=")
                os.environ[name] = value
            case ["cd", path]:
                os.chdir(path)
            case ["kill", number] if number.startswith("%"):
                self._stop(self._stays.pop(int(number[1:]) - 1))
            case [*command, "&"]:
                program = [sys.executable, "-m", "navarch", *command[1:]]
                assert command[0] == "navarch", f"{command[0]} stays: only navarch may"
                with Path("stays.log").open("ab") as log:
                    self._stays.append(subprocess.Popen(program, stdout=log, stderr=log))
            case ["navarch", *arguments]:
                return self._ours_runs(arguments)
            case [program, *_]:
                assert program in ("pytest", "cat", "ls"), f"{program}: no walk knows it"
                done = subprocess.run(words, capture_output=True, text=True, check=False)
                self._code = done.returncode
                return done.stdout
            case _:
                raise AssertionError("an empty command")
        return ""

    def _ours_runs(self, arguments: list[str]) -> str:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self._code = main(arguments)
        return out.getvalue() + ("" if self._code == 0 else err.getvalue())

    def _ours(self, text: str) -> str:
        for shown, own in self._tags.items():
            text = text.replace(shown, own)
        return _ADDRESS.sub(lambda found: f"127.0.0.1:{self._port(found[1])}", text)

    def _port(self, shown: str) -> int:
        if shown not in self._ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self._ports[shown] = probe.getsockname()[1]
        return self._ports[shown]

    def _stop(self, program: subprocess.Popen[bytes]) -> None:
        program.send_signal(signal.SIGTERM)
        self._code = program.wait(PATIENCE_SECONDS)

    def _end(self) -> None:
        for program in self._stays:
            self._stop(program)
        # A control plane's machines outlive it, also where they are processes.
        for pid in processes_of(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _only_looks(words: list[str]) -> bool:
    return words[0] == "navarch" and (
        words[1] in LOOKS or " ".join(words[1:3]) in LOOKS or "--serve" in words
    )


@contextlib.contextmanager
def _at(folder: Path) -> Iterator[None]:
    """Be in a folder, with our programs on the path, and leave the environment as it was."""
    before = dict(os.environ)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before['PATH']}"
    os.environ.pop("NAVARCH_SERVER", None)
    here = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)
