"""Renders the manifests of ``deploy/kubernetes``, and says everything in which they are not right.

    python tools/manifests.py [FOLDER]     # prints what kubectl apply -k FOLDER would send

The folders are for kustomize and use nothing of it but ``resources``, so that rendering them is
reading them in order (docs/decisions/0036). What is rendered is held against the schemas of
Kubernetes, and against what no schema knows: names that have to fit together, rights that no pod
needs, and programs that could not be started with these arguments.

Exits with 0 when all is right, else with 1; each fault is one line.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import kubernetes_validate  # type: ignore[import-untyped]  # no stubs; one call of it is used
import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "deploy" / "kubernetes"
FOLDERS: Final = ("", "relay", "optional")
"""Which together name every manifest."""
VERSIONS: Final = ("1.29", "1.37")
"""The oldest and the newest Kubernetes against whose schemas they are held."""
FILES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
FOREIGN: Final = frozenset({"ServiceMonitor"})
"""Kinds of others, whose schema is not Kubernetes' own."""
PRIVILEGED: Final = frozenset({"DaemonSet navarch-agents/navarch-agent"})
"""What may be privileged: it reads devices of its node."""

Document = dict[str, Any]


def rendered(folder: Path) -> list[Document]:
    """Return the documents of a folder in the order in which kustomize is told them.

    Raises `SystemExit` for a folder that uses more of kustomize than a list of resources.
    """
    (file,) = (folder / name for name in FILES if (folder / name).exists())
    listed = yaml.safe_load(file.read_text())
    if set(listed) != {"apiVersion", "kind", "resources"}:
        raise SystemExit(f"{file}: has {sorted(listed)}, expected resources and no more")
    documents: list[Document] = []
    for name in listed["resources"]:
        path = folder / name
        documents += rendered(path) if path.is_dir() else read(path)
    return documents


def read(path: Path) -> list[Document]:
    """Return the documents of one file."""
    return [each for each in yaml.safe_load_all(path.read_text()) if each is not None]


def name_of(document: Document) -> str:
    """Return kind, namespace and name, by which faults are told."""
    metadata = document.get("metadata", {})
    place = f"{metadata['namespace']}/" if "namespace" in metadata else ""
    return f"{document.get('kind')} {place}{metadata.get('name')}"


# ---- what has to hold


def faults(documents: Sequence[Document], given: Sequence[Document]) -> list[str]:
    """Say what is wrong with these documents; `given` has what somebody else makes before."""
    found = [fault for each in documents for fault in _schema_faults(each)]
    names = [name_of(each) for each in documents]
    found += [
        f"{name}: is there {count} times" for name, count in Counter(names).items() if count > 1
    ]
    known = {*names, *(name_of(each) for each in given)}
    for document in documents:
        found += [
            f"{name_of(document)}: names {each}, which is not there"
            for each in references(document)
            if each not in known
        ]
        if (pod := pod_of(document)) is not None:
            found += [f"{name_of(document)}: {each}" for each in _pod_faults(document, pod)]
    return found


def _schema_faults(document: Document) -> Iterator[str]:
    if document.get("kind") in FOREIGN:
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            place = ".".join(str(each) for each in error.path)
            yield f"{name_of(document)}: {place}: {error.message} (Kubernetes {version})"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"{name_of(document)}: {error.message}"


def pod_of(document: Document) -> dict[str, Any] | None:
    """Return the pod's spec of a workload; None for what makes no pods."""
    template = (
        document.get("spec", {}).get("template") if document.get("kind") in WORKLOADS else None
    )
    return None if template is None else dict(template["spec"])


WORKLOADS: Final = frozenset({"StatefulSet", "Deployment", "DaemonSet"})


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every container of a pod, those of its start too."""
    return [*pod.get("initContainers", ()), *pod["containers"]]


def references(document: Document) -> Iterator[str]:
    """Yield what a document names: accounts, secrets, configurations, roles, services."""
    place = document.get("metadata", {}).get("namespace", "")
    if (pod := pod_of(document)) is not None:
        yield f"ServiceAccount {place}/{pod['serviceAccountName']}"
        for volume in pod.get("volumes", ()):
            if "secret" in volume:
                yield f"Secret {place}/{volume['secret']['secretName']}"
            if "configMap" in volume:
                yield f"ConfigMap {place}/{volume['configMap']['name']}"
    if document.get("kind") == "StatefulSet":
        yield f"Service {place}/{document['spec']['serviceName']}"
    if "roleRef" in document:
        own = f"{place}/" if document["roleRef"]["kind"] == "Role" else ""
        yield f"{document['roleRef']['kind']} {own}{document['roleRef']['name']}"
        for subject in document["subjects"]:
            yield f"ServiceAccount {subject['namespace']}/{subject['name']}"


def _pod_faults(document: Document, pod: dict[str, Any]) -> Iterator[str]:
    labels = document["spec"]["template"]["metadata"]["labels"]
    if document["spec"]["selector"]["matchLabels"] != labels:
        yield "its selector does not choose its pods"
    if pod.get("automountServiceAccountToken") is not False:
        yield "its pods get a token of the API server without having asked for it"
    volumes = {volume["name"] for volume in pod.get("volumes", ())}
    for container in containers(pod):
        mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
        for name in sorted(mounted - volumes):
            yield f"{container['name']}: mounts {name}, which is no volume"
        if container["image"].endswith(":latest") or ":" not in container["image"]:
            yield f"{container['name']}: its image {container['image']} is another one tomorrow"
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= set(resources.get("requests", ())):
            yield f"{container['name']}: does not say what it needs"
        if "memory" not in resources.get("limits", ()):
            yield f"{container['name']}: has no limit of memory"
        if container.get("ports") and not {"livenessProbe", "readinessProbe"} <= set(container):
            yield f"{container['name']}: listens, and is not probed"
        yield from _rights_faults(container, pod, privileged=name_of(document) in PRIVILEGED)


def _rights_faults(
    container: dict[str, Any], pod: dict[str, Any], *, privileged: bool
) -> Iterator[str]:
    rights = container.get("securityContext", {})
    name = container["name"]
    if not rights.get("readOnlyRootFilesystem"):
        yield f"{name}: may write into its image"
    if pod.get("securityContext", {}).get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield f"{name}: has no seccomp profile"
    if privileged:
        return
    if rights.get("privileged") or rights.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: may get more rights than it has"
    if rights.get("capabilities") != {"drop": ["ALL"]}:
        yield f"{name}: has capabilities"
    if not pod.get("securityContext", {}).get("runAsNonRoot"):
        yield f"{name}: may be root"


def main(arguments: list[str]) -> int:
    """Print what is rendered, or what is wrong."""
    chosen = [Path(each) for each in arguments] or [FOLDER / each for each in FOLDERS]
    documents = [document for folder in chosen for document in rendered(folder)]
    wrong = faults(documents, read(FOLDER / "examples" / "secrets.yaml"))
    for fault in wrong:
        print(f"manifests: {fault}", file=sys.stderr)
    print(yaml.safe_dump_all(documents, sort_keys=False), end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
