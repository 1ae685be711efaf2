"""The worker's side: a training is left to a child, waited for, ended, and its end explained.

Loads no torch. One training at a time: a machine with several devices runs a worker for each.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from nas_service.errors import SpecError
from nas_service.metrics import Evaluation
from nas_service.study.spec import StudySpec
from nas_service.worker.training_process.failures import ChildFailure, failure_of
from nas_service.worker.training_process.fork_server import Words, receive, send

POLL_s = 0.2  # between two looks at `check_interrupt`
GRACE_s = 4.0  # for a child that was asked to end, to reach its next batch
DEATH_s = 2.0  # for a process to be gone that was told so
RESERVE_GiB = 0.25  # of the allocator and of threads' stacks, which trainings do not use
# One thread each: threads of several workers on few cores wait for each other. The allocator
# keeps freed memory, as trainings ask for the same blocks again and again.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
# A process that has touched a GPU cannot fork: torch is to ask the driver's library for devices.
NO_DEVICE = {"NAS_DEVICE": "cpu", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
TRAINING = "nas_service.worker.training_process.job"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One training: what `Evaluator.train` is given, or `resume_training` to continue `further`."""

    spec: StudySpec
    data: Path  # folder of data sets
    candidate: Evaluation  # screened, or as it was when its training ended early
    weights: Path
    further: bool = False

    def words(self) -> Words:
        return {
            "spec": self.spec.model_dump_json(),
            "data": str(self.data),
            "candidate": self.candidate.to_json(),
            "weights": str(self.weights),
            "further": self.further,
        }


