"""Workers as a SLURM job array: a script for sbatch, which needs no other file of ours.

The script holds no secret: it names the file with the store's URL, which lies on a disk that the
nodes share and which only its owner may read.
"""

import re
import shlex
from dataclasses import dataclass

from nas_service.errors import SpecError
from nas_service.launch.job import Job, whole_path, within, word
from nas_service.worker.training_process.client import WORKER_ENVIRONMENT

DIRECTIVE = re.compile(r"[a-z][a-z-]{1,30}")
OURS = ("array", "job-name", "time", "signal", "requeue", "export", "chdir", "wrap", "uid", "gid")


@dataclass(frozen=True)
class Cluster:
    """What only SLURM asks for, and where things lie on its nodes. Paths are absolute."""

    storage_file: str
    python: str  # an interpreter that has this package
    data: str
    artifacts: str
    hours: float = 4.0
    partition: str | None = None
    account: str | None = None
    directives: tuple[str, ...] = ()  # more of them, as KEY=VALUE

    def __post_init__(self) -> None:
        whole_path("--storage-file", self.storage_file)
        whole_path("--python", self.python)
        whole_path("--data", self.data)
        whole_path("--artifacts", self.artifacts)
        within("--hours", self.hours, 1 / 60, 24 * 365)


def script(job: Job, cluster: Cluster) -> str:
    """The array's script, for bash."""
    lines = ["#!/bin/bash", *(f"#SBATCH --{d}" for d in _directives(job, cluster)), ""]
    lines += [f"# {job.workers} workers of one study: each takes trials until the study ends."]
    lines += ["set -euo pipefail", "unset NAS_STORAGE  # it would go before the file"]
    return "\n".join([*lines, *_exports(job, cluster), *_start(job, cluster), ""])


def _directives(job: Job, cluster: Cluster) -> list[str]:
    found = [
        f"job-name=nas-{job.study}",
        f"array=1-{job.workers}",
        f"time={_time(cluster.hours)}",
        "ntasks=1",
        f"cpus-per-task={job.cpus}",
        f"mem={job.memory_GiB}G",
        f"signal=B:TERM@{job.grace_s}",
        "requeue",
        "open-mode=append",
        "output=%x-%A_%a.log",
    ]
    if job.gpu:
        found.append("gres=gpu:1")
    if cluster.partition is not None:
        found.append(f"partition={word('--partition', cluster.partition)}")
    if cluster.account is not None:
        found.append(f"account={word('--account', cluster.account)}")
    return found + [_directive(text) for text in cluster.directives]


def _directive(text: str) -> str:
    key, equals, value = text.partition("=")
    if not DIRECTIVE.fullmatch(key) or key in OURS:
        raise SpecError(
            f"--directive {text!r:.80}: an option of sbatch is meant, such as qos=long, "
            f"and none of {', '.join(OURS)}"
        )
    return f"{key}={word('--directive', value)}" if equals else key


def _time(hours: float) -> str:
    """D-HH:MM:SS, whole minutes, rounded up."""
    minutes = -int(-hours * 60 // 1)
    return f"{minutes // 1440}-{minutes // 60 % 24:02d}:{minutes % 60:02d}:00"


def _exports(job: Job, cluster: Cluster) -> list[str]:
    values = WORKER_ENVIRONMENT | {
        "NAS_STORAGE_FILE": cluster.storage_file,
        "NAS_ARTIFACTS": cluster.artifacts,
    }
    if job.gpu:
        values["NAS_DEVICE"] = "cuda:0"
    return [f"export {key}={shlex.quote(value)}" for key, value in values.items()]


def _start(job: Job, cluster: Cluster) -> list[str]:
    """The worker in the shell's own place, so that the signal is the worker's."""
    command = [cluster.python, "-m", "nas_service", "worker", "--study", job.study]
    said = 'echo "worker ${SLURM_ARRAY_TASK_ID:-alone} on $(hostname)"'
    return [said, f"exec {shlex.join([*command, '--data', cluster.data])}"]
