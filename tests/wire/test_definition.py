"""The names and numbers that peers elsewhere rely on."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

from google.protobuf.descriptor import FieldDescriptor

from navarch.wire.generated import navarch_pb2 as pb

ROOT = Path(__file__).resolve().parents[2]

TYPES = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_DOUBLE: "double",
}

# What existing agents and command lines know, and what we have released. A line may be added,
# never changed or removed.
FIELDS = """
RegisterNodeRequest: node_id=1 string, provider=2 string, region=3 string, zone=4 string,
    instance_type=5 string, gpus=6 repeated GPUInfo, metadata=7 NodeMetadata
RegisterNodeResponse: success=1 bool, message=2 string, config=3 NodeConfig
GPUInfo: index=1 int32, uuid=2 string, name=3 string, pci_bus_id=4 string, memory_total=5 int64,
    driver_version=6 string, cuda_version=7 string
NodeMetadata: hostname=1 string, internal_ip=2 string, external_ip=3 string, kernel_version=4
    string, labels=5 map<string,string>
NodeConfig: health_check_interval_seconds=1 int32, heartbeat_interval_seconds=2 int32,
    enabled_health_checks=3 repeated string
HeartbeatRequest: node_id=1 string, timestamp=2 Timestamp, metrics=3 NodeMetrics, serving=101
    NodeServing
HeartbeatResponse: acknowledged=1 bool, commands_pending=101 bool, heartbeat_interval_seconds=102
    int32
NodeMetrics: cpu_usage_percent=1 double, memory_usage_percent=2 double, gpu_metrics=3 repeated
    GPUMetrics
GPUMetrics: gpu_index=1 int32, temperature=2 int32, power_usage=3 int32, utilization_percent=4
    double, memory_used=5 int64
HeartbeatBatchRequest: heartbeats=1 repeated HeartbeatRequest
HeartbeatBatchResponse: acknowledged=1 int32, unknown_node_ids=2 repeated string,
    commands_pending_node_ids=101 repeated string, heartbeat_interval_seconds=102 int32
ReportHealthRequest: node_id=1 string, results=2 repeated HealthCheckResult, events=3 repeated
    HealthEvent
ReportHealthResponse: acknowledged=1 bool, node_status=2 NodeStatus
HealthCheckResult: check_name=1 string, status=2 HealthStatus, message=3 string, timestamp=4
    Timestamp, details=5 map<string,string>
HealthEvent: timestamp=1 Timestamp, gpu_index=2 int32, gpu_uuid=3 string, system=4
    HealthWatchSystem, event_type=5 HealthEventType, metrics=6 map<string,string>, message=7
    string, count=101 int32
GetNodeCommandsRequest: node_id=1 string
GetNodeCommandsResponse: commands=1 repeated NodeCommand
NodeCommand: command_id=1 string, type=2 NodeCommandType, parameters=3 map<string,string>,
    issued_at=4 Timestamp
AckCommandRequest: node_id=1 string, command_id=2 string, status=3 CommandStatus, message=4
    string, output=5 string, finished_at=6 Timestamp
AckCommandResponse: acknowledged=1 bool
IssueCommandRequest: node_id=1 string, command_type=2 NodeCommandType, parameters=3
    map<string,string>, reason=101 string
IssueCommandResponse: command_id=1 string, issued_at=2 Timestamp
ListNodesRequest: provider=1 string, region=2 string, status=3 NodeStatus, page_size=101 int32,
    page_token=102 string, pool=103 string
ListNodesResponse: nodes=1 repeated NodeInfo, next_page_token=101 string
GetNodeRequest: node_id=1 string
GetNodeResponse: node=1 NodeInfo
NodeInfo: node_id=1 string, provider=2 string, region=3 string, zone=4 string, instance_type=5
    string, status=6 NodeStatus, health_status=7 HealthStatus, last_heartbeat=8 Timestamp, gpus=9
    repeated GPUInfo, metadata=10 NodeMetadata, pool=101 string, phase=102 string, intent=103
    string, contact=104 string, because=105 string, instance_id=106 string
ListInstancesRequest: provider=1 string, region=2 string, state=3 InstanceState, pool_name=4
    string, page_size=101 int32, page_token=102 string
