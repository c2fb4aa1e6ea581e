"""The JSON of every Slurm: what is asked, what is held, what is capacity."""

from __future__ import annotations

import json
from typing import Any

import pytest

from navarch.metrics import slurm_records
from navarch.metrics.slurm_records import Job, Node
from navarch.peers.unanswered import Unanswered


def number(value: float | None) -> dict[str, Any]:
    """Return a number as newer Slurm writes it."""
    return {"set": value is not None, "infinite": False, "number": value or 0}


def job(**fields: object) -> Job:
    [read] = slurm_records.jobs(json.dumps({"jobs": [fields], "errors": []}).encode())
    return read


def nodes(*records: dict[str, Any], key: str = "nodes") -> list[Node]:
    return slurm_records.nodes(json.dumps({key: records, "errors": []}).encode())


def old_node(state: str, *flags: str, used: str = "gpu:h100:0") -> dict[str, Any]:
    """Return a node as 22.05 writes it."""
    return {
        "name": "gpu1",
        "state": state,
        "state_flags": list(flags),
        "partitions": ["train", "all"],
        "gres": "gpu:h100:8(S:0-1)",
        "gres_used": used,
    }


def new_group(*states: str, used: str = "gpu:h100:0(IDX:N/A)", total: int = 1) -> dict[str, Any]:
    """Return a group of nodes as 23.02 and later write it."""
    return {
        "node": {"state": list(states)},
        "nodes": {"allocated": 0, "idle": 0, "other": 0, "total": total, "nodes": ["gpu1"]},
        "gres": {"total": "gpu:h100:8(S:0-1)", "used": used},
        "partition": {"name": "train", "nodes": {"total": 4}},
        "cpus": {"total": 96},
    }


@pytest.mark.parametrize(
    "text,expected",
    [
        ("", 0),
        (None, 0),
        ("N/A", 0),
        ("cpu=2,mem=20G,node=1,billing=4", 0),
        ("gres:gpu", 1),
        ("gres:gpu:3", 3),
        ("gres:gpu:h100:8", 8),
        ("gres/gpu:h100:8", 8),
        ("gres/gpu=8", 8),
        ("gres/gpu:h100=8", 8),
        ("cpu=2,mem=20G,node=1,billing=4,gres/gpu=16,gres/gpu:h100=16", 16),
        ("gpu:h100:8(IDX:0-7)", 8),
        ("gpu:h100:3(IDX:0-1,3)", 3),
        ("gpu:h100:2(IDX:0,3),gpu:a100:1(IDX:5)", 3),
        ("gpu:(null):0(IDX:N/A)", 0),
        ("tmpsize:7T,gpu:l40s:4(S:0-1),mps:400", 4),
        ("gpumem:80", 0),
        ("shard:gpu:3", 0),
    ],
)
def test_gpus_are_counted_in_slurm_s_own_words(text: str | None, expected: int) -> None:
    assert slurm_records.gpus(text) == expected


@pytest.mark.parametrize(
    "state,pending,running",
    [
        ("PENDING", True, False),
        (["PENDING"], True, False),
        (["PENDING", "REQUEUED"], True, False),
        ("RUNNING", False, True),
        (["RUNNING", "CONFIGURING"], False, True),
        ("CONFIGURING", False, True),
        ("SUSPENDED", False, True),
        ("COMPLETED", False, False),
        (["COMPLETED", "COMPLETING"], False, False),
        ("COMPLETING", False, False),
        ("CANCELLED", False, False),
        ("NODE_FAIL", False, False),
        ("", False, False),
        ([], False, False),
    ],
)
def test_a_job_waits_runs_or_has_ended(
    state: str | list[str], *, pending: bool, running: bool
) -> None:
    read = job(job_state=state)
    assert (read.is_pending, read.is_running) == (pending, running)


@pytest.mark.parametrize(
    "reason,patient",
    [
        ("Resources", False),
        ("Priority", False),
        ("None", False),
        (None, False),
        ("ReqNodeNotAvail", False),
        ("JobHeldUser", True),
        ("Dependency", True),
        ("BeginTime", True),
        ("QOSMaxGRESPerUser", True),
        ("AssocGrpGRES", True),
        ("MaxGRESPerAccount", True),
        ("PartitionDown", True),
    ],
)
def test_a_job_that_no_node_would_start_is_patient(reason: str | None, *, patient: bool) -> None:
    assert job(job_state="PENDING", state_reason=reason).is_patient is patient


