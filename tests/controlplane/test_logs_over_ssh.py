"""Start-up logs read from a real sshd: as whom, by which key, and from whose machine."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bootstrap.ground import Ground
from controlplane.test_bootstrap_logs import ID, Talking
from navarch.bootstrap import NodeFacts
from navarch.controlplane import bootstrap_logs
from navarch.controlplane.bootstrap_logs import BootstrapLogs, LogAccess
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.effects import Effects
from navarch.controlplane.kept_logs import BootstrapLog
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.pool import Pool
from navarch.errors import Unavailable
from navarch.providers.base import BOOTSTRAP_LOG_BYTES_MAX
from navarch.providers.fake import FakeProvider
from navarch.wire.auth import mint_node_token
from pools import MONDAY, a_spec, run
from providers.ssh.rack import SSHD, Rack

SECRET = b"a secret of the whole fleet"
TOKEN = mint_node_token(SECRET, ID)


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """Start an sshd that stands for a machine which a cloud has just booted."""
    if not Path(SSHD).exists():
        pytest.skip(f"NOT TESTED: there is no {SSHD} (Debian: openssh-server)")
    rack = Rack(tmp_path_factory.mktemp("rack"), 1)
    keys = rack.root / "keys"
    keys.mkdir()
    shutil.copy(rack.root / "host.pub", keys / "ssh_host_ed25519_key.pub")
    try:
        yield rack
        rack.clean()
    finally:
        rack.stop()


class Machine:
    """One machine of a cloud, whose script has failed."""

    def __init__(self, rack: Rack, ground: Ground) -> None:
        self.rack = rack
        self.ground = ground
        self.provider: FakeProvider = FakeProvider()
        self.spec = a_spec(
            ssh_user=rack.settings(1).user, ssh_private_key_path=str(rack.root / "client")
        )
        self.host = "127.0.0.1"

    def boot(self, *commands: str, token: str = TOKEN, keys: str = "keys") -> None:
        """Run the start-up script, with these commands of the pool's."""
        node = NodeFacts(node_id=ID, setup_commands=commands)
        environ = {"NAVARCH_BOOTSTRAP_HOST_KEYS": str(self.rack.root / keys)}
        self.ground.run(node=node, token=token, environ=environ)

    def told(self, **changes: object) -> BootstrapLog:
        """Ask for its log, as a control plane that has just started."""
        access = LogAccess(
            **{  # type: ignore[arg-type]
                "path": self.ground.settings.log,
                "token_of": lambda node_id: mint_node_token(SECRET, node_id),
                "port": self.rack.ports[0],
                **changes,
            }
        )
        clock, fleet = FakeClock(MONDAY), Fleet()
        effects = Effects({"fake": self.provider}, lambda _: None, clock)
        logs = BootstrapLogs(access, effects, lambda: fleet, clock)
        fleet.pools["training"] = Pool(spec=self.spec, target=1, target_because="")
        instance = Instance(
            id=ID,
            pool="training",
            provider="fake",
            state=InstanceState.PENDING_REGISTRATION,
            requested_at=MONDAY,
            because="",
            ref="m-1",
            public_ip=self.host,
        )
        fleet.instances[ID] = instance
        return run(logs.of(instance))


@pytest.fixture
def machine(rack: Rack, tmp_path: Path) -> Iterator[Machine]:
    """Yield a machine that nobody has used."""
    rack.clean()
    ground = Ground(tmp_path)
    yield Machine(rack, ground)
    ground.clean()


def test_a_failed_setup_command_is_seen_in_the_log_of_the_machine(machine: Machine) -> None:
    machine.boot("echo fine", "echo no such package >&2; exit 100")

    found = machine.told()

    assert (found.source, found.read_at, found.problem) == ("ssh", MONDAY, "")
    assert found.text == machine.ground.log
    assert "no such package" in found.text
    assert f"FAILED step=command-2 code=100 node={ID}" in found.text.splitlines()[-1]


def test_the_token_is_not_shown_even_where_a_command_prints_it(machine: Machine) -> None:
    machine.boot(f"cat {machine.ground.settings.config_folder}/node.token")
    assert TOKEN in machine.ground.log  # the command's doing, not the script's

    found = machine.told()

    assert "***" in found.text
    assert TOKEN not in found.text


def test_a_long_log_is_cut_and_its_keys_are_still_vouched_for(machine: Machine) -> None:
    machine.boot("seq 1 40000; exit 3")
    found = machine.told()
    assert found.problem == ""
    assert BOOTSTRAP_LOG_BYTES_MAX - 100 < len(found.text) <= BOOTSTRAP_LOG_BYTES_MAX
    assert "host_key" not in found.text
    assert f"FAILED step=command-1 code=3 node={ID}" in found.text


def test_a_log_that_holds_the_divider_is_whole(machine: Machine) -> None:
    machine.boot("echo ----; echo after; exit 3")
    with Path(machine.ground.settings.log).open("ab") as log:
        log.write(b"no \xff utf-8\n")
    found = machine.told().text
    assert "\n----\nafter\n" in found
    assert found.endswith("\nno \ufffd utf-8\n")


