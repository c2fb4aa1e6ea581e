"""Resources and replicas on the command line."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.connect_server import ConnectServer, Json, Refusal, Run
from navarch.cli import clock, resource_tables
from navarch.core.model import resources as res
from navarch.plugins.resources import reading

POOL = """\
apiVersion: neuronetes.io/v1alpha1
kind: AgentPool
metadata: {name: chat}
spec:
  agentClassRef: {name: chat}
  maxReplicas: 4
  runtime: {command: [serve]}
"""


def ago(**units: float) -> str:
    """Write a time so long ago."""
    moment = clock.now() - timedelta(**units)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def a_resource(kind: str, name: str, spec: Json, status: Json) -> Json:
    """Make an answer's entry of a resource."""
    document = {
        "apiVersion": res.API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": ago(minutes=12)},
        "spec": spec,
        "status": status,
    }
    return {"kind": kind, "name": f"default/{name}", "json": json.dumps(document)}


def a_pool(ready: int = 3) -> Json:
    """Make a pool that has not all of what it wants."""
    blocked = {"type": "Scheduled", "status": "False", "message": "1 of 4 replicas have no place"}
    limited = {"type": "ScalingLimited", "status": "False", "message": "maxReplicas is 8"}
    spec = {"agentClassRef": {"name": "chat"}, "minReplicas": 1, "maxReplicas": 8}
    status = {"readyReplicas": ready, "replicas": 4, "pending": 1, "conditions": [blocked, limited]}
    return a_resource("AgentPool", "chat", spec, status)


def some_replicas() -> list[Json]:
    """Make a replica that serves, one that loads, and one without a place."""
    loading = {
        "model": "default/llama",
        "bytesDone": "58800000000",
        "bytesTotal": "140000000000",
        "bytesPerSecond": "1200000000",
    }
    base = {"agentPool": "default/chat", "createdAt": ago(hours=2, minutes=1)}
    ready = {"nodeId": "n1", "gpus": [0, 1], "gpuShare": 1, "endpoint": "http://10.0.0.7:8000"}
    return [
        {**base, **ready, "replicaId": "chat-r1", "state": "REPLICA_STATE_READY"},
        {
            **base,
            "replicaId": "chat-r2",
            "state": "REPLICA_STATE_LOADING",
            "nodeId": "n2",
            "gpus": [3],
            "gpuShare": 0.5,
            "loading": loading,
        },
        {
            **base,
            "replicaId": "chat-r3",
            "state": "REPLICA_STATE_PENDING",
            "because": "2 nodes: 2 have no free GPU",
            "cure": "one node more",
        },
    ]


# --- apply -----------------------------------------------------------------------------------


def test_a_file_is_applied_and_each_outcome_told(
    server: ConnectServer, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "pool.yaml").write_text(POOL)
    done = {"kind": "AgentPool", "name": "default/chat", "outcome": "created"}
    server.prepare("ApplyResources", {"applied": [done]})
    told = run("apply", "-f", str(tmp_path), "--reason", "new")
    assert (told.code, told.stdout) == (0, "agentpool/chat created\n")
    ((_, request),) = server.requests
    assert request["text"] == POOL
    assert (request["source"], request["reason"]) == (str(tmp_path / "pool.yaml"), "new")
    dry = run("apply", "-f", str(tmp_path / "pool.yaml"), "--dry-run")
    assert dry.stdout == "agentpool/chat created (dry run)\n"
    assert json.loads(run("apply", "-f", str(tmp_path), "-o", "json").stdout) == {"applied": [done]}


def test_standard_input_is_applied(
    server: ConnectServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(POOL))
    server.prepare("ApplyResources", {"applied": []})
    assert run("apply", "-f", "-").code == 0
    assert server.requests[0][1]["source"] == "standard input"


