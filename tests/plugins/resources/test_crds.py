"""Kubernetes' manifests and the page's tables follow from the types, and a real server takes them.

Needs a kube-apiserver for the latter: see `infra.real_kubernetes`.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from infra.real_kubernetes import RealKubernetes, require_kubernetes
from infra.real_parts import wait_for
from navarch.core.model import resources as res
from navarch.plugins.resources import reading, writing
from plugins.resources.documents import a_document


@pytest.fixture(scope="module")
def tool(project: Path) -> ModuleType:
    """Import the program that writes manifests."""
    path = project / "tools" / "crds.py"
    spec = importlib.util.spec_from_file_location("crds", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["crds"] = module
    spec.loader.exec_module(module)
    return module


def test_manifests_and_page_are_up_to_date(tool: ModuleType) -> None:
    for path, text in tool.files().items():
        assert path.read_text() == text, f"{path} is out of date: run tools/crds.py"
    assert tool.PAGE.read_text() == tool.page_text(), "run tools/crds.py"


def test_every_key_of_every_spec_is_in_its_manifest(tool: ModuleType) -> None:
    for kind in res.KINDS:
        (version,) = tool.manifest(kind)["spec"]["versions"]
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        fields = set(res.KINDS[kind]().spec.__struct_encode_fields__)
        assert set(spec["properties"]) == fields
        for node in _schemas(spec):
            free = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"
            assert "type" in node or any(key in node for key in free), node
            re.compile(node.get("pattern", ""))


def _schemas(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("properties", {}).values():
        yield from _schemas(inner)
    if "items" in node:
        yield from _schemas(node["items"])


def test_the_examples_of_the_page_are_mistakes_that_are_made(project: Path) -> None:
    page = (project / "docs" / "resources.md").read_text()
    bad = """\
apiVersion: neuronetes.io/v1alpha1
kind: AgentPool
metadata: {name: chat}
spec:
  agentClassRef: {name: chat}
  gpuRequirements: {memory: 40}
  minReplica: 2
  autoscaling: {metrics: [{type: queue-depth, target: 4}, {type: ttft-p95, target: 30}]}
"""
    for mistake in reading.read(bad, file="pool.yaml").mistakes:
        assert f": {mistake.key}: {mistake.message}\n" in page


# --- a real API server -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKubernetes]:
    """Start a server for all tests of this module."""
    server = RealKubernetes(tmp_path_factory.mktemp("kubernetes"), require_kubernetes())
    yield server
    server.stop()


@pytest.fixture(scope="module")
def defined(kubernetes: RealKubernetes, project: Path) -> RealKubernetes:
    """Give the server our kinds."""
    for file in sorted((project / "deploy" / "crds").glob("*.yaml")):
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        kubernetes.call("POST", path, yaml.safe_load(file.read_text()))
    for plural in ("agentclasses", "agentpools", "models", "toolbindings"):
        wait_for(
            lambda plural=plural: kubernetes.answers(_path(plural)),  # type: ignore[misc]
            f"{plural} are served",
        )
    return kubernetes


def _path(plural: str) -> str:
    return f"/apis/neuronetes.io/v1alpha1/namespaces/default/{plural}"


def test_a_real_server_takes_the_examples_and_gives_them_back(
    defined: RealKubernetes, project: Path, tool: ModuleType
) -> None:
    for file in sorted((project / "examples" / "serving").glob("*.yaml")):
        document = yaml.safe_load(file.read_text())
        stored = defined.call("POST", _path(tool.NAMES[document["kind"]][0]), document)
        assert stored["spec"] == document["spec"]
        found = reading.read(json.dumps(stored), file="server")
        assert found.mistakes == ()
        assert found.resources == reading.read_file(file).resources


def test_a_real_server_takes_what_we_write(defined: RealKubernetes, tool: ModuleType) -> None:
    metrics = [{"type": "queue-depth", "target": "0.7"}, {"type": "ttft-p95", "target": "500ms"}]
    document = a_document(
        "AgentPool",
        name="written",
        autoscaling={"metrics": metrics},
        gpuRequirements={"count": 0.5, "memory": "40Gi"},
        migProfile="",
        scheduling={"gang": True},
    )
    (pool,) = reading.read(json.dumps(document), file="f").resources
    stored = defined.call("POST", _path("agentpools"), writing.to_document(pool))
    assert reading.read(json.dumps(stored), file="server").resources == (pool,)


@pytest.mark.parametrize(
    "kind, changes",
    [
        ("AgentPool", {"minReplicas": "three"}),
        ("AgentPool", {"prewarmPercent": 101}),
        ("AgentPool", {"gpuRequirements": {"memory": "40"}}),
        ("AgentPool", {"autoscaling": {"cooldownPeriod": "300"}}),
        ("AgentPool", {"autoscaling": {"metrics": [{"type": "ttft-p95", "target": "500 ms"}]}}),
        ("AgentPool", {"migProfile": "big"}),
        ("AgentClass", {"guardrails": [{"type": "a", "action": "shout"}]}),
        ("Model", {"weightsURI": "/models"}),
        ("ToolBinding", {"agentPoolRef": {}}),
    ],
)
def test_a_real_server_refuses_what_we_refuse(
    defined: RealKubernetes, tool: ModuleType, kind: str, changes: dict[str, Any]
) -> None:
    document = a_document(kind, name="bad", **changes)
    assert reading.read(json.dumps(document), file="f").mistakes
    with pytest.raises(AssertionError, match="is invalid"):
        defined.call("POST", _path(tool.NAMES[kind][0]), document)
