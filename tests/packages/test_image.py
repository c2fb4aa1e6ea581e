"""The image: what its file promises, and what is sent to the engine that builds it."""

from __future__ import annotations

import re
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cli.connect_server import ConnectServer
from navarch.cli.main import main


class Step(NamedTuple):
    """One instruction of a Dockerfile."""

    word: str
    text: str


def steps_of(text: str) -> list[Step]:
    """Read a Dockerfile."""
    bare = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))
    lines = re.sub(r"\\\n", " ", bare).split("\n")
    return [Step(*line.strip().partition(" ")[::2]) for line in lines if line.strip()]


@pytest.fixture(scope="module")
def text(project: Path) -> str:
    return (project / "deploy/docker/Dockerfile").read_text()


def ignored(project: Path) -> tuple[bool, set[str]]:
    """Whether everything is kept from the engine, and what is let through."""
    lines = (project / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    return rules[0] == "*", {rule[1:] for rule in rules if rule.startswith("!")}


def faults(text: str, project: Path) -> Iterator[str]:
    """Say in what a Dockerfile is not as it shall be."""
    steps = steps_of(text)
    last = steps[max(at for at, step in enumerate(steps) if step.word == "FROM") :]
    _, sent = ignored(project)
    users = [step.text for step in last if step.word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        yield "it does not end as a user with a number, and not as root"
    for word in ("HEALTHCHECK", "ENTRYPOINT", "CMD", "LABEL"):
        if not any(step.word == word for step in last):
            yield f"it has no {word}"
    for step in steps:
        if step.word in ("ENTRYPOINT", "CMD") and not step.text.startswith("["):
            yield f"{step.word} goes through a shell, which passes no signals on"
        if step.word == "ADD":
            yield "ADD fetches and unpacks; COPY does neither"
        if step.word in ("ENV", "ARG") and re.search(r"(?i)token|password|secret|_key", step.text):
            yield f"{step.word} {step.text} would keep a secret in the image"
        if step.word == "RUN" and "pip install" in step.text:
            installs = step.text.split("pip install")[1].split("&&")[0]
            if "--require-hashes" not in installs and "--no-deps" not in installs:
                yield f"installs what nobody has pinned:{installs}"
        if step.word == "COPY" and "--from" not in step.text:
            for source in step.text.split()[:-1]:
                if not (project / source).exists():
                    yield f"copies {source}, which is not there"
                if source not in sent:
                    yield f"copies {source}, which .dockerignore keeps back"
        if step.word == "FROM" and re.search(r":latest|^\w+$", step.text):
            yield f"begins with {step.text}, which is another one tomorrow"


def test_nothing_is_wrong_with_the_image(text: str, project: Path) -> None:
    assert list(faults(text, project)) == []


@pytest.mark.parametrize(
    "old,new,expected",
    [
        ("USER 10001:10001", "USER root", "it does not end as a user with a number"),
        ("--require-hashes ", "", "installs what nobody has pinned"),
        ('CMD ["server"', "CMD server", "CMD goes through a shell"),
        ("ARG VERSION=0.1.0", "ARG API_TOKEN", "would keep a secret in the image"),
        ("COPY src ./src", "COPY source ./src", "copies source, which is not there"),
        ("COPY src ./src", "COPY tests ./src", "copies tests, which .dockerignore keeps back"),
        ("COPY src ./src", "ADD src ./src", "ADD fetches and unpacks"),
        ("FROM ${PYTHON} AS", "FROM python:latest AS", "which is another one tomorrow"),
    ],
)
def test_each_planted_fault_is_named(
    text: str, project: Path, old: str, new: str, expected: str
) -> None:
    assert old in text
    changed = list(faults(text.replace(old, new), project))
    assert any(expected in fault for fault in changed), changed


def test_nothing_is_sent_to_the_engine_but_what_the_image_is_made_of(project: Path) -> None:
    everything, sent = ignored(project)
    assert everything
    assert sent == {
        *("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "src"),
        *("deploy/docker/requirements.lock", "deploy/docker/healthy.py"),
    }


def pins(path: Path) -> dict[str, str]:
    """Return the versions of a lock by name."""
    found = re.findall(r"^([a-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE)
    return dict(found)


def test_the_image_has_the_versions_that_are_tested(project: Path) -> None:
    tested = pins(project / "requirements-dev.lock")
    image = pins(project / "deploy/docker/requirements.lock")
    assert {name: tested.get(name) for name in image} == image
    extras = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    wanted = [
        *extras["dependencies"],
        *(
            need
            for name in ("aws", "dashboard", "gcp", "http2", "models", "nvml", "postgres")
            for need in extras["optional-dependencies"][name]
        ),
    ]
    names = {re.split(r"[<>=\[]", need, maxsplit=1)[0] for need in wanted}
    assert names <= set(image)


def test_the_image_starts_a_program_that_knows_its_options(text: str) -> None:
    (command,) = (step.text for step in steps_of(text) if step.word == "CMD")
    assert main([*re.findall(r'"([^"]+)"', command), "--help"]) == 0


@pytest.mark.parametrize("status,expected", [(200, 0), (503, 1)])
def test_the_probe_tells_a_server_that_can_serve(
    status: int, expected: int, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ConnectServer()
    server.pages["/readyz"] = (status, {"ready": status == 200})
    monkeypatch.setenv("NAVARCH_HEALTH_URL", f"{server.url}/readyz")
    probe = runpy.run_path(str(project / "deploy/docker/healthy.py"))
    assert probe["main"]() == expected
    server.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/readyz", "file:///etc/passwd"])
def test_the_probe_says_what_it_could_not_ask(
    url: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NAVARCH_HEALTH_URL", url)
    assert runpy.run_path(str(project / "deploy/docker/healthy.py"))["main"]() == 1
    assert url in capsys.readouterr().err
