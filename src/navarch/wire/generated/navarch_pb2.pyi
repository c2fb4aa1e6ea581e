import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NodeStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NODE_STATUS_UNKNOWN: _ClassVar[NodeStatus]
    NODE_STATUS_ACTIVE: _ClassVar[NodeStatus]
    NODE_STATUS_CORDONED: _ClassVar[NodeStatus]
    NODE_STATUS_DRAINING: _ClassVar[NodeStatus]
    NODE_STATUS_UNHEALTHY: _ClassVar[NodeStatus]
    NODE_STATUS_TERMINATED: _ClassVar[NodeStatus]

class HealthStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HEALTH_STATUS_UNKNOWN: _ClassVar[HealthStatus]
    HEALTH_STATUS_HEALTHY: _ClassVar[HealthStatus]
    HEALTH_STATUS_DEGRADED: _ClassVar[HealthStatus]
    HEALTH_STATUS_UNHEALTHY: _ClassVar[HealthStatus]

class HealthEventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HEALTH_EVENT_TYPE_UNKNOWN: _ClassVar[HealthEventType]
    HEALTH_EVENT_TYPE_XID: _ClassVar[HealthEventType]
    HEALTH_EVENT_TYPE_THERMAL: _ClassVar[HealthEventType]
    HEALTH_EVENT_TYPE_POWER: _ClassVar[HealthEventType]
    HEALTH_EVENT_TYPE_MEMORY: _ClassVar[HealthEventType]
    HEALTH_EVENT_TYPE_NVLINK: _ClassVar[HealthEventType]
    HEALTH_EVENT_TYPE_PCIE: _ClassVar[HealthEventType]
    HEALTH_EVENT_TYPE_DRIVER_ERROR: _ClassVar[HealthEventType]
    HEALTH_EVENT_TYPE_ECC_SBE: _ClassVar[HealthEventType]
    HEALTH_EVENT_TYPE_ECC_DBE: _ClassVar[HealthEventType]
    HEALTH_EVENT_TYPE_SXID: _ClassVar[HealthEventType]
    HEALTH_EVENT_TYPE_SYSTEM: _ClassVar[HealthEventType]
    HEALTH_EVENT_TYPE_INTERRUPTION: _ClassVar[HealthEventType]

