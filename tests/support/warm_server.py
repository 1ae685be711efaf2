"""The server that has loaded the service and forks its processes; see `warm`. It has one thread."""

import atexit
import fcntl
import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import threading
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

import warm

LOADED = (
    "nas_service.cli.main",
    "nas_service.evaluation.evaluator",
    "nas_service.samplers.greybox.sampler",
    "nas_service.worker.training_process.fork_server",
    "nas_service.worker.training_process.job",
    "nas_service.worker.worker",
)
HIGH = 200  # file descriptors from here on are used between a fork and the process's beginning


class Server:
    """Forks processes and sends their exit codes, until the process that started it is gone."""

    def __init__(self, listener: socket.socket, alive: int) -> None:
        self.listener, self.alive = listener, alive
        self.ended, writer = os.pipe()
        self.own = [alive, self.ended, writer]
        os.set_blocking(writer, False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self.running: dict[int, socket.socket] = {}

    def serve(self) -> None:
        """Serves until the end of the pipe that nobody writes to."""
        while True:
            ready, _, _ = select.select([self.listener, self.alive, self.ended], [], [])
            if self.ended in ready:
                os.read(self.ended, 4096)
                self._reap()
            if self.listener in ready:
                self._fork(self.listener.accept()[0])
            if self.alive in ready:
                return

    def _reap(self) -> None:
        while self.running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with self.running.pop(pid) as connection, suppress(OSError):
                connection.sendall(struct.pack("i", status))

    def _fork(self, connection: socket.socket) -> None:
        header, descriptors, _, _ = socket.recv_fds(connection, 4, 16)
        request = connection.recv(struct.unpack("I", header)[0], socket.MSG_WAITALL)
        if pid := os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
            self.running[pid] = connection
            return connection.sendall(struct.pack("i", pid))
        received = [fcntl.fcntl(d, fcntl.F_DUPFD_CLOEXEC, HIGH) for d in descriptors]
        for opened in (self.listener, connection, *self.running.values()):
            opened.close()
        signal.set_wakeup_fd(-1)
        for descriptor in (*self.own, *descriptors):
            os.close(descriptor)
        begin(json.loads(request), received)


def begin(request: dict[str, Any], received: list[int]) -> NoReturn:
    """The whole life of a forked process, as an interpreter would lead it."""
    for descriptor, number in zip(received, request["numbers"], strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if request["session"]:
        os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    module, *sys.argv[1:] = request["words"]
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, request["blocked"])
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def main() -> None:
    """`python warm_server.py ADDRESS LISTENER ALIVE`."""
    warm.STARTS.address = sys.argv[1]
    for name in LOADED:
        import_module(name)
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()
    warm.install()
    Server(socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3])).serve()


if __name__ == "__main__":
    main()