class _Server:
    """The process that makes children, in a session of its own: no terminal's signals reach it."""

    def __init__(self, target: str) -> None:
        self.control, theirs = Pipe()
        command = [
            sys.executable,
            "-m",
            "nas_service.worker.training_process",
            str(theirs.fileno()),
            target,
        ]
        self.process = subprocess.Popen(  # noqa: S603  our own interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            env={**_without_databases(os.environ), **WORKER_ENVIRONMENT, **NO_DEVICE},
        )
        theirs.close()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def drop(self) -> int:
        """Ends it, and its child with it; returns its exit code. May be called again."""
        self.control.close()
        try:
            return self.process.wait(DEATH_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def _without_databases(environment: Mapping[str, str]) -> dict[str, str]:
    """What may hold a password that trainings have no use for."""
    return {k: v for k, v in environment.items() if not k.startswith(("NAS_STORAGE", "PG"))}


class _Gone(Exception):
    """The server is gone, and its child with it."""


@dataclass
class _Training:
    """What was heard of a training so far."""

    control: Connection
    started: float | None = None  # when its child began, on the monotonic clock
    said: Words = field(default_factory=dict)
    end: Words | None = None

    def hear(self, seconds: float) -> None:
        """Waits so long for one message; raises _Gone."""
        try:
            words = receive(self.control) if self.control.poll(seconds) else {}
        except (EOFError, OSError):
            raise _Gone from None
        if "log" in words:
            _log(words["log"])
        elif "started" in words:
            self.started = time.monotonic()
        elif "end" in words:
            self.end = words
        elif words:
            self.said = words

    def signal(self, number: int) -> None:
        """To the child, through the server, which knows whether it is there."""
        try:
            send(self.control, {"signal": number})
        except OSError:
            raise _Gone from None

    def await_end(self, seconds: float, hurried: threading.Event) -> None:
        """Until then, or until there is a hurry."""
        late = time.monotonic() + seconds
        while self.end is None and time.monotonic() < late and not hurried.is_set():
            self.hear(0.05)

    def is_late(self, seconds: float | None) -> bool:
        if self.started is None or seconds is None:
            return False
        return time.monotonic() - self.started > seconds


def _log(record: Words) -> None:
    """A child's record, as one of this process."""
    logging.getLogger(record["name"]).log(record["level"], "%s", record["text"])


class TrainingClient:
    """Leaves trainings to children, one at a time; nothing is started before `start` or the first.

    `device` is what torch calls it, of children alone. `memory_GiB` is what a training may take
    on the processor beside the program itself; Linux alone counts it. `target` is the module that
    children run, never a name from a store.
    """

    def __init__(
        self,
        device: str = "cpu",
        memory_GiB: float | None = None,
        target: str = TRAINING,
    ) -> None:
        self.device, self.target = device, target
        self.memory_B = None if memory_GiB is None else _limit_B(memory_GiB, device)
        self._server: _Server | None = None
        self._hurried = threading.Event()

    def __enter__(self) -> "TrainingClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all that was started."""
        if self._server is not None:
            self._server.drop()
            self._server = None

    def start(self) -> None:
        """Lets the server load while the worker does something else."""
        if self._server is None or not self._server.alive:
            self.close()
            self._server = _Server(self.target)

    def kill(self) -> None:
        """Ends the training in hand at once; for signal handlers and other threads."""
        self._hurried.set()

    def run(
        self,
        job: Job,
        check_interrupt: Callable[[], None] = lambda: None,
        seconds: float | None = None,
    ) -> Evaluation:
        """The candidate as its child measured it.

        `check_interrupt` is called all the time; when it raises, the child is asked to end, which
        it does before its next batch, its last epoch kept; `seconds` count from the child's start.
        Raises ChildFailure, or what `check_interrupt` raised.
        """
        self._hurried.clear()
        training = _Training(self._send(job))
        try:
            self._attend(training, check_interrupt, seconds)
        except _Gone:
            raise _explained(self._lost(), check_interrupt) from None
        except ChildFailure:
            self._end(training, grace_s=0.0)
            raise
        except BaseException:
            self._end(training, GRACE_s)
            raise
        finally:
            if training.end is None:  # not begun, no answer, or lost: all of it goes
                self.close()
        return _judged(training, check_interrupt)

    def _send(self, job: Job) -> Connection:
        more = {
            "device": self.device,
            "memory_B": self.memory_B,
            "log_level": logging.getLogger().getEffectiveLevel(),
        }
        try:
            self.start()
        except OSError as error:
            raise ChildFailure("setup", f"the fork server cannot be started: {error}") from error
        assert self._server is not None  # noqa: S101  just started
        with suppress(OSError):  # it has just died, which is seen next
            send(self._server.control, {"job": job.words() | more})
        return self._server.control

    def _attend(
        self, training: _Training, check_interrupt: Callable[[], None], seconds: float | None
    ) -> None:
        """Until the child's end."""
        while training.end is None:
            check_interrupt()
            if self._hurried.is_set():
                raise ChildFailure("killed", "SIGKILL: at once, as was asked")
            if training.is_late(seconds):
                raise ChildFailure("timeout", f"longer than {seconds:g} s")
            training.hear(POLL_s)

    def _end(self, training: _Training, grace_s: float) -> None:
        """Asks the child to end if it has some grace, then insists."""
        try:
            if training.started is not None and grace_s:
                training.signal(signal.SIGTERM)
                training.await_end(grace_s, self._hurried)
            if training.started is not None and training.end is None:
                training.signal(signal.SIGKILL)
                training.await_end(DEATH_s, threading.Event())
        except _Gone:
            pass

    def _lost(self) -> ChildFailure:
        assert self._server is not None  # noqa: S101  started by _send
        code = self._server.drop()
        if code < 0:
            return ChildFailure("killed", f"{failure_of(code, False).reason}, of the fork server")
        return ChildFailure("setup", f"the fork server ended with exit code {code}")


def _limit_B(memory_GiB: float, device: str) -> int:
    """SpecError where the kernel counts what no training takes, or does not count."""
    if device != "cpu" or sys.platform != "linux":
        raise SpecError(
            f"memory_GiB = {memory_GiB:g}: limits a training on Linux and on the processor, not "
            f"on {device if device != 'cpu' else sys.platform}"
        )
    return int((memory_GiB + RESERVE_GiB) * 2**30)


def _judged(training: _Training, check_interrupt: Callable[[], None]) -> Evaluation:
    """The result; raises ChildFailure, or what `check_interrupt` raises where others ended it."""
    said, end = training.said, training.end
    assert end is not None  # noqa: S101  waited for
    if "result" in said:
        return Evaluation.from_json(said["result"])
    if "failure" in said:
        found = said["failure"]
        if found["kind"] == "error":
            log.error("in a training:\n%s", found["traceback"].rstrip())
        raise ChildFailure(found["kind"], found["reason"])
    failure = failure_of(end["end"], end["oom"])
    if "stopped" in said:
        failure = ChildFailure("killed", "SIGTERM, which was not ours")
    raise _explained(failure, check_interrupt)


def _explained(failure: ChildFailure, check_interrupt: Callable[[], None]) -> ChildFailure:
    """The failure, unless `check_interrupt` raises: what kills children often ends their worker."""
    if failure.kind == "killed":
        check_interrupt()
    return failure
