"""`nas launch`: workers started elsewhere, by SLURM, Kubernetes or Dask."""

import os
import stat
import sys
from pathlib import Path
from typing import Any

import click

from nas_service.cli.terminal import err, options, out, plain
from nas_service.errors import NasError
from nas_service.launch.job import MOST_WORKERS, Job
from nas_service.store.database import checked_url, storage_url

STUDY = click.argument("study")
WORKERS = click.option("--workers", type=click.IntRange(1, MOST_WORKERS), default=1,
                       show_default=True, help="How many.")  # fmt: skip
CPUS = click.option("--cpus", type=click.IntRange(1, 256), default=1, show_default=True,
                    help="Of each worker, which computes in one thread.")  # fmt: skip
MEMORY = click.option("--memory", type=click.IntRange(1, 4096), default=4, show_default=True,
                      help="GiB of each worker.")  # fmt: skip
GPU = click.option("--gpu", is_flag=True, help="One GPU for each worker.")
GRACE = click.option("--grace", type=click.IntRange(1, 3600), default=120, show_default=True,
                     help="Seconds between the signal to end and the end.")  # fmt: skip
OUTPUT = click.option("-o", "output", type=click.Path(path_type=Path, dir_okay=False),
                      help="A file to write, instead of printing.")  # fmt: skip
STORAGE_FILE = click.option("--storage-file", envvar="NAS_STORAGE_FILE",
                            help="File with the store's URL, as the workers see it.")  # fmt: skip
HOURS = click.FloatRange(1 / 60, 24 * 365)


@click.group()
def launch() -> None:
    """Start workers of a study elsewhere; they meet in the store alone."""


@launch.command()
@STUDY
@WORKERS
@CPUS
@MEMORY
@GPU
@GRACE
@click.option("--hours", type=HOURS, default=4.0, show_default=True, help="Time of each worker.")
@click.option("--partition", help="Of the cluster.")
@click.option("--account", help="Who pays.")
@click.option("--directive", "directives", multiple=True, metavar="KEY=VALUE",
              help="Another option of sbatch, such as qos=long.")  # fmt: skip
@STORAGE_FILE
@click.option("--python", default=sys.executable, help="Interpreter with nas-service, on nodes.")
@click.option("--artifacts", envvar="NAS_ARTIFACTS", default="nas-artifacts", show_default=True,
              help="Folder of trained weights, on a disk of all nodes.")  # fmt: skip
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
    """A script for sbatch: an array of workers, requeued when it is preempted."""
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
    _write(script(Job(study, workers, cpus, memory, gpu, grace), cluster), output, "sbatch")


def _checked(storage_file: str | None) -> str:
    """The file's path, if what is known of it here is right; it may lie on the nodes alone."""
    if storage_file is None:
        raise NasError(
            "--storage-file: the file with the store's URL is missing, as NAS_STORAGE_FILE is; "
            "a script holds no password"
        )
    path = Path(storage_file).absolute()
    if path.exists():
        storage_url(None, {"NAS_STORAGE_FILE": str(path)})
    else:
        err.print(f"note: {plain(path)} is not here; the nodes need it", markup=False)
    return str(path)


def _write(text: str, output: Path | None, reader: str) -> None:
    if output is None:
        print(text, end="")
        return
    output.write_text(text)
    output.chmod(output.stat().st_mode | (stat.S_IXUSR if reader == "sbatch" else 0))
    out.print(f"written: {plain(output)}; `{reader} {plain(output)}` starts it", markup=False)


@launch.command()
@STUDY
@WORKERS
@CPUS
@MEMORY
@GPU
@GRACE
@click.option("--image", required=True, help="Image that the Dockerfile makes.")
@click.option("--secret", default="nas-store", show_default=True, help="With the store's URL.")
@click.option("--artifacts-claim", required=True, help="Volume claim for trained weights.")
@click.option("--data-claim", help="Volume claim with the data sets; digits need none.")
@click.option("--namespace", help="If not kubectl's own.")
@click.option("--restarts", type=click.IntRange(0, 1000), default=10, show_default=True,
              help="Of each worker that fails.")  # fmt: skip
@click.option("--hours", type=HOURS, help="After which all are ended.")
@OUTPUT
def kubernetes(
    study: str,
    workers: int,
    cpus: int,
    memory: int,
    gpu: bool,
    grace: int,
    image: str,
    secret: str,
    artifacts_claim: str,
    data_claim: str | None,
    namespace: str | None,
    restarts: int,
    hours: float | None,
    output: Path | None,
) -> None:
    """A manifest for kubectl: an indexed Job of workers."""
    from nas_service.launch.kubernetes import Cluster, manifest, secret_command

    cluster = Cluster(image, secret, artifacts_claim, data_claim, namespace, restarts, hours)
    text = manifest(Job(study, workers, cpus, memory, gpu, grace), cluster)
    err.print(f"the store's URL comes from: {secret_command(cluster)}", markup=False)
    _write(text, output, "kubectl apply -f")


@launch.command()
@STUDY
@click.option("--scheduler", help="Address of a running one, or the JSON file that it wrote.")
@click.option("--local", type=click.IntRange(1, 256), help="A cluster here, of so many workers.")
@click.option("--workers", type=click.IntRange(1, MOST_WORKERS),
              help="How many, if not as many as the cluster has threads by now.")  # fmt: skip
@click.option("--restarts", type=click.IntRange(0, 1000), default=10, show_default=True,
              help="Of each worker that fails or is lost.")  # fmt: skip
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
        raise NasError("one of --scheduler and --local says where")
    if scheduler is not None and storage is not None:
        raise NasError("--storage: is for --local; elsewhere NAS_STORAGE_FILE of the Dask workers")
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
        environment = {"NAS_STORAGE": _whole(storage_url(storage, os.environ))}
        Store(environment["NAS_STORAGE"], any_disk=any_disk).study(study)
    with cluster.local(local, environment) as made, made.get_client() as client:
        _work(client, task, workers or local, restarts)


def _work(client: Any, task: Any, workers: int | None, restarts: int) -> None:
    from nas_service.launch.dask import launch as run

    workers = workers or sum(client.nthreads().values())
    if not workers:
        raise NasError("--workers: the cluster has no worker yet, so say how many there will be")
    why = run(client, task, workers, lambda text: err.print(plain(text), markup=False), restarts)
    out.print(f"end: {plain(why)}", markup=False)


def _whole(url: str) -> str:
    """The URL, also for a process in another folder."""
    found = checked_url(url)
    if found.get_backend_name() == "sqlite":
        found = found.set(database=str(Path(str(found.database)).absolute()))
    return found.render_as_string(hide_password=False)