@pytest.mark.parametrize("keys", ["keys-of-another-machine", "no keys at all"])
def test_a_machine_whose_script_does_not_vouch_for_its_key_is_not_believed(
    machine: Machine, keys: str
) -> None:
    if keys == "keys-of-another-machine":
        (machine.rack.root / keys).mkdir(exist_ok=True)
        other = machine.rack.root / keys / "ssh_host_ed25519_key.pub"
        shutil.copy(machine.rack.root / "stranger.pub", other)
    machine.boot("echo the log of somebody else", keys=keys)

    found = machine.told()

    assert found.text == ""
    key = machine.rack.fingerprint
    assert f"its host key {key} is not the machine's" in found.problem


def test_a_stranger_who_knows_no_token_is_not_believed(machine: Machine) -> None:
    machine.boot("echo lies", token="nvn1.a-token-of-the-strangers-own")
    found = machine.told()
    assert (found.text, "does not vouch for it" in found.problem) == ("", True)


def test_what_cannot_be_read_is_said_in_one_line(machine: Machine, tmp_path: Path) -> None:
    log = machine.ground.settings.log
    assert machine.told().problem.endswith(f": there is no {log}, or not yet")

    machine.boot("exit 1")
    with_key = machine.spec
    machine.spec = a_spec(ssh_user=with_key.ssh_user, ssh_private_key_path=f"{tmp_path}/none")
    assert machine.told().problem.endswith("cannot be used: No such file or directory")

    open_to_all = tmp_path / "open"
    shutil.copy(with_key.ssh_private_key_path, open_to_all)
    open_to_all.chmod(0o644)
    machine.spec = a_spec(ssh_user=with_key.ssh_user, ssh_private_key_path=str(open_to_all))
    assert machine.told().problem.endswith("may be read by others: chmod 600 it")

    theirs = machine.rack.root / "stranger"
    machine.spec = a_spec(ssh_user=with_key.ssh_user, ssh_private_key_path=str(theirs))
    assert machine.told().problem.endswith(f"may not log in with {theirs}")

    machine.spec = with_key
    assert "Connect call failed" in machine.told(port=1).problem


def test_who_is_not_root_reads_it_by_sudo_or_says_that_it_may_not(
    machine: Machine, tmp_path: Path
) -> None:
    """The command itself, as a user who may not read the log; only root can become one."""
    machine.boot("exit 1")
    log = Path(machine.ground.settings.log)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    programs = tmp_path / "by-sudo"
    programs.mkdir(mode=0o755)
    sudo, id_ = programs / "sudo", programs / "id"
    id_.write_text("#!/bin/sh\necho 1000\n")
    id_.chmod(0o755)
    words = [str(log) + ".not-there", "host_key", "32", "300", "100"]
    command = ["sh", "-c", bootstrap_logs.SHOW, "navarch", *words]
    environ = {"PATH": f"{programs}:/usr/bin:/bin"}

    for allows, expected in ((False, bootstrap_logs.NO_SUDO), (True, bootstrap_logs.MISSING)):
        does = 'shift; exec "$@"' if allows else "echo a password is required >&2; exit 1"
        sudo.write_text(f"#!/bin/sh\n{does}\n")
        sudo.chmod(0o755)
        done = subprocess.run(command, env=environ, capture_output=True, check=False, timeout=10)
        assert done.returncode == expected


def test_ssh_comes_first_and_the_provider_tells_where_it_fails(machine: Machine) -> None:
    machine.provider = Talking("the console\n")
    assert machine.told().text == "the console\n"
    machine.boot("exit 1")
    assert machine.told().source == "ssh"

    machine.provider = Talking(Unavailable("fake: down"))
    Path(machine.ground.settings.log).unlink()
    problem = machine.told().problem
    assert "there is no" in problem
    assert problem.endswith("; fake: down")


@pytest.mark.parametrize(
    "changes", [{"over_ssh": frozenset({"other"})}, {"token_of": None}], ids=str
)
def test_nobody_logs_in_where_it_makes_no_sense(
    machine: Machine, changes: dict[str, object]
) -> None:
    machine.boot("exit 1")
    assert machine.told(**changes).problem.startswith("provider fake shows no logs")


def test_a_machine_that_does_not_answer_is_given_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap_logs, "READ_TIME_MAX", timedelta(milliseconds=200))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = machine.told(port=silent.getsockname()[1])
    assert "no answer within 0.2 s" in found.problem


def test_a_machine_that_hangs_in_the_middle_is_given_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that nobody writes to stands for a disk that has died."""
    monkeypatch.setattr(bootstrap_logs, "READ_TIME_MAX", timedelta(seconds=1))
    pipe = Path(machine.ground.settings.log)
    os.mkfifo(pipe)
    assert "no answer within 1 s" in machine.told().problem
    writer = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)  # lets go of whoever still reads
    os.close(writer)
