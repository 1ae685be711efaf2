"""A SLURM of two nodes on this machine, for tests: its programs as Debian's slurm-wlm has them."""

import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from servers.postgres import free_port

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel")
CONFIGURATION = """
ClusterName=tests
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=15
MaxArraySize=65
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerTimeSlice=5
SchedulerParameters=sched_interval=1,bf_interval=1
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={n1} CPUs=4 RealMemory=16000 Feature=a,b
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={n2} CPUs=4 RealMemory=16000
PartitionName=low Nodes=n1,n2 Default=YES PriorityTier=1 GraceTime=20 MaxTime=1-0
PartitionName=high Nodes=n1,n2 PriorityTier=9
"""


def lacking() -> str:
    """The first of SLURM's programs that this machine lacks; empty if it has all of them."""
    return next((name for name in PROGRAMS if shutil.which(name) is None), "")


@dataclass
class SlurmCluster:
    """A controller and two nodes, which end with the block of `running`."""

    folder: Path
    _daemons: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def configuration(self) -> str:
        """The value of SLURM_CONF for SLURM's programs."""
        return str(self.folder / "slurm.conf")

    def run(self, *words: str, cwd: Path | None = None) -> str:
        """Runs one of SLURM's programs; returns what it prints."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NAS_")}
        done = subprocess.run(
            words,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environment | {"SLURM_CONF": self.configuration},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def submit(self, script: Path, *options: str) -> str:
        """Submits a script in its folder; returns the job's number."""
        return self.run("sbatch", "--parsable", *options, script.name, cwd=script.parent)

    def states(self, job: str) -> list[str]:
        """States of the job's tasks, in their order."""
        text = self.run("scontrol", "--oneliner", "show", "job", job)
        return [_field(line, "JobState") for line in reversed(text.splitlines())]

    def show(self, job: str, *names: str) -> list[str]:
        """Values of a job that SLURM shows."""
        text = self.run("scontrol", "show", "job", job)
        return [_field(text, name) for name in names]

    def wait_for(self, job: str, *states: str, seconds: float = 240) -> list[str]:
        """The states of the job's tasks, once all are among these."""
        wait_until(lambda: set(self.states(job)) <= set(states), seconds, lambda: self.log)
        return self.states(job)

    @property
    def log(self) -> str:
        """The end of the controller's log."""
        return (self.folder / "slurmctld.log").read_text()[-2000:]

    def _start(self, *words: str) -> None:
        command = [shutil.which(words[0]) or words[0], "-D", "-f", self.configuration, *words[1:]]
        with open(self.folder / "daemons.log", "ab") as log:
            self._daemons.append(subprocess.Popen(command, stdout=log, stderr=log))

    def _end(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            daemon.wait(timeout=60)


def _field(text: str, name: str) -> str:
    return text.partition(f" {name}=")[2].partition("\n")[0].partition(" ")[0]


def wait_until(
    true: Callable[[], bool], seconds: float, explain: Callable[[], str] = lambda: ""
) -> None:
    """Waits until a condition holds; fails after that time with what explains it."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"it did not come within {seconds:g} s\n{explain()}"
        time.sleep(0.2)


@contextmanager
def running(folder: Path) -> Iterator[SlurmCluster]:
    """A cluster whose files are in an empty folder."""
    cluster = SlurmCluster(folder)
    for name in ("state", "spool-n1", "spool-n2"):
        (folder / name).mkdir()
    ports = {"port": free_port(), "n1": free_port(), "n2": free_port()}
    text = CONFIGURATION.format(folder=folder, user=getpass.getuser(), **ports)
    Path(cluster.configuration).write_text(text)
    cluster._start("slurmctld")
    try:
        wait_until(lambda: _answers(cluster), 60)
        for node in ("n1", "n2"):
            cluster._start("slurmd", "-N", node)
        for node in ("n1", "n2"):
            wait_until(
                lambda node=node: "IDLE" in cluster.run("scontrol", "show", "node", node), 60
            )
        yield cluster
        cluster.run("scancel", f"--user={getpass.getuser()}")
        wait_until(lambda: not cluster.run("squeue", "--noheader"), 60)
    finally:
        cluster._end()


def _answers(cluster: SlurmCluster) -> bool:
    try:
        return "UP" in cluster.run("scontrol", "ping")
    except AssertionError:
        return False
