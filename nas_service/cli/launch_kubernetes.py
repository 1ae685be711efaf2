"""`nas launch kubernetes`: a manifest for kubectl."""

from pathlib import Path

import click

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
from nas_service.cli.number_types import WholeNumber
from nas_service.cli.terminal import err
from nas_service.launch.job import Job


@click.command()
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
    write(text, output, "kubectl apply -f")
