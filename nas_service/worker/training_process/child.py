"""A child process: runs one job and sends its log, its result or its failure to the worker."""

import ctypes
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Protocol

from nas_service.worker.end_signals import ENDING
from nas_service.worker.training_process.failures import REASON, kind_of
from nas_service.worker.training_process.messages import Message, send

CheckInterrupt = Callable[[], None]  # raises where the work must end
PR_SET_PDEATHSIG = 1


class Target(Protocol):
    """A module that children run."""

    def prepare(self, job: Message) -> None:
        """In the fork server, before it forks: makes what children share.

        May raise; the child will raise the same.
        """

    def begin(self, job: Message) -> Callable[[CheckInterrupt], Any]:
        """In the child: does all that can fail without the candidate's fault.

        Returns:
            The work, which calls `check_interrupt` and returns JSON.
        """


class Stopped(BaseException):
    """The child was asked to end; no `except Exception` on the way may catch it."""


def run_child(target: Target, job: Message, pipe: Connection, server: int, alive: int) -> NoReturn:
    """The whole life of a child after the fork.

    Args:
        target: The module to run.
        job: What to do.
        pipe: Takes the child's messages.
        server: Process id of the fork server.
        alive: End of a pipe that is closed when the fork server ends.
    """
    code = 1
    try:
        log_to(pipe, job["log_level"])
        _run(target, job, pipe, partial(_set_up, server, alive))
        code = 0
    except BaseException:  # not even a message could be sent
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _run(
    target: Target, job: Message, pipe: Connection, set_up: Callable[[threading.Event], None]
) -> None:
    """Runs the job and sends how it ended."""
    asked_to_end, began = threading.Event(), False

    def check_interrupt() -> None:
        if asked_to_end.is_set():
            raise Stopped

    try:
        set_up(asked_to_end)
        work = target.begin(job)
        began = True
        send(pipe, {"result": work(check_interrupt)})
    except Stopped:
        send(pipe, {"stopped": True})
    except BaseException as error:
        send(pipe, {"failure": _failure(error, began)})


def _failure(error: BaseException, began: bool) -> Message:
    kind = kind_of(error)
    return {
        "kind": "setup" if kind == "error" and not began else kind,
        "reason": f"{type(error).__name__}: {error}"[:REASON],
        "traceback": "".join(traceback.format_exception(error)),
    }


def _set_up(server: int, alive: int, asked_to_end: threading.Event) -> None:
    """Gives the child its own process group and signals, and lets it end with its server.

    When memory runs out, the kernel kills the child before its server and worker.
    """

    def ask(_: int, __: FrameType | None) -> None:
        asked_to_end.set()

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
    threading.Thread(target=_end_with_server, args=(alive,), daemon=True).start()
    if os.getppid() != server:
        os._exit(1)
    for number in ENDING:
        if number != signal.SIGINT:
            signal.signal(number, ask)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def _end_with_server(alive: int) -> None:
    while os.read(alive, 1):
        pass
    os.killpg(0, signal.SIGKILL)


class _PipeHandler(logging.Handler):
    """Sends log records to the worker, which writes them in its own format."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self.pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        with suppress(OSError):  # the worker is gone
            send(self.pipe, {"log": {"name": record.name, "level": record.levelno, "text": text}})


def log_to(pipe: Connection, level: int) -> None:
    """Sends all log records of this process, and its warnings, as messages.

    Args:
        pipe: To the worker.
        level: The lowest level that is sent, as in `logging`.
    """
    logging.basicConfig(
        handlers=[_PipeHandler(pipe)], level=level, format="%(message)s", force=True
    )
    logging.captureWarnings(True)
