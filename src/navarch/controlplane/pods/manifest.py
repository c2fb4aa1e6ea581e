"""How a replica is written as a pod. Pure.

Labels are those of `navarch.io`; the name of the pod is the id of the replica, so that making it
twice makes one. Nothing owns it: a control plane that is away takes nothing down with it.

Read for this: the API reference of Pod v1, "Assign Pods to Nodes", "Configure Liveness, Readiness
and Startup Probes" (kubernetes.io); the device plugin's names of shared GPUs and the labels of GPU
feature discovery (github.com/NVIDIA/k8s-device-plugin, README), November 2026.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from msgspec import Struct

from navarch.core.model.resources import (
    AgentPool,
    Model,
    NodeAffinity,
    Readiness,
    ReplicaAffinity,
    Toleration,
)
from navarch.core.serving import placeholders

FLEET: Final = "navarch.io/fleet"
REPLICA: Final = "navarch.io/replica"
AGENT_POOL: Final = "navarch.io/agent-pool"
"""The name of the pool of agents; its namespace is another label."""
AGENT_POOL_NAMESPACE: Final = "navarch.io/agent-pool-namespace"
GANG: Final = "navarch.io/gang"

GPU: Final = "nvidia.com/gpu"
MIG: Final = "nvidia.com/mig-"
PRODUCT: Final = "nvidia.com/gpu.product"
"""The label by which a node names its GPUs, such as ``NVIDIA-H100-80GB-HBM3``."""
MEMORY: Final = "nvidia.com/gpu.memory"
"""The label that says how much memory each has, in MiB."""
HOSTNAME: Final = "kubernetes.io/hostname"

PORT: Final = 8000
"""Where a replica listens whose pool does not say: a pod has all ports to itself."""

MODELS: Final = "/models"
"""Where the volume of models is mounted."""

LABEL_MAX: Final = 63
MIB: Final = 1024 * 1024
SAFE: Final = re.compile(r"[^A-Za-z0-9._-]")

Json = dict[str, Any]


class WantedReplica(Struct, frozen=True):
    """A replica that shall run on Kubernetes."""

    id: str
    pool: AgentPool
    model: Model | None = None
    """None: it serves none."""
    gang: str = ""


class PodSettings(Struct, frozen=True, kw_only=True):
    """How pods are written."""

    fleet: str
    """The fleet's tag; only pods that carry it are ours."""
    namespace: str = ""
    """Where pods are made; empty: in the namespace of their pool of agents."""
    shared_gpu: str = "nvidia.com/gpu.shared"
    """The resource of which a share of a GPU takes one: what the device plugin calls a GPU that is
    divided by time or by MPS."""
    model_claim: str = ""
    """The claim of a volume that holds models as ``namespace/name``; empty: ``{model_path}`` is
    where the weights come from."""
    scheduler_name: str = ""
    """Which scheduler of the cluster places them; empty: its own."""
    service_account: str = ""
    """Empty: the namespace's default."""


def namespace_of(wanted: WantedReplica, settings: PodSettings) -> str:
    """Tell where its pod is made."""
    return settings.namespace or wanted.pool.metadata.namespace


def fault(wanted: WantedReplica) -> str:
    """Say why no pod can be written for it; "" when one can."""
    runtime = wanted.pool.spec.runtime
    if not runtime.image:
        return "runtime.image: is missing, and a pod needs one"
    text = placeholders.fault(runtime.command, has_model=wanted.model is not None)
    return text and f"runtime.command: {text}"


def labels_of(wanted: WantedReplica, settings: PodSettings) -> dict[str, str]:
    """Label a pod of ours."""
    labels = {
        FLEET: label(settings.fleet),
        REPLICA: label(wanted.id),
        AGENT_POOL: label(wanted.pool.metadata.name),
        AGENT_POOL_NAMESPACE: label(wanted.pool.metadata.namespace),
    }
    return {**labels, GANG: label(wanted.gang)} if wanted.gang else labels


def label(text: str) -> str:
    """Make a text a value of a label: what is too long or not allowed gets a digest at its end."""
    plain = SAFE.sub("-", text).strip("._-")
    if plain == text and len(text) <= LABEL_MAX:
        return text
    return f"{plain[: LABEL_MAX - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}".strip("._-")


