"""The API as Connect's clients for Node see it: three protocols, two versions of HTTP.

Their packages come from the registry that npm is set to; where node, npm or a registry is absent,
nothing of this is tested, and the reason of the skip says so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet

from navarch.wire.auth import Authenticator
from navarch.wire.generated import navarch_pb2
from wire.conftest import ADMIN, SECRET, TOKENS, running

PROJECT = Path(__file__).parent / "node"
MAJOR_MIN = 20
"""The oldest Node that the clients run on."""


def run(words: list[str], folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False
    )


def missing(folder: Path) -> str:
    """What is absent; empty when nothing is."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "node or npm"
    version = run([node, "--version"], folder, 10).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < MAJOR_MIN:
        return f"node {MAJOR_MIN} or later (this is {version})"
    try:
        reached = run([npm, "ping"], folder, 30).returncode == 0
    except subprocess.TimeoutExpired:
        reached = False
    return "" if reached else "a registry of npm packages"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, with the packages that its lock names."""
    folder = tmp_path_factory.mktemp("node") / "project"
    shutil.copytree(PROJECT, folder)
    if absent := missing(folder):
        pytest.skip(f"NOT TESTED: the API by clients for Node: {absent} is absent")
    installed = run(["npm", "ci", "--ignore-scripts"], folder, 120)
    assert installed.returncode == 0, installed.stderr
    files = FileDescriptorSet()
    _add(navarch_pb2.DESCRIPTOR, files)
    (folder / "descriptors").write_bytes(files.SerializeToString())
    return folder


def _add(file: FileDescriptor, files: FileDescriptorSet) -> None:
    """Add a file behind all that it imports."""
    for imported in file.dependencies:
        if imported.name not in {each.name for each in files.file}:
            _add(imported, files)
    written = files.file.add()
    file.CopyToProto(written)
    for message in written.message_type:
        _name(message, file.message_types_by_name[message.name])


def _name(message: DescriptorProto, known: Descriptor) -> None:
    """Add the names of JSON, which Python leaves out."""
    for field in message.field:
        field.json_name = known.fields_by_name[field.name].json_name
    for inner in message.nested_type:
        _name(inner, known.nested_types_by_name[inner.name])


def calls(project: Path) -> dict[str, Any]:
    """What came of the calls, by protocol."""
    with running(Authenticator(TOKENS, SECRET), http2=True) as live:
        said = {"url": live.url, "token": ADMIN, "descriptors": "descriptors"}
        ended = run(["node", "calls.mjs", json.dumps(said)], project, 60)
        assert ended.returncode == 0, ended.stderr
        assert live.service.watchers_left.wait(10)
    results: dict[str, Any] = json.loads(ended.stdout)
    return results


EXPECTED = {
    "node": ["n1", 1, str(80 * 2**30)],
    "concurrent": True,
    "stream": [5, 6, 7],
    "left": [1, 2],
    "unauthenticated": [
        "Unauthenticated",
        "a token is required: send 'Authorization: Bearer TOKEN'",
    ],
    "missing": ["NotFound", "stranger is not registered"],
    "failing": ["FailedPrecondition", "no more facts"],
}
CODES = {"unimplemented": "Unimplemented", "late": "DeadlineExceeded", "large": "ResourceExhausted"}


def test_every_protocol_brings_the_same_answers(project: Path) -> None:
    results = calls(project)
    forms = ["connect json", "connect binary", "grpc-web"]
    assert list(results) == [
        *(f"{form} {version}" for version in ("1.1", "2") for form in forms),
        "grpc 2",
    ]
    for name, seen in results.items():
        assert {key: seen[key] for key in EXPECTED} == EXPECTED, name
        assert {key: seen[key][0] for key in CODES} == CODES, name
