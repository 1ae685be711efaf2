"""`nas launch dask`: workers on a Dask cluster until the study ends."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_service.cli.common import options
from nas_service.cli.launch_options import STUDY
from nas_service.cli.number_types import WholeNumber
from nas_service.cli.terminal import print_err, print_out
from nas_service.errors import NasError, StoreUnreachable
from nas_service.launch.job import MOST_WORKERS
from nas_service.store.database import checked_url, storage_url

if TYPE_CHECKING:
    from distributed import Client

    from nas_service.launch.dask_task import Task
    from nas_service.searches.session import Search


@click.command()
@STUDY
@click.option(
    "--scheduler", help="Use the cluster of the scheduler at this address, or of its JSON file."
)
@click.option(
    "--local",
    type=WholeNumber(1, 256),
    metavar="N",
    help="Start a cluster of N workers on this machine.",
)
@click.option(
    "--workers",
    type=WholeNumber(1, MOST_WORKERS),
    help="Number of workers; by default as many as the cluster has threads now.",
)
@click.option(
    "--restarts",
    type=WholeNumber(0, 1000),
    default=10,
    show_default=True,
    help="How often each worker that fails or is lost is restarted.",
)
@click.option("--storage-file", help="File on the cluster's machines that holds the store's URL.")
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
    """Run workers on a Dask cluster until the study ends.

    Shows what `nas run` shows, where the store can be read from here: with --local, or with a
    --storage-file that exists here too; else the lines of the workers.
    """
    if (scheduler is None) == (local is None):
        raise NasError("exactly one of --scheduler and --local is needed")
    if scheduler is not None and storage is not None:
        raise NasError(
            "--storage: is for --local; elsewhere the NAS_STORAGE_FILE of the workers is used"
        )
    try:
        from nas_service.launch import dask_cluster as clusters
        from nas_service.launch.dask_task import new_task
    except ImportError:
        raise NasError("nas launch dask: Dask is missing, `.[dask]` installs it") from None
    task = new_task(study, str(data.absolute()), storage_file, any_disk, scheduler is not None)
    search = _search(study, storage, storage_file, scheduler is None, any_disk)
    clusters.quiet()
    if scheduler is not None:
        with clusters.connected(scheduler) as client:
            return _work(client, task, workers, restarts, search)
    assert local is not None  # noqa: S101  one of them is given
    environment = (
        {} if storage_file else {"NAS_STORAGE": _absolute(storage_url(storage, os.environ))}
    )
    with clusters.local(local, environment) as client:
        _work(client, task, workers or local, restarts, search)


def _search(
    study: str, storage: str | None, storage_file: str | None, is_local: bool, any_disk: bool
) -> "Search | None":
    """The study as seen from here; None where its store cannot be read from here."""
    if storage_file is not None and Path(storage_file).exists():
        url = storage_url(None, {"NAS_STORAGE_FILE": storage_file})
    elif is_local and storage_file is None:
        url = storage_url(storage, os.environ)
    else:
        return None
    try:
        return _opened(url, study, any_disk)
    except StoreUnreachable:
        if is_local:
            raise
        return None


def _opened(url: str, study: str, any_disk: bool) -> "Search":
    from nas_service.searches.session import open_search
    from nas_service.store.store import Store

    store = Store(url, any_disk=any_disk)
    click.get_current_context().call_on_close(store.close)
    return open_search(store, study, to_read=True)


def _work(
    client: "Client", task: "Task", workers: int | None, restarts: int, search: "Search | None"
) -> None:
    from nas_service.launch.dask import launch

    workers = workers or sum(client.nthreads().values())
    if not workers:
        raise NasError("--workers: the cluster has no worker yet, so their number is needed")
    if search is not None:
        return _work_in_view(client, task, workers, restarts, search)
    end = launch(client, task, workers, _print_line, restarts)
    print_out(end)


def _work_in_view(
    client: "Client", task: "Task", workers: int, restarts: int, search: "Search"
) -> None:
    """Runs the workers, and shows progress and front as `nas run` does."""
    from nas_service.cli.front import print_front
    from nas_service.cli.progress import started
    from nas_service.launch.dask import launch
    from nas_service.searches import results

    with started(search) as bar:
        end = launch(client, task, workers, bar.line, restarts, bar.tick, _print_line)
    print_out(end)
    print_front(results.read(search))


def _print_line(text: str) -> None:
    print_err(text)


def _absolute(url: str) -> str:
    """The URL, also for a process in another folder."""
    checked = checked_url(url)
    if checked.get_backend_name() == "sqlite":
        checked = checked.set(database=str(Path(str(checked.database)).absolute()))
    return checked.render_as_string(hide_password=False)
