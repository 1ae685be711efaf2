"""`nas launch slurm`: a script for sbatch."""

import contextlib
import os
import sys
from pathlib import Path

import click

from nas_service.cli.common import options
from nas_service.cli.launch_options import HOURS, OUTPUT, of_workers, write
from nas_service.cli.number_types import WholeNumber
from nas_service.cli.terminal import print_err
from nas_service.errors import NasError, StoreUnreachable
from nas_service.launch.job import MOST_WORKERS, Job
from nas_service.store.database import storage_url


@click.command()
@of_workers
@click.option(
    "--hours",
    type=HOURS,
    default=4.0,
    show_default=True,
    help="Time limit of each worker. SLURM asks it to end --grace seconds before, or earlier by "
    "up to 60 s.",
)
@click.option(
    "--at-once",
    type=WholeNumber(1, MOST_WORKERS),
    metavar="N",
    help="Number of workers that may run at the same time.",
)
@click.option("--partition", help="SLURM partition that the workers run in.")
@click.option("--account", help="SLURM account that is charged for the workers.")
@click.option(
    "--directive",
    "directives",
    multiple=True,
    metavar="KEY=VALUE",
    help="Give sbatch another option, such as qos=long or constraint='a&b'.",
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
    at_once: int | None,
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

    It starts an array of workers, which are requeued after a preemption. The script sets what
    NAS_CACHE, NAS_SPOOL, PGPASSFILE and the like are here.
    """
    from nas_service.launch.slurm import Cluster, carried, script
    from nas_service.launch.slurm_site import site_notes

    cluster = Cluster(
        storage_file=_absolute(storage_file),
        python=python,
        data=str(data.absolute()),
        artifacts=str(Path(artifacts).absolute()),
        hours=hours,
        partition=partition,
        account=account,
        directives=directives,
        at_once=at_once,
        variables=carried(os.environ),
    )
    text = script(Job(study, workers, cpus, memory, gpu, grace), cluster)
    _require_study(Path(cluster.storage_file), study)
    for note in site_notes(text, workers):
        _print_note(note)
    write(text, output, "sbatch")


def _absolute(storage_file: str | None) -> str:
    if storage_file is None:
        raise NasError(
            "--storage-file or NAS_STORAGE_FILE is needed: a file with the store's URL, because "
            "the script must not hold a password"
        )
    return str(Path(storage_file).absolute())


def _require_study(storage_file: Path, study: str) -> None:
    """Refuses a study that the store does not have; a note where that cannot be seen from here."""
    from nas_service.searches.session import open_search
    from nas_service.store.store import Store

    if not storage_file.exists():
        _print_note(f"{storage_file} does not exist here; the nodes need it")
        return
    try:
        store = Store(storage_url(None, {"NAS_STORAGE_FILE": str(storage_file)}), any_disk=True)
    except StoreUnreachable as error:
        _print_note(f"this machine cannot ask the store for study {study}: {error}")
        return
    with contextlib.closing(store):
        for plugin in open_search(store, study, to_read=True).missing_plugins:
            _print_note(f"study {study} needs {plugin}: --plugin FILE lets the script name it")


def _print_note(text: str) -> None:
    print_err(f"note: {text}")
