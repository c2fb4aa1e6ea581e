"""What may be written under ``providers``: who sells machines, by the names that pools use.

``type`` says which kind each one is. Secrets are never in the file: it names the variable of the
environment or the file that holds one. These are the settings of providers and not the providers:
those are made of them by `navarch.wiring`, which alone loads a cloud's library::

    providers:
      lambda: {type: lambda, api_key_env: LAMBDA_API_KEY}
      gcp: {type: gcp, project: my-project}
      aws: {type: aws, region: us-east-1}

What each cloud makes of its keys is in ``docs/providers``.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct, field

from navarch.config.autoscaling import NODES_MAX
from navarch.config.key import LABEL, PLUGIN, VARIABLE, WORD, Key
from navarch.config.metrics import URL
from navarch.config.values import DURATION, INTERVAL, PATH, PORT_MAX, Form, named

GPUS_MAX = 64
"""GPUs a node: the limit of the wire."""
DISK_MAX = 65_536
"""GB of a disk: the largest that any of these clouds sells (Google Cloud, read November 2026)."""
TEXT_MAX = 4096
NAMES_MAX = 1_000
"""Entries of a mapping, such as tags: far more than any cloud takes."""

AWS_IMAGE = (
    "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
)
"""The newest Deep Learning Base AMI with NVIDIA's open driver, as an SSM parameter. Ubuntu 24.04,
whose Python 3.12 runs the agent; that of 22.04 does not (AWS Deep Learning AMIs, release notes and
"Finding the ID of a DLAMI", read November 2026)."""
GCP_IMAGE = (
    "projects/ubuntu-os-accelerator-images/global/images/family/"
    "ubuntu-accelerator-2404-amd64-with-nvidia-580"
)
"""Canonical's Ubuntu 24.04 with NVIDIA's driver 580 (Google Cloud, accelerator images, read
November 2026)."""

ADDRESS = Form(
    expected="an address such as https://cloud.example/api", pattern=URL.pattern, parse=URL.parse
)
COMMAND = named("a program, or one of its arguments", r"[^\0]{1,4096}")

Name = Annotated[str, Key("Its name.", form=WORD)]


class FakeProvider(Struct, frozen=True, tag_field="type", tag="fake"):
    """Sells machines that exist in memory only, for trying things out."""

    gpu_count: Annotated[int, Key("GPUs of each machine.", minimum=0, maximum=GPUS_MAX)] = 8
    gpu_type: Annotated[str, Key("What its GPUs call themselves.", maximum=253)] = (
        "NVIDIA H100 80GB HBM3"
    )
    stock: Annotated[
        dict[str, Annotated[int, Key("How many.", minimum=0, maximum=NODES_MAX)]],
        Key("How many of a type may exist at once; a type that is not here is never sold out."),
    ] = {}


class ProcessProvider(Struct, frozen=True, tag_field="type", tag="process"):
    """Sells agent processes on this machine, whose GPUs are injected."""

    gpu_count: Annotated[int, Key("GPUs that each agent shows.", minimum=0, maximum=GPUS_MAX)] = 8
    gpu_type: Annotated[str, Key("What its GPUs call themselves.", maximum=253)] = "H100"
    allow: Annotated[
        tuple[
            Annotated[Literal["gpu_reset", "reboot"], Key("A command that takes work down.")],
            ...,
        ],
        Key("The commands that its agents carry out beyond the harmless ones."),
    ] = ()
    serving: Annotated[bool, Key("Whether its agents run replicas and keep models.")] = False
    pass_variables: Annotated[
        tuple[Annotated[str, Key("The name of one.", form=VARIABLE)], ...],
        Key(
            "Variables of the control plane's environment that its agents get, such as AWS_REGION."
        ),
    ] = ()


class ApiKey(Struct, frozen=True, kw_only=True):
    """Where the key of an account is found."""

    api_key_env: Annotated[
        str | None, Key("The environment variable that holds the API key.", form=VARIABLE)
    ] = None
    api_key_file: Annotated[
        Path | None, Key("The file that holds the API key and nothing else.", form=PATH)
    ] = None


class LambdaProvider(ApiKey, frozen=True, kw_only=True, tag_field="type", tag="lambda"):
    """Buys at Lambda Cloud. Without a place of the key, LAMBDA_API_KEY holds it."""

    region: Annotated[str, Key("Where to buy for pools that do not say.", form=WORD)] = ""
    ssh_key_name: Annotated[
        str, Key("The SSH key for pools that name none; Lambda wants exactly one.", form=WORD)
    ] = ""
    image_family: Annotated[
        str,
        Key("The newest image of this family. Neither this nor image_id: Lambda Stack.", form=WORD),
    ] = ""
    image_id: Annotated[str, Key("One image, by its id.", form=WORD)] = ""
    file_system_names: Annotated[tuple[Name, ...], Key("File systems of every machine.")] = ()
    firewall_ruleset_ids: Annotated[tuple[Name, ...], Key("Firewall rules of every machine.")] = ()
    url: Annotated[str, Key("The API.", form=ADDRESS)] = "https://cloud.lambda.ai/api/v1"
    request_interval: Annotated[
        timedelta, Key("The time between two requests, with all that use the key.", form=INTERVAL)
    ] = timedelta(seconds=1)
    launch_interval: Annotated[timedelta, Key("The time between two launches.", form=INTERVAL)] = (
        timedelta(seconds=12)
    )
    timeout: Annotated[timedelta, Key("How long a request may take.", form=INTERVAL)] = timedelta(
        seconds=20
    )
    launch_timeout: Annotated[timedelta, Key("How long a launch may take.", form=INTERVAL)] = (
        timedelta(seconds=60)
    )


class RunPodProvider(ApiKey, frozen=True, kw_only=True, tag_field="type", tag="runpod"):
    """Buys pods at RunPod. Without a place of the key, RUNPOD_API_KEY holds it."""

    image: Annotated[
        str, Key("The container image of every pod; it holds sh and base64.", form=WORD)
    ]
    cloud: Annotated[
        Literal["SECURE", "COMMUNITY"], Key("RunPod's own data centers, or hardware of others.")
    ] = "SECURE"
    region: Annotated[
        str, Key("The data center for pools that do not say. Empty: any.", form=WORD)
    ] = ""
    disk_gb: Annotated[int, Key("GB of the container's disk.", minimum=1, maximum=DISK_MAX)] = 50
    ports: Annotated[
        tuple[Annotated[str, Key("A port and its protocol, such as 22/tcp.", form=WORD)], ...],
        Key("What is reachable from outside."),
    ] = ("22/tcp",)
    registry_id: Annotated[
        str, Key("The credentials of a private registry, by RunPod's id.", form=WORD)
    ] = ""
    network_volume_id: Annotated[str, Key("A volume to mount.", form=WORD)] = ""
    network_volume_path: Annotated[str, Key("Where it is mounted.", form=WORD)] = "/workspace"
    global_networking: Annotated[
        bool, Key("Whether pods get an address that other data centers reach.")
    ] = False
    gpu_counts: Annotated[
        tuple[Annotated[int, Key("GPUs.", minimum=1, maximum=GPUS_MAX)], ...],
        Key("The sizes of pods in the price list; each is one request."),
    ] = (1, 2, 4, 8)
    url: Annotated[str, Key("The API.", form=ADDRESS)] = "https://api.runpod.io"
    request_interval: Annotated[
        timedelta, Key("The time between two requests, on average.", form=INTERVAL)
    ] = timedelta(seconds=1.2)
    timeout: Annotated[timedelta, Key("How long a request may take.", form=INTERVAL)] = timedelta(
        seconds=20
    )
    launch_timeout: Annotated[timedelta, Key("How long a launch may take.", form=INTERVAL)] = (
        timedelta(seconds=60)
    )


class Interface(Struct, frozen=True, kw_only=True):
    """A further network interface of a machine at Google Cloud."""

    network: Annotated[str, Key("A network's name or path.", form=WORD)] = ""
    subnetwork: Annotated[str, Key("A subnetwork's name or path.", form=WORD)] = ""
    nic_type: Annotated[str, Key("Such as GVNIC or MRDMA. Empty: Google chooses.", form=WORD)] = ""


class GcpProvider(Struct, frozen=True, kw_only=True, tag_field="type", tag="gcp"):
    """Buys at Google Cloud, in one project."""

    project: Annotated[str, Key("The id of the project.", form=WORD)]
    image: Annotated[
        str, Key("The boot image: the path of a family or of one image.", form=WORD)
    ] = GCP_IMAGE
    region: Annotated[str, Key("Where to buy for pools that do not say.", form=WORD)] = ""
    zones: Annotated[
        tuple[Name, ...],
        Key("The zones to try, in this order, for pools that name none. None: all of the region."),
    ] = ()
    credentials_file: Annotated[
        Path | None,
        Key("A JSON file of credentials. Absent: application default credentials.", form=PATH),
    ] = None
    use_metadata_server: Annotated[
        bool, Key("Whether the metadata server alone is asked for credentials.")
    ] = False
    disk_gb: Annotated[int, Key("GB of the boot disk.", minimum=10, maximum=DISK_MAX)] = 200
    disk_type: Annotated[
        str, Key("Such as pd-balanced or hyperdisk-balanced. Empty: Google chooses.", form=WORD)
    ] = ""
    network: Annotated[str, Key("A network's name or path.", maximum=TEXT_MAX)] = "default"
    subnetwork: Annotated[str, Key("A subnetwork's name or path.", form=WORD)] = ""
    external_ip: Annotated[bool, Key("Whether machines get a public address.")] = True
    nic_type: Annotated[str, Key("Such as GVNIC. Empty: Google chooses.", form=WORD)] = ""
    more_interfaces: Annotated[
        tuple[Annotated[Interface, Key("One interface.")], ...], Key("Further network interfaces.")
    ] = ()
    network_tags: Annotated[tuple[Name, ...], Key("Tags that firewall rules speak of.")] = ()
    service_account: Annotated[
        str, Key("Whose rights machines have: an e-mail address. Empty: none.", form=WORD)
    ] = ""
    scopes: Annotated[tuple[Name, ...], Key("What of these rights.")] = (
        "https://www.googleapis.com/auth/cloud-platform",
    )
    reservation: Annotated[
        str, Key("A reservation's name or path; none: no reservation. Empty: any.", form=WORD)
    ] = ""
    reservation_bound: Annotated[
        bool, Key("Whether machines live and end with the reservation.")
    ] = False
    placement_policy: Annotated[
        str, Key("A resource policy that puts machines close together.", form=WORD)
    ] = ""
    ssh_keys: Annotated[
        dict[str, Annotated[str, Key("USER:KEY, a public key.", maximum=TEXT_MAX)]],
        Key("Public keys by the names that pools use.", maximum=NAMES_MAX),
    ] = {}
    metadata: Annotated[
        dict[str, Annotated[str, Key("The value.", maximum=TEXT_MAX)]],
        Key("Further metadata of each machine.", maximum=NAMES_MAX),
    ] = {}
    follow: Annotated[
        timedelta, Key("How long a launch is watched for a stock-out, up to 3m.", form=DURATION)
    ] = timedelta(seconds=60)
    url: Annotated[str, Key("The API.", form=ADDRESS)] = "https://compute.googleapis.com"
    metadata_url: Annotated[str, Key("The metadata server.", form=ADDRESS)] = (
        "http://metadata.google.internal"
    )
    resource_manager_url: Annotated[
        str, Key("Who is asked which permissions we have.", form=ADDRESS)
    ] = "https://cloudresourcemanager.googleapis.com"


class Reservation(Struct, frozen=True, kw_only=True):
    """Capacity that was reserved, and that machines of one type are taken from alone."""

    instance_type: Annotated[str, Key("The type that it holds, in the cloud's words.", form=WORD)]
    target: Annotated[
        str, Key("The id of a capacity reservation, or the ARN of a group of them.", form=WORD)
    ]
    zone: Annotated[str, Key("Where it is; needed with several regions.", form=WORD)] = ""
    capacity_block: Annotated[bool, Key("Whether it is a Capacity Block for ML.")] = False


class AwsProvider(Struct, frozen=True, kw_only=True, tag_field="type", tag="aws"):
    """Buys at Amazon EC2, in one or several regions of one account."""

    region: Annotated[str | None, Key("The only region. Either this or regions.", form=WORD)] = None
    regions: Annotated[
        tuple[Name, ...], Key("Where machines are bought and looked for, the default first.")
    ] = ()
    image: Annotated[str, Key("An AMI, or the SSM parameter that holds one.", form=WORD)] = (
        AWS_IMAGE
    )
    images: Annotated[
        dict[str, Annotated[str, Key("The image.", form=WORD)]],
        Key("The same by region, where it differs.", maximum=NAMES_MAX),
    ] = {}
    subnets: Annotated[
        dict[str, Annotated[tuple[Name, ...], Key("Ids of subnets.")]],
        Key(
            "The subnets of machines, by zone. None of a region: its default VPC.",
            maximum=NAMES_MAX,
        ),
    ] = {}
    security_groups: Annotated[
        dict[str, Annotated[tuple[Name, ...], Key("Ids of security groups.")]],
        Key("The security groups of machines, by region.", maximum=NAMES_MAX),
    ] = {}
    instance_profile: Annotated[
        str, Key("The IAM instance profile of machines. Empty: none.", form=WORD)
    ] = ""
    public_ip: Annotated[
        bool | None, Key("Whether machines get a public address. Absent: as the subnet has it.")
    ] = None
    hop_limit: Annotated[
        int, Key("Hops to the metadata service; containers need 2.", minimum=1, maximum=64)
    ] = 1
    root_volume_gb: Annotated[
        int, Key("GiB of the root volume; 0: as the image has it.", minimum=0, maximum=DISK_MAX)
    ] = 0
    root_device: Annotated[str, Key("The image's root device.", form=WORD)] = "/dev/sda1"
    efa_interfaces: Annotated[
        dict[str, Annotated[int, Key("How many.", minimum=1, maximum=64)]],
        Key("EFA interfaces of a machine, by its type.", maximum=NAMES_MAX),
    ] = {}
    placement_group: Annotated[str, Key("The placement group of machines.", form=WORD)] = ""
    reservations: Annotated[
        tuple[Annotated[Reservation, Key("One reservation.")], ...],
        Key("Reserved capacity that is used."),
    ] = ()
    type_patterns: Annotated[
        tuple[Annotated[str, Key("A pattern such as p5*.", form=WORD)], ...],
        Key("Which types the price list shows."),
    ] = ("p*", "g*")
    tags: Annotated[
        dict[str, Annotated[str, Key("The value.", maximum=256)]],
        Key("Further tags of machines and volumes.", maximum=NAMES_MAX),
    ] = {}
    profile: Annotated[str, Key("The profile of the SDK's files.", form=WORD)] = ""
    access_key_id_env: Annotated[
        str | None,
        Key("The variable of an access key id. Absent: as the SDK finds it.", form=VARIABLE),
    ] = None
    secret_access_key_env: Annotated[
        str | None, Key("The variable of the secret access key.", form=VARIABLE)
    ] = None
    session_token_env: Annotated[
        str | None, Key("The variable of a session token.", form=VARIABLE)
    ] = None
    endpoint_url: Annotated[
        str, Key("Another address of EC2; {region} is filled in.", maximum=TEXT_MAX)
    ] = ""
    timeout: Annotated[timedelta, Key("How long one call may take.", form=INTERVAL)] = timedelta(
        seconds=50
    )
    consistency: Annotated[
        timedelta, Key("How long EC2 may take to show what it has done.", form=DURATION)
    ] = timedelta(minutes=5)


class Machine(Struct, frozen=True, kw_only=True):
    """A machine of one's own, reached by SSH."""

    host: Annotated[str, Key("Its address, or a name that resolves.", form=WORD)]
    name: Annotated[str, Key("What it is called, for ever. Empty: as its host.", form=WORD)] = ""
    port: Annotated[int, Key("Where sshd listens.", minimum=1, maximum=PORT_MAX)] = 22
    user: Annotated[str, Key("Who logs in. Empty: as for all.", form=WORD)] = ""
    instance_type: Annotated[str, Key("Which kind it is, in words of one's own.", form=WORD)]
    gpu_count: Annotated[int, Key("Its GPUs.", minimum=0, maximum=GPUS_MAX)] = 0
    gpu_type: Annotated[str, Key("What they call themselves.", maximum=253)] = ""
    region: Annotated[str, Key("Where it is.", form=WORD)] = ""
    zone: Annotated[str, Key("In which part.", form=WORD)] = ""
    labels: Annotated[
        dict[str, Annotated[str, Key("The label's value.", maximum=TEXT_MAX)]],
        Key("Shown with it.", maximum=NAMES_MAX, names=LABEL),
    ] = {}
    fingerprint: Annotated[
        str, Key("Of its host key: SHA256: and 43 signs. Empty: a known host.", form=WORD)
    ] = ""
    price_per_hour: Annotated[
        float,
        Key(
            "What an hour counts as, in US dollars; 0: not said, and compared as the dearest.",
            minimum=0,
            maximum=1_000_000,
        ),
    ] = 0.0