ListInstancesResponse: instances=1 repeated InstanceInfo, next_page_token=101 string
GetInstanceRequest: instance_id=1 string
GetInstanceResponse: instance=1 InstanceInfo
InstanceInfo: instance_id=1 string, provider=2 string, region=3 string, zone=4 string,
    instance_type=5 string, state=6 InstanceState, pool_name=7 string, created_at=8 Timestamp,
    ready_at=9 Timestamp, terminated_at=10 Timestamp, node_id=11 string, status_message=12 string,
    labels=13 map<string,string>, provider_ref=101 string, public_ip=102 string, private_ip=103
    string
GetBootstrapLogRequest: instance_id=1 string
GetBootstrapLogResponse: text=1 string, source=2 string, read_at=3 Timestamp, problem=4 string
ListPoolsRequest:
ListPoolsResponse: pools=1 repeated PoolInfo
GetPoolRequest: pool_name=1 string
GetPoolResponse: pool=1 PoolInfo
PoolInfo: name=1 string, providers=2 repeated string, instance_type=3 string, region=4 string,
    zones=5 repeated string, min_nodes=6 int32, max_nodes=7 int32, target_nodes=8 int32,
    current_nodes=9 int32, ready_nodes=10 int32, healthy_nodes=11 int32, lost_nodes=12 int32,
    booting_nodes=13 int32, paused=14 bool, repair_paused=15 bool, because=16 string, labels=17
    map<string,string>
ScalePoolRequest: pool_name=1 string, target_nodes=2 int32, reason=3 string
ScalePoolResponse: pool=1 PoolInfo
PausePoolRequest: pool_name=1 string, paused=2 bool, reason=3 string
PausePoolResponse: pool=1 PoolInfo
ClearHealthRequest: node_id=1 string, reason=2 string
ClearHealthResponse: node=1 NodeInfo
ListEventsRequest: after_seq=1 int64, limit=2 int32, subject=3 string, since=4 Timestamp,
    newest_first=5 bool
ListEventsResponse: events=1 repeated EventInfo, last_seq=2 int64
WatchEventsRequest: after_seq=1 int64, subject=2 string
WatchEventsResponse: event=1 EventInfo
EventInfo: seq=1 int64, at=2 Timestamp, kind=3 string, subjects=4 repeated string, text=5 string,
    because=6 string, payload=7 string
ExplainRequest: kind=1 SubjectKind, id=2 string
ExplainResponse: lines=1 repeated string, facts=2 repeated ExplainFact
ApplyConfigRequest: text=1 string, source=2 string
ApplyConfigResponse: changes=1 repeated string
ExplainFact: seq=1 int64, at=2 Timestamp, kind=3 string, because=4 string, text=5 string
NodeServing: replicas=1 repeated ReplicaStatus, models=2 repeated ModelStatus
ReplicaStatus: replica_id=1 string, state=2 ReplicaState, port=3 int32, restarts=4 int32, message=5
    string
ModelStatus: model=1 string, digest=2 string, bytes_done=3 int64, bytes_total=4 int64, complete=5
    bool, problem=6 string, bytes_per_second=7 int64
ApplyResourcesRequest: text=1 string, source=2 string, dry_run=3 bool, reason=4 string
ApplyResourcesResponse: applied=1 repeated AppliedResource
AppliedResource: kind=1 string, name=2 string, outcome=3 string
ListResourcesRequest: kind=1 string, namespace=2 string, name=3 string
ListResourcesResponse: resources=1 repeated ResourceInfo
ResourceInfo: kind=1 string, name=2 string, json=3 string, created_at=4 Timestamp, changed_at=5
    Timestamp, generation=6 int32
DeleteResourceRequest: kind=1 string, name=2 string, reason=3 string
DeleteResourceResponse:
ListReplicasRequest: agent_pool=1 string, node_id=2 string, page_size=3 int32, page_token=4 string
ListReplicasResponse: replicas=1 repeated ReplicaInfo, next_page_token=2 string
ReplicaInfo: replica_id=1 string, agent_pool=2 string, state=3 ReplicaState, node_id=4 string,
    gpus=5 repeated int32, gpu_share=6 double, endpoint=7 string, restarts=8 int32, because=9
    string, cure=10 string, loading=11 ModelStatus, created_at=12 Timestamp, changed_at=13 Timestamp
