"""The page of environment variables, and a search of the code for those that are not on it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from reference.marking import NOTICE, table

PAGE: Final = "environment.md"

SOURCE: Final = Path(__file__).resolve().parents[2] / "src" / "navarch"

COMMANDS: Final = "Read by commands"
DAEMONS: Final = "Read by programs that run long"
PROVIDERS: Final = "Read by providers, stores and libraries"
GIVEN: Final = "Given to replicas and programs"
SCRIPTS: Final = "Given to start-up scripts and machines"

CHAPTERS: Final[Mapping[str, str]] = {
    COMMANDS: "An option that says the same wins.",
    DAEMONS: "What a configuration calls `token_env`, `secret_env`, `api_key_env` and the like are"
    " variables of your own names, read when they are used; `${NAME}` in a value of a"
    " configuration is any variable.",
    PROVIDERS: "Where the configuration names no other.",
    GIVEN: "`navarch agent` runs replicas and the programs of commands with its own environment,"
    " less its secrets, and these.",
    SCRIPTS: "For scripts of your own and for images.",
}

VARIABLES: Final[Mapping[str, tuple[str, str]]] = {
    "NAVARCH_SERVER": (COMMANDS, "the control plane, several with commas between them; `--server`"),
    "NAVARCH_AUTH_TOKEN": (
        COMMANDS,
        (
            "who calls; `--token`. `navarch server` without `tokens` in its configuration takes"
            " it for the token of an admin, and then need not stay on loopback"
        ),
    ),
    "NAVARCH_TLS_CA": (COMMANDS, "certificates to trust; `--tls-ca`"),
    "NAVARCH_TLS_CERT": (COMMANDS, "the certificate to show; `--tls-cert`"),
    "NAVARCH_TLS_KEY": (COMMANDS, "its key; `--tls-key`"),
    "LOG_LEVEL": (
        DAEMONS,
        "how much is logged: `debug`, `info`, `warning` or `error`; anything else is refused",
    ),
    "LOG_FORMAT": (
        DAEMONS,
        "how it is written: `json` or `text`; without it, text on a terminal and json elsewhere",
    ),
    "OTEL_EXPORTER_OTLP_ENDPOINT": (
        DAEMONS,
        "the collector of OpenTelemetry that traces go to; needs `navarch[otel]`",
    ),
    "OTEL_*": (DAEMONS, "the others of OpenTelemetry, which its library reads"),
    "NAVARCH_NODE_TOKEN": (
        DAEMONS,
        (
            "the node's token, to `navarch agent` without `--token-file`; providers of the type"
            " `process` give it to the agents that they start"
        ),
    ),
    "NAVARCH_RELAY_TOKEN": (DAEMONS, "a token of an operator, to `navarch relay`"),
    "KUBERNETES_SERVICE_HOST": (
        DAEMONS,
        "where the API server of the cluster is that Navarch runs in, as Kubernetes sets it",
    ),
    "KUBERNETES_SERVICE_PORT": (DAEMONS, "its port; 443 where it is not set"),
    "LAMBDA_API_KEY": (PROVIDERS, "the key of Lambda Cloud"),
    "RUNPOD_API_KEY": (PROVIDERS, "the key of RunPod"),
    "GOOGLE_APPLICATION_CREDENTIALS": (PROVIDERS, "the file of Google Cloud's credentials"),
    "CLOUDSDK_CONFIG": (PROVIDERS, "the folder in which gcloud keeps its own"),
    "SSH_AUTH_SOCK": (
        PROVIDERS,
        "the agent of SSH that has keys, for providers without `key_file`",
    ),
    "HF_ENDPOINT": (PROVIDERS, "the hub of models, for `hf://` without an endpoint of its own"),
    "RAY_USAGE_STATS_ENABLED": (
        PROVIDERS,
        "set to 0 by simulations that run on Ray, which then tells nobody of them",
    ),
    "PGPASSWORD": (PROVIDERS, "the password of PostgreSQL; that of the URL comes first"),
    "PGPASSFILE": (PROVIDERS, "the file of passwords of PostgreSQL"),
    "CUDA_VISIBLE_DEVICES": (GIVEN, "the GPUs of a replica"),
    "NAVARCH_AGENT_POOL": (GIVEN, "its pool, as namespace/name"),
    "NAVARCH_REPLICA": (GIVEN, "its name"),
    "NAVARCH_PORT": (GIVEN, "where it is to listen"),
    "NAVARCH_MODEL_PATH": (GIVEN, "where its weights are, if it has a model"),
    "NAVARCH_GPU_SHARE": (GIVEN, "its share of a GPU, where that is less than all of it"),
    "NAVARCH_MIG_PROFILE": (GIVEN, "the slice of a GPU that it has, where it has one"),
    "NAVARCH_REPLICA_LOCK": (GIVEN, "by what all processes of a replica are recognised; leave it"),
    "NAVARCH_PARAMETER_*": (
        GIVEN,
        (
            "to the program of a command: each of the command's parameters, such as"
            " `NAVARCH_PARAMETER_LEVEL`"
        ),
    ),
    "NAVARCH_PROCESS_LOCK": (SCRIPTS, "by what a process of the provider `process` is recognised"),
    "NAVARCH_BOOTSTRAP_LOG": (SCRIPTS, "where the start-up script writes what it does"),
    "NAVARCH_BOOTSTRAP_RECORD": (SCRIPTS, "where it keeps its record"),
    "NAVARCH_BOOTSTRAP_HOST_KEYS": (SCRIPTS, "which files of host keys it tells of"),
    "NAVARCH_USER_DATA": (SCRIPTS, "the start-up script itself, in pods of RunPod"),
    "NAVARCH_LABELS": (SCRIPTS, "our labels, in pods of RunPod"),
}
"""Every variable: its chapter, and what it is for. A name with ``*`` stands for several."""

_NAME: Final = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+|PG[A-Z]+")
_OURS: Final = re.compile(r"NAVARCH_[A-Z0-9_]*[A-Z0-9]|[A-Z]+_API_KEY")
_SIGN: Final = re.compile(r"environ|getenv|envvar|NAVARCH_|_API_KEY|_ENV\b|_VARIABLE\b")
_ENVIRONMENTS: Final = ("environ", "environment")
_HOLDERS: Final = ("_ENV", "_VARIABLE")


def found(source: Path = SOURCE) -> dict[str, Path]:
    """Search the code for variables: each with one of the files that name it."""
    names: dict[str, Path] = {}
    for path in sorted(source.rglob("*.py")):
        code = path.read_text(encoding="utf-8")
        # Most modules have nothing of it, and parsing all of them takes seconds.
        if "generated" not in path.parts and _SIGN.search(code):
            for name in found_in(code):
                names.setdefault(name, path)
    return names


def found_in(code: str) -> Iterator[str]:
    """Search one module: what is read from an environment, what is called ours, what holds one."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Constant(value=str(text)) if _OURS.fullmatch(text):
                yield text
            case ast.Call(
                func=ast.Attribute(value=place, attr="get" | "pop" | "setdefault"),
                args=[ast.Constant(value=str(text)), *_],
            ) if _is_environment(place) and _NAME.fullmatch(text):
                yield text
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="os"), attr="getenv"),
                args=[ast.Constant(value=str(text)), *_],
            ):
                yield text
            case ast.Subscript(value=place, slice=ast.Constant(value=str(text))) if _is_environment(
                place
            ):
                yield text
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))) | (
                ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text)))
            ) if name.endswith(_HOLDERS):
                yield text
            case ast.keyword(arg="envvar", value=ast.Constant(value=str(text))):
                yield text
            case _:
                continue


def _is_environment(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in _ENVIRONMENTS
        case _:
            return False


def undocumented(names: Iterable[str], known: Iterable[str] = VARIABLES) -> list[str]:
    """Name the variables that the page does not have."""
    patterns = [re.compile(re.escape(name).replace(r"\*", ".*")) for name in known]
    return sorted(name for name in names if not any(each.fullmatch(name) for each in patterns))


def page(variables: Mapping[str, tuple[str, str]] = VARIABLES) -> str:
    """Write the page."""
    parts = [NOTICE, "# Environment variables\n"]
    for chapter, said in CHAPTERS.items():
        rows = [
            (f"`{name}`", f"{means}")
            for name, (where, means) in variables.items()
            if where == chapter
        ]
        parts += [f"## {chapter}\n", f"{said}\n", table(("variable", "is"), rows)]
    return "\n".join(parts)