class HealthWatchSystem(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HEALTH_WATCH_SYSTEM_UNKNOWN: _ClassVar[HealthWatchSystem]
    HEALTH_WATCH_SYSTEM_PCIE: _ClassVar[HealthWatchSystem]
    HEALTH_WATCH_SYSTEM_NVLINK: _ClassVar[HealthWatchSystem]
    HEALTH_WATCH_SYSTEM_PMU: _ClassVar[HealthWatchSystem]
    HEALTH_WATCH_SYSTEM_MCU: _ClassVar[HealthWatchSystem]
    HEALTH_WATCH_SYSTEM_MEM: _ClassVar[HealthWatchSystem]
    HEALTH_WATCH_SYSTEM_SM: _ClassVar[HealthWatchSystem]
    HEALTH_WATCH_SYSTEM_INFOROM: _ClassVar[HealthWatchSystem]
    HEALTH_WATCH_SYSTEM_THERMAL: _ClassVar[HealthWatchSystem]
    HEALTH_WATCH_SYSTEM_POWER: _ClassVar[HealthWatchSystem]
    HEALTH_WATCH_SYSTEM_DRIVER: _ClassVar[HealthWatchSystem]
    HEALTH_WATCH_SYSTEM_NVSWITCH: _ClassVar[HealthWatchSystem]

class InstanceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INSTANCE_STATE_UNKNOWN: _ClassVar[InstanceState]
    INSTANCE_STATE_PROVISIONING: _ClassVar[InstanceState]
    INSTANCE_STATE_PENDING_REGISTRATION: _ClassVar[InstanceState]
    INSTANCE_STATE_RUNNING: _ClassVar[InstanceState]
    INSTANCE_STATE_TERMINATING: _ClassVar[InstanceState]
    INSTANCE_STATE_TERMINATED: _ClassVar[InstanceState]
    INSTANCE_STATE_FAILED: _ClassVar[InstanceState]

class NodeCommandType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NODE_COMMAND_TYPE_UNKNOWN: _ClassVar[NodeCommandType]
    NODE_COMMAND_TYPE_CORDON: _ClassVar[NodeCommandType]
    NODE_COMMAND_TYPE_DRAIN: _ClassVar[NodeCommandType]
    NODE_COMMAND_TYPE_RUN_DIAGNOSTIC: _ClassVar[NodeCommandType]
    NODE_COMMAND_TYPE_TERMINATE: _ClassVar[NodeCommandType]
    NODE_COMMAND_TYPE_UNCORDON: _ClassVar[NodeCommandType]
    NODE_COMMAND_TYPE_GPU_RESET: _ClassVar[NodeCommandType]
    NODE_COMMAND_TYPE_REBOOT: _ClassVar[NodeCommandType]
    NODE_COMMAND_TYPE_LOAD_MODEL: _ClassVar[NodeCommandType]
    NODE_COMMAND_TYPE_UNLOAD_MODEL: _ClassVar[NodeCommandType]
    NODE_COMMAND_TYPE_START_REPLICA: _ClassVar[NodeCommandType]
    NODE_COMMAND_TYPE_STOP_REPLICA: _ClassVar[NodeCommandType]

class CommandStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMMAND_STATUS_UNKNOWN: _ClassVar[CommandStatus]
    COMMAND_STATUS_RUNNING: _ClassVar[CommandStatus]
    COMMAND_STATUS_SUCCEEDED: _ClassVar[CommandStatus]
    COMMAND_STATUS_FAILED: _ClassVar[CommandStatus]
    COMMAND_STATUS_REFUSED: _ClassVar[CommandStatus]
    COMMAND_STATUS_EXPIRED: _ClassVar[CommandStatus]

class SubjectKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SUBJECT_KIND_UNKNOWN: _ClassVar[SubjectKind]
    SUBJECT_KIND_NODE: _ClassVar[SubjectKind]
    SUBJECT_KIND_INSTANCE: _ClassVar[SubjectKind]
    SUBJECT_KIND_POOL: _ClassVar[SubjectKind]
    SUBJECT_KIND_AGENT_POOL: _ClassVar[SubjectKind]
    SUBJECT_KIND_REPLICA: _ClassVar[SubjectKind]

class ReplicaState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPLICA_STATE_UNKNOWN: _ClassVar[ReplicaState]
    REPLICA_STATE_PENDING: _ClassVar[ReplicaState]
    REPLICA_STATE_LOADING: _ClassVar[ReplicaState]
    REPLICA_STATE_STARTING: _ClassVar[ReplicaState]
    REPLICA_STATE_READY: _ClassVar[ReplicaState]
    REPLICA_STATE_STOPPING: _ClassVar[ReplicaState]
    REPLICA_STATE_ENDED: _ClassVar[ReplicaState]
NODE_STATUS_UNKNOWN: NodeStatus
NODE_STATUS_ACTIVE: NodeStatus
NODE_STATUS_CORDONED: NodeStatus
NODE_STATUS_DRAINING: NodeStatus
NODE_STATUS_UNHEALTHY: NodeStatus
NODE_STATUS_TERMINATED: NodeStatus
HEALTH_STATUS_UNKNOWN: HealthStatus
HEALTH_STATUS_HEALTHY: HealthStatus
HEALTH_STATUS_DEGRADED: HealthStatus
HEALTH_STATUS_UNHEALTHY: HealthStatus
HEALTH_EVENT_TYPE_UNKNOWN: HealthEventType
HEALTH_EVENT_TYPE_XID: HealthEventType
HEALTH_EVENT_TYPE_THERMAL: HealthEventType
HEALTH_EVENT_TYPE_POWER: HealthEventType
HEALTH_EVENT_TYPE_MEMORY: HealthEventType
HEALTH_EVENT_TYPE_NVLINK: HealthEventType
HEALTH_EVENT_TYPE_PCIE: HealthEventType
HEALTH_EVENT_TYPE_DRIVER_ERROR: HealthEventType
HEALTH_EVENT_TYPE_ECC_SBE: HealthEventType
HEALTH_EVENT_TYPE_ECC_DBE: HealthEventType
HEALTH_EVENT_TYPE_SXID: HealthEventType
HEALTH_EVENT_TYPE_SYSTEM: HealthEventType
HEALTH_EVENT_TYPE_INTERRUPTION: HealthEventType
HEALTH_WATCH_SYSTEM_UNKNOWN: HealthWatchSystem
HEALTH_WATCH_SYSTEM_PCIE: HealthWatchSystem
HEALTH_WATCH_SYSTEM_NVLINK: HealthWatchSystem
HEALTH_WATCH_SYSTEM_PMU: HealthWatchSystem
HEALTH_WATCH_SYSTEM_MCU: HealthWatchSystem
HEALTH_WATCH_SYSTEM_MEM: HealthWatchSystem
HEALTH_WATCH_SYSTEM_SM: HealthWatchSystem
HEALTH_WATCH_SYSTEM_INFOROM: HealthWatchSystem
HEALTH_WATCH_SYSTEM_THERMAL: HealthWatchSystem
HEALTH_WATCH_SYSTEM_POWER: HealthWatchSystem
HEALTH_WATCH_SYSTEM_DRIVER: HealthWatchSystem
HEALTH_WATCH_SYSTEM_NVSWITCH: HealthWatchSystem
INSTANCE_STATE_UNKNOWN: InstanceState
INSTANCE_STATE_PROVISIONING: InstanceState
INSTANCE_STATE_PENDING_REGISTRATION: InstanceState
INSTANCE_STATE_RUNNING: InstanceState
INSTANCE_STATE_TERMINATING: InstanceState
INSTANCE_STATE_TERMINATED: InstanceState
INSTANCE_STATE_FAILED: InstanceState
NODE_COMMAND_TYPE_UNKNOWN: NodeCommandType
NODE_COMMAND_TYPE_CORDON: NodeCommandType
NODE_COMMAND_TYPE_DRAIN: NodeCommandType
NODE_COMMAND_TYPE_RUN_DIAGNOSTIC: NodeCommandType
NODE_COMMAND_TYPE_TERMINATE: NodeCommandType
NODE_COMMAND_TYPE_UNCORDON: NodeCommandType
NODE_COMMAND_TYPE_GPU_RESET: NodeCommandType
NODE_COMMAND_TYPE_REBOOT: NodeCommandType
NODE_COMMAND_TYPE_LOAD_MODEL: NodeCommandType
NODE_COMMAND_TYPE_UNLOAD_MODEL: NodeCommandType
NODE_COMMAND_TYPE_START_REPLICA: NodeCommandType
NODE_COMMAND_TYPE_STOP_REPLICA: NodeCommandType
COMMAND_STATUS_UNKNOWN: CommandStatus
COMMAND_STATUS_RUNNING: CommandStatus
COMMAND_STATUS_SUCCEEDED: CommandStatus
COMMAND_STATUS_FAILED: CommandStatus
COMMAND_STATUS_REFUSED: CommandStatus
COMMAND_STATUS_EXPIRED: CommandStatus
SUBJECT_KIND_UNKNOWN: SubjectKind
SUBJECT_KIND_NODE: SubjectKind
SUBJECT_KIND_INSTANCE: SubjectKind
SUBJECT_KIND_POOL: SubjectKind
SUBJECT_KIND_AGENT_POOL: SubjectKind
SUBJECT_KIND_REPLICA: SubjectKind
REPLICA_STATE_UNKNOWN: ReplicaState
REPLICA_STATE_PENDING: ReplicaState
REPLICA_STATE_LOADING: ReplicaState
REPLICA_STATE_STARTING: ReplicaState
REPLICA_STATE_READY: ReplicaState
REPLICA_STATE_STOPPING: ReplicaState
REPLICA_STATE_ENDED: ReplicaState

class RegisterNodeRequest(_message.Message):
    __slots__ = ("node_id", "provider", "region", "zone", "instance_type", "gpus", "metadata")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    provider: str
    region: str
    zone: str
    instance_type: str
    gpus: _containers.RepeatedCompositeFieldContainer[GPUInfo]
    metadata: NodeMetadata
    def __init__(self, node_id: _Optional[str] = ..., provider: _Optional[str] = ..., region: _Optional[str] = ..., zone: _Optional[str] = ..., instance_type: _Optional[str] = ..., gpus: _Optional[_Iterable[_Union[GPUInfo, _Mapping]]] = ..., metadata: _Optional[_Union[NodeMetadata, _Mapping]] = ...) -> None: ...

class RegisterNodeResponse(_message.Message):
    __slots__ = ("success", "message", "config")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    config: NodeConfig
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ..., config: _Optional[_Union[NodeConfig, _Mapping]] = ...) -> None: ...