PushMetricsRequest: samples=1 repeated MetricSample
MetricSample: agent_pool=1 string, metric=2 string, value=3 double, observed_at=4 Timestamp,
    source=5 string
PushMetricsResponse: accepted=1 int32
ListPluginsRequest: kind=1 string
ListPluginsResponse: plugins=1 repeated PluginInfo
PluginInfo: kind=1 string, name=2 string, priority=3 int32, enabled=4 bool, shadow=5 bool, origin=6
    string, version=7 string, summary=8 string, calls=9 int64, failures=10 int64, latency_p50=11
    double, latency_p99=12 double, last_failure=13 string, disagreements=14 int64, isolated=15
    string, broken=16 string, because=17 string
SetPluginRequest: kind=1 string, name=2 string, enabled=3 bool, priority=4 int32, shadow=5 bool,
    reason=6 string
SetPluginResponse: plugin=1 PluginInfo
ListPluginTracesRequest: kind=1 string, pool=2 string, limit=3 int32
ListPluginTracesResponse: traces=1 repeated PluginTrace
PluginTrace: at=1 Timestamp, kind=2 string, plugin=3 string, point=4 string, pool=5 string,
    subject=6 string, seconds=7 double, outcome=8 string, verdict=9 string, shadow=10 bool
"""

ENUMS = """
NodeStatus NODE_STATUS_: UNKNOWN 0, ACTIVE 1, CORDONED 2, DRAINING 3, UNHEALTHY 4, TERMINATED 5
HealthStatus HEALTH_STATUS_: UNKNOWN 0, HEALTHY 1, DEGRADED 2, UNHEALTHY 3
HealthEventType HEALTH_EVENT_TYPE_: UNKNOWN 0, XID 1, THERMAL 2, POWER 3, MEMORY 4, NVLINK 5, PCIE
    6, DRIVER_ERROR 7, ECC_SBE 8, ECC_DBE 9, SXID 101, SYSTEM 102,
    INTERRUPTION 103
HealthWatchSystem HEALTH_WATCH_SYSTEM_: UNKNOWN 0, PCIE 1, NVLINK 2, PMU 3, MCU 4, MEM 5, SM 6,
    INFOROM 7, THERMAL 8, POWER 9, DRIVER 10, NVSWITCH 11
InstanceState INSTANCE_STATE_: UNKNOWN 0, PROVISIONING 1, PENDING_REGISTRATION 2, RUNNING 3,
    TERMINATING 4, TERMINATED 5, FAILED 6
NodeCommandType NODE_COMMAND_TYPE_: UNKNOWN 0, CORDON 1, DRAIN 2, RUN_DIAGNOSTIC 3, TERMINATE 4,
    UNCORDON 5, GPU_RESET 101, REBOOT 102, LOAD_MODEL 103, UNLOAD_MODEL 104, START_REPLICA 105,
    STOP_REPLICA 106
CommandStatus COMMAND_STATUS_: UNKNOWN 0, RUNNING 1, SUCCEEDED 2, FAILED 3, REFUSED 4, EXPIRED 5
SubjectKind SUBJECT_KIND_: UNKNOWN 0, NODE 1, INSTANCE 2, POOL 3, AGENT_POOL 4, REPLICA 5
ReplicaState REPLICA_STATE_: UNKNOWN 0, PENDING 1, LOADING 2, STARTING 3, READY 4, STOPPING 5,
    ENDED 6
