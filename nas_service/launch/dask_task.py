"""A task of a Dask cluster: one `nas worker`, a child of a Dask worker.

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
from typing import IO

from distributed import Event, Worker, get_client, get_worker

from nas_service.errors import Interrupted, StoreError
from nas_service.launch.job import Job, absolute_path
from nas_service.store.database import storage_url
from nas_service.worker.training_process.client import WORKER_ENVIRONMENT

POLL_s = 2.0  # seconds between two checks whether the child has ended
END = "end: "  # begins the last line of a worker
STOPPED = "stopped by the client"


@dataclass(frozen=True)
class Task:
    """The command of one worker. It holds no secret; paths are those of the Dask worker.

    Raises:
        SpecError: A path is not absolute, or the study's name is not valid.
    """

    study: str
    data: str
    channel: str  # name of the event that stops all workers, and of the topic with their lines
    storage_file: str | None = None  # replaces the one in the Dask worker's environment
    any_disk: bool = False
    plugins: str = ""  # value of NAS_PLUGIN: absolute paths on the Dask worker
    is_logged: bool = True  # prints the worker's lines in the Dask worker's log too

    def __post_init__(self) -> None:
        Job(self.study)
        absolute_path("--data", self.data)
        if self.storage_file is not None:
            absolute_path("--storage-file", self.storage_file)
        for path in filter(None, self.plugins.split(os.pathsep)):
            absolute_path("--plugin", path)

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
            StoreError: Neither the task nor the Dask worker's environment names a store, or the
                file with the store's URL cannot be read there.
        """
        variables = own | WORKER_ENVIRONMENT
        if self.plugins:
            variables["NAS_PLUGIN"] = self.plugins
        if self.storage_file is not None:
            variables.pop("NAS_STORAGE", None)  # it would be used instead of the file
            variables["NAS_STORAGE_FILE"] = self.storage_file
        if not (variables.get("NAS_STORAGE") or variables.get("NAS_STORAGE_FILE")):
            raise StoreError("this Dask worker has neither NAS_STORAGE_FILE nor NAS_STORAGE")
        storage_url(None, variables)
        return variables


def new_task(
    study: str, data: str, storage_file: str | None, any_disk: bool, is_logged: bool = True
) -> Task:
    """A task with a new channel between its workers and the client.

    Args:
        study: Name of the study.
        data: Absolute path of the folder of data sets, on the Dask worker.
        storage_file: Absolute path of the file with the storage URL there; None for the one in its
            environment.
        any_disk: Allow an SQLite file on a network disk.
        is_logged: Print the lines of workers in the log of their Dask worker too.

    Returns:
        The task, which workers can share.

    Raises:
        SpecError: A path is not absolute, or the study's name is not valid.
    """
    channel, plugins = f"nas-{uuid.uuid4().hex[:16]}", os.environ.get("NAS_PLUGIN", "")
    return Task(study, data, channel, storage_file, any_disk, plugins, is_logged)


@dataclass(frozen=True)
class Finished:
    """How a worker has ended."""

    address: str  # of the Dask worker
    code: int  # its exit code; below 0 where a signal killed it
    reason: str  # as the worker gave it, in one line


def work(task: Task) -> Finished:
    """Runs one worker until it ends. This function runs on a Dask worker."""
    place, stop = get_worker(), Event(task.channel, client=get_client())
    if stop.is_set():
        return Finished(place.address, 0, STOPPED)
    try:
        environment = task.environment(dict(os.environ))
    except StoreError as error:
        return Finished(place.address, error.exit_code, str(error))
    child = subprocess.Popen(  # noqa: S603  our own interpreter and module
        task.command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
    )
    threading.Thread(target=_stop_on_event, args=(stop, child), daemon=True).start()
    last, last_error = _forward_output(child, place, task)
    code = child.wait()
    if code and stop.is_set():
        return Finished(place.address, 0, STOPPED)
    return Finished(place.address, code, last_error.removeprefix("nas: ") if code else last)


def _forward_output(child: "subprocess.Popen[str]", place: Worker, task: Task) -> tuple[str, str]:
    """Sends the lines that a worker prints to the client; its errors stay in the log.

    Returns:
        The last line of its output and the last of its errors.
    """
    assert child.stdin is not None  # noqa: S101  a pipe
    assert child.stdout is not None  # noqa: S101  a pipe
    assert child.stderr is not None  # noqa: S101  a pipe
    errors = [""]

    def send(text: str) -> None:
        if not text.startswith(END):  # which the client prints with the worker's address
            place.log_event(task.channel, text)
        if task.is_logged:
            print(text, flush=True)

    def log(text: str) -> None:
        errors[0] = text
        if task.is_logged:
            print(text, file=sys.stderr, flush=True)

    reader = threading.Thread(target=_read_lines, args=(child.stderr, log))
    reader.start()
    with child.stdin:
        last = _read_lines(child.stdout, send)
    reader.join()
    return last, errors[0]


def _read_lines(stream: IO[str], on_line: Callable[[str], None]) -> str:
    """Calls a function with every line until the stream ends; returns the last line."""
    last = ""
    with stream:
        for text in stream:
            if line := text.rstrip():
                last = line
                on_line(line)
    return last


def _stop_on_event(stop: Event, child: "subprocess.Popen[str]") -> None:
    """Ends the child once the event is set. If the client is gone, the child continues."""
    with contextlib.suppress(OSError):
        while child.poll() is None:
            if stop.wait(timeout=POLL_s):
                return child.terminate()