@pytest.mark.parametrize(
    "fields,expected",
    [
        ({"tres_per_node": "gres:gpu:h100:8", "node_count": 2}, 16),
        ({"tres_per_node": "gres/gpu:h100:8", "node_count": number(2)}, 16),
        ({"tres_per_node": "gres:gpu:3", "node_count": None}, 3),
        ({"tres_per_node": "gres/gpu:3", "node_count": number(None)}, 3),
        ({"tres_per_job": "gres:gpu:4", "node_count": 2}, 4),
        ({"tres_per_task": "gres:gpu:2", "tasks": 6}, 12),
        ({"tres_per_task": "gres/gpu:2", "tasks": number(6)}, 12),
        ({"tres_req_str": "cpu=2,gres/gpu=16", "tres_per_node": "gres/gpu:8", "node_count": 2}, 16),
        ({"gres_detail": ["gpu:h100:8(IDX:0-7)", "gpu:h100:8(IDX:0-7)"]}, 16),
        ({"gres_detail": [], "tres_per_node": ""}, 0),
    ],
)
def test_what_a_job_asks_for_is_counted_over_all_its_nodes(
    fields: dict[str, object], expected: int
) -> None:
    assert job(job_state="PENDING", **fields).gpus == expected


@pytest.mark.parametrize(
    "text,expected",
    [("", 1), (None, 1), ("7", 1), ("1-5", 5), ("2-5%2", 4), ("0-9:2", 5), ("1,3,8-10", 5)],
)
def test_one_record_stands_for_all_waiting_tasks_of_an_array(
    text: str | None, expected: int
) -> None:
    assert job(job_state="PENDING", array_task_string=text).waiting_tasks == expected


def test_a_job_may_wait_for_several_partitions() -> None:
    assert job(job_state="PENDING", partition="train,debug").partitions == ["train", "debug"]
    assert job(job_state="PENDING", partition=None).partitions == []


@pytest.mark.parametrize("state", ["idle", "mixed", "allocated"])
def test_a_node_that_works_is_capacity_in_both_shapes(state: str) -> None:
    old, again = nodes(old_node(state))
    [new] = nodes(new_group(state.upper()), key="sinfo")
    assert [node.is_working for node in (old, again, new)] == [True] * 3
    assert [(node.partition, node.gpus) for node in (old, again, new)] == [
        ("train", 8),
        ("all", 8),
        ("train", 8),
    ]


@pytest.mark.parametrize(
    "flags",
    [
        ("DRAIN",),
        ("NOT_RESPONDING",),
        ("POWERED_DOWN",),
        ("POWERING_UP",),
        ("MAINTENANCE", "RESERVED"),
        ("INVALID_REG",),
    ],
)
def test_a_node_with_such_a_flag_is_no_capacity(flags: tuple[str, ...]) -> None:
    [old, _] = nodes(old_node("mixed", *flags))
    [new] = nodes(new_group("MIXED", *flags), key="sinfo")
    assert (old.is_working, new.is_working) == (False, False)


@pytest.mark.parametrize("state", ["down", "error", "unknown", "future", "idle*+drain", ""])
def test_a_node_in_such_a_state_is_no_capacity(state: str) -> None:
    assert [node.is_working for node in nodes(old_node(state))] == [False, False]


def test_used_gpus_are_counted_and_an_idle_node_uses_none() -> None:
    [busy, _] = nodes(old_node("mixed", used="gpu:h100:5(IDX:0-4)"))
    [idle, _] = nodes(old_node("idle", used="gpu:h100:8"))
    [group] = nodes(new_group("MIXED", used="gpu:h100:5(IDX:0-4)", total=3), key="sinfo")
    assert (busy.gpus_used, idle.gpus_used) == (5, 0)
    assert (group.count, group.gpus, group.gpus_used) == (3, 24, 15)


def test_a_partition_without_nodes_has_no_gpus() -> None:
    [group] = nodes(new_group("UNKNOWN", total=0), key="sinfo")
    assert (group.count, group.gpus, group.is_working) == (0, 0, False)


@pytest.mark.parametrize(
    "printed,words",
    [
        (b"", "something else"),
        (b"slurm_load_jobs error: Unable to contact slurm controller", "something else"),
        (b'{"meta": {}, "errors": []}', "jobs"),
        (
            b'{"jobs": [], "errors": [{"description": "Failed while looking", "error": "x"}]}',
            "Fail",
        ),
        (b'{"jobs": [], "errors": [{"error": "Unspecified error", "errno": -1}]}', "Unspecified"),
        (b'{"jobs": [], "errors": [{}]}', "without a word"),
        (b'{"jobs": [{"job_state": 3}]}', "job_state"),
        (b'{"jobs": [', "something else"),
    ],
)
def test_an_empty_list_with_an_error_is_an_error(printed: bytes, words: str) -> None:
    with pytest.raises(Unanswered, match=words):
        slurm_records.jobs(printed)


def test_no_nodes_with_an_error_is_an_error() -> None:
    printed = b'{"nodes": [], "errors": [{"error": "Unspecified error", "errno": -1}]}'
    with pytest.raises(Unanswered, match="sinfo: Unspecified error"):
        slurm_records.nodes(printed)


def test_an_unknown_shape_of_nodes_is_an_error_and_not_an_empty_cluster() -> None:
    with pytest.raises(Unanswered, match="neither nodes nor sinfo"):
        slurm_records.nodes(b'{"partitions": [], "errors": []}')