def test_a_mistake_in_one_file_stops_all_before_anything_is_sent(
    server: ConnectServer, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(POOL)
    (tmp_path / "b.yaml").write_text(POOL.replace("maxReplicas: 4", "maxReplica: 4"))
    told = run("apply", "-f", str(tmp_path))
    assert (told.code, told.stdout, server.requests) == (1, "", [])
    assert told.stderr == (
        f'navarch: {tmp_path / "b.yaml"}:6: spec.maxReplica: unknown key "maxReplica" under spec; '
        "did you mean maxReplicas?\n"
    )


def test_mistakes_that_only_the_server_knows_are_lines_of_their_own(
    server: ConnectServer, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "pool.yaml").write_text(POOL)

    def refuse(request: Json) -> Json:
        raise Refusal(400, "invalid_argument", "f:1: a: one\nf:2: b: two")

    server.answers["ApplyResources"] = refuse
    told = run("apply", "-f", str(tmp_path / "pool.yaml"))
    assert (told.code, told.stderr) == (1, "navarch: f:1: a: one\nnavarch: f:2: b: two\n")


@pytest.mark.parametrize("arguments", [["-f", "no.yaml"], ["-f", "."]])
def test_what_is_no_file_of_resources_is_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    told = run("apply", *arguments)
    assert told.code in (1, 2)
    assert told.stderr.count("\n") == 1


# --- get-resource ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word", ["agentpool", "agentpools", "AgentPool", "ap", "agentpools.neuronetes.io"]
)
def test_a_kind_has_several_names(server: ConnectServer, run: Run, word: str) -> None:
    server.prepare("ListResources", {"resources": [a_pool()]})
    told = run("get-resource", word)
    assert told.stdout.splitlines() == [
        "NAME  READY  DESIRED  PENDING  AGE",
        "chat  3      4        1        12m",
    ]
    assert server.requests[0][1]["kind"] == "AgentPool"


@pytest.mark.parametrize("word", ["agentclasses", "models", "toolbindings", "md", "tb", "ac"])
def test_every_kind_has_a_table_that_says_when_it_is_empty(
    server: ConnectServer, run: Run, word: str
) -> None:
    server.prepare("ListResources", {})
    server.prepare("ListReplicas", {})
    told = run("get-resource", word)
    assert (told.code, told.stdout) == (0, "")
    assert told.stderr.startswith("navarch: no ")


def test_an_unknown_kind_is_told_the_known_ones(run: Run) -> None:
    told = run("get-resource", "pods")
    assert told.code == 2
    assert "'pods' is no kind of resource; there are: ac, agentclass" in told.stderr


def test_a_wide_table_says_what_stands_against_a_pool(server: ConnectServer, run: Run) -> None:
    server.prepare("ListResources", {"resources": [a_pool()]})
    header, row = run("get-resource", "ap", "-o", "wide").stdout.splitlines()
    assert header.split()[-2:] == ["CLASS", "REASON"]
    assert row.endswith("1 of 4 replicas have no place")


def test_models_and_replicas_have_bars_of_what_is_loading(server: ConnectServer, run: Run) -> None:
    spec, status = {"size": "140GB"}, {"cachedNodes": ["n1"], "loadingNodes": ["n2"]}
    server.prepare("ListResources", {"resources": [a_resource("Model", "llama", spec, status)]})
    server.prepare("ListReplicas", {"replicas": some_replicas()})
    _, row = run("get-resource", "model").stdout.splitlines()
    assert "[####------] 42% 1.2 GB/s" in row
    _, ready, loading, pending = run("get-resource", "replicas", "-o", "wide").stdout.splitlines()
    assert ready.split()[:6] == ["chat-r1", "chat", "READY", "n1", "0,1", "http://10.0.0.7:8000"]
    assert "3 x 0.5" in loading
    assert "[####------] 42% 1.2 GB/s" in loading
    assert pending.endswith("2 nodes: 2 have no free GPU; one node more")


def test_classes_and_tools_have_tables(server: ConnectServer, run: Run) -> None:
    spec = {"modelRef": {"name": "llama"}, "guardrails": [{"type": "pii"}], "slo": {"ttft": "1s"}}
    server.prepare("ListResources", {"resources": [a_resource("AgentClass", "chat", spec, {})]})
    assert run("get-resource", "ac").stdout.split()[4:] == ["chat", "llama", "pii", "12m"]
    spec = {"type": "http", "agentPoolRef": {"name": "chat"}, "httpConfig": {"url": "http://x"}}
    server.prepare("ListResources", {"resources": [a_resource("ToolBinding", "s", spec, {})]})
    assert run("get-resource", "tb", "-o", "wide").stdout.split()[6:11] == [
        *("s", "http", "chat", "12m", "http://x")
    ]


