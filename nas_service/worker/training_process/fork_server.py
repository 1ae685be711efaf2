"""The process between a worker and its children: loads what they need once, and forks.

It has one thread, which is what makes forking sound, and trains nothing itself. Messages are
JSON in bytes: from the worker {"job": ...} and {"signal": number}; to the worker {"started": pid},
what the child says ({"log": ...}, {"result": ...}, {"failure": ...}, {"stopped": true}), and
{"end": exit code, "oom": bool} when it is gone. It ends with the worker, and its child with it.
"""

import ctypes
import gc
import json
import logging
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Protocol, cast

from nas_service.worker.training_process.failures import REASON, kind_of, oom_kills

Words = dict[str, Any]  # a message
Pause = Callable[[], None]
PR_SET_PDEATHSIG = 1


class Target(Protocol):
    """A module that children run."""

    def prepare(self, job: Words) -> None:
        """In the server, before it forks: what children share. It may raise, they see it again."""

    def begin(self, job: Words) -> Callable[[Pause], Any]:
        """In the child: everything that can fail without the candidate's fault; then its work,
        which calls `check_interrupt` and returns JSON."""


class Stopped(BaseException):
    """The child was asked to end; no handler of errors on its way may take it for one."""


def send(pipe: Connection, words: Words) -> None:
    pipe.send_bytes(json.dumps(words).encode())


def receive(pipe: Connection) -> Words:
    """Raises EOFError or OSError when the other side is gone."""
    return cast(Words, json.loads(pipe.recv_bytes()))


# --- in the server


@dataclass(frozen=True)
class _Child:
    pid: int
    pipe: Connection  # all that it says
    watched: int  # it ends when this end of a pipe is closed, as when this process ends

    def ended(self) -> int | None:
        """Its exit code as of subprocess; once, it is gone after that."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """To all processes of its own, if it has some."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def forget(self) -> None:
        self.pipe.close()
        os.close(self.watched)


def serve(control: Connection, target: Target) -> None:
    """Makes one child after the other until the worker is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # a child takes it when it can
    woken = _woken_by_ends()
    while True:
        try:
            words = receive(control)
            if "job" in words:
                _attend(control, woken, target, words["job"])
        except (EOFError, OSError):
            return


def _woken_by_ends() -> int:
    """A pipe that becomes readable when a child ends."""
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    return woken


def _attend(control: Connection, woken: int, target: Target, job: Words) -> None:
    """One child from its start to its end."""
    _log_to(control, job["log_level"])
    with suppress(Exception):
        target.prepare(job)
    gc.collect()
    gc.freeze()  # a child that collects garbage need not look at, and so copy, what is here
    killed = oom_kills()
    try:
        child = _fork(target, job, control)
    except OSError as error:  # no memory or no process left for one
        send(control, {"failure": {"kind": "setup", "reason": f"no child could be made: {error}"}})
        return send(control, {"end": 1, "oom": False})
    try:
        send(control, {"started": child.pid})
        code = _between(control, woken, child)
    except BaseException:
        child.kill()
        os.waitpid(child.pid, 0)
        raise
    send(control, {"end": code, "oom": oom_kills() > killed})


def _between(control: Connection, woken: int, child: _Child) -> int:
    """Passes signals to the child and its words on; returns its exit code."""
    heard = [child.pipe]
    while (code := child.ended()) is None:
        for ready in wait([control, woken, *heard]):
            if ready is control:
                child.kill(receive(control)["signal"])
            elif ready == woken:
                os.read(woken, 4096)
            elif not _passed_on(child.pipe, control):
                heard.clear()
    while heard and child.pipe.poll() and _passed_on(child.pipe, control):
        pass
    child.forget()
    return code


def _passed_on(pipe: Connection, control: Connection) -> bool:
    """One message of the child; False at its end, in the midst of a message too."""
    try:
        said = pipe.recv_bytes()
    except (EOFError, OSError):
        return False
    control.send_bytes(said)
    return True


def _fork(target: Target, job: Words, control: Connection) -> _Child:
    heard, said = Pipe(duplex=False)
    alive, watched = os.pipe()  # nothing is ever written
    server = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        for pipe in (heard, said):
            pipe.close()
        for end in (alive, watched):
            os.close(end)
        raise
    if pid == 0:
        os.close(watched)
        heard.close()
        control.close()
        _be_child(target, job, said, server, alive)
    with suppress(OSError):  # it does so itself, whoever is first
        os.setpgid(pid, pid)
    said.close()
    os.close(alive)
    return _Child(pid, heard, watched)


# --- in the child


def _be_child(target: Target, job: Words, said: Connection, server: int, alive: int) -> NoReturn:
    code = 1
    try:
        _log_to(said, job["log_level"])
        _run(target, job, said, partial(_of_its_own, server, alive))
        code = 0
    except BaseException:  # not even that could be said
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _of_its_own(server: int, alive: int, asked: threading.Event) -> None:
    """Groups, signals and what ends it; the kernel takes it first when memory runs out."""

    def ask(_: int, __: FrameType | None) -> None:
        asked.set()

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    if os.getppid() != server:
        os._exit(1)
    signal.signal(signal.SIGTERM, ask)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_with(alive: int) -> None:
    while os.read(alive, 1):
        pass
    os.killpg(0, signal.SIGKILL)


class _Sent(logging.Handler):
    """Records go to the worker, whose log has one form."""

    def __init__(self, said: Connection) -> None:
        super().__init__()
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        with suppress(OSError):  # nobody is there to read it
            send(self.said, {"log": {"name": record.name, "level": record.levelno, "text": text}})


def _log_to(said: Connection, level: int) -> None:
    logging.basicConfig(handlers=[_Sent(said)], level=level, format="%(message)s", force=True)
    logging.captureWarnings(True)


def _run(
    target: Target, job: Words, said: Connection, set_up: Callable[[threading.Event], None]
) -> None:
    """The job; what it ends with is said."""
    asked, began = threading.Event(), False

    def check_interrupt() -> None:
        if asked.is_set():
            raise Stopped

    try:
        set_up(asked)
        work = target.begin(job)
        began = True
        with _memory(job["memory_B"]):
            result = work(check_interrupt)
        send(said, {"result": result})
    except Stopped:
        send(said, {"stopped": True})
    except BaseException as error:
        kind = kind_of(error)
        kind = "setup" if kind == "error" and not began else kind
        reason = f"{type(error).__name__}: {error}"[:REASON]
        where = "".join(traceback.format_exception(error))
        send(said, {"failure": {"kind": kind, "reason": reason, "traceback": where}})


@contextmanager
def _memory(more_B: int | None) -> Iterator[None]:
    """A limit on what the process takes from here on, bytes; None for none."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    if more_B is not None:
        soft, hard = data_B() + more_B, before[1]
        soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def data_B() -> int:
    """Bytes that RLIMIT_DATA counts of this process: private and writable, used or not."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmData:")) * 1024


def main() -> None:
    """`python -m nas_service.worker.training_process FD MODULE`, by a worker."""
    os.dup2(2, 1)  # what children print belongs beside the worker's log
    control = Connection(int(sys.argv[1]))
    serve(control, cast(Target, import_module(sys.argv[2])))
    os._exit(0)  # nothing is left to be done: to take torch apart takes seconds
