"""The start-up script of one node.

It is plain text for ``/bin/sh``, for cloud-init and for a shell over SSH. Each step is told in the
log with its result; the first that fails ends the script, by name. Run again, it does what is left
to do: commands that were carried out are not repeated, and an agent that runs as it should is left
in peace.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Mapping
from typing import Final

from navarch.bootstrap import shell
from navarch.bootstrap.settings import BootstrapSettings, NodeFacts, Service, check_token
from navarch.version import VERSION

COMPLETE_MARK: Final = "navarch-bootstrap: COMPLETE"
"""Stands in the last line of a log whose script has done everything."""

FAILED_MARK: Final = "navarch-bootstrap: FAILED"
"""Stands in the last line of a log whose script gave up; ``step=`` and ``code=`` follow."""


def render(settings: BootstrapSettings, node: NodeFacts, token: str | None) -> str:
    """Write the script that makes this node from a bare machine.

    The text holds the token: it is for its owner's eyes only. None: the control plane asks for
    none. The result has some 9 KB; `navarch.bootstrap.fitted` packs it.

    :raises ConfigError: a setting, a fact or the token cannot be used
    """
    settings.check()
    node.check()
    check_token(token)
    parts = [
        "#!/bin/sh",
        f"# Makes a Navarch node of this machine: {node.node_id}. Written by navarch {VERSION}.",
        "# It may be run again. The record that it keeps says what it made; `remove` undoes that.",
        "set -u",
        'PATH="${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"',
        "export PATH",
        *_variables(settings, node, token),
        shell.PRELUDE,
        shell.STEPS,
        _install_into(settings),
        shell.BEGIN,
        *_exports(settings.environment),
        *_steps(settings, node, token),
    ]
    return "\n".join(parts) + "\n"


def _variables(settings: BootstrapSettings, node: NodeFacts, token: str | None) -> Iterator[str]:
    yield "unset TOKEN"  # what the caller exports under this name must not export the secret
    yield f'LOG="${{NAVARCH_BOOTSTRAP_LOG:-{settings.log}}}"'
    yield f'RECORD="${{NAVARCH_BOOTSTRAP_RECORD:-{settings.record_folder}}}"'
    yield 'HOST_KEYS="${NAVARCH_BOOTSTRAP_HOST_KEYS:-/etc/ssh}"'
    executable = settings.executable or f"{settings.folder}/venv/bin/navarch"
    named = {
        "NODE": node.node_id,
        "VERSION": VERSION,
        "FOLDER": settings.folder,
        "CONFIG": settings.config_folder,
        "STATE": settings.state_folder,
        "OWNER": settings.user,
        "SERVICE": settings.service.value,
        "UNIT": settings.unit,
        "UNITS": settings.unit_folder,
        "PYTHON": settings.python,
        "EXECUTABLE": executable,
        "WANTED": " ".join((_installed(settings), *settings.pip_options)),
        "TOKEN": token or "",
        "TLS_CA": settings.tls_ca,
        "REMOVE": f"#!/bin/sh\n# Undoes the start-up script of {node.node_id}.{shell.REMOVE}",
    }
    for name, text in named.items():
        yield f"{name}={shlex.quote(text)}"
    if settings.service is not Service.BACKGROUND:
        yield f"UNIT_TEXT={shlex.quote(_unit(settings, node))}"
    if settings.service is not Service.SYSTEMD:
        # The record's place may be given from outside, so this is put together on the machine.
        head = "#!/bin/sh\n# Keeps the agent of this machine running.\n"
        for name in ("FOLDER", "STATE", "OWNER"):
            head += f"{name}={shlex.quote(named[name])}\n"
        yield f"SUPERVISE={shlex.quote(head)}\"RECORD='$RECORD'\"{shlex.quote(shell.SUPERVISE)}"


def _exports(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        yield f"export {name}={shlex.quote(value)}"


def _steps(settings: BootstrapSettings, node: NodeFacts, token: str | None) -> Iterator[str]:
    if token is not None:
        yield "step host_keys tell_host_keys"  # first: whoever reads the log over SSH needs it
    yield "step remove_script write_remove"
    for number, command in enumerate(settings.prepare_commands, start=1):
        yield from _once(f"prepare-{number}", command, node, "sh")
    if settings.user:
        yield "step user make_user"
    yield "step folders make_folders"
    if token is not None:
        yield "step token write_token"
    if settings.tls_ca:
        yield "step tls_ca write_tls_ca"
    yield "step install check_executable" if settings.executable else "step install install_agent"
    program = shlex.quote(_run_agent(settings, node, has_token=token is not None))
    yield f'write_program() {{ printf "%s" {program} | put "$FOLDER/run-agent" 700 "$OWNER"; }}'
    yield "step program write_program"
    if node.user_data:
        yield from _once("user_data", node.user_data, node, "")
    for number, command in enumerate(node.setup_commands, start=1):
        yield from _once(f"command-{number}", command, node, "sh")
    yield "step agent start_agent"
    yield 'say "COMPLETE node=$NODE"'


def _once(name: str, text: str, node: NodeFacts, interpreter: str) -> Iterator[str]:
    """Write a command to a file of its own, so that its mistakes stay its own, and run it once."""
    mark = hashlib.sha256(f"{node.node_id}\0{name}\0{text}".encode()).hexdigest()[:16]
    yield f'( umask 077; printf "%s\\n" {shlex.quote(text)} >"$RECORD/{name}" )'
    if not interpreter:
        yield f'chmod 700 "$RECORD/{name}"'
    yield f"once {name} {mark} {interpreter}".rstrip()


def _run_agent(settings: BootstrapSettings, node: NodeFacts, *, has_token: bool) -> str:
    """Write the program that becomes the agent: its owner's alone, for the environment's sake."""
    words = [settings.executable or f"{settings.folder}/venv/bin/navarch", "agent"]
    words += [f"--server={url}" for url in settings.servers]
    words += [f"--node-id={node.node_id}", f"--state-dir={settings.state_folder}"]
    if has_token:
        words.append(f"--token-file={settings.config_folder}/node.token")
    if settings.tls_ca:
        words.append(f"--tls-ca={settings.config_folder}/ca.pem")
    told = {
        "provider": node.provider,
        "region": node.region,
        "zone": node.zone,
        "instance-type": node.instance_type,
    }
    words += [f"--{name}={text}" for name, text in told.items() if text]
    if node.expected_gpus is not None:
        words.append(f"--expected-gpus={node.expected_gpus}")
    words += [f"--label={key}={value}" for key, value in node.labels.items()]
    words += settings.agent_options
    lines = ["#!/bin/sh", "# Becomes the agent.", *_exports(settings.environment)]
    return "\n".join([*lines, f"exec {shlex.join(words)}", ""])


SERVING: Final = "--serving"
"""The option of an agent that runs replicas."""


def _unit(settings: BootstrapSettings, node: NodeFacts) -> str:
    """Write the unit of systemd. What is escaped is in the program that it starts."""
    lines = [
        "[Unit]",
        f"Description=Navarch agent of {node.node_id}",
        "After=network-online.target nvidia-persistenced.service",
        "Wants=network-online.target",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStart={settings.folder}/run-agent",
    ]
    if settings.user:
        # The kernel's log may want a capability of whoever is not root.
        lines += [f"User={settings.user}", "AmbientCapabilities=CAP_SYSLOG"]
    if SERVING in settings.agent_options:
        lines.append("KillMode=process")  # replicas outlive their agent: the next one takes over
    lines += ["Restart=always", "RestartSec=2", "", "[Install]", "WantedBy=multi-user.target", ""]
    return "\n".join(lines)


def _installed(settings: BootstrapSettings) -> str:
    return settings.executable or settings.wheel or settings.requirement


def _install_into(settings: BootstrapSettings) -> str:
    """Write the function that makes an environment and installs into it."""
    packages = " --system-site-packages" if settings.system_site_packages else ""
    options = shlex.join(("--disable-pip-version-check", "--no-input", *settings.pip_options))
    return (
        "install_into() {\n"
        '  if [ ! -x "$1/bin/pip" ]; then\n'
        f'    "$PYTHON" -m venv --clear{packages} "$1"\n'
        "  fi\n"
        f'  "$1/bin/python" -m pip install {options} {shlex.quote(_installed(settings))}\n'
        "}"
    )