def test_replicas_are_found_by_their_id_and_by_their_pool(server: ConnectServer, run: Run) -> None:
    server.prepare("ListReplicas", {"replicas": some_replicas()})
    assert len(run("get-resource", "rp", "chat").stdout.splitlines()) == 4
    assert len(run("get-resource", "rp", "chat-r2").stdout.splitlines()) == 2
    assert run("get-resource", "rp", "-n", "other").stdout == ""
    listed = json.loads(run("get-resource", "rp", "-o", "json").stdout)
    assert [each["replicaId"] for each in listed["items"]] == ["chat-r1", "chat-r2", "chat-r3"]


def test_what_is_written_for_programs_can_be_applied_again(server: ConnectServer, run: Run) -> None:
    server.prepare("ListResources", {"resources": [a_pool()]})
    one = run("get-resource", "ap", "chat", "-o", "yaml").stdout
    many = run("get-resource", "ap", "-o", "json").stdout
    assert yaml.safe_load(one)["status"]["readyReplicas"] == 3
    for text in (one, many):
        found = reading.read(text, file="f")
        assert found.mistakes == ()
        assert [each.full_name for each in found.resources] == ["default/chat"]


def test_watching_prints_what_changes_and_nothing_else(
    server: ConnectServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [[a_pool(1)], [a_pool(1)], [a_pool(2)]]
    waited: list[timedelta] = []
    monkeypatch.setattr(clock, "wait", waited.append)

    def give(request: Json) -> Json:
        if not answers:
            raise Refusal(503, "unavailable", "it ends")
        return {"resources": answers.pop(0)}

    server.answers["ListResources"] = give
    told = run("get-resource", "ap", "--watch")
    assert [line.split()[1] for line in told.stdout.splitlines()] == ["READY", "1", "READY", "2"]
    assert (told.code, len(waited)) == (1, 3)
    assert run("get-resource", "ap", "--watch", "-o", "json").code == 2


def test_an_answer_without_a_document_is_not_understood(server: ConnectServer, run: Run) -> None:
    server.prepare("ListResources", {"resources": [{"kind": "AgentPool", "json": "[]"}]})
    told = run("get-resource", "ap")
    assert (told.code, told.stderr) == (
        1,
        "navarch: the server's answer is not understood: no JSON document\n",
    )


@pytest.mark.parametrize(
    "done, total, drawn",
    [
        (0, 100, "[----------] 0%"),
        (99, 100, "[#########-] 99%"),
        (100, 100, "[##########] 100%"),
        (200, 100, "[##########] 100%"),
        (5_000_000, 0, "5 MB"),
        (999_999, 0, "1000 kB"),
        (1_230, 0, "1.23 kB"),
        (0, 0, "0 B"),
        (999_000_000_000_000_000, 0, "999 PB"),
    ],
)
def test_a_bar_is_full_only_at_the_end(done: int, total: int, drawn: str) -> None:
    assert resource_tables.bar(done, total) == drawn


# --- delete ----------------------------------------------------------------------------------


def test_resources_are_deleted_by_name_and_by_file(
    server: ConnectServer, run: Run, tmp_path: Path
) -> None:
    server.prepare("DeleteResource", {})
    told = run("delete", "model", "llama", "other/qwen", "--reason", "old")
    assert told.stdout == "model/llama deleted\nmodel/other/qwen deleted\n"
    (tmp_path / "pool.yaml").write_text(POOL)
    assert run("delete", "-f", str(tmp_path)).stdout == "agentpool/chat deleted\n"
    asked: list[Any] = [(each["kind"], each["name"]) for _, each in server.requests]
    assert asked == [
        ("Model", "default/llama"),
        ("Model", "other/qwen"),
        ("AgentPool", "default/chat"),
    ]
    assert server.requests[0][1]["reason"] == "old"


@pytest.mark.parametrize("arguments", [["model"], [], ["replica", "chat-r1"]])
def test_what_cannot_be_deleted_is_wrong_usage(run: Run, arguments: list[str]) -> None:
    assert run("delete", *arguments).code == 2
