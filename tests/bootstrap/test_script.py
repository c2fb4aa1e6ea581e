"""The start-up script in real shells: what it makes, and that it can be run again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from bootstrap.ground import NODE, TOKEN, Ground, make_host_key
from navarch.bootstrap import COMPLETE_MARK, FAILED_MARK, NodeFacts, Service

SHELLS = [name for name in ("sh", "dash", "bash") if shutil.which(name)]


def eventually(condition: Callable[[], bool]) -> None:
    """Ask until it holds: other processes set no event of ours."""
    pause = threading.Event()
    for _ in range(1_000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it never came to hold")


def lives(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("shell", SHELLS)
def test_a_bare_machine_becomes_a_node(ground: Ground, shell: str) -> None:
    node = NodeFacts(
        node_id="training-k3f9-0001",
        provider="ssh",
        region="eu",
        zone="eu-1",
        instance_type="h100-8x",
        labels={"team": "ml", "odd": 'it\'s $(odd) \\ "here"\n!'},
        expected_gpus=8,
        setup_commands=(f"echo one >>{ground.root}/order", f"echo two >>{ground.root}/order"),
    )

    done = ground.run(node=node, shell=shell)

    assert done.returncode == 0, done.stdout + done.stderr
    eventually(ground.said.exists)
    assert ground.argv == [
        "agent",
        "--server=http://127.0.0.1:1",
        "--node-id=training-k3f9-0001",
        f"--state-dir={ground.settings.state_folder}",
        f"--token-file={ground.settings.config_folder}/node.token",
        "--provider=ssh",
        "--region=eu",
        "--zone=eu-1",
        "--instance-type=h100-8x",
        "--expected-gpus=8",
        "--label=team=ml",
        '--label=odd=it\'s $(odd) \\ "here"\n!',
    ]
    assert (ground.root / "order").read_text() == "one\ntwo\n"
    token = Path(ground.settings.config_folder) / "node.token"
    assert token.read_text() == f"{TOKEN}\n"
    assert token.stat().st_mode & 0o777 == 0o600
    assert COMPLETE_MARK in ground.log.splitlines()[-1]
    assert done.stdout.splitlines()[-1] == ground.log.splitlines()[-1]
    steps = [line.split(" ok ")[1] for line in ground.log.splitlines() if " ok " in line]
    assert steps == [
        *("host_keys", "remove_script", "folders", "token", "install", "program"),
        *("command-1", "command-2", "agent"),
    ]


def test_the_token_is_never_an_argument_of_a_program(ground: Ground) -> None:
    names = (
        "basename",
        "cat",
        "chmod",
        "cmp",
        "cut",
        "date",
        "dirname",
        "grep",
        "mkdir",
        "mv",
        "rm",
        "sha256sum",
        "ssh-keygen",
        "tail",
    )
    make_host_key(ground.root)
    for name in names:
        real = shutil.which(name)
        ground.program(name, f'#!/bin/sh\necho "{name} $*" >>"{ground.calls}"\nexec {real} "$@"\n')

    exported = {"TOKEN": "exported", "NODE": "exported"}
    done = ground.run(environ={**exported, "NAVARCH_BOOTSTRAP_HOST_KEYS": str(ground.root)})

    assert done.returncode == 0
    assert "grep -qxF -e file" in ground.calls.read_text()
    assert "sha256sum" in ground.calls.read_text()
    assert TOKEN not in ground.calls.read_text()
    eventually(lambda: len(ground.agents()) == 1)
    (agent,) = ground.agents()
    assert TOKEN.encode() not in Path(f"/proc/{agent}/environ").read_bytes()
    assert TOKEN not in ground.log + done.stdout + done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_the_step_that_fails_is_named_and_is_the_last(ground: Ground, shell: str) -> None:
    commands = ("echo fine", "echo trouble >&2; false; echo not reached", "echo never")

    done = ground.run(node=structs.replace(NODE, setup_commands=commands), shell=shell)

    assert done.returncode == 1
    assert f"{FAILED_MARK} step=command-2 code=1 node=training-k3f9-0001" in done.stdout
    assert "trouble" in ground.log
    assert "not reached" not in ground.log
    assert "never" not in ground.log
    assert not ground.said.exists()


def test_a_command_with_a_syntax_error_fails_alone(ground: Ground) -> None:
    commands = ("echo fine", "if then 'unfinished")

    done = ground.run(node=structs.replace(NODE, setup_commands=commands))

    assert done.returncode == 1
    assert "ok command-1" in ground.log
    assert "FAILED step=command-2 code=2" in ground.log


def test_a_command_that_leaves_a_daemon_behind_does_not_hold_the_script_up(ground: Ground) -> None:
    daemon = f"sleep 600 & echo $! >{ground.root}/daemon"

    done = ground.run(node=structs.replace(NODE, setup_commands=(daemon,)))

    assert done.returncode == 0
    os.kill(int((ground.root / "daemon").read_text()), signal.SIGKILL)


def test_run_again_it_changes_nothing(ground: Ground) -> None:
    node = structs.replace(NODE, setup_commands=(f"echo once >>{ground.root}/order",))
    assert ground.run(node=node).returncode == 0
    eventually(lambda: len(ground.agents()) == 1)
    before, supervisor, agents = ground.files(), ground.supervisor(), ground.agents()

    again = ground.run(node=node)

    assert again.returncode == 0
    assert COMPLETE_MARK in again.stdout
    assert "skip command-1: done before" in again.stdout
    assert ground.files() == before
    assert ground.supervisor() == supervisor
    assert ground.agents() == agents
    assert (ground.root / "order").read_text() == "once\n"


def test_run_again_after_a_failure_it_does_what_is_left(ground: Ground) -> None:
    flag = ground.root / "repaired"
    node = structs.replace(
        NODE, setup_commands=(f"echo once >>{ground.root}/order", f"test -e {flag}")
    )
    assert ground.run(node=node).returncode == 1
    flag.touch()

    assert ground.run(node=node).returncode == 0

    assert (ground.root / "order").read_text() == "once\n"
    assert COMPLETE_MARK in ground.log.splitlines()[-1]


def test_a_new_token_starts_the_agent_anew_and_repeats_no_command(ground: Ground) -> None:
    node = structs.replace(NODE, setup_commands=(f"echo once >>{ground.root}/order",))
    ground.run(node=node)
    eventually(lambda: len(ground.agents()) == 1)
    before = ground.agents()

    assert ground.run(node=node, token="another-token").returncode == 0

    eventually(lambda: len(ground.agents()) == 1)
    assert ground.agents() != before
    assert (Path(ground.settings.config_folder) / "node.token").read_text() == "another-token\n"
    assert (ground.root / "order").read_text() == "once\n"


def test_what_somebody_else_made_is_not_overwritten(ground: Ground) -> None:
    theirs = Path(ground.settings.config_folder) / "node.token"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")

    done = ground.run()

    assert done.returncode == 1
    assert "FAILED step=token" in done.stdout
    assert f"{theirs} is there already and is not ours" in done.stdout
    assert theirs.read_text() == "theirs"


def test_removal_leaves_what_was_there_before_and_ends_the_agent(ground: Ground) -> None:
    theirs = Path(ground.settings.config_folder) / "of-others"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    before = ground.files()
    assert ground.run().returncode == 0
    eventually(lambda: len(ground.agents()) == 1)
    running = [ground.supervisor(), *ground.agents()]
    state = Path(ground.settings.state_folder)
    (state / "commands.jsonl").write_text("of the agent")

    removed = ground.remove()

    assert removed.returncode == 0, removed.stderr
    after = ground.files()
    assert {name: after[name] for name in before} == before
    assert sorted(set(after) - set(before)) == []
    # Killed is not gone: on a busy machine the kernel takes a moment.
    eventually(lambda: not any(lives(pid) for pid in running))


def test_a_folder_in_which_others_have_put_something_stays(ground: Ground) -> None:
    assert ground.run().returncode == 0
    theirs = Path(ground.settings.folder) / "of-others"
    theirs.write_text("theirs")

    removed = ground.remove()

    assert removed.returncode == 0
    assert f"left: {ground.settings.folder} holds what others made" in removed.stdout
    assert theirs.read_text() == "theirs"
    assert not (Path(ground.settings.folder) / "run-agent").exists()


def test_a_state_folder_of_others_keeps_its_mode_and_stays(ground: Ground) -> None:
    state = Path(ground.settings.state_folder)
    state.mkdir(parents=True, mode=0o755)

    assert ground.run().returncode == 0
    assert ground.remove().returncode == 0

    assert state.stat().st_mode & 0o777 == 0o755


def test_an_agent_that_dies_is_started_again(ground: Ground) -> None:
    ground.run()
    eventually(lambda: len(ground.agents()) == 1)
    (first,) = ground.agents()

    os.kill(first, signal.SIGKILL)

    eventually(lambda: ground.agents() not in ([], [first]))
    log = Path(ground.settings.state_folder) / "agent.log"
    assert "the agent has ended with 137 and is started again" in log.read_text()


def test_systemd_is_given_a_unit_and_no_secret(ground: Ground) -> None:
    settings = ground.with_systemd()

    assert ground.run(settings).returncode == 0
    calls = ground.calls.read_text().splitlines()
    assert ground.run(settings).returncode == 0
    calls_again = ground.calls.read_text().splitlines()[len(calls) :]

    unit = Path(settings.unit_folder) / "navarch-agent.service"
    assert f"ExecStart={settings.folder}/run-agent\n" in unit.read_text()
    assert "Restart=always\n" in unit.read_text()
    assert TOKEN not in unit.read_text()
    service = "navarch-agent.service"
    assert calls == [
        "daemon-reload",
        f"enable {service}",
        f"restart {service}",
        f"is-active {service}",
    ]
    assert calls_again[2] == f"start {service}"
    assert (Path(settings.folder) / "run-agent").stat().st_mode & 0o777 == 0o700


def test_replicas_outlive_an_agent_that_systemd_restarts(ground: Ground) -> None:
    settings = ground.with_systemd()
    unit = Path(settings.unit_folder) / "navarch-agent.service"
    assert ground.run(settings).returncode == 0
    assert "KillMode" not in unit.read_text()
    serving = structs.replace(settings, agent_options=(*settings.agent_options, "--serving"))
    assert ground.run(serving).returncode == 0
    assert "KillMode=process\n" in unit.read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(ground: Ground) -> None:
    settings = ground.with_systemd()
    ground.run(settings)

    unit = Path(settings.unit_folder) / "navarch-agent.service"
    verdict = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (verdict.returncode, verdict.stderr) == (0, "")


def test_removal_ends_the_unit_first(ground: Ground) -> None:
    settings = ground.with_systemd()
    ground.run(settings)
    ground.calls.unlink()

    assert ground.remove().returncode == 0

    assert ground.calls.read_text().splitlines() == [
        "disable --now navarch-agent.service",
        "daemon-reload",
    ]
    assert not Path(settings.unit_folder).exists()


def test_a_removal_that_fails_is_told_and_can_be_repeated(ground: Ground) -> None:
    settings = ground.with_systemd()
    ground.run(settings)
    ground.program("systemctl", "#!/bin/sh\nexit 1\n")

    refused = ground.remove()
    ground.with_systemd()
    repeated = ground.remove()

    assert refused.returncode == 1
    assert "not removed" in refused.stderr
    assert repeated.returncode == 0
    assert not Path(settings.folder).exists()


def test_a_user_is_made_once_and_only_ours_is_removed(ground: Ground) -> None:
    made = ground.root / "user"
    ground.program("id", f'#!/bin/sh\n[ $# -eq 1 ] && {{ echo 0; exit; }}\ntest -e "{made}"\n')
    ground.program("useradd", f'#!/bin/sh\necho "$*" >>"{made}"\n')
    ground.program("userdel", f'#!/bin/sh\nrm "{made}"; echo "userdel $*" >>"{ground.calls}"\n')
    ground.program("chown", f'#!/bin/sh\necho "chown $*" >>"{ground.calls}"\n')
    settings = ground.with_systemd(user="navarch")

    assert ground.run(settings).returncode == 0
    assert ground.run(settings).returncode == 0

    home = settings.state_folder
    assert made.read_text() == (
        f"--system --user-group --no-create-home --home-dir {home} "
        "--shell /usr/sbin/nologin navarch\n"
    )
    assert f"chown navarch {settings.config_folder}/node.token.new" in ground.calls.read_text()
    assert "User=navarch\n" in (Path(settings.unit_folder) / "navarch-agent.service").read_text()
    assert ground.remove().returncode == 0
    assert "userdel navarch" in ground.calls.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_supervised_agent_runs_as_its_user(ground: Ground) -> None:
    ground.root.chmod(0o755)
    ground.said.touch()
    ground.said.chmod(0o666)

    assert ground.run(structs.replace(ground.settings, user="daemon")).returncode == 0

    eventually(lambda: len(ground.agents()) == 1)
    (agent,) = ground.agents()
    assert Path(f"/proc/{agent}").stat().st_uid == Path("/usr/sbin").stat().st_uid + 1


VENV = """\
#!/bin/sh
echo "$*" >>"{calls}"
case "$*" in
-m\\ venv*)
  for last in "$@"; do :; done
  mkdir -p "$last/bin"
  cp "$0" "$last/bin/python"
  cp "{agent}" "$last/bin/navarch"
  : >"$last/bin/pip"; chmod +x "$last/bin/pip" ;;
