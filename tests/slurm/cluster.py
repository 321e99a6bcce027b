"""A Slurm cluster of one machine in a temporary folder: munged, slurmctld and one or two slurmd."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun")

# Two nodes of the same machine, told apart by their ports, so that one can die. Without control groups, which
# containers do not have, processes are tracked by their parents.
CONFIGURATION = """
ClusterName=trickbench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=defer,sched_interval=2,bf_interval=3,batch_sched_delay=1
ReturnToService=2
SlurmdTimeout=20
KillWait=15
JobRequeue=1
MinJobAge=60
NodeName={names} NodeHostname={host} NodeAddr=127.0.0.1 Port={node_ports} CPUs=2 Boards=1 SocketsPerBoard=1 \
CoresPerSocket=2 ThreadsPerCore=1 RealMemory=64000
PartitionName=main Nodes={names} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Return why no cluster can be started here; None if one can."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"needs Slurm ({', '.join(absent)} are missing): apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "starts a cluster, which needs root"


class Cluster:
    """A cluster that ends with its `with` block.

    Args:
        folder: A folder for its state and logs.
        nodes: Number of nodes.
    """

    def __init__(self, folder: Path, nodes: int = 2) -> None:
        self.folder = folder
        self.names = tuple(f"node{number}" for number in range(1, nodes + 1))
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        # Commands find their configuration by this variable.
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def __enter__(self) -> Cluster:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End all jobs and daemons."""
        if "slurmctld" in self._daemons:
            subprocess.run(["scancel", "--user", "root"], env=self.environment, check=False)
            self._wait(lambda: not self.queue(), 30, "jobs end", fails=False)
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _start(self) -> None:
        folder = self.folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        (folder / "state").mkdir(exist_ok=True)
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        ports = [_free_port() for _ in range(len(self.names) + 1)]
        text = CONFIGURATION.format(
            host=socket.gethostname(),
            folder=folder,
            port=ports[0],
            names=",".join(self.names),
            node_ports=",".join(map(str, ports[1:])),
        )
        (folder / "slurm.conf").write_text(text, encoding="utf-8")
        self._run(
            "munged",
            [
                *("munged", "--foreground", "--force", "--key-file", str(key)),
                *("--socket", str(folder / "munge.socket")),
                *("--pid-file", str(folder / "munged.pid")),
                *("--log-file", str(folder / "munged.log")),
                *("--seed-file", str(folder / "munged.seed")),
            ],
        )
        self._wait(lambda: (folder / "munge.socket").exists(), 20, "munged starts")
        self._run("slurmctld", ["slurmctld", "-D", "-c"])
        for name in self.names:
            self.start_node(name)
        self._wait(lambda: self.states() == dict.fromkeys(self.names, "idle"), 60, "nodes are idle")

    def start_node(self, name: str) -> None:
        """Start a node's daemon."""
        (self.folder / f"spool-{name}").mkdir(exist_ok=True)
        self._run(name, ["slurmd", "-D", "-N", name])

    def kill_node(self, name: str) -> None:
        """Kill a node's daemon and everything that it has started, as a power cut does."""
        daemon = self._daemons.pop(name)
        for pid in [daemon.pid, *_steps(name)]:
            for child in [pid, *_descendants(pid)]:
                _kill(child)
        daemon.wait()

    def states(self) -> dict[str, str]:
        """Return the state of each node."""
        answer = self.call(["sinfo", "--noheader", "--Node", "--format", "%N %T"])
        return dict(line.split() for line in answer.splitlines())

    def queue(self) -> dict[str, str]:
        """Return the state of each job that waits or runs."""
        answer = self.call(["squeue", "--noheader", "-r", "--format", "%i %T"])
        return dict(line.split() for line in answer.splitlines())

    def call(self, command: Sequence[str], variables: Mapping[str, str] | None = None) -> str:
        """Run a command of Slurm, and return its output."""
        answer = subprocess.run(
            command,
            env={**self.environment, **(variables or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        return answer.stdout

    def _run(self, name: str, command: Sequence[str]) -> None:
        with (self.folder / f"{name}.out").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def _wait(
        self, condition: Callable[[], object], seconds: float, what: str, fails: bool = True
    ) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                if fails:
                    raise AssertionError(f"{what}: not within {seconds:.0f} s; logs: {self.folder}")
                return
            time.sleep(0.5)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _steps(node: str) -> list[int]:
    """Return the processes that manage jobs of a node; they are no children of its daemon."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == "slurmstepd" and any(
                child.environ().get("SLURMD_NODENAME") == node for child in process.children()
            ):
                found.append(process.pid)
    return found


def _descendants(parent: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(parent).children(recursive=True)]
    except psutil.Error:
        return []


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
