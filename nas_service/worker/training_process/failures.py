"""How a training can end without a result: the kinds of ends, and how each is recognised."""

import errno
import re
import signal
from pathlib import Path
from typing import Literal

from nas_service.worker.end_signals import ENDING

Kind = Literal[
    "oom",  # memory ran out: Python, torch or CUDA got none, or the kernel killed the child
    "crash",  # segmentation fault, abort, bus error, illegal instruction
    "timeout",  # it took longer than allowed
    "error",  # it raised an exception
    "exit",  # it left by an exit code
    "killed",  # SIGKILL or another signal from outside, or the fork server was lost
    "stopped",  # a signal from outside that asks processes to end, as a batch system sends to all
    "disk",  # weights or checkpoints cannot be written: full, read-only, over a limit, gone
    "setup",  # it could not begin: data, device or program are not as the worker's
]

CRASHES = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS"}
DISK = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}
NO_MEMORY = re.compile(r"out of memory|can't allocate memory|bad_alloc|_ALLOC_FAILED", re.I)
OS_ERROR = re.compile(
    r"\(os error ([0-9]{1,9})\)"
)  # of libraries in Rust, whose errors have no errno
REASON = 2000  # characters


class ChildFailure(Exception):
    """A training without a result. The worker lives on and decides by `kind` what follows."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind, self.reason = kind, reason


def kind_of(error: BaseException) -> Kind:
    """The kind of an exception that a training raised, or of the exception that caused it."""
    kind = _kind_without_cause(error)
    cause = error.__cause__
    return kind_of(cause) if kind == "error" and cause is not None else kind


def _kind_without_cause(error: BaseException) -> Kind:
    names = {base.__name__ for base in type(error).__mro__}  # torch is not loaded for this
    if names & {"MemoryError", "OutOfMemoryError"}:
        return "oom"
    number = error.errno if isinstance(error, OSError) else _os_error(str(error))
    if number == errno.ENOMEM or (isinstance(error, RuntimeError) and NO_MEMORY.search(str(error))):
        return "oom"
    return "disk" if number in DISK else "error"


def _os_error(text: str) -> int | None:
    match = OS_ERROR.search(text)
    return int(match[1]) if match else None


def failure_of(code: int, killed_for_memory: bool) -> ChildFailure:
    """The failure of a child that ended without a message.

    Args:
        code: Its exit code as `subprocess` gives it; signals are negative.
        killed_for_memory: True where the kernel has killed a process for memory meanwhile.

    Returns:
        The failure; its kind says whether candidate or machine is charged.
    """
    if code >= 0:
        return ChildFailure("exit", f"exit code {code}, without a result")
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if name == "SIGKILL" and killed_for_memory:
        return ChildFailure("oom", "SIGKILL: the kernel was out of memory")
    if -code in ENDING:
        return ChildFailure("stopped", f"{name}, from outside")
    return ChildFailure("crash" if name in CRASHES else "killed", name)


def oom_kills(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Number of processes that the kernel has killed for memory so far.

    Counted in our control group where it has a counter, else on the whole machine; 0 where the
    kernel does not count.

    Args:
        proc: The kernel's files about processes.
        groups: The control groups.

    Returns:
        The number.
    """
    for path in (*_counters(proc, groups), proc / "vmstat"):
        try:
            rows = [line.split() for line in path.read_text().splitlines()]
        except OSError:
            continue
        for row in rows:
            if row[0] == "oom_kill":
                return int(row[1])
    return 0


def _counters(proc: Path, groups: Path) -> list[Path]:
    """Files of our control group, of version 2 and 1; a container may see its own as the root."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    files = []
    for _, controllers, place in (line.split(":", 2) for line in lines):
        own = place.lstrip("/")
        if not controllers:
            files += [groups / own / "memory.events", groups / "memory.events"]
        elif "memory" in controllers.split(","):
            old = groups / "memory"
            files += [old / own / "memory.oom_control", old / "memory.oom_control"]
    return files