"""

METHODS = """
RegisterNode RegisterNodeRequest RegisterNodeResponse
Heartbeat HeartbeatRequest HeartbeatResponse
SendHeartbeat HeartbeatRequest HeartbeatResponse
HeartbeatBatch HeartbeatBatchRequest HeartbeatBatchResponse
ReportHealth ReportHealthRequest ReportHealthResponse
PollCommands GetNodeCommandsRequest GetNodeCommandsResponse
GetNodeCommands GetNodeCommandsRequest GetNodeCommandsResponse
AckCommand AckCommandRequest AckCommandResponse
ListNodes ListNodesRequest ListNodesResponse
GetNode GetNodeRequest GetNodeResponse
IssueCommand IssueCommandRequest IssueCommandResponse
ListInstances ListInstancesRequest ListInstancesResponse
GetInstance GetInstanceRequest GetInstanceResponse
GetBootstrapLog GetBootstrapLogRequest GetBootstrapLogResponse
ListPools ListPoolsRequest ListPoolsResponse
GetPool GetPoolRequest GetPoolResponse
ScalePool ScalePoolRequest ScalePoolResponse
PausePool PausePoolRequest PausePoolResponse
ClearHealth ClearHealthRequest ClearHealthResponse
ListEvents ListEventsRequest ListEventsResponse
WatchEvents WatchEventsRequest stream WatchEventsResponse
Explain ExplainRequest ExplainResponse
ApplyConfig ApplyConfigRequest ApplyConfigResponse
ApplyResources ApplyResourcesRequest ApplyResourcesResponse
ListResources ListResourcesRequest ListResourcesResponse
DeleteResource DeleteResourceRequest DeleteResourceResponse
ListReplicas ListReplicasRequest ListReplicasResponse
PushMetrics PushMetricsRequest PushMetricsResponse
ListPlugins ListPluginsRequest ListPluginsResponse
SetPlugin SetPluginRequest SetPluginResponse
ListPluginTraces ListPluginTracesRequest ListPluginTracesResponse
"""


def lines(table: str) -> list[str]:
    """The lines of a table, where an indented one continues the one before."""
    return re.sub(r"\n +", " ", table).strip().splitlines()


def shown(field: FieldDescriptor) -> str:
    """A field as the table above writes it."""
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return f"{field.name}={field.number} map<string,string>"
    if message is not None:
        kind = message.name
    elif field.enum_type is not None:
        kind = field.enum_type.name
    else:
        kind = TYPES[field.type]
    return f"{field.name}={field.number} {'repeated ' if field.is_repeated else ''}{kind}"


def test_package_and_service_have_the_names_that_peers_call() -> None:
    assert list(pb.DESCRIPTOR.services_by_name) == ["ControlPlaneService"]
    service = pb.DESCRIPTOR.services_by_name["ControlPlaneService"]
    assert service.full_name == "navarch.ControlPlaneService"


def test_fields_are_frozen() -> None:
    actual = {
        f"{name}: {', '.join(shown(field) for field in message.fields)}".strip()
        for name, message in pb.DESCRIPTOR.message_types_by_name.items()
    }
    assert actual == set(lines(FIELDS))


def test_enums_are_frozen() -> None:
    expected = {}
    for line in lines(ENUMS):
        head, _, values = line.partition(": ")
        name, prefix = head.split()
        pairs = (value.split() for value in values.split(", "))
        expected[name] = {f"{prefix}{word}": int(number) for word, number in pairs}
    actual = {
        name: {value.name: value.number for value in enum.values}
        for name, enum in pb.DESCRIPTOR.enum_types_by_name.items()
    }
    assert actual == expected


def test_methods_are_frozen() -> None:
    service = pb.DESCRIPTOR.services_by_name["ControlPlaneService"]
    actual = {
        f"{method.name} {method.input_type.name} "
        f"{'stream ' if method.server_streaming else ''}{method.output_type.name}"
        for method in service.methods
    }
    assert actual == set(lines(METHODS))


def test_an_absent_target_is_not_zero() -> None:
    assert not pb.ScalePoolRequest().HasField("target_nodes")
    assert pb.ScalePoolRequest(target_nodes=0).HasField("target_nodes")


def test_the_generated_code_is_what_the_definition_makes(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "tools/generate_wire.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = tool
    spec.loader.exec_module(tool)
    tool.generate(tmp_path)
    for made in sorted((tmp_path / tool.PACKAGE).iterdir()):
        checked_in = ROOT / "src" / tool.PACKAGE / made.name
        assert checked_in.read_bytes() == made.read_bytes(), "run tools/generate_wire.py"
