"""`nas launch`: workers on other machines, started by SLURM, Kubernetes or Dask."""

import click

from nas_service.cli.launch_dask import dask
from nas_service.cli.launch_kubernetes import kubernetes
from nas_service.cli.launch_slurm import slurm


@click.group()
def launch() -> None:
    """Start workers on other machines.

    Workers communicate through the store alone.
    """


for _engine in (slurm, kubernetes, dask):
    launch.add_command(_engine)
