"""What may be written under ``server.bootstrap``: how agents get onto machines that are bought.

With it, the first script of a machine installs the agent and starts it under the machine's own
token; a pool's own script runs before the agent starts. Without it a machine runs the pool's script
alone, and its image has to bring the agent. How the script works is in ``docs/bootstrap.md``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct

from navarch.config.key import VARIABLE, WORD, Key
from navarch.config.metrics import URL
from navarch.config.values import PATH, Form

LINE_MAX = 16_384
"""Characters of one line of shell."""

SERVER = Form(
    expected="an address such as https://navarch.example:50051",
    pattern=URL.pattern,
    parse=URL.parse,
)

Option = Annotated[str, Key("One word.", maximum=4096)]


class Bootstrap(Struct, frozen=True, kw_only=True):
    """How agents are installed and started on machines that are bought."""

    server_url: Annotated[
        str | None,
        Key("The control plane as machines reach it. Either this or server_urls.", form=SERVER),
    ] = None
    server_urls: Annotated[
        tuple[Annotated[str, Key("One address.", form=SERVER)], ...],
        Key("The same where there are several."),
    ] = ()
    package: Annotated[
        str | None,
        Key("What pip installs. Absent: navarch[nvml] in our own version.", maximum=4096),
    ] = None
    wheel: Annotated[
        str, Key("A wheel to install instead: an address, or a path on the machine.", form=WORD)
    ] = ""
    executable: Annotated[
        str, Key("A navarch that the image has already: nothing is installed.", form=WORD)
    ] = ""
    pip_options: Annotated[
        tuple[Annotated[str, Key("One word.", maximum=4096, secret=True)], ...],
        Key("Further options of pip install."),
    ] = ()
    python: Annotated[str, Key("The interpreter, 3.11 or later.", form=WORD)] = "python3"
    system_site_packages: Annotated[
        bool, Key("Whether the agent's environment sees what the image has installed.")
    ] = False
    prepare_commands: Annotated[
        tuple[Annotated[str, Key("One line of shell.", maximum=LINE_MAX)], ...],
        Key("Run before anything is installed."),
    ] = ()
    environment: Annotated[
        dict[str, Annotated[str, Key("Its value.", maximum=4096, secret=True)]],
        Key("Variables for pip, the commands and the agent.", maximum=100, names=VARIABLE),
    ] = {}
    agent_options: Annotated[
        tuple[Option, ...], Key("Further options of navarch agent, such as [--allow, reboot].")
    ] = ()
    tls_ca_file: Annotated[
        Path | None,
        Key("The certificates that agents trust in the place of the system's.", form=PATH),
    ] = None
    user: Annotated[str, Key("Who the agent runs as. Empty: root.", form=WORD)] = ""
    service: Annotated[
        Literal["auto", "systemd", "background"],
        Key("Who keeps it running: systemd, a script of ours, or whichever there is."),
    ] = "auto"
    folder: Annotated[str, Key("Where it is installed.", form=WORD)] = "/opt/navarch"
    config_folder: Annotated[str, Key("Where its token is.", form=WORD)] = "/etc/navarch"
    state_folder: Annotated[str, Key("Where it keeps its state.", form=WORD)] = "/var/lib/navarch"
    record_folder: Annotated[str, Key("Where the script keeps its record.", form=WORD)] = (
        "/var/lib/navarch-bootstrap"
    )
    log: Annotated[str, Key("Where the script tells what it does.", form=WORD)] = (
        "/var/log/navarch-bootstrap.log"
    )
    unit: Annotated[str, Key("The name of its unit of systemd.", form=WORD)] = "navarch-agent"
    unit_folder: Annotated[str, Key("Where units of systemd are.", form=WORD)] = (
        "/etc/systemd/system"
    )

    def __repr__(self) -> str:
        """Show what is no secret: whom agents call, and the names of the variables."""
        known = ", ".join(self.environment) or "none"
        return f"Bootstrap({', '.join(self.servers)}; environment: {known})"

    @property
    def servers(self) -> tuple[str, ...]:
        """The control plane's addresses."""
        return self.server_urls or (() if self.server_url is None else (self.server_url,))