class SshProvider(Struct, frozen=True, kw_only=True, tag_field="type", tag="ssh"):
    """Lends machines of one's own, which are reached by SSH."""

    machines: Annotated[
        tuple[Annotated[Machine, Key("One machine.")], ...],
        Key("The machines. Either these or inventory_command."),
    ] = ()
    inventory_command: Annotated[
        tuple[Annotated[str, Key("One word.", form=COMMAND)], ...],
        Key("A program that prints the machines as JSON."),
    ] = ()
    user: Annotated[str, Key("Who logs in.", form=WORD)] = "root"
    sudo: Annotated[bool, Key("Whether the user becomes root by sudo -n.")] = False
    key_file: Annotated[Path | None, Key("A private key, without a passphrase.", form=PATH)] = None
    agent: Annotated[bool, Key("Whether keys of the SSH agent are offered.")] = False
    known_hosts_file: Annotated[
        Path | None, Key("The host keys of the machines, as OpenSSH keeps them.", form=PATH)
    ] = None
    folder: Annotated[str, Key("Where leases are written on the machines.", form=WORD)] = (
        "/var/lib/navarch-ssh"
    )
    cleanup_commands: Annotated[
        tuple[Annotated[str, Key("One line of shell.", maximum=TEXT_MAX)], ...],
        Key("Run on a machine that is given back."),
    ] = ()
    cleanup_time_max: Annotated[
        timedelta, Key("How long each of them may take.", form=INTERVAL)
    ] = timedelta(minutes=10)
    deadline: Annotated[
        timedelta, Key("How long a command on a machine may take.", form=INTERVAL)
    ] = timedelta(seconds=15)