def products_wanted(wanted: WantedReplica, products: Sequence[str]) -> list[str]:
    """Choose the GPUs, of those that the cluster's nodes name, that a replica can have."""
    words = _plain(wanted.pool.spec.gpu_requirements.type)
    return [product for product in products if words in _plain(product)]


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", "-", text.strip().lower())


def manifest(wanted: WantedReplica, settings: PodSettings, products: Sequence[str] = ()) -> Json:
    """Write a replica's pod; `products` are the GPUs it can have, where its pool names one."""
    spec = wanted.pool.spec
    runtime = spec.runtime
    port = runtime.port or PORT
    path = _model_path(wanted.model, settings)
    container: Json = {
        "name": "replica",
        "image": runtime.image,
        "env": _environment(wanted, port, path),
        "ports": [{"name": "serving", "containerPort": port}],
        "resources": {"limits": _resources(wanted, settings)},
        "readinessProbe": _readiness(runtime.readiness, port),
        "startupProbe": _startup(runtime.readiness, port),
    }
    if runtime.command:  # else the image's own
        container["command"] = _command(wanted, port, path)
    pod: Json = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": _seconds(runtime.grace_period, least=0),
        "automountServiceAccountToken": bool(settings.service_account),
        "nodeSelector": spec.scheduling.node_selector,
        "tolerations": [_toleration(each) for each in spec.scheduling.tolerations],
        "affinity": _affinity(wanted, products),
        "containers": [container],
    }
    if settings.model_claim and wanted.model is not None:
        container["volumeMounts"] = [{"name": "models", "mountPath": MODELS, "readOnly": True}]
        claim = {"claimName": settings.model_claim, "readOnly": True}
        pod["volumes"] = [{"name": "models", "persistentVolumeClaim": claim}]
    if settings.scheduler_name:
        pod["schedulerName"] = settings.scheduler_name
    if settings.service_account:
        pod["serviceAccountName"] = settings.service_account
    if spec.scheduling.strategy == "spread":
        pod["topologySpreadConstraints"] = [_spread(wanted, settings)]
    metadata = {
        "name": wanted.id,
        "namespace": namespace_of(wanted, settings),
        "labels": labels_of(wanted, settings),
        "annotations": {AGENT_POOL: wanted.pool.full_name},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}


# --- the container -----------------------------------------------------------------------------


def _model_path(model: Model | None, settings: PodSettings) -> str:
    if model is None:
        return ""
    if settings.model_claim:
        return f"{MODELS}/{model.full_name}"
    return model.spec.weights_uri.removeprefix("file://")


def _gpu_count(wanted: WantedReplica) -> int:
    """Count the whole things that it takes: GPUs, slices, or shares."""
    return max(math.ceil(wanted.pool.spec.gpu_requirements.count), 0)


def _command(wanted: WantedReplica, port: int, model_path: str) -> list[str]:
    values = {
        "model_path": model_path,
        "port": str(port),
        "gpus": ",".join(map(str, range(_gpu_count(wanted)))),
        "replica": wanted.id,
        "pool": wanted.pool.full_name,
    }
    return list(placeholders.filled(wanted.pool.spec.runtime.command, values))


def _environment(wanted: WantedReplica, port: int, model_path: str) -> list[Json]:
    """List the variables; which GPUs it sees is the device plugin's to say."""
    variables = {
        **wanted.pool.spec.runtime.env,
        "NAVARCH_AGENT_POOL": wanted.pool.full_name,
        "NAVARCH_PORT": str(port),
        "NAVARCH_REPLICA": wanted.id,
    }
    share = wanted.pool.spec.gpu_requirements.count
    if 0 < share < 1:
        variables["NAVARCH_GPU_SHARE"] = f"{share:g}"
    if model_path:
        variables["NAVARCH_MODEL_PATH"] = model_path
    return [{"name": name, "value": text} for name, text in variables.items()]


def _resources(wanted: WantedReplica, settings: PodSettings) -> dict[str, str]:
    spec = wanted.pool.spec
    count = _gpu_count(wanted)
    if not count:
        return {}
    if spec.mig_profile:
        return {f"{MIG}{spec.mig_profile}": str(count)}
    if spec.gpu_requirements.count < 1:
        return {settings.shared_gpu: "1"}
    return {GPU: str(count)}


