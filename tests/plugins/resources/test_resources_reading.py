"""Resources are read with every mistake named, and written so that they read back equal."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.core.model import resources as res
from navarch.plugins.resources import quantities, reading, writing
from plugins.resources.documents import a_document, found_mistakes, mistakes_of, read_one, text_of

# --- what is read ----------------------------------------------------------------------------


def test_durations_sizes_and_targets_become_plain_values() -> None:
    metrics = [
        {"type": "ttft-p95", "target": "500ms", "averagingWindow": "1m30s"},
        {"type": "latency-p95", "target": "1s"},
        {"type": "queue-depth", "target": 30},
        {"type": "my-metric", "target": "0.7"},
        {"type": "gpu-utilization", "target": "70%"},
    ]
    pool = read_one(
        a_document(
            "AgentPool",
            gpuRequirements={"memory": "40Gi", "topology": {"minBandwidth": "600GB/s"}},
            autoscaling={"metrics": metrics},
        )
    )
    assert isinstance(pool, res.AgentPool)
    assert pool.spec.gpu_requirements.memory == 40 * 2**30
    assert pool.spec.gpu_requirements.topology.min_bandwidth == 600 * 10**9
    assert [each.target for each in pool.spec.autoscaling.metrics] == [0.5, 1.0, 30.0, 0.7, 70.0]
    assert pool.spec.autoscaling.metrics[0].averaging_window == timedelta(seconds=90)


def test_a_target_may_be_left_to_what_the_class_promises_and_to_nothing_else() -> None:
    metrics = [{"type": "ttftP95"}, {"type": "p95-latency", "target": "0s"}]
    document = a_document("AgentPool", autoscaling={"metrics": metrics})
    pool = read_one(document)
    assert isinstance(pool, res.AgentPool)
    assert [each.target for each in pool.spec.autoscaling.metrics] == [0, 0]
    missing = a_document("AgentPool", autoscaling={"metrics": [{"type": "queue-depth"}]})
    [(key, text)] = mistakes_of(missing)
    assert key == "spec.autoscaling.metrics[0].target"
    assert "above zero: load is divided by it. Only what an agent class may promise" in text


def test_what_is_left_out_has_its_default() -> None:
    pool = read_one(a_document("AgentPool"))
    assert isinstance(pool, res.AgentPool)
    assert pool.full_name == "default/one"
    assert pool.spec.autoscaling == res.Autoscaling()
    assert pool.status == res.AgentPoolStatus()


@pytest.mark.parametrize("gang", [True, False, 1, 4])
def test_a_gang_of_one_is_no_gang_of_all(gang: bool | int) -> None:  # noqa: FBT001 - a parameter
    pool = read_one(a_document("AgentPool", maxReplicas=8, scheduling={"gang": gang}))
    assert isinstance(pool, res.AgentPool)
    assert (type(pool.spec.scheduling.gang), pool.spec.scheduling.gang) == (type(gang), gang)
    again = read_one(writing.to_document(pool))
    assert isinstance(again, res.AgentPool)
    assert type(again.spec.scheduling.gang) is type(gang)


def test_status_is_ignored_with_a_note_and_server_keys_without() -> None:
    document = a_document("Model")
    document["status"] = {"cachedNodes": ["n1"]}
    document["metadata"] |= {"uid": "7", "creationTimestamp": "2026-05-01T12:00:00Z"}
    found = reading.read(text_of(document), file="one.yaml")
    (model,) = found.resources
    assert isinstance(model, res.Model)
    assert model.status == res.ModelStatus()
    assert [note.partition(": ")[2] for note in found.notes] == [
        "status is ignored: it follows from what happens"
    ]


def test_json_several_documents_and_lists_are_read() -> None:
    one, two = a_document("Model", name="one"), a_document("AgentClass", name="two")
    escaped = {**one, "metadata": {"name": "one", "annotations": {"a": "😀", "b": "\t"}}}
    assert reading.read(json.dumps(escaped), file="x").resources[0].metadata.annotations == {
        "a": "😀",
        "b": "\t",
    }
    listed = {"apiVersion": "v1", "kind": "List", "items": [one, two]}
    for text in (f"---\n{text_of(one)}---\n---\n{text_of(two)}", json.dumps(listed)):
        found = reading.read(text, file="x")
        assert found.mistakes == ()
        assert [each.name for each in found.resources] == ["one", "two"]


def test_the_examples_are_read_without_a_remark(project: Path) -> None:
    for file in sorted((project / "examples" / "serving").glob("*.yaml")):
        found = reading.read_file(file)
        assert (found.mistakes, found.notes, len(found.resources)) == ((), (), 1), file


def test_a_command_that_is_missing_and_a_slip_in_a_metric_are_noted() -> None:
    document = a_document(
        "AgentPool",
        runtime={},
        autoscaling={
            "metrics": [
                {"type": "queue-dept", "target": 3},
                {"type": "kv_cache_usage", "target": 0.8},
            ]
        },
    )
    notes = reading.read(text_of(document), file="f").notes
    slip = "queue-dept is no metric of Navarch's own; did you mean queue-depth?"
    assert [note.split(": ", 1)[1] for note in notes] == [
        "spec.runtime.command: nothing says what to run: its replicas can not start",
        f"spec.autoscaling.metrics[0].type: {slip}",
        "spec.autoscaling.metrics[1].target: 0.8 is less than one percent; did you mean 80%?",
    ]


# --- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, changes, key, words",
    [
        ("AgentPool", {"minReplicas": 9, "maxReplicas": 4}, "spec.minReplicas", "maxReplicas"),
        ("AgentPool", {"minReplicas": -1}, "spec.minReplicas", "from 0 to 10,000"),
        ("AgentPool", {"minReplicas": "3"}, "spec.minReplicas", 'got "3"'),
        ("AgentPool", {"minReplicas": True}, "spec.minReplicas", "got true"),
        ("AgentPool", {"prewarmPercent": 120}, "spec.prewarmPercent", "from 0 to 100"),
        ("AgentPool", {"agentClassRef": {"name": ""}}, "spec.agentClassRef.name", "a name"),
        ("AgentPool", {"agentClassRef": {}}, "spec.agentClassRef.name", "missing"),
        ("AgentPool", {"migProfile": "big"}, "spec.migProfile", "1g.10gb"),
        ("AgentPool", {"replicas": 3}, "spec.replicas", "did you mean minReplicas"),
        ("AgentPool", {"min_replicas": 3}, "spec.min_replicas", "did you mean minReplicas"),
        (
            "AgentPool",
            {"gpuRequirements": {"count": 1.5}},
            "spec.gpuRequirements.count",
            "a share of one below 1",
        ),
        ("AgentPool", {"gpuRequirements": {"count": 0}}, "spec.gpuRequirements.count", "above 0"),
        (
            "AgentPool",
            {"gpuRequirements": {"memory": 40}},
            "spec.gpuRequirements.memory",
            "40Gi means",
        ),
        (
            "AgentPool",
            {"migProfile": "1g.10gb", "gpuRequirements": {"count": 0.5}},
            "spec.gpuRequirements.count",
            "a slice",
        ),
        ("AgentPool", {"scheduling": {"gang": 4}}, "spec.scheduling.gang", "maxReplicas"),
        ("AgentPool", {"scheduling": {"gang": 0}}, "spec.scheduling.gang", "from 1"),
        (
            "AgentPool",
            {"scheduling": {"affinity": [{"key": "a"}]}},
            "spec.scheduling.affinity[0].values",
            "missing",
        ),
        (
            "AgentPool",
            {"scheduling": {"tolerations": [{"value": "a"}]}},
            "spec.scheduling.tolerations[0].key",
            "missing",
        ),
        (
            "AgentPool",
            {"autoscaling": {"cooldownPeriod": 300}},
            "spec.autoscaling.cooldownPeriod",
            "300s means seconds",
        ),
        (
            "AgentPool",
            {"autoscaling": {"metrics": [{"type": "ttft-p95", "target": 500}]}},
            "spec.autoscaling.metrics[0].target",
            "500ms milliseconds",
        ),
        (
            "AgentPool",
            {"autoscaling": {"metrics": [{"type": "queue-depth", "target": "500ms"}]}},
            "spec.autoscaling.metrics[0].target",
            "is in requests",
        ),
        (
            "AgentPool",
            {"autoscaling": {"metrics": [{"type": "gpu_utilization", "target": "70ms"}]}},
            "spec.autoscaling.metrics[0].target",
            "is in percent",
        ),
        (
            "AgentPool",
            {"autoscaling": {"metrics": [{"type": "queueDepth", "target": "70%"}]}},
            "spec.autoscaling.metrics[0].target",
            "is in requests",
        ),
        (
            "AgentPool",
            {
                "autoscaling": {
                    "metrics": [
                        {"type": "queueDepth", "target": 3},
                        {"type": "queue-depth", "target": 4},
                    ]
                }
            },
            "spec.autoscaling.metrics[1].type",
            "queue-depth is written twice",
        ),
        (
            "AgentPool",
            {"autoscaling": {"metrics": [{"type": "queue-depth", "target": 0}]}},
            "spec.autoscaling.metrics[0].target",
            "above zero",
        ),
        (
            "AgentPool",
            {"autoscaling": {"behavior": {"scaleDown": {"maxChangePercent": 101}}}},
            "spec.autoscaling.behavior.scaleDown.maxChangePercent",
            "100 percent",
        ),
        ("AgentPool", {"runtime": {"kind": "kubernetes"}}, "spec.runtime.image", "missing"),
        ("AgentClass", {"guardrails": [{}]}, "spec.guardrails[0].type", "missing"),
        (
            "AgentClass",
            {"guardrails": [{"type": "a", "action": "Redact"}]},
            "spec.guardrails[0].action",
            "did you mean redact",
        ),
        (
            "AgentClass",
            {"toolPermissions": [{"name": "a"}, {"name": "a"}]},
            "spec.toolPermissions[1].name",
            "twice",
        ),
        ("Model", {"weightsURI": "/models"}, "spec.weightsURI", "a URI"),
        ("Model", {"size": "10"}, "spec.size", "10Gi means"),
        ("Model", {"cachePolicy": None}, "spec.cachePolicy", "remove the key"),
        ("Model", {"cachePolicy": []}, "spec.cachePolicy", "a mapping"),
        ("ToolBinding", {"type": "queue"}, "spec.queueConfig", "needs it"),
        ("ToolBinding", {"httpConfig__url": "ftp://x"}, "spec.httpConfig.url", "a URL"),
        (
            "ToolBinding",
            {"retryPolicy": {"initialBackoff": "20s"}},
            "spec.retryPolicy.initialBackoff",
            "more than maxBackoff, which is 10s",
        ),
    ],
)
def test_a_mistake_names_its_key_and_what_was_expected(
    kind: str, changes: dict[str, Any], key: str, words: str
) -> None:
    mistakes = mistakes_of(a_document(kind, **changes))
    told = [message for where, message in mistakes if where == key]
    assert told, mistakes
    assert words in told[0]


def test_a_mistake_in_one_document_hides_none_in_another() -> None:
    wrong = text_of(a_document("AgentPool", minReplicas="x", name="one"))
    apart = text_of(a_document("AgentPool", minReplicas=4, maxReplicas=2, name="two"))
    assert [each.key for each in found_mistakes(f"{wrong}---\n{apart}")] == ["spec.minReplicas"] * 2


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    text = """\
apiVersion: neuronetes.io/v1alpha1
kind: AgentPool
metadata: {name: Chat}
spec:
  agentClassRef: {name: chat}
  minReplicas: 4
  maxReplicas: 2
  colour: red
