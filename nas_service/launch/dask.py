"""Workers as tasks of a Dask cluster: each task is one `nas worker`, a child of a Dask worker.

The arguments of a task, which the cluster's dashboard shows, hold no secret: every Dask worker
finds the store in its own environment, by NAS_STORAGE_FILE or NAS_STORAGE. A child ends with its
Dask worker, because its standard input closes. Then Dask gives the task to another Dask worker,
and the store gives the trial to another worker.
"""

import contextlib
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from distributed import (
    Client,
    Event,
    Future,
    KilledWorker,
    LocalCluster,
    as_completed,
    get_client,
    get_worker,
    wait,
)
from distributed.security import Security

from nas_service.errors import Interrupted, NasError, StoreError, TooManyFailures
from nas_service.launch.job import Job, absolute_path
from nas_service.worker.local_pool import GRACE_s
from nas_service.worker.training_process.client import WORKER_ENVIRONMENT

SCHEMES = ("tcp", "tls", "ws", "wss", "ucx")
CONNECT_s = 20
POLL_s = 2.0  # seconds between two checks whether the child has ended
STOPPED = "stopped by the client"


@dataclass(frozen=True)
class Task:
    """The command of one worker. It holds no secret; paths are those of the Dask worker.

    Raises:
        SpecError: A path is not absolute, or the study's name is not valid.
    """

    study: str
    data: str
    stop: str  # name of the event that stops all workers
    storage_file: str | None = None  # replaces the one in the Dask worker's environment
    any_disk: bool = False

    def __post_init__(self) -> None:
        Job(self.study)
        absolute_path("--data", self.data)
        if self.storage_file is not None:
            absolute_path("--storage-file", self.storage_file)

    @property
    def command(self) -> list[str]:
        """The command line of the worker."""
        arguments = [sys.executable, "-m", "nas_service", "worker", "--study", self.study]
        arguments += ["--data", self.data, "--end-with-stdin"]
        arguments += ["--term-exit", str(Interrupted.exit_code)]  # 0 is the end of the study
        return [*arguments, "--any-disk"] if self.any_disk else arguments

    def environment(self, own: dict[str, str]) -> dict[str, str]:
        """The environment of the child.

        Args:
            own: Environment of the Dask worker.

        Returns:
            All variables of the child.

        Raises:
            StoreError: Neither the task nor the Dask worker's environment names a store.
        """
        variables = own | WORKER_ENVIRONMENT
        if self.storage_file is not None:
            variables.pop("NAS_STORAGE", None)  # it would be used instead of the file
            variables["NAS_STORAGE_FILE"] = self.storage_file
        if not (variables.get("NAS_STORAGE") or variables.get("NAS_STORAGE_FILE")):
            raise StoreError("this Dask worker has neither NAS_STORAGE_FILE nor NAS_STORAGE")
        return variables


@dataclass(frozen=True)
class Finished:
    """The end of a worker that is not to be restarted."""

    address: str  # of the Dask worker
    code: int
    reason: str  # as the worker gave it


# --- on a Dask worker


def work(task: Task) -> Finished:
    """Runs one worker until the study ends.

    Raises:
        NasError: The worker failed, and may succeed on another Dask worker.
    """
    address, stop = get_worker().address, Event(task.stop, client=get_client())
    if stop.is_set():
        return Finished(address, 0, STOPPED)
    child = subprocess.Popen(  # noqa: S603  our own interpreter and module
        task.command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=task.environment(dict(os.environ)),
    )
    threading.Thread(target=_stop_on_event, args=(stop, child), daemon=True).start()
    last_line = _forward_output(child)
    code = child.wait()
    if code in (0, TooManyFailures.exit_code):
        return Finished(address, code, last_line)
    if stop.is_set():
        return Finished(address, 0, STOPPED)
    raise NasError(f"the worker on {address} ended with exit code {code}; its log says why")


def _forward_output(child: "subprocess.Popen[str]") -> str:
    """Prints what a worker prints, for the Dask worker's log; returns the last line."""
    text = ""
    assert child.stdin is not None  # noqa: S101  a pipe
    assert child.stdout is not None  # noqa: S101  a pipe
    with child.stdin, child.stdout as lines:
        for text in lines:
            print(text, end="", flush=True)
    return text.strip()


def _stop_on_event(stop: Event, child: "subprocess.Popen[str]") -> None:
    """Ends the child once the event is set. If the client is gone, the child continues."""
    with contextlib.suppress(OSError):
        while child.poll() is None:
            if stop.wait(timeout=POLL_s):
                return child.terminate()