def _seconds(span: timedelta, *, least: int) -> int:
    """Kubernetes counts in whole seconds: what is between two becomes the longer one."""
    return max(math.ceil(span.total_seconds()), least)


def _readiness(readiness: Readiness, port: int) -> Json:
    return {
        "httpGet": {"path": readiness.path, "port": port},
        "initialDelaySeconds": _seconds(readiness.initial_delay, least=0),
        "periodSeconds": _seconds(readiness.period, least=1),
        "timeoutSeconds": _seconds(readiness.timeout, least=1),
        "failureThreshold": max(readiness.failure_threshold, 1),
    }


def _startup(readiness: Readiness, port: int) -> Json:
    """Have the container started again when it does not serve in time."""
    period = _seconds(readiness.period, least=1)
    failures = math.ceil(readiness.startup_timeout.total_seconds() / period)
    return {**_readiness(readiness, port), "failureThreshold": max(failures, 1)}


# --- where it may run ----------------------------------------------------------------------------


def _toleration(toleration: Toleration) -> Json:
    written = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
    }
    return {name: text for name, text in written.items() if text}


def _affinity(wanted: WantedReplica, products: Sequence[str]) -> Json:
    scheduling, gpu = wanted.pool.spec.scheduling, wanted.pool.spec.gpu_requirements
    required = [_expression(each) for each in scheduling.affinity if not each.weight]
    if gpu.type:
        required.append({"key": PRODUCT, "operator": "In", "values": list(products)})
    if gpu.memory:
        least = str(math.ceil(gpu.memory / MIB) - 1)
        required.append({"key": MEMORY, "operator": "Gt", "values": [least]})
    preferred = [
        {"weight": each.weight, "preference": {"matchExpressions": [_expression(each)]}}
        for each in scheduling.affinity
        if each.weight
    ]
    node: Json = {}
    if required:
        terms = {"nodeSelectorTerms": [{"matchExpressions": required}]}
        node["requiredDuringSchedulingIgnoredDuringExecution"] = terms
    if preferred:
        node["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
    parts = {
        "nodeAffinity": node,
        "podAffinity": _of_replicas(wanted, anti=False),
        "podAntiAffinity": _of_replicas(wanted, anti=True),
    }
    return {name: part for name, part in parts.items() if part}


def _expression(affinity: NodeAffinity) -> Json:
    written: Json = {"key": affinity.key, "operator": affinity.operator}
    if affinity.values:
        written["values"] = list(affinity.values)
    return written


def _of_replicas(wanted: WantedReplica, *, anti: bool) -> Json:
    chosen = [each for each in wanted.pool.spec.scheduling.replica_affinity if each.anti is anti]
    required = [_term(wanted, each) for each in chosen if not each.weight]
    preferred = [
        {"weight": each.weight, "podAffinityTerm": _term(wanted, each)}
        for each in chosen
        if each.weight
    ]
    parts: Mapping[str, list[Json]] = {
        "requiredDuringSchedulingIgnoredDuringExecution": required,
        "preferredDuringSchedulingIgnoredDuringExecution": preferred,
    }
    return {name: part for name, part in parts.items() if part}


def _term(wanted: WantedReplica, affinity: ReplicaAffinity) -> Json:
    namespace, _, name = affinity.agent_pool.rpartition("/")
    labels = {
        AGENT_POOL: label(name or wanted.pool.metadata.name),
        AGENT_POOL_NAMESPACE: label(namespace or wanted.pool.metadata.namespace),
    }
    return {
        "topologyKey": affinity.topology_key,
        "labelSelector": {"matchLabels": labels},
        "namespaceSelector": {},  # every namespace: the labels say which pool
    }


def _spread(wanted: WantedReplica, settings: PodSettings) -> Json:
    labels = labels_of(wanted, settings)
    chosen = {name: labels[name] for name in (FLEET, AGENT_POOL, AGENT_POOL_NAMESPACE)}
    return {
        "maxSkew": 1,
        "topologyKey": HOSTNAME,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": chosen},
    }
