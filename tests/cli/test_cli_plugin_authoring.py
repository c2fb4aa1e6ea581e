"""``plugin verify`` and ``plugin new``: what an author sees, and that what is written works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.connect_server import Run
from navarch.testing.scaffold import TEMPLATED

SOUND = '''\
"""Plugins of ours."""


class Prefer:
    """Prefers nothing."""

    name = "prefer-nothing"
    priority = 5

    def filter(self, pod, node, pool):
        return True

    def score(self, pod, node, pool):
        return 50
'''
HANGS = SOUND.replace("return 50", "import threading; threading.Event().wait()").replace(
    "-nothing", "-waiting"
)
WORDS = {"autoscaler": "pool-autoscaler", "replica-autoscaler": "autoscaler"}
"""What the command line calls two kinds, as the documents do."""
KINDS_WITH_TEMPLATE = [WORDS.get(kind, str(kind)) for kind in TEMPLATED]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Return a file that holds a sound scheduler."""
    path = tmp_path / "sound.py"
    path.write_text(SOUND)
    return path


def pytest_in(folder: Path, *paths: Path | str) -> subprocess.CompletedProcess[str]:
    """Run the tests of packages in a process that finds their modules in `paths`."""
    return subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("--import-mode=importlib", "-c", os.devnull, "--rootdir", str(folder), str(folder)),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_sound_plugin_is_verified_with_a_table_of_its_checks(run: Run, sound: Path) -> None:
    done = run("plugin", "verify", str(sound))
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "scheduler prefer-nothing (sound.py:Prefer)"
    assert lines[1].split() == ["CHECK", "RESULT", "TIME", "TEXT"]
    assert lines[2].startswith("it has what its kind must have")
    assert lines[-1] == "12 kept, 0 broken, 1 not tried"


def test_a_broken_plugin_is_refused_with_what_it_did(run: Run, sound: Path) -> None:
    sound.write_text(SOUND.replace("return 50", "return 101"))
    done = run("plugin", "verify", str(sound), "-o", "json")
    assert done.code == 1
    answer = json.loads(done.stdout)
    assert answer["ok"] is False
    (plugin,) = answer["plugins"]
    broken = {each["check"]: each["text"] for each in plugin["findings"] if not each["ok"]}
    assert broken["the score is a whole number from 0 to 100"] == (
        "score(chat-1, node-0) is 101, expected 0 to 100"
    )


def test_a_plugin_that_does_not_fit_its_kind_is_not_called(run: Run, sound: Path) -> None:
    sound.write_text(SOUND.replace("def score(self, pod, node, pool)", "def score(self, pod)"))
    done = run("plugin", "verify", str(sound))
    assert done.code == 1
    assert "score(pod) cannot be called as it will be" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 kept, 1 broken"


def test_a_plugin_that_hangs_ends_with_a_verdict_and_the_next_is_tried(
    run: Run, sound: Path
) -> None:
    other = SOUND.replace("class Prefer", "class Other").replace("prefer-nothing", "other")
    sound.write_text(HANGS + "\n\n" + other.partition("\n\n\n")[2])
    # Also what finds the plugins has this long, on a machine that may be busy.
    done = run("plugin", "verify", str(sound), "--deadline", "5s", "-o", "json")
    assert done.code == 1, done.stderr
    first, second = json.loads(done.stdout)["plugins"]
    assert (first["name"], first["ok"]) == ("prefer-waiting", False)
    last = first["findings"][-1]
    assert last["check"] == "the score is a whole number from 0 to 100"
    assert last["text"] == "no end within 5 s; it was stopped"
    assert (second["name"], second["ok"]) == ("other", True)


def test_a_plugin_that_ends_its_process_gets_a_verdict(run: Run, sound: Path) -> None:
    text = SOUND.replace("return 50", 'print("bye", flush=True); import os; os._exit(3)')
    sound.write_text(text)
    done = run("plugin", "verify", str(sound), "-o", "json")
    assert done.code == 1
    (plugin,) = json.loads(done.stdout)["plugins"]
    assert plugin["findings"][-1]["text"] == "its process ended with code 3: … bye"


