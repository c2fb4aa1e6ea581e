"""The manifests of Kubernetes: schemas, names that fit together, and programs that would start."""

from __future__ import annotations

import copy
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from navarch.cli.main import main
from navarch.config import load

Document = dict[str, Any]


@pytest.fixture(scope="module")
def tool(project: Path) -> ModuleType:
    """The tool as a module; it lives outside every package."""
    path = project / "tools" / "manifests.py"
    spec = importlib.util.spec_from_file_location("manifests_tool", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["manifests_tool"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def documents(tool: ModuleType) -> list[Document]:
    """All that is rendered."""
    return [each for name in tool.FOLDERS for each in tool.rendered(tool.FOLDER / name)]


@pytest.fixture(scope="module")
def given(tool: ModuleType) -> list[Document]:
    """What has to be there before."""
    examples: list[Document] = tool.read(tool.FOLDER / "examples" / "secrets.yaml")
    return examples


def named(documents: list[Document], kind: str, name: str) -> Document:
    (found,) = (
        each for each in documents if (each["kind"], each["metadata"]["name"]) == (kind, name)
    )
    return found


def test_nothing_is_wrong_with_the_manifests(
    tool: ModuleType, documents: list[Document], given: list[Document]
) -> None:
    assert tool.faults(documents, given) == []
    assert [fault for each in given for fault in tool.faults([each], given)] == []


def test_kustomize_itself_renders_the_same(tool: ModuleType) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("NOT TESTED: kubectl is absent: the manifests as kustomize renders them")
    for name in tool.FOLDERS:
        command = ["kubectl", "kustomize", str(tool.FOLDER / name)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        real = {tool.name_of(each): each for each in yaml.safe_load_all(text)}
        ours = {tool.name_of(each): each for each in tool.rendered(tool.FOLDER / name)}
        assert real == ours


def stateful(document: Document) -> Document:
    pod: Document = document["spec"]["template"]["spec"]
    return pod


def main_of(document: Document) -> Document:
    container: Document = stateful(document)["containers"][0]
    return container


PLANTED: dict[str, tuple[Callable[[Document], object], str]] = {
    "a key that is none": (
        lambda each: each["spec"].update(replica=2),
        "Additional properties are not allowed ('replica' was unexpected)",
    ),
    "a secret of nobody": (
        lambda each: stateful(each)["volumes"][1]["secret"].update(secretName="other"),
        "names Secret navarch/other, which is not there",
    ),
    "an image of tomorrow": (
        lambda each: main_of(each).update(image="navarch:latest"),
        "its image navarch:latest is another one tomorrow",
    ),
    "rights": (
        lambda each: main_of(each)["securityContext"].update(privileged=True),
        "navarch: may get more rights than it has",
    ),
    "root": (
        lambda each: stateful(each)["securityContext"].update(runAsNonRoot=False),
        "navarch: may be root",
    ),
    "a volume that is none": (
        lambda each: main_of(each)["volumeMounts"][0].update(name="conf"),
        "navarch: mounts conf, which is no volume",
    ),
    "no probe": (lambda each: main_of(each).pop("livenessProbe"), "listens, and is not probed"),
    "no limit": (lambda each: main_of(each)["resources"].pop("limits"), "has no limit of memory"),
    "a selector": (
        lambda each: each["spec"]["selector"]["matchLabels"].update(app="x"),
        "its selector does not choose its pods",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_each_planted_fault_is_named(
    tool: ModuleType, documents: list[Document], given: list[Document], name: str
) -> None:
    plant, expected = PLANTED[name]
    document = copy.deepcopy(named(documents, "StatefulSet", "navarch"))
    plant(document)
    known = [document, *given]
    known += [
        named(documents, *each)
        for each in (
            ("ServiceAccount", "navarch"),
            ("Service", "navarch-peers"),
            ("ConfigMap", "navarch"),
        )
    ]
    faults = tool.faults([document], known)
    assert any(expected in fault for fault in faults), faults


def test_the_control_plane_takes_its_configuration(
    documents: list[Document], tmp_path: Path
) -> None:
    text: str = named(documents, "ConfigMap", "navarch")["data"]["navarch.yaml"]
    container = main_of(named(documents, "StatefulSet", "navarch"))
    given = {each["name"]: each.get("value", "navarch-0") for each in container["env"]}
    (tmp_path / "navarch.yaml").write_text(text)
    config = load.load(tmp_path / "navarch.yaml", given)
    assert str(config.server.advertise) == "https://navarch-0.navarch-peers.navarch.svc:50051"
    mounted = {each["mountPath"] for each in container["volumeMounts"]}
    auth = config.server.auth
    files = [token.token_file for token in auth.tokens] + [auth.tls.cert_file, auth.tls.key_file]
    assert {str(Path(file).parent) for file in files if file is not None} <= mounted


def test_every_program_knows_its_options(tool: ModuleType, documents: list[Document]) -> None:
    programs = 0
    for document in documents:
        pod = tool.pod_of(document)
        for container in pod["containers"] if pod else ():
            assert main([*container["args"], "--help"]) == 0, container["args"]
            programs += 1
    assert programs == 3


def test_the_examples_hold_no_secret(given: list[Document]) -> None:
    for document in given:
        values = {**document.get("stringData", {}), **document.get("data", {})}
        assert set(values.values()) == {""}
