"""Processes in PID namespaces of their own, as in containers. Needs root's rights on Linux."""

import ctypes
import os
import signal
from typing import NoReturn

import worker_harness as harness

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
REFUSED = 77  # exit code of a process that may not make namespaces


def is_permitted() -> bool:
    """Whether processes of this user can have namespaces."""
    if (pid := os.fork()) == 0:
        os._exit(not _unshare())
    return os.waitpid(pid, 0)[1] == 0


def work(plan: harness.Plan) -> None:
    """Runs a worker as process 1 of a new namespace, with a /proc of that namespace."""
    if not _unshare():
        os._exit(REFUSED)
    if (pid := os.fork()) == 0:
        _work_as_first(plan)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _unshare() -> bool:
    return ctypes.CDLL(None).unshare(CLONE_NEWNS | CLONE_NEWPID) == 0


def _work_as_first(plan: harness.Plan) -> NoReturn:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    assert libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0, ctypes.get_errno()
    assert libc.mount(b"proc", b"/proc", b"proc", 0, None) == 0, ctypes.get_errno()
    assert os.getpid() == 1
    harness.run_process(plan, harness.work)
    os._exit(0)