@pytest.mark.parametrize(
    "target,text",
    [
        ("nowhere.py", "there is no such file"),
        ("no-such-entry-point", "no file, no folder and no entry point of this name"),
        ("no.such.module:Class", "cannot be imported: ModuleNotFoundError"),
        ("json:JSONDecoder", "has the methods of no kind of plugin"),
        ("json:Nothing", "json has no Nothing"),
        ("examples", "neither pyproject.toml nor __init__.py"),
    ],
)
def test_what_cannot_be_found_is_said_on_one_line(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, target: str, text: str
) -> None:
    monkeypatch.chdir(project)
    done = run("plugin", "verify", target)
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr.startswith("navarch: ")
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_kind_and_a_config_that_make_no_sense_are_usage_errors(run: Run, sound: Path) -> None:
    assert run("plugin", "verify", str(sound), "--config", "{").code == 2
    assert run("plugin", "verify", str(sound), "--config", "[1]").code == 2
    done = run("plugin", "verify", str(sound), "--kind", "wheel")
    assert done.code == 1
    assert "no such kind of plugin: 'wheel'" in done.stderr


def test_a_plugin_is_verified_with_its_config(run: Run, tmp_path: Path) -> None:
    assert run("plugin", "new", "scheduler", "by-label", "--dir", str(tmp_path)).code == 0
    folder = str(tmp_path / "by-label")
    assert run("plugin", "verify", folder, "--config", '{"label": "team"}').code == 0
    done = run("plugin", "verify", folder, "--config", '{"lable": "team"}')
    assert done.code == 1
    assert "did you mean label" in done.stdout


def test_every_template_passes_its_own_tests_and_is_verified(run: Run, tmp_path: Path) -> None:
    for kind in KINDS_WITH_TEMPLATE:
        done = run("plugin", "new", kind, f"my-{kind}", "--dir", str(tmp_path))
        assert done.code == 0, done.stderr
    ran = pytest_in(tmp_path, *(path / "src" for path in tmp_path.iterdir()))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(list(tmp_path.rglob("test_my_*.py"))) == len(KINDS_WITH_TEMPLATE)
    done = run("plugin", "verify", str(tmp_path / "my-guardrail"))
    assert done.code == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "kind", ["model-loader", pytest.param("scheduler", marks=pytest.mark.soak)]
)
def test_a_template_installs_and_is_found_by_its_entry_point(
    run: Run, tmp_path: Path, kind: str
) -> None:
    assert run("plugin", "new", kind, "acme-thing", "--dir", str(tmp_path)).code == 0
    target = tmp_path / "installed"
    installed = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--disable-pip-version-check", "--target", str(target)),
            str(tmp_path / "acme-thing"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert installed.returncode == 0, installed.stderr
    assert (target / "acme_thing" / "py.typed").is_file()
    registry = f"navarch.plugins.registry.get_global_registry().find('{kind}', 'acme-thing')"
    shown = subprocess.run(
        [sys.executable, "-c", f"import navarch.plugins.registry; print({registry}.origin)"],
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == "acme-thing 0.1.0"
    ran = pytest_in(tmp_path / "acme-thing" / "tests", target)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_nothing_that_is_there_is_written_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = run("plugin", "new", "scheduler", "mine", "--dir", str(tmp_path))
    assert done.code == 1
    assert "exists already; nothing was written" in done.stderr
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["", "Mine", "1st", "a_b", "a--b", "-a", "a-", "../x", "a/b", "x" * 51, "json", "class"]
)
def test_a_name_that_cannot_be_a_package_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    done = run("plugin", "new", "--dir", str(tmp_path), "scheduler", "--", name)
    assert done.code == 1, done.stderr
    assert "expected" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_kind_without_a_template_says_which_have_one(run: Run, tmp_path: Path) -> None:
    done = run("plugin", "new", "health-observer", "mine", "--dir", str(tmp_path))
    assert done.code == 1
    assert "there is no template of a health observer; there are: provider" in done.stderr
