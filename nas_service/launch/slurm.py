"""Workers as a SLURM job array: a script for sbatch, complete in itself.

The script holds no secret. It names the file with the store's URL, which is on a disk that the
nodes share, and which only its owner may read.
"""

import math
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from nas_service.errors import SpecError
from nas_service.launch.job import Job, absolute_path, within, word
from nas_service.launch.sbatch_options import SbatchOption, merged, parse
from nas_service.worker.training_process.client import WORKER_ENVIRONMENT

EARLY_s = 60  # how much earlier than asked for SLURM may send its signal (man sbatch, --signal)
START_s = 30  # of a worker, until its first training
PATHS = ("NAS_CACHE", "NAS_SPOOL", "PGPASSFILE", "PGSERVICEFILE", "PGSSLCERT", "PGSSLKEY")
WORDS = ("NAS_NEURONS", "PGSERVICE", "PGSSLMODE", "PGSSLROOTCERT", "PGCONNECT_TIMEOUT")
PLUGINS = "NAS_PLUGIN"  # absolute paths, as the command has loaded them


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
    at_once: int | None = None  # tasks of the array that may run at the same time
    variables: Mapping[str, str] = field(default_factory=dict)  # environment, as of `carried`

    def __post_init__(self) -> None:
        absolute_path("--storage-file", self.storage_file)
        absolute_path("--python", self.python)
        absolute_path("--data", self.data)
        absolute_path("--artifacts", self.artifacts)
        within("--hours", self.hours, 1 / 60, 24 * 365)


def carried(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of this environment that a worker reads and that hold no secret.

    Args:
        environment: Variables of this process.

    Returns:
        Those that are set, with absolute paths.

    Raises:
        SpecError: A value has control characters.
    """
    values = {key: os.path.abspath(environment[key]) for key in PATHS if environment.get(key)}
    values |= {key: environment[key] for key in (*WORDS, PLUGINS) if environment.get(key)}
    for key, value in values.items():
        if not value.isprintable():
            raise SpecError(f"{key}={value!r:.80}: a value without control characters is needed")
    return values


def script(job: Job, cluster: Cluster) -> str:
    """The script of the array, for bash.

    Args:
        job: The study and its workers.
        cluster: Settings of SLURM.

    Returns:
        The text of the script.

    Raises:
        SpecError: A partition, account or directive is not valid, or the time is too short for a
            training.
    """
    lines = ["#!/bin/bash", *(option.line for option in _options(job, cluster)), ""]
    lines += [f"# {job.workers} workers of one study: each takes trials until the study ends."]
    lines += [f"# SLURM may ask them to end up to {EARLY_s} s earlier than --signal says."]
    lines += ["set -euo pipefail", "unset NAS_STORAGE  # it would be used instead of the file"]
    return "\n".join([*lines, *_exports(job, cluster), *_start(job, cluster), ""])


def _options(job: Job, cluster: Cluster) -> list[SbatchOption]:
    values: dict[str, str | None] = {
        "job-name": f"nas-{job.study}",
        "array": _array(job.workers, cluster.at_once),
        "time": _time(_minutes(job, cluster.hours)),
        "ntasks": "1",
        "cpus-per-task": str(job.cpus),
        "mem": f"{job.memory_GiB}G",
        "signal": f"B:TERM@{job.grace_s}",
        "requeue": None,
        "open-mode": "append",
        "output": "%x-%A_%a.log",
    }
    if job.gpu:
        values["gres"] = "gpu:1"
    if cluster.partition is not None:
        values["partition"] = word("--partition", cluster.partition)
    if cluster.account is not None:
        values["account"] = word("--account", cluster.account)
    own = [SbatchOption(key, value) for key, value in values.items()]
    return merged(own, _added(job, cluster))


def _added(job: Job, cluster: Cluster) -> list[SbatchOption]:
    options = [parse(text) for text in cluster.directives]
    given = {"partition": cluster.partition, "account": cluster.account}
    for option in options:
        if option.asks_for_gpu and not job.gpu:
            raise SpecError(
                f"--directive {option.text!r:.80}: --gpu is needed too, else the workers train on "
                "the processor"
            )
        if given.get(option.key) is not None:
            raise SpecError(f"--directive {option.text!r:.80}: --{option.key} is given too")
    return options


def _array(workers: int, at_once: int | None) -> str:
    """The range of task numbers, with the number that may run at once."""
    if at_once is None:
        return f"1-{workers}"
    within("--at-once", at_once, 1, workers)
    return f"1-{workers}%{at_once}"


def _minutes(job: Job, hours: float) -> int:
    """The time limit in whole minutes, as SLURM counts it; 1/60 h is one, however it is rounded.

    Raises:
        SpecError: A task could end before its worker has trained anything.
    """
    minutes = math.ceil(round(hours * 3600) / 60)
    least = math.ceil((START_s + job.grace_s + EARLY_s) / 60)
    if minutes < least:
        raise SpecError(
            f"--hours {hours:g}, {minutes} min: workers could train nothing, because SLURM asks "
            f"them to end --grace {job.grace_s} s before the limit and up to {EARLY_s} s earlier; "
            f"at least {least} min (--hours {math.ceil(least / 60 * 1000) / 1000:g}) are needed"
        )
    return minutes


def _time(minutes: int) -> str:
    """The time as D-HH:MM:SS."""
    return f"{minutes // 1440}-{minutes // 60 % 24:02d}:{minutes % 60:02d}:00"


def _exports(job: Job, cluster: Cluster) -> list[str]:
    values = {**cluster.variables, **WORKER_ENVIRONMENT}
    values["NAS_STORAGE_FILE"] = cluster.storage_file
    values["NAS_ARTIFACTS"] = cluster.artifacts
    if job.gpu:
        values["NAS_DEVICE"] = "cuda:0"
    return [f"export {key}={shlex.quote(value)}" for key, value in values.items()]


def _start(job: Job, cluster: Cluster) -> list[str]:
    """Lines that replace the shell by the worker, so that the worker gets the signals."""
    command = [cluster.python, "-m", "nas_service", "worker", "--study", job.study]
    greeting = 'echo "worker ${SLURM_ARRAY_TASK_ID:-alone} on $(hostname)"'
    return [greeting, f"exec {shlex.join([*command, '--data', cluster.data])}"]
