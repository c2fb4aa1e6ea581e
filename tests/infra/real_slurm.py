"""A real Slurm on this machine: a controller, and nodes of eight H100s that are only claimed.

Debian's slurmd can be told which node it is, so several run on one host. What the configuration
needs for that is not obvious and stands here with its reasons. Needs root, and the packages
``slurm-wlm`` and ``munge``; everything lives in one folder, on ports that were free, and is ended
by process id.
"""

from __future__ import annotations

import os
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from infra.real_parts import end, free_ports, require, wait_for

PARTITION = "train"
EMPTY = "empty"
"""A partition that has no node."""

CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
# Schedule at once: a test waits for each decision.
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# A node may claim CPUs and memory that this machine does not have.
SlurmdParameters=config_overrides
SlurmctldTimeout=30
# A node that does not answer for this long is seen as such: as short as Slurm does well.
SlurmdTimeout=5
KillWait=1
GresTypes=gpu
"""


def require_slurm() -> None:
    """Skip the test loudly unless a Slurm can be started here."""
    require(["slurmctld", "slurmd", "munged", "squeue", "sinfo", "sbatch"], "slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: a Slurm of our own needs root")


class RealSlurm:
    """A running Slurm, and the commands that a test gives it."""

    def __init__(self, folder: Path, nodes: int) -> None:
        """Write the configuration and start everything; returns when all nodes are idle."""
        self.folder = folder
        self.nodes = [f"gpu{n + 1}" for n in range(nodes)]
        self.configuration = folder / "slurm.conf"
        self._write()
        self.environment = {**os.environ, "SLURM_CONF": str(self.configuration)}
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def command(self, *words: str) -> str:
        """Run a command of Slurm and return what it prints."""
        run = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert run.returncode == 0, f"{' '.join(words)}: {run.stderr}"
        return run.stdout

    def submit(self, *options: str) -> str:
        """Queue a job that runs for minutes, and return its id."""
        where = [f"--chdir={self.folder}", "--output=/dev/null", "--parsable"]
        return self.command("sbatch", *where, *options, "--wrap=sleep 300").strip()

    def states(self) -> dict[str, str]:
        """Each node's state in Slurm's own words."""
        lines = self.command("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
        return dict(line.split() for line in lines)

    def reset(self) -> None:
        """Cancel every job and put every node back to work; returns when all are idle."""
        if jobs := self.command("squeue", "--noheader", "--format=%A").split():
            self.command("scancel", *jobs)
        wait_for(lambda: not self.command("squeue", "--noheader"), "no job is left")
        for name, state in self.states().items():
            if state.startswith(("drain", "down")):
                self.command("scontrol", "update", f"nodename={name}", "state=resume")
        wait_for(lambda: set(self.states().values()) == {"idle"}, "all nodes are idle")

    def stop_controller(self) -> None:
        """End slurmctld; what runs goes on."""
        end(self._pids("slurmctld.pid"))

    def start_controller(self) -> None:
        """Start slurmctld, with the state it had."""
        subprocess.run(
            ["slurmctld", "-f", str(self.configuration)], env=self.environment, check=True
        )

    def kill_node(self, name: str) -> None:
        """End a node's slurmd without a word to the controller."""
        [pid] = self._pids(f"slurmd.{name}.pid")
        os.kill(pid, 9)

    def start_node(self, name: str) -> None:
        """Start a node's slurmd."""
        command = ["slurmd", "-N", name, "-f", str(self.configuration)]
        subprocess.run(command, env=self.environment, check=True)

    def stop(self) -> None:
        """End jobs first, since those outlive their slurmd, and then everything else."""
        with suppress(AssertionError, subprocess.SubprocessError, OSError):
            self.reset()
        end(self._pids("*.pid"), seconds=2)

    def _pids(self, pattern: str) -> list[int]:
        texts = [file.read_text().strip() for file in self.folder.glob(pattern)]
        return [int(text) for text in texts if text]

    def _write(self) -> None:
        port, *node_ports = free_ports(1 + len(self.nodes))
        lines = [CONFIGURATION.format(folder=self.folder, port=port)]
        lines += [
            f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={node_port} "
            "CPUs=96 RealMemory=1000000 Gres=gpu:h100:8 State=UNKNOWN\n"
            for name, node_port in zip(self.nodes, node_ports, strict=True)
        ]
        lines += [
            f"PartitionName={PARTITION} Nodes={','.join(self.nodes)} Default=YES State=UP\n",
            f"PartitionName={EMPTY} State=UP\n",
        ]
        self.configuration.write_text("".join(lines))
        gpus = f"Name=gpu Type=h100 File={self.folder}/nvidia[0-7]"
        gres = [f"NodeName={name} {gpus}\n" for name in self.nodes]
        (self.folder / "gres.conf").write_text("AutoDetect=off\n" + "".join(gres))
        cgroup = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainDevices=no\n"
        (self.folder / "cgroup.conf").write_text(cgroup)
        for name in ("state", *(f"spool.{node}" for node in self.nodes)):
            (self.folder / name).mkdir()

    def _start(self) -> None:
        try:
            for n in range(8):
                # GPUs must be character devices: plain files are refused. This one is /dev/null.
                device = os.makedev(1, 3)
                os.mknod(self.folder / f"nvidia{n}", 0o600 | stat.S_IFCHR, device)
        except PermissionError:
            pytest.skip("NOT TESTED: a Slurm of our own needs to make device files")
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        options = {
            "--key-file": key,
            "--socket": self.folder / "munge.socket",
            "--pid-file": self.folder / "munged.pid",
            "--log-file": self.folder / "munged.log",
            "--seed-file": self.folder / "munged.seed",
        }
        given = [f"{option}={value}" for option, value in options.items()]
        subprocess.run(["munged", "--force", *given], check=True)
        self.start_controller()
        for name in self.nodes:
            self.start_node(name)
        wait_for(self._is_up, f"all nodes are idle, see {self.folder}")

    def _is_up(self) -> bool:
        try:
            return list(self.states().values()) == ["idle"] * len(self.nodes)
        except AssertionError:
            return False