# --- at the client


def launch(
    client: Client,
    task: Task,
    workers: int,
    on_line: Callable[[str], None],
    restarts: int = 10,
) -> str:
    """Runs workers on a cluster until the study ends.

    Args:
        client: Client of the cluster.
        task: Command of every worker.
        workers: Their number.
        on_line: Called with each message about a worker.
        restarts: How often a worker is restarted elsewhere that fails or whose Dask worker is lost.

    Returns:
        The last line of the worker that ended last: why the study ended.

    Raises:
        NasError: No worker reached the end of the study.
        TooManyFailures: Too many trials failed.
        Interrupted: Ctrl-C was pressed; all workers have been asked to stop.
    """
    remaining = {_submit(client, task, restarts): restarts for _ in range(workers)}
    reasons, errors = [], []
    running = as_completed(list(remaining))
    try:
        for future in running:
            error, restarts_left = future.exception(), remaining.pop(future)
            if isinstance(error, KilledWorker) and restarts_left:
                on_line(
                    "the Dask workers of a task were lost, one after the other; it is restarted"
                )
                again = _submit(client, task, restarts_left - 1)
                remaining[again] = restarts_left - 1
                running.add(again)
            elif error is not None:
                on_line(f"a worker gave up: {error}")
                errors.append(error)
            else:
                reasons.append(_reason(future.result(), on_line))
    except KeyboardInterrupt:
        _stop_all(client, task, list(remaining))
        raise Interrupted("interrupted: run the same command again to continue") from None
    if not reasons:
        raise NasError(f"no worker reached the end of the study: {errors[0]}")
    return reasons[-1]


def _submit(client: Client, task: Task, restarts: int) -> "Future[Finished]":
    key = f"nas-{task.study}-{uuid.uuid4().hex[:8]}"
    return client.submit(work, task, key=key, retries=restarts, pure=False)


def _reason(finished: Finished, on_line: Callable[[str], None]) -> str:
    if finished.code:
        raise TooManyFailures("too many failures: `nas status` lists them")
    on_line(f"worker on {finished.address}: {finished.reason}")
    return finished.reason


def _stop_all(client: Client, task: Task, futures: "list[Future[Finished]]") -> None:
    """Lets workers release their trials, and waits for them; tasks not yet started end at once."""
    Event(task.stop, client=client).set()
    with contextlib.suppress(TimeoutError):
        wait(futures, timeout=GRACE_s)


def new_task(study: str, data: str, storage_file: str | None, any_disk: bool) -> Task:
    """A task with a new event that stops its workers.

    Args:
        study: Name of the study.
        data: Absolute path of the folder of data sets, on the Dask worker.
        storage_file: Absolute path of the file with the storage URL there; None for the one in its
            environment.
        any_disk: Allow an SQLite file on a network disk.

    Returns:
        The task, which workers can share.

    Raises:
        SpecError: A path is not absolute, or the study's name is not valid.
    """
    return Task(study, data, f"nas-end-{uuid.uuid4().hex[:16]}", storage_file, any_disk)


def connected(scheduler: str) -> Client:
    """A client of a running scheduler.

    Args:
        scheduler: Its address, or the JSON file that it wrote.

    Returns:
        The client, connected.

    Raises:
        NasError: It is neither, or the scheduler does not answer.
    """
    scheme, separated, _ = scheduler.partition("://")
    try:
        if separated and scheme in SCHEMES:
            return Client(scheduler, timeout=CONNECT_s)
        if Path(scheduler).is_file():
            return Client(scheduler_file=scheduler, timeout=CONNECT_s)
    except (OSError, ValueError) as error:
        raise NasError(f"--scheduler {scheduler!r:.200}: no answer ({error})") from None
    raise NasError(
        f"--scheduler {scheduler!r:.200}: an address such as tls://host:8786 "
        "or the JSON file of the scheduler is needed"
    )


def local(workers: int, environment: dict[str, str]) -> LocalCluster:
    """A cluster on this machine that no other user of it can connect to.

    A client of a scheduler can run code, so this one requires a certificate, which is created now
    and kept in memory.

    Args:
        workers: Number of Dask workers.
        environment: Further variables of their environment.

    Returns:
        The cluster, running.

    Raises:
        NasError: The package cryptography is missing.
    """
    try:
        security = Security.temporary()
    except ImportError:
        raise NasError("--local: needs the package cryptography, as `.[dask]` installs") from None
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # by default other machines could open these pages
        worker_dashboard_address="127.0.0.1:0",
        security=security,
        env=environment,
    )
