"""The worker's side: runs a training in a child process, waits for it, and explains how it ended.

Loads no torch. One training runs at a time: a machine with several devices runs a worker for each.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from nas_service.metrics import Evaluation
from nas_service.spaces.input_density import InputDensity
from nas_service.study.plugins import LOADED
from nas_service.study.spec import StudySpec
from nas_service.worker import end_signals
from nas_service.worker.training_process.failures import ChildFailure, failure_of
from nas_service.worker.training_process.messages import Message, receive, send

POLL_s = 0.2  # between two calls of `check_interrupt`
GRACE_s = 4.0  # for a child that was asked to end, to reach its next batch
ALL_s = 0.5  # in which a signal reaches all processes of a job
DEATH_s = 2.0  # for a killed process to be gone
# One thread each: threads of several workers on few cores wait for each other. The allocator
# keeps freed memory, as trainings allocate the same blocks again and again.
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
    """One training: the arguments of `Evaluator.train`, or with `resume` of `resume_training`."""

    spec: StudySpec
    data: Path  # folder of data sets
    candidate: Evaluation  # screened, or as it was when its training ended early
    weights: Path
    resume: bool = False
    one_batch: bool = False  # to see whether this machine can train: the candidate is returned
    density: InputDensity | None = None  # of the bits of the study's data; None to measure it

    def message(self) -> Message:
        """The job as JSON."""
        return {
            "spec": self.spec.model_dump_json(),
            "data": str(self.data),
            "candidate": self.candidate.to_json(),
            "weights": str(self.weights),
            "resume": self.resume,
            "one_batch": self.one_batch,
            "density": self.density and self.density.to_json(),
            "plugins": [plugin.digest for plugin in LOADED],
        }


class _Server:
    """The fork server, in a session of its own, so that signals of a terminal do not reach it."""

    def __init__(self, target: str) -> None:
        self.control, server_end = Pipe()
        command = [
            sys.executable,
            "-m",
            "nas_service.worker.training_process",
            str(server_end.fileno()),
            target,
        ]
        with end_signals.blocked():  # in the server from its first moment: it ends with the worker
            self.process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=[server_end.fileno()],
                start_new_session=True,
                env={**_without_databases(os.environ), **WORKER_ENVIRONMENT, **NO_DEVICE},
            )
        server_end.close()

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self.process.poll() is None

    def drop(self) -> int:
        """Ends the server, and its child with it; returns its exit code. May be called again."""
        self.control.close()
        try:
            return self.process.wait(DEATH_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def _without_databases(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without passwords, which trainings do not need."""
    return {k: v for k, v in environment.items() if not k.startswith(("NAS_STORAGE", "PG"))}


class _Gone(Exception):
    """The fork server is gone, and its child with it."""


@dataclass
class _Training:
    """One training and what its child has sent so far."""

    control: Connection
    started: float | None = None  # when its child began, on the monotonic clock
    reply: Message = field(default_factory=dict)
    end: Message | None = None

    def receive(self, seconds: float) -> None:
        """Waits at most `seconds` for one message; raises _Gone."""
        try:
            message = receive(self.control) if self.control.poll(seconds) else {}
        except (EOFError, OSError):
            raise _Gone from None
        if "log" in message:
            _log(message["log"])
        elif "started" in message:
            self.started = time.monotonic()
        elif "end" in message:
            self.end = message
        elif message:
            self.reply = message

    def signal(self, number: int) -> None:
        """Sends a signal to the child through the server, which knows whether it runs."""
        try:
            send(self.control, {"signal": number})
        except OSError:
            raise _Gone from None

    def await_end(self, seconds: float, is_urgent: Callable[[], bool] = lambda: False) -> None:
        """Waits at most `seconds` for the child's end, or until that is urgent."""
        deadline = time.monotonic() + seconds
        while self.end is None and time.monotonic() < deadline and not is_urgent():
            self.receive(0.05)

    def is_late(self, seconds: float | None) -> bool:
        """True where the child has run for longer than `seconds`."""
        if self.started is None or seconds is None:
            return False
        return time.monotonic() - self.started > seconds


def _log(record: Message) -> None:
    """Logs a child's record in this process."""
    logging.getLogger(record["name"]).log(record["level"], "%s", record["text"])


