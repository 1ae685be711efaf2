"""`nas launch kubernetes`: a manifest for kubectl."""

from pathlib import Path

import click

from nas_service.cli.launch_options import HOURS, OUTPUT, of_workers, write
from nas_service.cli.number_types import WholeNumber
from nas_service.cli.terminal import print_err
from nas_service.launch.job import Job


@click.command()
@of_workers
@click.option(
    "--image", required=True, help="Container image of the workers, as the Dockerfile builds it."
)
@click.option(
    "--secret",
    default="nas-store",
    show_default=True,
    help="Secret of the cluster that holds the store's URL.",
)
@click.option(
    "--artifacts-claim", required=True, help="Volume claim that trained weights are written to."
)
@click.option("--data-claim", help="Volume claim with the data sets; the digits need none.")
@click.option("--namespace", help="Namespace of the job, instead of kubectl's current one.")
@click.option(
    "--restarts",
    type=WholeNumber(0, 1000),
    default=10,
    show_default=True,
    help="How often each worker that fails is restarted.",
)
@click.option("--hours", type=HOURS, help="Stop the whole job after this time, in hours.")
@click.option(
    "--pull-secret",
    "pull_secrets",
    multiple=True,
    help="Secret with which the image is pulled; may be repeated.",
)
@click.option(
    "--node-selector",
    "selectors",
    multiple=True,
    metavar="KEY=VALUE",
    help="Label that the nodes must have; may be repeated.",
)
@click.option(
    "--toleration",
    "tolerations",
    multiple=True,
    metavar="KEY[=VALUE][:EFFECT]",
    help="Taint that the nodes may have, such as nvidia.com/gpu:NoSchedule; may be repeated.",
)
@click.option("--priority-class", help="PriorityClass that the pods are scheduled with.")
@click.option(
    "--ttl",
    type=WholeNumber(0, 2**31 - 1),
    metavar="SECONDS",
    help="Delete the job this long after its end.",
)
@click.option(
    "--scratch",
    type=WholeNumber(1, 4096),
    metavar="GIB",
    help="Size limit of each of the two volumes for scratch files.",
)
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
    pull_secrets: tuple[str, ...],
    selectors: tuple[str, ...],
    tolerations: tuple[str, ...],
    priority_class: str | None,
    ttl: int | None,
    scratch: int | None,
    output: Path | None,
) -> None:
    """Write a manifest for kubectl.

    It describes an indexed Job of workers.
    """
    from nas_service.launch.kubernetes import Cluster, manifest, secret_command
    from nas_service.launch.placement import Placement
    from nas_service.study.plugins import LOADED

    cluster = Cluster(
        image,
        secret,
        artifacts_claim,
        data_claim,
        namespace,
        restarts,
        hours,
        pull_secrets=pull_secrets,
        placement=Placement(selectors, tolerations, priority_class),
        ttl_s=ttl,
        scratch_GiB=scratch,
        plugins=tuple((p.path.name, p.text) for p in LOADED),
    )
    text = manifest(Job(study, workers, cpus, memory, gpu, grace), cluster)
    command = secret_command(cluster)
    print_err(f"this command stores the store's URL as a secret: {command}")
    write(text, output, "kubectl apply -f")
