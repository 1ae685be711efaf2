"""`nas launch dask`: workers on a Dask cluster until the study ends."""

import os
from pathlib import Path
from typing import Any

import click

from nas_service.cli.common import options
from nas_service.cli.launch_options import STUDY
from nas_service.cli.number_types import WholeNumber
from nas_service.cli.terminal import err, out, plain
from nas_service.errors import NasError
from nas_service.launch.job import MOST_WORKERS
from nas_service.store.database import checked_url, storage_url


@click.command()
@STUDY
@click.option("--scheduler", help="Address of a running scheduler, or its JSON file.")
@click.option(
    "--local",
    type=WholeNumber(1, 256),
    metavar="N",
    help="Start a cluster of N workers on this machine.",
)
@click.option(
    "--workers",
    type=WholeNumber(1, MOST_WORKERS),
    help="Number of workers. Default: the current number of threads of the cluster.",
)
@click.option(
    "--restarts",
    type=WholeNumber(0, 1000),
    default=10,
    show_default=True,
    help="Restarts of each worker that fails or is lost.",
)
@click.option("--storage-file", help="File with the store's URL, on the cluster's machines.")
@options("storage", "data", "any_disk")
def dask(
    study: str,
    scheduler: str | None,
    local: int | None,
    workers: int | None,
    restarts: int,
    storage_file: str | None,
    storage: str | None,
    data: Path,
    any_disk: bool,
) -> None:
    """Run workers on a Dask cluster until the study ends."""
    if (scheduler is None) == (local is None):
        raise NasError("exactly one of --scheduler and --local is needed")
    if scheduler is not None and storage is not None:
        raise NasError(
            "--storage: is for --local; elsewhere the NAS_STORAGE_FILE of the workers is used"
        )
    try:
        from nas_service.launch import dask as cluster
        from nas_service.store.store import Store
    except ImportError:
        raise NasError("nas launch dask: Dask is missing, `.[dask]` installs it") from None
    task = cluster.new_task(study, str(data.absolute()), storage_file, any_disk)
    if local is None:
        assert scheduler is not None  # noqa: S101  one of them is given
        with cluster.connected(scheduler) as client:
            return _work(client, task, workers, restarts)
    environment = {}
    if storage_file is None:
        environment = {"NAS_STORAGE": _absolute(storage_url(storage, os.environ))}
        Store(environment["NAS_STORAGE"], any_disk=any_disk).studies.get(study)
    with cluster.local(local, environment) as scheduling, scheduling.get_client() as client:
        _work(client, task, workers or local, restarts)


def _work(client: Any, task: Any, workers: int | None, restarts: int) -> None:
    from nas_service.launch.dask import launch as run

    workers = workers or sum(client.nthreads().values())
    if not workers:
        raise NasError("--workers: the cluster has no worker yet, so their number is needed")
    end = run(client, task, workers, lambda text: err.print(plain(text), markup=False), restarts)
    out.print(plain(end), markup=False)


def _absolute(url: str) -> str:
    """The URL, also for a process in another folder."""
    checked = checked_url(url)
    if checked.get_backend_name() == "sqlite":
        checked = checked.set(database=str(Path(str(checked.database)).absolute()))
    return checked.render_as_string(hide_password=False)