class TrainingClient:
    """Runs trainings in child processes, one at a time.

    Args:
        device: Where the children train, as torch names it.
        target: The module that children run; never a name from a store.
        is_urgent: True once a child that was asked to end is not waited for any more.
    """

    def __init__(
        self,
        device: str = "cpu",
        target: str = TRAINING,
        is_urgent: Callable[[], bool] = lambda: False,
    ) -> None:
        self.device, self.target, self._is_urgent = device, target, is_urgent
        self._server: _Server | None = None

    def __enter__(self) -> "TrainingClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the fork server and its child."""
        if self._server is not None:
            self._server.drop()
            self._server = None

    def start(self) -> None:
        """Starts the fork server, which loads while the worker does something else."""
        if self._server is None or not self._server.alive:
            self.close()
            self._server = _Server(self.target)

    def run(
        self,
        job: Job,
        check_interrupt: Callable[[], None] = lambda: None,
        seconds: float | None = None,
    ) -> Evaluation:
        """Trains a candidate in a child and returns its evaluation.

        Args:
            job: The training.
            check_interrupt: Called several times a second. When it raises, the child is asked to
                end, which it does before its next batch, and its last epoch is kept.
            seconds: The most that the child may take from its start.

        Returns:
            The evaluation, with accuracy, spike rates and costs.

        Raises:
            ChildFailure: The child ended without a result.
        """
        training = _Training(self._send(job))
        try:
            self._wait(training, check_interrupt, seconds)
        except _Gone:
            raise _explained(self._lost(), check_interrupt) from None
        except ChildFailure:
            self._end(training, grace_s=0.0)
            raise
        except BaseException:
            self._end(training, GRACE_s)
            raise
        finally:
            if training.end is None:  # the server is lost or does not answer
                self.close()
        return _result(training, check_interrupt)

    def _send(self, job: Job) -> Connection:
        level = logging.getLogger().getEffectiveLevel()
        try:
            self.start()
        except OSError as error:
            raise ChildFailure("setup", f"the fork server cannot be started: {error}") from error
        assert self._server is not None  # noqa: S101  just started
        with suppress(OSError):  # it has just died, which is noticed next
            message = job.message() | {"device": self.device, "log_level": level}
            send(self._server.control, {"job": message})
        return self._server.control

    def _wait(
        self, training: _Training, check_interrupt: Callable[[], None], seconds: float | None
    ) -> None:
        """Waits for the child's end."""
        while training.end is None:
            check_interrupt()
            if training.is_late(seconds):
                raise ChildFailure("timeout", f"longer than {seconds:g} s")
            training.receive(POLL_s)

    def _end(self, training: _Training, grace_s: float) -> None:
        """Asks the child to end, where it has some grace, then kills it."""
        try:
            if training.started is not None and grace_s:
                training.signal(signal.SIGTERM)
                training.await_end(grace_s, self._is_urgent)
            if training.started is not None and training.end is None:
                training.signal(signal.SIGKILL)
                training.await_end(DEATH_s)
        except _Gone:
            pass

    def _lost(self) -> ChildFailure:
        """The failure of a training whose fork server is gone."""
        assert self._server is not None  # noqa: S101  started by _send
        code = self._server.drop()
        if code < 0:
            return ChildFailure("killed", f"{failure_of(code, False).reason}, of the fork server")
        return ChildFailure("setup", f"the fork server ended with exit code {code}")


def _result(training: _Training, check_interrupt: Callable[[], None]) -> Evaluation:
    """The result; raises ChildFailure, or what `check_interrupt` raises where others ended it."""
    reply, end = training.reply, training.end
    assert end is not None  # noqa: S101  waited for
    if "result" in reply:
        return Evaluation.from_json(reply["result"])
    if "failure" in reply:
        failed = reply["failure"]
        if failed["kind"] == "error":
            log.error("in a training:\n%s", failed["traceback"].rstrip())
        raise ChildFailure(failed["kind"], failed["reason"])
    failure = failure_of(end["end"], end["oom"])
    if "stopped" in reply:
        failure = ChildFailure("stopped", "a signal from outside that asks processes to end")
    raise _explained(failure, check_interrupt)


def _explained(failure: ChildFailure, check_interrupt: Callable[[], None]) -> ChildFailure:
    """The failure, unless `check_interrupt` raises: what kills children often ends their worker.

    A signal that is sent to all processes of a job may reach the worker a moment later.
    """
    if failure.kind in ("killed", "stopped"):
        check_interrupt()
    late = time.monotonic() + ALL_s
    while failure.kind == "stopped" and time.monotonic() < late:
        time.sleep(0.05)
        check_interrupt()
    return failure