class ContainerType(Struct, frozen=True, kw_only=True):
    """One size of container."""

    gpu_count: Annotated[int, Key("Its GPUs, of gpu_ids.", minimum=0, maximum=GPUS_MAX)] = 0
    gpu_type: Annotated[str, Key("What they are called.", maximum=253)] = ""
    cpus: Annotated[float, Key("Processors it may use; 0: all.", minimum=0, maximum=NAMES_MAX)] = (
        0.0
    )
    memory_gb: Annotated[
        float, Key("GB of memory it may use; 0: all.", minimum=0, maximum=DISK_MAX)
    ] = 0.0
    image: Annotated[str, Key("Its image. Empty: as for all.", form=WORD)] = ""


class DockerProvider(Struct, frozen=True, kw_only=True, tag_field="type", tag="docker"):
    """Sells containers of one host, by the engine of Docker or Podman."""

    image: Annotated[str, Key("The image of containers, which is on the host already.", form=WORD)]
    types: Annotated[
        dict[str, Annotated[ContainerType, Key("One size.")]],
        Key("What is sold, by names of one's own. None: container.", maximum=NAMES_MAX),
    ] = {}
    host: Annotated[str, Key("The engine: unix:///PATH or tcp://HOST:PORT.", form=WORD)] = (
        "unix:///var/run/docker.sock"
    )
    tls_ca: Annotated[Path | None, Key("Who vouches for the engine, over TCP.", form=PATH)] = None
    tls_cert: Annotated[Path | None, Key("Our certificate.", form=PATH)] = None
    tls_key: Annotated[Path | None, Key("Its key.", form=PATH)] = None
    gpu_ids: Annotated[tuple[Name, ...], Key("The GPUs to give away, by index or UUID.")] = ()
    max_containers: Annotated[int, Key("Containers at one time.", minimum=1, maximum=NODES_MAX)] = (
        64
    )
    command: Annotated[
        tuple[Annotated[str, Key("One word.", form=COMMAND)], ...],
        Key("What a container runs. None: the start-up script."),
    ] = ()
    environment: Annotated[
        dict[str, Annotated[str, Key("Its value; no secret.", maximum=TEXT_MAX)]],
        Key("Variables of every container.", maximum=NAMES_MAX, names=VARIABLE),
    ] = {}
    user_data_file: Annotated[str, Key("Where the start-up script is put.", form=WORD)] = (
        "/navarch-user-data"
    )
    user_data_uid: Annotated[int, Key("Whom it belongs to.", minimum=0, maximum=4_294_967_295)] = 0
    network: Annotated[str, Key("The network. Empty: the engine's default.", form=WORD)] = ""
    binds: Annotated[tuple[Name, ...], Key("Folders and devices of the host to show.")] = ()
    init: Annotated[bool, Key("Whether the engine's own init is process 1.")] = True
    keep_ended: Annotated[bool, Key("Whether containers that ended stay on the host.")] = False
    region: Annotated[str, Key("What the host is called.", form=WORD)] = ""
    grace: Annotated[timedelta, Key("Between SIGTERM and SIGKILL, up to 30s.", form=DURATION)] = (
        timedelta(seconds=10)
    )
    timeout: Annotated[timedelta, Key("How long a question may take.", form=INTERVAL)] = timedelta(
        seconds=15
    )
    launch_timeout: Annotated[
        timedelta, Key("How long a step of a launch may take.", form=INTERVAL)
    ] = timedelta(seconds=60)


class CustomProvider(Struct, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    """A provider of somebody else."""

    use: Annotated[
        str,
        Key(
            "Its name among the entry points navarch.providers, or where its class is.",
            form=PLUGIN,
        ),
    ]
    config: Annotated[
        dict[str, Annotated[object, Key("Anything.")]],
        Key("What its class is called with, by the names of its arguments."),
    ] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Show where it is found; its config may hold secrets."""
        return f"CustomProvider({self.use!r})"


Provider = (
    LambdaProvider
    | GcpProvider
    | AwsProvider
    | RunPodProvider
    | SshProvider
    | DockerProvider
    | ProcessProvider
    | FakeProvider
    | CustomProvider
)
"""Everything that can sell machines, told apart by ``type``."""


def kind_of(written: Provider) -> str:
    """Return the word under ``type``."""
    return str(written.__struct_config__.tag)
