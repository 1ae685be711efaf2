"""The fork server, a process between a worker and its children: loads what they share, and forks.

It has one thread, so that forking is safe, and trains nothing itself. It ends with the worker, and
its child ends with it.
"""

import gc
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection, Pipe, wait
from typing import cast

from nas_service.worker.end_signals import ENDING
from nas_service.worker.training_process.child import Target, log_to, run_child
from nas_service.worker.training_process.failures import oom_kills
from nas_service.worker.training_process.messages import Message, receive, send


@dataclass(frozen=True)
class _Child:
    pid: int
    pipe: Connection  # its messages
    alive: int  # the child ends when this end of a pipe is closed, as when this process ends

    def exit_code(self) -> int | None:
        """The exit code as `subprocess` gives it; None while the child runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal to all processes of the child's group, if it has one."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def close(self) -> None:
        """Closes the pipes to a child that is gone."""
        self.pipe.close()
        os.close(self.alive)


def serve(control: Connection, target: Target) -> None:
    """Runs one child after the other until the worker is gone.

    Args:
        control: The pipe to the worker.
        target: What a child runs with its job.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # a child unblocks them
    ended = _child_end_pipe()
    while True:
        try:
            message = receive(control)
            if "job" in message:
                _run_job(control, ended, target, message["job"])
        except (EOFError, OSError):
            return


def _child_end_pipe() -> int:
    """The reading end of a pipe that becomes readable when a child ends."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _run_job(control: Connection, ended: int, target: Target, job: Message) -> None:
    """Runs one child from its start to its end."""
    log_to(control, job["log_level"])
    with suppress(Exception):
        target.prepare(job)
    gc.collect()
    gc.freeze()  # garbage collection in the child does not touch, and so copy, these objects
    killed = oom_kills()
    try:
        child = _fork(target, job, control)
    except OSError as error:  # no memory or no process is left
        send(control, {"failure": {"kind": "setup", "reason": f"no child could be made: {error}"}})
        return send(control, {"end": 1, "oom": False})
    try:
        send(control, {"started": child.pid})
        code = _relay(control, ended, child)
    except BaseException:
        child.kill()
        os.waitpid(child.pid, 0)
        raise
    send(control, {"end": code, "oom": oom_kills() > killed})


def _relay(control: Connection, ended: int, child: _Child) -> int:
    """Passes signals to the child and its messages to the worker; returns the exit code."""
    open_pipes = [child.pipe]
    while (code := child.exit_code()) is None:
        for ready in wait([control, ended, *open_pipes]):
            if ready is control:
                child.kill(receive(control)["signal"])
            elif ready == ended:
                os.read(ended, 4096)
            elif not _forward(child.pipe, control):
                open_pipes.clear()
    while open_pipes and child.pipe.poll() and _forward(child.pipe, control):
        pass
    child.close()
    return code


def _forward(pipe: Connection, control: Connection) -> bool:
    """Forwards one message of the child; False at the end of its pipe, also within a message."""
    try:
        message = pipe.recv_bytes()
    except (EOFError, OSError):
        return False
    control.send_bytes(message)
    return True


def _fork(target: Target, job: Message, control: Connection) -> _Child:
    reader, writer = Pipe(duplex=False)
    alive_reader, alive_writer = os.pipe()  # nothing is ever written
    server = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        for pipe in (reader, writer):
            pipe.close()
        for end in (alive_reader, alive_writer):
            os.close(end)
        raise
    if pid == 0:
        os.close(alive_writer)
        reader.close()
        control.close()
        run_child(target, job, writer, server, alive_reader)
    with suppress(OSError):  # the child does the same; either may be first
        os.setpgid(pid, pid)
    writer.close()
    os.close(alive_reader)
    return _Child(pid, reader, alive_writer)


def main() -> None:
    """`python -m nas_service.worker.training_process FD MODULE`, started by a worker."""
    os.dup2(2, 1)  # what children print goes where the worker logs
    control = Connection(int(sys.argv[1]))
    serve(control, cast(Target, import_module(sys.argv[2])))
    os._exit(0)  # unloading torch takes seconds
