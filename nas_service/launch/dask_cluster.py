"""Clusters of Dask: a running one, and one of this machine."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from distributed import Client, LocalCluster
from distributed.security import Security

from hw_models import FileError
from hw_models.files.json_file import read_json
from nas_service.errors import NasError

SCHEMES = ("tcp", "tls", "ws", "wss", "ucx")
CONNECT_s = 20
CLOSE_s = 3  # a scheduler that was lost does not answer
LOGGERS = ("distributed", "distributed.client", "tornado.application", "asyncio")


def quiet() -> None:
    """Lets Dask and asyncio log nothing in this process: the service's own words are enough."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """A client of a running scheduler.

    Args:
        scheduler: Its address, or the JSON file that it wrote.

    Yields:
        The client, connected.

    Raises:
        NasError: It is neither, or the scheduler does not answer.
    """
    client = _client(scheduler)
    try:
        yield client
    finally:
        with contextlib.suppress(OSError):
            client.close(timeout=CLOSE_s)


def _client(scheduler: str) -> Client:
    address = _address_in(Path(scheduler)) if Path(scheduler).is_file() else scheduler
    if address.partition("://")[0] not in SCHEMES:
        raise NasError(
            f"--scheduler {scheduler!r:.200}: an address such as tls://host:8786 "
            "or the JSON file of the scheduler is needed"
        )
    try:
        return Client(address, timeout=CONNECT_s)
    # Dask asserts that its own connection is open, which a failed one may not be any more.
    except (OSError, ValueError, TypeError, ImportError, RuntimeError, AssertionError) as error:
        reason = next(iter(str(error).splitlines()), "the connection ended at once")
        raise NasError(f"--scheduler {scheduler!r:.200}: no answer ({reason:.200})") from None


def _address_in(file: Path) -> str:
    """The address in the JSON file that a scheduler has written."""
    try:
        document = read_json(file)
    except FileError as error:
        raise NasError(f"--scheduler {error}") from None
    address = document.get("address") if isinstance(document, dict) else None
    if not isinstance(address, str):
        raise NasError(f'--scheduler {file}: a scheduler\'s file is needed, with its "address"')
    return address


@contextlib.contextmanager
def local(workers: int, environment: dict[str, str]) -> Iterator[Client]:
    """A client of a cluster on this machine that no other user of it can connect to.

    A client of a scheduler can run code, so this one requires a certificate, which is created now
    and kept in memory.

    Args:
        workers: Number of Dask workers.
        environment: Further variables of their environment.

    Yields:
        The client. The cluster ends with the block.

    Raises:
        NasError: The package cryptography is missing.
    """
    try:
        security = Security.temporary()
    except ImportError:
        raise NasError("--local: needs the package cryptography, as `.[dask]` installs") from None
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # by default other machines could open these pages
        worker_dashboard_address="127.0.0.1:0",
        security=security,
        silence_logs=logging.CRITICAL,
        env=environment | {"DASK_LOGGING__ASYNCIO": "critical"},
    )
    with cluster, cluster.get_client() as client:
        yield client
