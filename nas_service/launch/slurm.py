"""Workers as a SLURM job array: a script for sbatch, complete in itself.

The script holds no secret. It names the file with the store's URL, which is on a disk that the
nodes share, and which only its owner may read.
"""

import re
import shlex
from dataclasses import dataclass

from nas_service.errors import SpecError
from nas_service.launch.job import Job, absolute_path, within, word
from nas_service.worker.training_process.client import WORKER_ENVIRONMENT

DIRECTIVE = re.compile(r"[a-z][a-z-]{1,30}")
RESERVED = (
    "array",
    "job-name",
    "time",
    "signal",
    "requeue",
    "export",
    "chdir",
    "wrap",
    "uid",
    "gid",
)


@dataclass(frozen=True)
class Cluster:
    """Settings of SLURM, and paths on its nodes, which are absolute.

    Raises:
        SpecError: A path is not absolute, or a value is out of its range.
    """

    storage_file: str
    python: str  # interpreter in whose environment this package is installed
    data: str
    artifacts: str
    hours: float = 4.0
    partition: str | None = None
    account: str | None = None
    directives: tuple[str, ...] = ()  # further options of sbatch, as KEY=VALUE

    def __post_init__(self) -> None:
        absolute_path("--storage-file", self.storage_file)
        absolute_path("--python", self.python)
        absolute_path("--data", self.data)
        absolute_path("--artifacts", self.artifacts)
        within("--hours", self.hours, 1 / 60, 24 * 365)


def script(job: Job, cluster: Cluster) -> str:
    """The script of the array, for bash.

    Args:
        job: The study and its workers.
        cluster: Settings of SLURM.

    Returns:
        The text of the script.

    Raises:
        SpecError: A partition, account or directive is not a plain word.
    """
    lines = ["#!/bin/bash", *(f"#SBATCH --{d}" for d in _directives(job, cluster)), ""]
    lines += [f"# {job.workers} workers of one study: each takes trials until the study ends."]
    lines += ["set -euo pipefail", "unset NAS_STORAGE  # it would be used instead of the file"]
    return "\n".join([*lines, *_exports(job, cluster), *_start(job, cluster), ""])


def _directives(job: Job, cluster: Cluster) -> list[str]:
    directives = [
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
        directives.append("gres=gpu:1")
    if cluster.partition is not None:
        directives.append(f"partition={word('--partition', cluster.partition)}")
    if cluster.account is not None:
        directives.append(f"account={word('--account', cluster.account)}")
    return directives + [_directive(text) for text in cluster.directives]


def _directive(text: str) -> str:
    key, equals, value = text.partition("=")
    if not DIRECTIVE.fullmatch(key) or key in RESERVED:
        raise SpecError(
            f"--directive {text!r:.80}: an option of sbatch is needed, such as qos=long, "
            f"and none of {', '.join(RESERVED)}"
        )
    return f"{key}={word('--directive', value)}" if equals else key


def _time(hours: float) -> str:
    """The time as D-HH:MM:SS, rounded up to whole minutes."""
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
    """Lines that replace the shell by the worker, so that the worker gets the signals."""
    command = [cluster.python, "-m", "nas_service", "worker", "--study", job.study]
    greeting = 'echo "worker ${SLURM_ARRAY_TASK_ID:-alone} on $(hostname)"'
    return [greeting, f"exec {shlex.join([*command, '--data', cluster.data])}"]