esac
"""


def test_the_agent_is_installed_into_an_environment_of_its_own(ground: Ground) -> None:
    agent = ground.programs / "navarch"
    ground.program("python3.12", VENV.format(calls=ground.calls, agent=agent))
    settings = structs.replace(
        ground.settings,
        executable="",
        requirement="navarch[nvml]==1.2.3",
        pip_options=("--no-deps", "--retries=1"),
        python="python3.12",
        environment={"HTTPS_PROXY": "http://proxy:3128"},
    )

    assert ground.run(settings).returncode == 0
    calls = ground.calls.read_text().splitlines()
    assert ground.run(settings).returncode == 0

    options = "--disable-pip-version-check --no-input --no-deps --retries=1"
    assert calls[1:] == [
        f"-m venv --clear {settings.folder}/venv",
        f"-m pip install {options} navarch[nvml]==1.2.3",
    ]
    repeated = ground.calls.read_text().splitlines()[len(calls) :]
    assert [call for call in repeated if "pip" in call] == []
    eventually(lambda: len(ground.agents()) == 1)
    (pid,) = ground.agents()
    assert b"HTTPS_PROXY=http://proxy:3128" in Path(f"/proc/{pid}/environ").read_bytes()
    assert ground.remove().returncode == 0
    assert not Path(settings.folder).exists()


def test_a_python_that_is_too_old_is_named(ground: Ground) -> None:
    ground.program("python3.9", "#!/bin/sh\nexit 1\n")

    done = ground.run(structs.replace(ground.settings, executable="", python="python3.9"))

    assert "FAILED step=install" in done.stdout
    assert "python3.9 is not there, or is older than Python 3.11" in done.stdout


def test_what_the_pool_wants_runs_before_its_commands_in_its_own_language(ground: Ground) -> None:
    node = structs.replace(
        NODE,
        user_data=f"#!{shutil.which('python3')}\nopen('{ground.root}/order', 'a').write('data,')\n",
        setup_commands=(f"echo command >>{ground.root}/order",),
    )
    settings = structs.replace(
        ground.settings, prepare_commands=(f"printf prepare, >>{ground.root}/order",)
    )

    assert ground.run(settings, node).returncode == 0

    assert (ground.root / "order").read_text() == "prepare,data,command\n"


def test_log_and_record_can_be_told_from_outside(ground: Ground) -> None:
    elsewhere = ground.root / "lease"

    done = ground.run(
        environ={
            "NAVARCH_BOOTSTRAP_LOG": str(elsewhere / "bootstrap.log"),
            "NAVARCH_BOOTSTRAP_RECORD": str(elsewhere),
        }
    )

    assert done.returncode == 0
    assert COMPLETE_MARK in (elsewhere / "bootstrap.log").read_text()
    assert not Path(ground.settings.log).exists()
    assert ground.run_file(elsewhere / "remove").returncode == 0
    assert sorted(path.name for path in elsewhere.iterdir()) == ["bootstrap.log"]


def test_a_log_that_has_grown_too_long_is_begun_anew(ground: Ground) -> None:
    log = Path(ground.settings.log)
    log.write_bytes(b"x" * 5_000_000)

    ground.run()

    assert log.stat().st_size < 10_000
    assert log.with_name("bootstrap.log.old").stat().st_size == 5_000_000


def test_a_machine_where_nothing_can_be_written_is_no_node(ground: Ground) -> None:
    settings = structs.replace(ground.settings, log="/proc/nowhere/bootstrap.log")

    done = ground.run(settings)

    assert done.returncode == 1
    assert not ground.said.exists()


def test_the_service_is_chosen_by_what_runs(ground: Ground) -> None:
    settings = structs.replace(ground.settings, service=Service.AUTO)

    done = ground.run(settings)

    assert done.returncode == 0
    expected = "unit" if Path("/run/systemd/system").is_dir() else "supervisor"
    assert [
        line
        for line in (ground.record / "made").read_text().splitlines()
        if line.startswith(expected)
    ]