class GPUInfo(_message.Message):
    __slots__ = ("index", "uuid", "name", "pci_bus_id", "memory_total", "driver_version", "cuda_version")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PCI_BUS_ID_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_FIELD_NUMBER: _ClassVar[int]
    DRIVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    CUDA_VERSION_FIELD_NUMBER: _ClassVar[int]
    index: int
    uuid: str
    name: str
    pci_bus_id: str
    memory_total: int
    driver_version: str
    cuda_version: str
    def __init__(self, index: _Optional[int] = ..., uuid: _Optional[str] = ..., name: _Optional[str] = ..., pci_bus_id: _Optional[str] = ..., memory_total: _Optional[int] = ..., driver_version: _Optional[str] = ..., cuda_version: _Optional[str] = ...) -> None: ...

class NodeMetadata(_message.Message):
    __slots__ = ("hostname", "internal_ip", "external_ip", "kernel_version", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    INTERNAL_IP_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_IP_FIELD_NUMBER: _ClassVar[int]
    KERNEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    hostname: str
    internal_ip: str
    external_ip: str
    kernel_version: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, hostname: _Optional[str] = ..., internal_ip: _Optional[str] = ..., external_ip: _Optional[str] = ..., kernel_version: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class NodeConfig(_message.Message):
    __slots__ = ("health_check_interval_seconds", "heartbeat_interval_seconds", "enabled_health_checks")
    HEALTH_CHECK_INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ENABLED_HEALTH_CHECKS_FIELD_NUMBER: _ClassVar[int]
    health_check_interval_seconds: int
    heartbeat_interval_seconds: int
    enabled_health_checks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, health_check_interval_seconds: _Optional[int] = ..., heartbeat_interval_seconds: _Optional[int] = ..., enabled_health_checks: _Optional[_Iterable[str]] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("node_id", "timestamp", "metrics", "serving")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    timestamp: _timestamp_pb2.Timestamp
    metrics: NodeMetrics
    serving: NodeServing
    def __init__(self, node_id: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metrics: _Optional[_Union[NodeMetrics, _Mapping]] = ..., serving: _Optional[_Union[NodeServing, _Mapping]] = ...) -> None: ...

class NodeServing(_message.Message):
    __slots__ = ("replicas", "models")
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaStatus]
    models: _containers.RepeatedCompositeFieldContainer[ModelStatus]
    def __init__(self, replicas: _Optional[_Iterable[_Union[ReplicaStatus, _Mapping]]] = ..., models: _Optional[_Iterable[_Union[ModelStatus, _Mapping]]] = ...) -> None: ...

