"""Loaded by the Dask workers of the tests, so that what they start is forked, see `warm`."""

import os

import warm


def dask_setup(worker: object) -> None:
    """Called by Dask when a worker starts."""
    warm.STARTS.address = os.environ[warm.ADDRESS]
    warm.install()
