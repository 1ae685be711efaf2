"""`nas launch slurm`: a script for sbatch."""

import sys
from pathlib import Path

import click

from nas_service.cli.common import options
from nas_service.cli.launch_options import (
    CPUS,
    GPU,
    GRACE,
    HOURS,
    MEMORY,
    OUTPUT,
    STUDY,
    WORKERS,
    write,
)
from nas_service.cli.terminal import err, plain
from nas_service.errors import NasError
from nas_service.launch.job import Job
from nas_service.store.database import storage_url


@click.command()
@STUDY
@WORKERS
@CPUS
@MEMORY
@GPU
@GRACE
@click.option(
    "--hours", type=HOURS, default=4.0, show_default=True, help="Time limit of each worker."
)
@click.option("--partition", help="SLURM partition to run in.")
@click.option("--account", help="SLURM account to charge.")
@click.option(
    "--directive",
    "directives",
    multiple=True,
    metavar="KEY=VALUE",
    help="Another option of sbatch, such as qos=long.",
)
@click.option(
    "--storage-file",
    envvar="NAS_STORAGE_FILE",
    help="File with the store's URL, as the workers see it.",
)
@click.option(
    "--python", default=sys.executable, help="Python interpreter of the nodes, with nas-service."
)
@click.option(
    "--artifacts",
    envvar="NAS_ARTIFACTS",
    default="nas-artifacts",
    show_default=True,
    help="Folder of trained weights, on a disk that all nodes share.",
)
@options("data")
@OUTPUT
def slurm(
    study: str,
    workers: int,
    cpus: int,
    memory: int,
    gpu: bool,
    grace: int,
    hours: float,
    partition: str | None,
    account: str | None,
    directives: tuple[str, ...],
    storage_file: str | None,
    python: str,
    artifacts: str,
    data: Path,
    output: Path | None,
) -> None:
    """Write a script for sbatch.

    It starts an array of workers, which are requeued after a preemption.
    """
    from nas_service.launch.slurm import Cluster, script

    cluster = Cluster(
        storage_file=_checked(storage_file),
        python=python,
        data=str(data.absolute()),
        artifacts=str(Path(artifacts).absolute()),
        hours=hours,
        partition=partition,
        account=account,
        directives=directives,
    )
    write(script(Job(study, workers, cpus, memory, gpu, grace), cluster), output, "sbatch")


def _checked(storage_file: str | None) -> str:
    """The absolute path of the file, which may exist on the nodes alone."""
    if storage_file is None:
        raise NasError(
            "--storage-file or NAS_STORAGE_FILE is needed: a file with the store's URL, because "
            "the script must not hold a password"
        )
    path = Path(storage_file).absolute()
    if path.exists():
        storage_url(None, {"NAS_STORAGE_FILE": str(path)})
    else:
        err.print(f"note: {plain(path)} does not exist here; the nodes need it", markup=False)
    return str(path)
