"""`nas launch`: workers on other machines, started by SLURM, Kubernetes or Dask."""

import os
import stat
import sys
from pathlib import Path
from typing import Any

import click

from nas_service.cli.common import FILE, options
from nas_service.cli.number_types import Number, WholeNumber
from nas_service.cli.terminal import err, out, plain
from nas_service.errors import NasError
from nas_service.launch.job import MOST_WORKERS, Job
from nas_service.store.database import checked_url, storage_url

STUDY = click.argument("study")
WORKERS = click.option(
    "--workers",
    type=WholeNumber(1, MOST_WORKERS),
    default=1,
    show_default=True,
    help="Number of workers.",
)
CPUS = click.option(
    "--cpus",
    type=WholeNumber(1, 256),
    default=1,
    show_default=True,
    help="Cores for each worker, which computes in one thread.",
)
MEMORY = click.option(
    "--memory",
    type=WholeNumber(1, 4096),
    default=4,
    show_default=True,
    help="Memory for each worker, in GiB.",
)
GPU = click.option("--gpu", is_flag=True, help="Request one GPU for each worker.")
GRACE = click.option(
    "--grace",
    type=WholeNumber(1, 3600),
    default=120,
    show_default=True,
    help="Seconds between SIGTERM and SIGKILL.",
)
OUTPUT = click.option("-o", "output", type=FILE, help="Write to this file instead of stdout.")
STORAGE_FILE = click.option(
    "--storage-file",
    envvar="NAS_STORAGE_FILE",
    help="File with the store's URL, as the workers see it.",
)
HOURS = Number(1 / 60, 24 * 365)


@click.group()
def launch() -> None:
    """Start workers on other machines.

    Workers communicate through the store alone.
    """


@launch.command()
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
@STORAGE_FILE
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
    _write(script(Job(study, workers, cpus, memory, gpu, grace), cluster), output, "sbatch")


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
@click.option("--image", required=True, help="Container image, as the Dockerfile builds it.")
@click.option(
    "--secret", default="nas-store", show_default=True, help="Secret with the store's URL."
)
@click.option("--artifacts-claim", required=True, help="Volume claim for trained weights.")
@click.option("--data-claim", help="Volume claim with the data sets; the digits need none.")
@click.option("--namespace", help="Namespace, instead of kubectl's own.")
@click.option(
    "--restarts",
    type=WholeNumber(0, 1000),
    default=10,
    show_default=True,
    help="Restarts of each worker that fails.",
)
@click.option("--hours", type=HOURS, help="Time limit of the whole job.")
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
    """Write a manifest for kubectl.

    It describes an indexed Job of workers.
    """
    from nas_service.launch.kubernetes import Cluster, manifest, secret_command

    cluster = Cluster(image, secret, artifacts_claim, data_claim, namespace, restarts, hours)
    text = manifest(Job(study, workers, cpus, memory, gpu, grace), cluster)
    command = secret_command(cluster)
    err.print(f"this command stores the store's URL as a secret: {command}", markup=False)
    _write(text, output, "kubectl apply -f")


@launch.command()
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