---
apiVersion: v1
kind: agentpool
"""
    assert [(each.line, each.key) for each in found_mistakes(text)] == [
        (3, "metadata.name"),
        (6, "spec.minReplicas"),
        (8, "spec.colour"),
        (11, "kind"),
    ]


def test_a_name_twice_and_a_key_twice_are_mistakes() -> None:
    document = text_of(a_document("Model"))
    twice = found_mistakes(f"{document}---\n{document}")
    assert [str(each) for each in twice] == [
        "one.yaml:11: metadata.name: Model default/one is written twice, first on line 4"
    ]
    assert found_mistakes(f"{document}  size: 4Gi\n  size: 5Gi\n")[0].message.startswith(
        "written twice, first on line 7"
    )


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is empty"),
        ("# nothing\n---\n", "is empty"),
        ("- a\n", "expected a resource"),
        ("a: [", "not valid YAML"),
        ("x" * 1_048_577, "larger than 1 MiB"),
        ("---\na: b\n" * 1_001, "more than 1,000 documents"),
        (f"{'[' * 40}{']' * 40}", "nested more than 32 levels"),
        ("kind: List\napiVersion: v1\n", "expected a list of resources"),
    ],
    ids=["empty", "comment", "list", "broken", "large", "many", "deep", "no items"],
)
def test_what_is_no_resource_is_one_clear_error(text: str, words: str) -> None:
    found = reading.read(text, file="f.yaml")
    assert found.resources == ()
    assert words in found.mistakes[0].message


def test_an_anchor_that_grows_or_holds_itself_is_refused() -> None:
    head = text_of(a_document("AgentClass", guardrails=[{"type": "a", "config": {}}]))
    bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 8)
    )
    config = "".join(f"      {line}\n" for line in bomb.splitlines())
    told = found_mistakes(head.replace("config: {}", f"config:\n{config}"))
    assert any("200,000 values" in each.message for each in told)
    itself = head.replace("config: {}", "config: &x {y: *x}")
    assert any("32 levels" in each.message for each in found_mistakes(itself))


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    (mistake,) = reading.read_file(tmp_path / "none.yaml").mistakes
    assert "there is no such file" in str(mistake)


# --- quantities ------------------------------------------------------------------------------


@given(st.timedeltas(timedelta(), timedelta(days=3000)))
def test_a_duration_that_is_written_reads_back_equal(duration: timedelta) -> None:
    assert quantities.parse_duration(quantities.format_duration(duration)) == duration


@given(st.integers(0, quantities.SIZE_MAX))
def test_a_size_that_is_written_reads_back_equal(size: int) -> None:
    assert quantities.parse_size(quantities.format_size(size)) == size


@pytest.mark.parametrize(
    "text, size, again",
    [
        ("40Gi", 40 * 2**30, "40Gi"),
        ("140GB", 140 * 10**9, "140GB"),
        ("0.5Ti", 2**39, "512Gi"),
        ("1000M", 10**9, "1GB"),
        ("7B", 7, "7B"),
    ],
)
def test_sizes_have_one_form(text: str, size: int, again: str) -> None:
    assert quantities.parse_size(text) == size
    assert quantities.format_size(size) == again


@pytest.mark.parametrize("text", ["1.0000001B", "2000Pi", "9999999999d", "-1s", "1 s", "s", "1w"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    parse = quantities.parse_size if text[-1] in "Bi" else quantities.parse_duration
    with pytest.raises(ValueError):  # noqa: PT011 - the reason is another each time
        parse(text)
