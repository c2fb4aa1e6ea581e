"""Commands that pages show: each is one that there is, with options and values that it takes."""

from __future__ import annotations

import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import click

from docs.fences import PROJECT
from navarch.cli.main import cli
from navarch.wire.auth import ACCESS

OTHERS = frozenset(
    [
        "awk",
        "cat",
        "cd",
        "chmod",
        "chown",
        "cp",
        "cut",
        "echo",
        "export",
        "install",
        "kill",
        "ln",
        "mkdir",
        "openssl",
        "pkill",
        "sudo",
        "tr",
        "umask",
        "useradd",
        "createdb",
        "createuser",
        "pg_dump",
        "pg_restore",
        "psql",
        "docker",
        "journalctl",
        "kubectl",
        "kustomize",
        "promtool",
        "systemctl",
        "systemd-analyze",
        "df",
        "dcgmi",
        "du",
        "git",
        "grep",
        "head",
        "iostat",
        "jq",
        "nvidia-smi",
        "perf",
        "py-spy",
        "pytest",
        "sleep",
        "ss",
        "ssh",
        "top",
        "wget",
    ]
)
"""Programs of others, whose arguments are theirs to check."""

PATHS = re.compile(
    r"/(?:metrics|healthz|readyz|leaderz|debug/plugins(?:/[\w-]+/(?:trace|shadow))?|ui/\w+)?"
    r"(?:\?.*)?"
)
"""What the port serves besides calls."""
_CALL = re.compile(r"/navarch\.ControlPlaneService/(\w+)")
_GIVEN = (str, int, list, tuple)
"""Of what type a value is that was said; the parser marks others by objects of its own."""
_SETTING = re.compile(r"[A-Za-z_]\w*=")


def faults(script: str) -> list[str]:
    """Name what is wrong with a block of commands, a line each."""
    found = []
    for line in _commands(script):
        for command in _parts(line):
            fault = _fault(command)
            if fault:
                found.append(f"{line}: {fault}")
    return found


def _commands(script: str) -> list[str]:
    joined = re.sub(r"\\\n\s*", " ", script)
    # What a command in a command prints stands for something; a group is its commands.
    joined = re.sub(r"\$\([^()]*\)", "$PRINTED", joined)
    joined = re.sub(r"^\((.*)\)$", r"\1", joined, flags=re.MULTILINE)
    joined = re.sub(r"^\((.*)\) >", r"\1 >", joined, flags=re.MULTILINE)
    return [line.strip() for line in joined.splitlines() if line.strip()]


def _parts(line: str) -> list[list[str]]:
    """Part a line at ``&&``, ``|`` and ``;``, without its comment, redirections and settings."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    parts: list[list[str]] = [[]]
    skip = False
    for word in lexer:
        if skip:
            skip = False
        elif word in ("<", ">", ">>", "2>", "2>&"):
            skip = True
        elif set(word) <= set("&|;<>"):
            parts.append([])
        else:
            parts[-1].append(word)
    return [_without_settings(part) for part in parts if part]


def _without_settings(words: list[str]) -> list[str]:
    while words and _SETTING.match(words[0]):
        words = words[1:]
    return words


def _fault(words: list[str]) -> str:
    if not words:
        return ""
    program, *arguments = words
    match program.rpartition("/")[2]:
        case "navarch":
            return command_fault(arguments)
        case "make":
            unknown = [each for each in arguments if "=" not in each and each not in _targets()]
            return f"the Makefile has no {unknown}" if unknown else ""
        case "pip":
            return _pip_fault(arguments)
        case "curl":
            return _url_fault(arguments)
        case "python" | "python3":
            return _python_fault(arguments)
        case name:
            return "" if name in OTHERS else f"nobody knows the program {name}"


def command_fault(arguments: list[str]) -> str:
    """Say what the command line would refuse; empty: nothing.

    Values are converted as it would do, but for files, which pages need not have, and words in
    capitals, which stand for something.
    """
    here: click.Command = cli
    words = list(arguments)
    while True:
        context = click.Context(here, info_name="navarch")
        try:
            given, rest, _ = here.make_parser(context).parse_args(list(words))
            _convert(here, context, given)
        except click.UsageError as error:
            return error.format_message()
        if not isinstance(here, click.Group):
            return ""
        if not rest:
            return "" if here.invoke_without_command or "help" in given else "it needs a command"
        below = here.get_command(context, rest[0])
        if below is None:
            return f"there is no command {rest[0]}"
        here, words = below, rest[1:]


def _convert(command: click.Command, context: click.Context, given: dict[str, object]) -> None:
    if "help" in given:
        return
    for parameter in command.params:
        value = given.get(parameter.name or "")
        if parameter.required and (value in ((), []) or not isinstance(value, _GIVEN)):
            raise click.MissingParameter(ctx=context, param=parameter)
        if isinstance(value, _GIVEN) and not _stands_for_something(value, parameter):
            parameter.type_cast_value(context, value)


def _stands_for_something(value: object, parameter: click.Parameter) -> bool:
    if isinstance(value, list | tuple):
        return any(_stands_for_something(each, parameter) for each in value)
    files = isinstance(parameter.type, click.Path | click.File)
    text = str(value)
    return files or "$" in text or re.fullmatch(r"[A-Z]+|<.*>|…", text) is not None


@cache
def _targets() -> frozenset[str]:
    text = (PROJECT / "Makefile").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^([a-z][\w-]*):", text, re.MULTILINE))


@cache
def _extras() -> frozenset[str]:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    return frozenset(project["project"]["optional-dependencies"])


def _pip_fault(arguments: list[str]) -> str:
    asked = re.findall(r"navarch\[([\w,]+)\]", " ".join(arguments))
    unknown = sorted({extra for each in asked for extra in each.split(",")} - _extras())
    return f"there is no extra {unknown}" if unknown else ""


def _url_fault(arguments: list[str]) -> str:
    urls = [each for each in arguments if "://" in each]
    for url in urls:
        path = re.sub(r"^\w+://[^/]+", "", url)
        call = _CALL.fullmatch(path)
        if call and call[1] not in ACCESS:
            return f"there is no call {call[1]}"
        if ":50051" in url and not call and not PATHS.fullmatch(path):
            return f"the port serves no {path}"
    return "" if urls else "it has no address"


def _python_fault(arguments: list[str]) -> str:
    match arguments:
        case ["-c", code, *_]:
            compile(code, "page", "exec")
            return ""
        case ["-m", module, *_] if module.startswith("navarch"):
            path = PROJECT / "src" / Path(*module.split("."))
            return "" if path.is_dir() or path.with_suffix(".py").exists() else f"no {module}"
        case ["-m", *_]:
            return ""
        case [script, *_]:
            return "" if (PROJECT / script).exists() else f"there is no {script}"
        case _:
            return "it has nothing to run"