class ReplicaStatus(_message.Message):
    __slots__ = ("replica_id", "state", "port", "restarts", "message")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    state: ReplicaState
    port: int
    restarts: int
    message: str
    def __init__(self, replica_id: _Optional[str] = ..., state: _Optional[_Union[ReplicaState, str]] = ..., port: _Optional[int] = ..., restarts: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class ModelStatus(_message.Message):
    __slots__ = ("model", "digest", "bytes_done", "bytes_total", "complete", "problem", "bytes_per_second")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    BYTES_DONE_FIELD_NUMBER: _ClassVar[int]
    BYTES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    model: str
    digest: str
    bytes_done: int
    bytes_total: int
    complete: bool
    problem: str
    bytes_per_second: int
    def __init__(self, model: _Optional[str] = ..., digest: _Optional[str] = ..., bytes_done: _Optional[int] = ..., bytes_total: _Optional[int] = ..., complete: _Optional[bool] = ..., problem: _Optional[str] = ..., bytes_per_second: _Optional[int] = ...) -> None: ...

class HeartbeatResponse(_message.Message):
    __slots__ = ("acknowledged", "commands_pending", "heartbeat_interval_seconds")
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_PENDING_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    acknowledged: bool
    commands_pending: bool
    heartbeat_interval_seconds: int
    def __init__(self, acknowledged: _Optional[bool] = ..., commands_pending: _Optional[bool] = ..., heartbeat_interval_seconds: _Optional[int] = ...) -> None: ...

class NodeMetrics(_message.Message):
    __slots__ = ("cpu_usage_percent", "memory_usage_percent", "gpu_metrics")
    CPU_USAGE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USAGE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    GPU_METRICS_FIELD_NUMBER: _ClassVar[int]
    cpu_usage_percent: float
    memory_usage_percent: float
    gpu_metrics: _containers.RepeatedCompositeFieldContainer[GPUMetrics]
    def __init__(self, cpu_usage_percent: _Optional[float] = ..., memory_usage_percent: _Optional[float] = ..., gpu_metrics: _Optional[_Iterable[_Union[GPUMetrics, _Mapping]]] = ...) -> None: ...

class GPUMetrics(_message.Message):
    __slots__ = ("gpu_index", "temperature", "power_usage", "utilization_percent", "memory_used")
    GPU_INDEX_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    POWER_USAGE_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_FIELD_NUMBER: _ClassVar[int]
    gpu_index: int
    temperature: int
    power_usage: int
    utilization_percent: float
    memory_used: int
    def __init__(self, gpu_index: _Optional[int] = ..., temperature: _Optional[int] = ..., power_usage: _Optional[int] = ..., utilization_percent: _Optional[float] = ..., memory_used: _Optional[int] = ...) -> None: ...

class HeartbeatBatchRequest(_message.Message):
    __slots__ = ("heartbeats",)
    HEARTBEATS_FIELD_NUMBER: _ClassVar[int]
    heartbeats: _containers.RepeatedCompositeFieldContainer[HeartbeatRequest]
    def __init__(self, heartbeats: _Optional[_Iterable[_Union[HeartbeatRequest, _Mapping]]] = ...) -> None: ...

class HeartbeatBatchResponse(_message.Message):
    __slots__ = ("acknowledged", "unknown_node_ids", "commands_pending_node_ids", "heartbeat_interval_seconds")
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_PENDING_NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    acknowledged: int
    unknown_node_ids: _containers.RepeatedScalarFieldContainer[str]
    commands_pending_node_ids: _containers.RepeatedScalarFieldContainer[str]
    heartbeat_interval_seconds: int
    def __init__(self, acknowledged: _Optional[int] = ..., unknown_node_ids: _Optional[_Iterable[str]] = ..., commands_pending_node_ids: _Optional[_Iterable[str]] = ..., heartbeat_interval_seconds: _Optional[int] = ...) -> None: ...

class ReportHealthRequest(_message.Message):
    __slots__ = ("node_id", "results", "events")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    results: _containers.RepeatedCompositeFieldContainer[HealthCheckResult]
    events: _containers.RepeatedCompositeFieldContainer[HealthEvent]
    def __init__(self, node_id: _Optional[str] = ..., results: _Optional[_Iterable[_Union[HealthCheckResult, _Mapping]]] = ..., events: _Optional[_Iterable[_Union[HealthEvent, _Mapping]]] = ...) -> None: ...

class ReportHealthResponse(_message.Message):
    __slots__ = ("acknowledged", "node_status")
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    NODE_STATUS_FIELD_NUMBER: _ClassVar[int]
    acknowledged: bool
    node_status: NodeStatus
    def __init__(self, acknowledged: _Optional[bool] = ..., node_status: _Optional[_Union[NodeStatus, str]] = ...) -> None: ...

class HealthCheckResult(_message.Message):
    __slots__ = ("check_name", "status", "message", "timestamp", "details")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CHECK_NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    check_name: str
    status: HealthStatus
    message: str
    timestamp: _timestamp_pb2.Timestamp
    details: _containers.ScalarMap[str, str]
    def __init__(self, check_name: _Optional[str] = ..., status: _Optional[_Union[HealthStatus, str]] = ..., message: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., details: _Optional[_Mapping[str, str]] = ...) -> None: ...

class HealthEvent(_message.Message):
    __slots__ = ("timestamp", "gpu_index", "gpu_uuid", "system", "event_type", "metrics", "message", "count")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    GPU_INDEX_FIELD_NUMBER: _ClassVar[int]
    GPU_UUID_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    timestamp: _timestamp_pb2.Timestamp
    gpu_index: int
    gpu_uuid: str
    system: HealthWatchSystem
    event_type: HealthEventType
    metrics: _containers.ScalarMap[str, str]
    message: str
    count: int
    def __init__(self, timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., gpu_index: _Optional[int] = ..., gpu_uuid: _Optional[str] = ..., system: _Optional[_Union[HealthWatchSystem, str]] = ..., event_type: _Optional[_Union[HealthEventType, str]] = ..., metrics: _Optional[_Mapping[str, str]] = ..., message: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class GetNodeCommandsRequest(_message.Message):
    __slots__ = ("node_id",)
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    def __init__(self, node_id: _Optional[str] = ...) -> None: ...

class GetNodeCommandsResponse(_message.Message):
    __slots__ = ("commands",)
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    commands: _containers.RepeatedCompositeFieldContainer[NodeCommand]
    def __init__(self, commands: _Optional[_Iterable[_Union[NodeCommand, _Mapping]]] = ...) -> None: ...

class NodeCommand(_message.Message):
    __slots__ = ("command_id", "type", "parameters", "issued_at")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    type: NodeCommandType
    parameters: _containers.ScalarMap[str, str]
    issued_at: _timestamp_pb2.Timestamp
    def __init__(self, command_id: _Optional[str] = ..., type: _Optional[_Union[NodeCommandType, str]] = ..., parameters: _Optional[_Mapping[str, str]] = ..., issued_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AckCommandRequest(_message.Message):
    __slots__ = ("node_id", "command_id", "status", "message", "output", "finished_at")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    command_id: str
    status: CommandStatus
    message: str
    output: str
    finished_at: _timestamp_pb2.Timestamp
    def __init__(self, node_id: _Optional[str] = ..., command_id: _Optional[str] = ..., status: _Optional[_Union[CommandStatus, str]] = ..., message: _Optional[str] = ..., output: _Optional[str] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AckCommandResponse(_message.Message):
    __slots__ = ("acknowledged",)
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    acknowledged: bool
    def __init__(self, acknowledged: _Optional[bool] = ...) -> None: ...

class IssueCommandRequest(_message.Message):
    __slots__ = ("node_id", "command_type", "parameters", "reason")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_TYPE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    command_type: NodeCommandType
    parameters: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, node_id: _Optional[str] = ..., command_type: _Optional[_Union[NodeCommandType, str]] = ..., parameters: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class IssueCommandResponse(_message.Message):
    __slots__ = ("command_id", "issued_at")
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    issued_at: _timestamp_pb2.Timestamp
    def __init__(self, command_id: _Optional[str] = ..., issued_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListNodesRequest(_message.Message):
    __slots__ = ("provider", "region", "status", "page_size", "page_token", "pool")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    provider: str
    region: str
    status: NodeStatus
    page_size: int
    page_token: str
    pool: str
    def __init__(self, provider: _Optional[str] = ..., region: _Optional[str] = ..., status: _Optional[_Union[NodeStatus, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., pool: _Optional[str] = ...) -> None: ...

class ListNodesResponse(_message.Message):
    __slots__ = ("nodes", "next_page_token")
    NODES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeInfo]
    next_page_token: str
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeInfo, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetNodeRequest(_message.Message):
    __slots__ = ("node_id",)
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    def __init__(self, node_id: _Optional[str] = ...) -> None: ...

class GetNodeResponse(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: NodeInfo
    def __init__(self, node: _Optional[_Union[NodeInfo, _Mapping]] = ...) -> None: ...

class NodeInfo(_message.Message):
    __slots__ = ("node_id", "provider", "region", "zone", "instance_type", "status", "health_status", "last_heartbeat", "gpus", "metadata", "pool", "phase", "intent", "contact", "because", "instance_id")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    HEALTH_STATUS_FIELD_NUMBER: _ClassVar[int]
    LAST_HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    INTENT_FIELD_NUMBER: _ClassVar[int]
    CONTACT_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    provider: str
    region: str
    zone: str
    instance_type: str
    status: NodeStatus
    health_status: HealthStatus
    last_heartbeat: _timestamp_pb2.Timestamp
    gpus: _containers.RepeatedCompositeFieldContainer[GPUInfo]
    metadata: NodeMetadata
    pool: str
    phase: str
    intent: str
    contact: str
    because: str
    instance_id: str
    def __init__(self, node_id: _Optional[str] = ..., provider: _Optional[str] = ..., region: _Optional[str] = ..., zone: _Optional[str] = ..., instance_type: _Optional[str] = ..., status: _Optional[_Union[NodeStatus, str]] = ..., health_status: _Optional[_Union[HealthStatus, str]] = ..., last_heartbeat: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., gpus: _Optional[_Iterable[_Union[GPUInfo, _Mapping]]] = ..., metadata: _Optional[_Union[NodeMetadata, _Mapping]] = ..., pool: _Optional[str] = ..., phase: _Optional[str] = ..., intent: _Optional[str] = ..., contact: _Optional[str] = ..., because: _Optional[str] = ..., instance_id: _Optional[str] = ...) -> None: ...

class ListInstancesRequest(_message.Message):
    __slots__ = ("provider", "region", "state", "pool_name", "page_size", "page_token")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    POOL_NAME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    provider: str
    region: str
    state: InstanceState
    pool_name: str
    page_size: int
    page_token: str
    def __init__(self, provider: _Optional[str] = ..., region: _Optional[str] = ..., state: _Optional[_Union[InstanceState, str]] = ..., pool_name: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListInstancesResponse(_message.Message):
    __slots__ = ("instances", "next_page_token")
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedCompositeFieldContainer[InstanceInfo]
    next_page_token: str
    def __init__(self, instances: _Optional[_Iterable[_Union[InstanceInfo, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetInstanceRequest(_message.Message):
    __slots__ = ("instance_id",)
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    def __init__(self, instance_id: _Optional[str] = ...) -> None: ...

class GetInstanceResponse(_message.Message):
    __slots__ = ("instance",)
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    instance: InstanceInfo
    def __init__(self, instance: _Optional[_Union[InstanceInfo, _Mapping]] = ...) -> None: ...

class InstanceInfo(_message.Message):
    __slots__ = ("instance_id", "provider", "region", "zone", "instance_type", "state", "pool_name", "created_at", "ready_at", "terminated_at", "node_id", "status_message", "labels", "provider_ref", "public_ip", "private_ip")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    POOL_NAME_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    READY_AT_FIELD_NUMBER: _ClassVar[int]
    TERMINATED_AT_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_REF_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_IP_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_IP_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    provider: str
    region: str
    zone: str
    instance_type: str
    state: InstanceState
    pool_name: str
    created_at: _timestamp_pb2.Timestamp
    ready_at: _timestamp_pb2.Timestamp
    terminated_at: _timestamp_pb2.Timestamp
    node_id: str
    status_message: str
    labels: _containers.ScalarMap[str, str]
    provider_ref: str
    public_ip: str
    private_ip: str
    def __init__(self, instance_id: _Optional[str] = ..., provider: _Optional[str] = ..., region: _Optional[str] = ..., zone: _Optional[str] = ..., instance_type: _Optional[str] = ..., state: _Optional[_Union[InstanceState, str]] = ..., pool_name: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ready_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., terminated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., node_id: _Optional[str] = ..., status_message: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., provider_ref: _Optional[str] = ..., public_ip: _Optional[str] = ..., private_ip: _Optional[str] = ...) -> None: ...

class GetBootstrapLogRequest(_message.Message):
    __slots__ = ("instance_id",)
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    def __init__(self, instance_id: _Optional[str] = ...) -> None: ...

class GetBootstrapLogResponse(_message.Message):
    __slots__ = ("text", "source", "read_at", "problem")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    READ_AT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    text: str
    source: str
    read_at: _timestamp_pb2.Timestamp
    problem: str
    def __init__(self, text: _Optional[str] = ..., source: _Optional[str] = ..., read_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., problem: _Optional[str] = ...) -> None: ...

class ListPoolsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPoolsResponse(_message.Message):
    __slots__ = ("pools",)
    POOLS_FIELD_NUMBER: _ClassVar[int]
    pools: _containers.RepeatedCompositeFieldContainer[PoolInfo]
    def __init__(self, pools: _Optional[_Iterable[_Union[PoolInfo, _Mapping]]] = ...) -> None: ...

class GetPoolRequest(_message.Message):
    __slots__ = ("pool_name",)
    POOL_NAME_FIELD_NUMBER: _ClassVar[int]
    pool_name: str
    def __init__(self, pool_name: _Optional[str] = ...) -> None: ...

class GetPoolResponse(_message.Message):
    __slots__ = ("pool",)
    POOL_FIELD_NUMBER: _ClassVar[int]
    pool: PoolInfo
    def __init__(self, pool: _Optional[_Union[PoolInfo, _Mapping]] = ...) -> None: ...

class PoolInfo(_message.Message):
    __slots__ = ("name", "providers", "instance_type", "region", "zones", "min_nodes", "max_nodes", "target_nodes", "current_nodes", "ready_nodes", "healthy_nodes", "lost_nodes", "booting_nodes", "paused", "repair_paused", "because", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    ZONES_FIELD_NUMBER: _ClassVar[int]
    MIN_NODES_FIELD_NUMBER: _ClassVar[int]
    MAX_NODES_FIELD_NUMBER: _ClassVar[int]
    TARGET_NODES_FIELD_NUMBER: _ClassVar[int]
    CURRENT_NODES_FIELD_NUMBER: _ClassVar[int]
    READY_NODES_FIELD_NUMBER: _ClassVar[int]
    HEALTHY_NODES_FIELD_NUMBER: _ClassVar[int]
    LOST_NODES_FIELD_NUMBER: _ClassVar[int]
    BOOTING_NODES_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    REPAIR_PAUSED_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    providers: _containers.RepeatedScalarFieldContainer[str]
    instance_type: str
    region: str
    zones: _containers.RepeatedScalarFieldContainer[str]
    min_nodes: int
    max_nodes: int
    target_nodes: int
    current_nodes: int
    ready_nodes: int
    healthy_nodes: int
    lost_nodes: int
    booting_nodes: int
    paused: bool
    repair_paused: bool
    because: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., providers: _Optional[_Iterable[str]] = ..., instance_type: _Optional[str] = ..., region: _Optional[str] = ..., zones: _Optional[_Iterable[str]] = ..., min_nodes: _Optional[int] = ..., max_nodes: _Optional[int] = ..., target_nodes: _Optional[int] = ..., current_nodes: _Optional[int] = ..., ready_nodes: _Optional[int] = ..., healthy_nodes: _Optional[int] = ..., lost_nodes: _Optional[int] = ..., booting_nodes: _Optional[int] = ..., paused: _Optional[bool] = ..., repair_paused: _Optional[bool] = ..., because: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ScalePoolRequest(_message.Message):
    __slots__ = ("pool_name", "target_nodes", "reason")
    POOL_NAME_FIELD_NUMBER: _ClassVar[int]
    TARGET_NODES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    pool_name: str
    target_nodes: int
    reason: str
    def __init__(self, pool_name: _Optional[str] = ..., target_nodes: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ScalePoolResponse(_message.Message):
    __slots__ = ("pool",)
    POOL_FIELD_NUMBER: _ClassVar[int]
    pool: PoolInfo
    def __init__(self, pool: _Optional[_Union[PoolInfo, _Mapping]] = ...) -> None: ...

class PausePoolRequest(_message.Message):
    __slots__ = ("pool_name", "paused", "reason")
    POOL_NAME_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    pool_name: str
    paused: bool
    reason: str
    def __init__(self, pool_name: _Optional[str] = ..., paused: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class PausePoolResponse(_message.Message):
    __slots__ = ("pool",)
    POOL_FIELD_NUMBER: _ClassVar[int]
    pool: PoolInfo
    def __init__(self, pool: _Optional[_Union[PoolInfo, _Mapping]] = ...) -> None: ...

class ClearHealthRequest(_message.Message):
    __slots__ = ("node_id", "reason")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    reason: str
    def __init__(self, node_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ClearHealthResponse(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: NodeInfo
    def __init__(self, node: _Optional[_Union[NodeInfo, _Mapping]] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("after_seq", "limit", "subject", "since", "newest_first")
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    after_seq: int
    limit: int
    subject: str
    since: _timestamp_pb2.Timestamp
    newest_first: bool
    def __init__(self, after_seq: _Optional[int] = ..., limit: _Optional[int] = ..., subject: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., newest_first: _Optional[bool] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "last_seq")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[EventInfo]
    last_seq: int
    def __init__(self, events: _Optional[_Iterable[_Union[EventInfo, _Mapping]]] = ..., last_seq: _Optional[int] = ...) -> None: ...

class WatchEventsRequest(_message.Message):
    __slots__ = ("after_seq", "subject")
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    after_seq: int
    subject: str
    def __init__(self, after_seq: _Optional[int] = ..., subject: _Optional[str] = ...) -> None: ...

class WatchEventsResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: EventInfo
    def __init__(self, event: _Optional[_Union[EventInfo, _Mapping]] = ...) -> None: ...

class EventInfo(_message.Message):
    __slots__ = ("seq", "at", "kind", "subjects", "text", "because", "payload")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    seq: int
    at: _timestamp_pb2.Timestamp
    kind: str
    subjects: _containers.RepeatedScalarFieldContainer[str]
    text: str
    because: str
    payload: str
    def __init__(self, seq: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[str] = ..., subjects: _Optional[_Iterable[str]] = ..., text: _Optional[str] = ..., because: _Optional[str] = ..., payload: _Optional[str] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("kind", "id")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    kind: SubjectKind
    id: str
    def __init__(self, kind: _Optional[_Union[SubjectKind, str]] = ..., id: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("lines", "facts")
    LINES_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedScalarFieldContainer[str]
    facts: _containers.RepeatedCompositeFieldContainer[ExplainFact]
    def __init__(self, lines: _Optional[_Iterable[str]] = ..., facts: _Optional[_Iterable[_Union[ExplainFact, _Mapping]]] = ...) -> None: ...

class ExplainFact(_message.Message):
    __slots__ = ("seq", "at", "kind", "because", "text")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    seq: int
    at: _timestamp_pb2.Timestamp
    kind: str
    because: str
    text: str
    def __init__(self, seq: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[str] = ..., because: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class ApplyResourcesRequest(_message.Message):
    __slots__ = ("text", "source", "dry_run", "reason")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    text: str
    source: str
    dry_run: bool
    reason: str
    def __init__(self, text: _Optional[str] = ..., source: _Optional[str] = ..., dry_run: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class ApplyResourcesResponse(_message.Message):
    __slots__ = ("applied",)
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    applied: _containers.RepeatedCompositeFieldContainer[AppliedResource]
    def __init__(self, applied: _Optional[_Iterable[_Union[AppliedResource, _Mapping]]] = ...) -> None: ...

class AppliedResource(_message.Message):
    __slots__ = ("kind", "name", "outcome")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    outcome: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., outcome: _Optional[str] = ...) -> None: ...

class ListResourcesRequest(_message.Message):
    __slots__ = ("kind", "namespace", "name")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    kind: str
    namespace: str
    name: str
    def __init__(self, kind: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class ListResourcesResponse(_message.Message):
    __slots__ = ("resources",)
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    resources: _containers.RepeatedCompositeFieldContainer[ResourceInfo]
    def __init__(self, resources: _Optional[_Iterable[_Union[ResourceInfo, _Mapping]]] = ...) -> None: ...

class ResourceInfo(_message.Message):
    __slots__ = ("kind", "name", "json", "created_at", "changed_at", "generation")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    json: str
    created_at: _timestamp_pb2.Timestamp
    changed_at: _timestamp_pb2.Timestamp
    generation: int
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., json: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., changed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., generation: _Optional[int] = ...) -> None: ...

class DeleteResourceRequest(_message.Message):
    __slots__ = ("kind", "name", "reason")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    reason: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DeleteResourceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListReplicasRequest(_message.Message):
    __slots__ = ("agent_pool", "node_id", "page_size", "page_token")
    AGENT_POOL_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    agent_pool: str
    node_id: str
    page_size: int
    page_token: str
    def __init__(self, agent_pool: _Optional[str] = ..., node_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListReplicasResponse(_message.Message):
    __slots__ = ("replicas", "next_page_token")
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaInfo]
    next_page_token: str
    def __init__(self, replicas: _Optional[_Iterable[_Union[ReplicaInfo, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ReplicaInfo(_message.Message):
    __slots__ = ("replica_id", "agent_pool", "state", "node_id", "gpus", "gpu_share", "endpoint", "restarts", "because", "cure", "loading", "created_at", "changed_at")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_POOL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    GPU_SHARE_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    CURE_FIELD_NUMBER: _ClassVar[int]
    LOADING_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    agent_pool: str
    state: ReplicaState
    node_id: str
    gpus: _containers.RepeatedScalarFieldContainer[int]
    gpu_share: float
    endpoint: str
    restarts: int
    because: str
    cure: str
    loading: ModelStatus
    created_at: _timestamp_pb2.Timestamp
    changed_at: _timestamp_pb2.Timestamp
    def __init__(self, replica_id: _Optional[str] = ..., agent_pool: _Optional[str] = ..., state: _Optional[_Union[ReplicaState, str]] = ..., node_id: _Optional[str] = ..., gpus: _Optional[_Iterable[int]] = ..., gpu_share: _Optional[float] = ..., endpoint: _Optional[str] = ..., restarts: _Optional[int] = ..., because: _Optional[str] = ..., cure: _Optional[str] = ..., loading: _Optional[_Union[ModelStatus, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., changed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PushMetricsRequest(_message.Message):
    __slots__ = ("samples",)
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    samples: _containers.RepeatedCompositeFieldContainer[MetricSample]
    def __init__(self, samples: _Optional[_Iterable[_Union[MetricSample, _Mapping]]] = ...) -> None: ...

class MetricSample(_message.Message):
    __slots__ = ("agent_pool", "metric", "value", "observed_at", "source")
    AGENT_POOL_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    agent_pool: str
    metric: str
    value: float
    observed_at: _timestamp_pb2.Timestamp
    source: str
    def __init__(self, agent_pool: _Optional[str] = ..., metric: _Optional[str] = ..., value: _Optional[float] = ..., observed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[str] = ...) -> None: ...

class PushMetricsResponse(_message.Message):
    __slots__ = ("accepted",)
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    def __init__(self, accepted: _Optional[int] = ...) -> None: ...

class ListPluginsRequest(_message.Message):
    __slots__ = ("kind",)
    KIND_FIELD_NUMBER: _ClassVar[int]
    kind: str
    def __init__(self, kind: _Optional[str] = ...) -> None: ...

class ListPluginsResponse(_message.Message):
    __slots__ = ("plugins",)
    PLUGINS_FIELD_NUMBER: _ClassVar[int]
    plugins: _containers.RepeatedCompositeFieldContainer[PluginInfo]
    def __init__(self, plugins: _Optional[_Iterable[_Union[PluginInfo, _Mapping]]] = ...) -> None: ...

class PluginInfo(_message.Message):
    __slots__ = ("kind", "name", "priority", "enabled", "shadow", "origin", "version", "summary", "calls", "failures", "latency_p50", "latency_p99", "last_failure", "disagreements", "isolated", "broken", "because")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    LATENCY_P50_FIELD_NUMBER: _ClassVar[int]
    LATENCY_P99_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_FIELD_NUMBER: _ClassVar[int]
    DISAGREEMENTS_FIELD_NUMBER: _ClassVar[int]
    ISOLATED_FIELD_NUMBER: _ClassVar[int]
    BROKEN_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    priority: int
    enabled: bool
    shadow: bool
    origin: str
    version: str
    summary: str
    calls: int
    failures: int
    latency_p50: float
    latency_p99: float
    last_failure: str
    disagreements: int
    isolated: str
    broken: str
    because: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., priority: _Optional[int] = ..., enabled: _Optional[bool] = ..., shadow: _Optional[bool] = ..., origin: _Optional[str] = ..., version: _Optional[str] = ..., summary: _Optional[str] = ..., calls: _Optional[int] = ..., failures: _Optional[int] = ..., latency_p50: _Optional[float] = ..., latency_p99: _Optional[float] = ..., last_failure: _Optional[str] = ..., disagreements: _Optional[int] = ..., isolated: _Optional[str] = ..., broken: _Optional[str] = ..., because: _Optional[str] = ...) -> None: ...

class SetPluginRequest(_message.Message):
    __slots__ = ("kind", "name", "enabled", "priority", "shadow", "reason")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    enabled: bool
    priority: int
    shadow: bool
    reason: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., enabled: _Optional[bool] = ..., priority: _Optional[int] = ..., shadow: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class SetPluginResponse(_message.Message):
    __slots__ = ("plugin",)
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    plugin: PluginInfo
    def __init__(self, plugin: _Optional[_Union[PluginInfo, _Mapping]] = ...) -> None: ...

class ListPluginTracesRequest(_message.Message):
    __slots__ = ("kind", "pool", "limit")
    KIND_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    pool: str
    limit: int
    def __init__(self, kind: _Optional[str] = ..., pool: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListPluginTracesResponse(_message.Message):
    __slots__ = ("traces",)
    TRACES_FIELD_NUMBER: _ClassVar[int]
    traces: _containers.RepeatedCompositeFieldContainer[PluginTrace]
    def __init__(self, traces: _Optional[_Iterable[_Union[PluginTrace, _Mapping]]] = ...) -> None: ...

class PluginTrace(_message.Message):
    __slots__ = ("at", "kind", "plugin", "point", "pool", "subject", "seconds", "outcome", "verdict", "shadow")
    AT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    kind: str
    plugin: str
    point: str
    pool: str
    subject: str
    seconds: float
    outcome: str
    verdict: str
    shadow: bool
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[str] = ..., plugin: _Optional[str] = ..., point: _Optional[str] = ..., pool: _Optional[str] = ..., subject: _Optional[str] = ..., seconds: _Optional[float] = ..., outcome: _Optional[str] = ..., verdict: _Optional[str] = ..., shadow: _Optional[bool] = ...) -> None: ...

class ApplyConfigRequest(_message.Message):
    __slots__ = ("text", "source")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    text: str
    source: str
    def __init__(self, text: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...

class ApplyConfigResponse(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, changes: _Optional[_Iterable[str]] = ...) -> None: ...
