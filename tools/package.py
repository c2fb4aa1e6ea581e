"""Builds the wheel and the source archive, and says everything in which they are not right.

    python tools/package.py [OUT]        # OUT is dist, unless told otherwise

What git tracks is copied into an empty folder and built there by the pinned backend, without a
network: what lies about in a work tree gets into no package. The wheel is built twice, from the
tree and from the source archive, and the two have to be the same, byte for byte.

Exits with 0 when both archives are right, and with 1 otherwise; each fault is one line.
"""

from __future__ import annotations

import configparser
import email
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any, Final, NamedTuple

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = "navarch"
WHEEL_BYTES_MAX: Final = 4_000_000
"""Of the wheel: whoever gets above this has put in what does not belong there."""
ALSO_IN_ARCHIVE: Final = (
    *("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "requirements.lock", "MANIFEST.in"),
    *("deploy/crds/agentpools.yaml", "deploy/systemd/navarch-server.service"),
)
"""What a source archive has beside the package, some of it by way of example."""
NOT_IN_ARCHIVE: Final = ("tests/", "bench/", "docs/", "tools/", ".ci/", ".venv/")


class Built(NamedTuple):
    """The two archives."""

    wheel: Path
    archive: Path


def tracked(root: Path) -> list[str]:
    """List the files that git tracks, or would track if asked to add everything, by path."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return sorted(path for path in set(listed.split("\0")) if path and (root / path).is_file())


def copied(root: Path, folder: Path) -> Path:
    """Copy what is tracked into `folder`, all as old as the epoch and with plain rights."""
    for path in tracked(root):
        if path.startswith(NOT_IN_ARCHIVE):
            continue
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, target)
        target.chmod(0o644)
    return folder


def build(root: Path, out: Path) -> tuple[Built, list[str]]:
    """Build both archives into `out`, and return them with what is wrong with them.

    Raises `subprocess.CalledProcessError` when the backend refuses.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="navarch-package-") as name:
        folder = Path(name)
        tree = copied(root, folder / "tree")
        archive = by_backend(tree, "sdist", folder / "archive")
        wheel = by_backend(tree, "wheel", folder / "wheel")
        with tarfile.open(archive) as packed:
            packed.extractall(folder / "unpacked", filter="data")
        (unpacked,) = (folder / "unpacked").iterdir()
        again = by_backend(unpacked, "wheel", folder / "again")
        faults = [
            *faults_of_wheel(root, wheel),
            *faults_of_archive(root, archive),
            *differences(wheel, again),
        ]
        built = Built(out / wheel.name, out / archive.name)
        shutil.copyfile(wheel, built.wheel)
        shutil.copyfile(archive, built.archive)
    return built, faults


def by_backend(tree: Path, kind: str, out: Path) -> Path:
    """Have the backend that `pyproject.toml` names build one archive of `tree`."""
    out.mkdir()
    asked = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))"
    ran = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SOURCE_DATE_EPOCH": "315532800", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if ran.returncode != 0:
        raise SystemExit(f"package: the backend cannot build the {kind}:\n{ran.stderr[-4000:]}")
    return out / ran.stdout.split()[-1]


# ---- what has to hold


def faults_of_wheel(root: Path, wheel: Path) -> list[str]:
    """Say what is wrong with a wheel of the tree at `root`."""
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        inside = {name for name in names if not _is_metadata(name)}
        expected = {
            path.removeprefix("src/")
            for path in tracked(root)
            if path.startswith(f"src/{PACKAGE}/")
        }
        faults = [f"wheel: lacks {path}" for path in sorted(expected - inside)]
        faults += [f"wheel: has {path}, which is not ours" for path in sorted(inside - expected)]
        faults += _metadata_faults(root, packed)
    if wheel.stat().st_size > WHEEL_BYTES_MAX:
        faults.append(
            f"wheel: {wheel.stat().st_size:,} bytes, expected {WHEEL_BYTES_MAX:,} at most"
        )
    return faults


def _is_metadata(name: str) -> bool:
    return name.split("/", maxsplit=1)[0].endswith(".dist-info")


def _metadata_faults(root: Path, wheel: zipfile.ZipFile) -> list[str]:
    """Hold the wheel's metadata against the project file."""
    project: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    folder = f"{PACKAGE}-{project['version']}.dist-info"
    told = email.message_from_bytes(wheel.read(f"{folder}/METADATA"))
    entries = configparser.ConfigParser()
    entries.read_string(wheel.read(f"{folder}/entry_points.txt").decode())
    tags = email.message_from_bytes(wheel.read(f"{folder}/WHEEL"))
    pairs = [
        ("version", told["Version"], project["version"]),
        ("licence", told["License-Expression"], project["license"]),
        ("python", told["Requires-Python"], project["requires-python"]),
        ("extras", sorted(told.get_all("Provides-Extra", [])), _extras(project)),
        ("needs", _needs(told), _plain(project["dependencies"])),
        ("commands", dict(entries["console_scripts"]), project["scripts"]),
        ("tag", tags.get_all("Tag"), ["py3-none-any"]),
        ("licence file", f"{folder}/licenses/LICENSE" in wheel.namelist(), True),
        ("readme", str(told.get_payload()).lstrip()[:9], "# Navarch"),
    ]
    return [
        f"wheel: its {name} is {actual!r}, expected {expected!r}"
        for name, actual, expected in pairs
        if actual != expected
    ]


def _extras(project: dict[str, Any]) -> list[str]:
    return sorted(project["optional-dependencies"])


def _needs(told: Message) -> list[str]:
    """What is needed without any extra."""
    needs: list[str] = told.get_all("Requires-Dist", [])
    return _plain([need for need in needs if "extra ==" not in need])


def _plain(needs: list[str]) -> list[str]:
    """Bring requirements into one form, in one order."""
    read = [Requirement(need) for need in needs]
    return sorted(f"{each.name} {','.join(sorted(map(str, each.specifier)))}" for each in read)


def faults_of_archive(root: Path, archive: Path) -> list[str]:
    """Say what is wrong with a source archive of the tree at `root`."""
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    wanted = {path for path in tracked(root) if path.startswith((f"src/{PACKAGE}/", "deploy/"))}
    faults = [f"archive: lacks {path}" for path in sorted({*wanted, *ALSO_IN_ARCHIVE} - names)]
    strange = sorted(name for name in names if name.startswith(NOT_IN_ARCHIVE))
    return faults + [f"archive: has {path}, which does not belong there" for path in strange]


def differences(one: Path, other: Path) -> list[str]:
    """Say in what two wheels differ: nothing, if they are the same byte for byte."""
    if one.read_bytes() == other.read_bytes():
        return []
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        left, right = (
            {each.filename: each.CRC for each in zip_.infolist()} for zip_ in (first, second)
        )
    changed = sorted(name for name in left | right if left.get(name) != right.get(name))
    what = ", ".join(changed) or "order, times or rights"
    return [f"the wheel of the tree and the one of the archive differ in {what}"]


def main(arguments: list[str]) -> int:
    """Build, and print what was built and what is wrong with it."""
    out = Path(arguments[0]) if arguments else ROOT / "dist"
    built, faults = build(ROOT, out)
    for fault in faults:
        print(f"package: {fault}")
    for path in built:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path}  {path.stat().st_size:,} bytes  sha256 {digest}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
