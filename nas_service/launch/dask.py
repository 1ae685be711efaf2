"""Workers as tasks of a Dask cluster: each task is one `nas worker`, a child of a Dask worker.

A task's arguments, which the cluster's dashboard shows, hold no secret: every Dask worker finds the
store in its own environment, NAS_STORAGE_FILE or NAS_STORAGE. A child ends with its Dask worker,
as its standard input closes; Dask gives the task to another one, and the store the trial.
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
from nas_service.launch.job import Job, whole_path
from nas_service.worker.local_pool import GRACE_s
from nas_service.worker.training_process.client import WORKER_ENVIRONMENT

SCHEMES = ("tcp", "tls", "ws", "wss", "ucx")
CONNECT_s = 20
LISTEN_s = 2.0  # how long a child goes on after the client asked all to end
ASKED = "asked to end"


@dataclass(frozen=True)
class Task:
    """One worker's command, as the cluster's dashboard may show it. Paths are the Dask worker's."""

    study: str
    data: str
    end: str  # name of the event that asks for an end
    storage_file: str | None = None  # if the Dask worker's environment names none
    any_disk: bool = False

    def __post_init__(self) -> None:
        Job(self.study)
        whole_path("--data", self.data)
        if self.storage_file is not None:
            whole_path("--storage-file", self.storage_file)

    @property
    def command(self) -> list[str]:
        words = [sys.executable, "-m", "nas_service", "worker", "--study", self.study]
        words += ["--data", self.data, "--end-with-stdin"]
        return [*words, "--any-disk"] if self.any_disk else words

    def environment(self, given: dict[str, str]) -> dict[str, str]:
        """That of the child; StoreError where the Dask worker's own names no store."""
        found = given | WORKER_ENVIRONMENT
        if self.storage_file is not None:
            found.pop("NAS_STORAGE", None)  # it would go before the file
            found["NAS_STORAGE_FILE"] = self.storage_file
        if not (found.get("NAS_STORAGE") or found.get("NAS_STORAGE_FILE")):
            raise StoreError("this Dask worker has neither NAS_STORAGE_FILE nor NAS_STORAGE")
        return found


@dataclass(frozen=True)
class Ended:
    """How a worker ended that is not to be started again."""

    place: str  # of the Dask worker
    code: int
    reason: str


# --- on a Dask worker


def work(task: Task) -> Ended:
    """Runs one worker until the study ends. NasError where another Dask worker may do better."""
    here, asked = get_worker().address, Event(task.end, client=get_client())
    if asked.is_set():
        return Ended(here, 0, ASKED)
    child = subprocess.Popen(  # noqa: S603  our own interpreter and module
        task.command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=task.environment(dict(os.environ)),
    )
    threading.Thread(target=_end_when_asked, args=(asked, child), daemon=True).start()
    reason = _heard(child)
    code = child.wait()
    if code in (0, TooManyFailures.exit_code) and not reason.startswith("interrupted"):
        return Ended(here, code, reason)
    if asked.is_set():
        return Ended(here, 0, ASKED)
    raise NasError(f"the worker on {here} ended with exit code {code}; its log says why")


def _heard(child: "subprocess.Popen[str]") -> str:
    """The reason that a worker ends with; its lines go to the Dask worker's log."""
    reason = ""
    assert child.stdin is not None  # noqa: S101  asked for
    assert child.stdout is not None  # noqa: S101  asked for
    with child.stdin, child.stdout as lines:
        for text in lines:
            print(text, end="", flush=True)
            if text.startswith("end: "):
                reason = text.removeprefix("end: ").strip()
    return reason


def _end_when_asked(asked: Event, child: "subprocess.Popen[str]") -> None:
    """A client that is gone asks for nothing: its workers go on until the study ends."""
    with contextlib.suppress(OSError):
        while child.poll() is None:
            if asked.wait(timeout=LISTEN_s):
                return child.terminate()


# --- at the client


def launch(
    client: Client,
    task: Task,
    workers: int,
    heard: Callable[[str], None],
    restarts: int = 10,
) -> str:
    """Runs workers on a cluster until the study ends; why it ended.

    A worker that fails, or whose Dask worker is lost, is started again elsewhere, `restarts` times.
    """
    left = {_submit(client, task, restarts): restarts for _ in range(workers)}
    reasons, errors = [], []
    running = as_completed(list(left))
    try:
        for future in running:
            error, again = future.exception(), left.pop(future)
            if isinstance(error, KilledWorker) and again:
                heard("the Dask workers of a task were lost, one after the other; it starts again")
                fresh = _submit(client, task, again - 1)
                left[fresh] = again - 1
                running.add(fresh)
            elif error is not None:
                heard(f"a worker gave up: {error}")
                errors.append(error)
            else:
                reasons.append(_told(future.result(), heard))
    except KeyboardInterrupt:
        _ask_all_to_end(client, task, list(left))
        raise Interrupted("interrupted: run the same command again to continue") from None
    if not reasons:
        raise NasError(f"no worker came to the study's end: {errors[0]}")
    return reasons[-1]


def _submit(client: Client, task: Task, restarts: int) -> "Future[Ended]":
    key = f"nas-{task.study}-{uuid.uuid4().hex[:8]}"
    return client.submit(work, task, key=key, retries=restarts, pure=False)


def _told(ended: Ended, heard: Callable[[str], None]) -> str:
    if ended.code:
        raise TooManyFailures(ended.reason or "too many failures: `nas status` lists them")
    heard(f"worker on {ended.place}: {ended.reason}")
    return ended.reason


def _ask_all_to_end(client: Client, task: Task, futures: "list[Future[Ended]]") -> None:
    """Workers release their trials; those that have not begun do not begin."""
    Event(task.end, client=client).set()
    with contextlib.suppress(TimeoutError):
        wait(futures, timeout=GRACE_s)


def new_task(study: str, data: str, storage_file: str | None, any_disk: bool) -> Task:
    return Task(study, data, f"nas-end-{uuid.uuid4().hex[:16]}", storage_file, any_disk)


def connected(scheduler: str) -> Client:
    """A client of a running scheduler: its address, or the JSON file that it wrote."""
    scheme, separated, _ = scheduler.partition("://")
    try:
        if separated and scheme in SCHEMES:
            return Client(scheduler, timeout=CONNECT_s)
        if Path(scheduler).is_file():
            return Client(scheduler_file=scheduler, timeout=CONNECT_s)
    except (OSError, ValueError) as error:
        raise NasError(f"--scheduler {scheduler!r:.200}: no answer ({error})") from None
    raise NasError(
        f"--scheduler {scheduler!r:.200}: an address such as tls://host:8786 is meant, "
        "or the scheduler's own JSON file"
    )


def local(workers: int, environment: dict[str, str]) -> LocalCluster:
    """A cluster on this machine that nobody else on it can talk to; its workers' environment.

    Whoever reaches a scheduler runs code there, so this one asks for a certificate that is made
    now and kept in memory.
    """
    try:
        security = Security.temporary()
    except ImportError:
        raise NasError("--local: needs the package cryptography, as `.[dask]` installs") from None
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # by default these pages are for everyone
        worker_dashboard_address="127.0.0.1:0",
        security=security,
        env=environment,
    )
