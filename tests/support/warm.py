"""Processes of `python -m nas_service` that begin with everything loaded.

A test process starts one server, which loads the service and forks each such process: that takes
milliseconds in place of seconds. Also the processes that such processes start are forked from it.
All else is as `subprocess` does it: streams, environment, folder, signals and exit codes. The
fixture `cold_start` gives a test processes that load all for themselves, as production has them.
"""

import asyncio
import atexit
import inspect
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MODULES = ("nas_service", "nas_service.worker.training_process")
UNCHANGED = ("preexec_fn", "executable", "shell", "gid", "gids", "uid", "process_group")
PLAIN = (None, False, -1)  # of an argument that was not given
ADDRESS = "NAS_TEST_WARM"  # the variable that names the server's socket
SERVER = Path(__file__).with_name("warm_server.py")

_Cold = subprocess.Popen
_ARGUMENTS = inspect.signature(_Cold._execute_child)  # type: ignore[attr-defined]
_TRY_WAIT = _Cold._try_wait  # type: ignore[attr-defined]


class WarmStarts:
    """Where processes of this process are forked from; `address` is None until one is needed."""

    def __init__(self) -> None:
        self.enabled = True
        self.address: str | None = None
        self.folders = set(sys.path)  # where the server finds modules

    def apply_to(self, call: dict[str, Any]) -> bool:
        """True where a process of these arguments is one that the server can fork."""
        words, environment = call["args"], call["env"] or os.environ
        return (
            self.enabled
            and asyncio._get_running_loop() is None  # which waits for processes by their number
            and isinstance(words, list | tuple)
            and tuple(words[:2]) == (sys.executable, "-m")
            and words[2] in MODULES
            and all(value in PLAIN for name, value in call.items() if name.endswith(UNCHANGED))
            and set(filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)))
            <= self.folders
            and "LD_PRELOAD" not in environment
        )

    def connection(self) -> socket.socket:
        """A connection to the server, which is started by the first one."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.started())
        return connection

    def started(self) -> str:
        """The address of the server, which is started where none runs."""
        if self.address is None:
            self.address = os.environ[ADDRESS] = _started_server()
        return self.address


STARTS = WarmStarts()


class Popen(subprocess.Popen[Any]):
    """`subprocess.Popen`, with processes of the service forked from one that has loaded it."""

    _connection: socket.socket | None = None  # to the server, which sends how the process ended

    def _execute_child(self, *arguments: Any) -> None:
        call = _ARGUMENTS.bind(self, *arguments).arguments
        if not STARTS.apply_to(call):
            return super()._execute_child(*arguments)  # type: ignore[misc]
        sys.audit("subprocess.Popen", call["args"][0], call["args"], call["cwd"], call["env"])
        pipes = ("p2cread", "c2pwrite", "errwrite")
        streams = [number if call[n] == -1 else call[n] for number, n in enumerate(pipes)]
        descriptors = [*streams, *call["pass_fds"]]
        request = json.dumps({
            "words": [os.fspath(word) for word in call["args"][2:]],
            "folder": os.fspath(call["cwd"] or os.getcwd()),
            "environment": dict(call["env"] or os.environ),
            "blocked": [int(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
            "session": bool(call["start_new_session"]),
            "numbers": [0, 1, 2, *call["pass_fds"]],
        }).encode()  # fmt: skip
        self._connection = STARTS.connection()
        socket.send_fds(self._connection, [struct.pack("I", len(request))], descriptors)
        self._connection.sendall(request)
        (self.pid,) = struct.unpack("i", self._connection.recv(4, socket.MSG_WAITALL))
        self._child_created = True
        ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(call[name] for name in ends))  # type: ignore[attr-defined]

    def _internal_poll(self, *arguments: Any, **keywords: Any) -> int | None:
        if self._connection is None:
            return super()._internal_poll(*arguments, **keywords)  # type: ignore[misc,no-any-return]
        if self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                pid, status = self._try_wait(os.WNOHANG) if self.returncode is None else (0, 0)
                if pid:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if self._connection is None:
            return _TRY_WAIT(self, flags)  # type: ignore[no-any-return]
        if flags & os.WNOHANG and not select.select([self._connection], [], [], 0)[0]:
            return 0, 0
        status = self._connection.recv(4, socket.MSG_WAITALL)
        self._connection.close()
        return self.pid, struct.unpack("i", status)[0] if status else signal.SIGKILL


def install() -> None:
    """Lets `subprocess` start processes of the service warm."""
    subprocess.Popen = Popen  # type: ignore[misc]


def _started_server() -> str:
    """Starts the server, which ends with this process; returns the address of its socket."""
    folder = tempfile.mkdtemp(prefix="warm-", dir=os.environ.get("NAS_TEST_RUN"))
    address = f"{folder}/socket"
    STARTS.folders = set(sys.path)
    reader, writer = os.pipe()  # nothing is ever written
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        server = _Cold(
            [sys.executable, str(SERVER), address, str(listener.fileno()), str(reader)],
            stdin=subprocess.DEVNULL,
            pass_fds=[listener.fileno(), reader],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    os.close(reader)

    def end() -> None:
        os.close(writer)
        server.wait()

    atexit.register(end)
    return address
