"""What is wrong, or doubtful, with the values of a resource together."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from msgspec import Struct

from navarch.core.model import resources as res
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.autoscalers import PROMISED
from navarch.plugins.resources import quantities


class Remark(Struct, frozen=True):
    """What is to be said about some keys."""

    keys: tuple[str, ...]
    """The keys that it is about, the one to change first."""
    message: str


def broken(resource: res.Resource) -> Iterator[Remark]:
    """Say what can never work."""
    match resource:
        case res.AgentPool():
            yield from _pool(resource.spec)
        case res.AgentClass():
            yield from _class(resource.spec)
        case res.ToolBinding():
            yield from _binding(resource.spec)
        case res.Model():
            return


def doubts(resource: res.Resource) -> Iterator[Remark]:
    """Say what works, and is probably not meant."""
    if isinstance(resource, res.AgentPool):
        spec = resource.spec
        if spec.runtime.kind == "process" and not spec.runtime.command:
            message = "nothing says what to run: its replicas can not start"
            yield Remark(("spec.runtime.command",), message)
        for index, metric in enumerate(spec.autoscaling.metrics):
            near = _meant(metric.type)
            if near:
                message = f"{metric.type} is no metric of Navarch's own; did you mean {near}?"
                yield Remark((f"spec.autoscaling.metrics[{index}].type",), message)
            if 0 < metric.target < 1 and signals.signal_of(metric.type).unit == "percent":
                message = (
                    f"{metric.target:g} is less than one percent; did you mean {metric.target:.0%}?"
                )
                yield Remark((f"spec.autoscaling.metrics[{index}].target",), message)


def _meant(metric: str) -> str:
    """Say which metric a word is a slip of; empty: of none."""
    if signals.is_known(metric):
        return ""
    known = [*signals.CATALOGUE, *signals.ALIASES]
    near = difflib.get_close_matches(signals.canonical(metric), known, n=1, cutoff=0.85)
    return near[0] if near else ""


# --- pools of agents -------------------------------------------------------------------------


def _pool(spec: res.AgentPoolSpec) -> Iterator[Remark]:
    if spec.min_replicas > spec.max_replicas:
        message = f"{spec.min_replicas} is more than maxReplicas, which is {spec.max_replicas}"
        yield Remark(("spec.minReplicas", "spec.maxReplicas"), message)
    gang = spec.scheduling.gang
    if not isinstance(gang, bool) and gang > spec.max_replicas:
        message = f"a gang of {gang} never fits into maxReplicas, which is {spec.max_replicas}"
        yield Remark(("spec.scheduling.gang", "spec.maxReplicas"), message)
    yield from _gpus(spec)
    yield from _scaling(spec.autoscaling)
    yield from _placing(spec.scheduling)
    if spec.runtime.kind == "kubernetes" and not spec.runtime.image:
        message = "missing: what runs on Kubernetes needs the image of its container"
        yield Remark(("spec.runtime.image", "spec.runtime.kind"), message)


def _gpus(spec: res.AgentPoolSpec) -> Iterator[Remark]:
    key, count = "spec.gpuRequirements.count", spec.gpu_requirements.count
    if count != int(count) and count > 1:
        message = f"expected whole GPUs, or a share of one below 1, got {count:g}"
        yield Remark((key,), message)
    if count != int(count) and spec.mig_profile:
        message = f"a slice is given as a whole: {count:g} of {spec.mig_profile} cannot be had"
        yield Remark((key, "spec.migProfile"), message)


def _scaling(autoscaling: res.Autoscaling) -> Iterator[Remark]:
    key = "spec.autoscaling"
    names = [signals.canonical(each.type) for each in autoscaling.metrics]
    yield from _twice(f"{key}.metrics", names, ".type")
    yield from _twice(f"{key}.autoscalers", autoscaling.autoscalers)
    for index, metric in enumerate(autoscaling.metrics):
        left = metric.target == 0 and signals.canonical(metric.type) in PROMISED
        if metric.target <= 0 and not left:
            place = f"{key}.metrics[{index}].target"
            message = "expected a target above zero: load is divided by it. Only what an agent "
            message += f"class may promise can be left to it: {', '.join(PROMISED)}"
            yield Remark((place,), message)
    percent = autoscaling.behavior.scale_down.max_change_percent
    if percent > 100:
        message = f"no more than 100 percent can be taken away, got {percent:g}"
        yield Remark((f"{key}.behavior.scaleDown.maxChangePercent",), message)


def _placing(scheduling: res.Scheduling) -> Iterator[Remark]:
    for index, affinity in enumerate(scheduling.affinity):
        key = f"spec.scheduling.affinity[{index}]"
        needs = affinity.operator in ("In", "NotIn")
        if needs and not affinity.values:
            message = f"missing: the operator {affinity.operator} compares with at least one"
            yield Remark((f"{key}.values", f"{key}.operator"), message)
        elif affinity.values and not needs:
            message = f"the operator {affinity.operator} compares with none"
            yield Remark((f"{key}.values", f"{key}.operator"), message)
    for index, toleration in enumerate(scheduling.tolerations):
        key = f"spec.scheduling.tolerations[{index}]"
        if toleration.operator == "Exists" and toleration.value:
            yield Remark((f"{key}.value", f"{key}.operator"), "the operator Exists has no value")
        if toleration.operator == "Equal" and not toleration.key:
            message = "missing: only the operator Exists is for every taint"
            yield Remark((f"{key}.key", f"{key}.operator"), message)


def _twice(key: str, names: Sequence[str], below: str = "") -> Iterator[Remark]:
    for index, name in enumerate(names):
        if name and name in names[:index]:
            message = f"{name} is written twice, first in entry {names.index(name)}"
            yield Remark((f"{key}[{index}]{below}",), message)


# --- classes and tools -----------------------------------------------------------------------


def _class(spec: res.AgentClassSpec) -> Iterator[Remark]:
    names = [each.name for each in spec.tool_permissions]
    yield from _twice("spec.toolPermissions", names, ".name")


def _binding(spec: res.ToolBindingSpec) -> Iterator[Remark]:
    configs = {"http": spec.http_config, "queue": spec.queue_config}
    for type_, config in configs.items():
        key = f"spec.{type_}Config"
        if spec.type == type_ and config is None:
            yield Remark((key, "spec.type"), f"missing: a tool of type {type_} needs it")
        if spec.type and spec.type != type_ and config is not None:
            yield Remark((key, "spec.type"), f"a tool of type {spec.type} has none")
    retry = spec.retry_policy
    if retry.initial_backoff > retry.max_backoff:
        most = quantities.format_duration(retry.max_backoff)
        first = quantities.format_duration(retry.initial_backoff)
        keys = ("spec.retryPolicy.initialBackoff", "spec.retryPolicy.maxBackoff")
        yield Remark(keys, f"{first} is more than maxBackoff, which is {most}")
