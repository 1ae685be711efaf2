"""How a training can end without a result: the kinds of ends, and how each is recognised."""

import errno
import re
import signal
from pathlib import Path
from typing import Literal

from nas_service.evaluation.control_group import GROUPS, PROC, memory_folders
from nas_service.worker.end_signals import ENDING

Kind = Literal[
    "oom",  # memory ran out: Python, torch or CUDA got none, or the kernel killed the child
    "crash",  # segmentation fault, abort, bus error, illegal instruction
    "timeout",  # it took longer than allowed
    "error",  # it raised an exception
    "exit",  # it left by an exit code
    "killed",  # SIGKILL or another signal from outside, or the fork server was lost
    "stopped",  # a signal from outside that asks processes to end, as a batch system sends to all
    "disk",  # a file cannot be read or written: full, read-only, over a limit, no permission, gone
    "device",  # the GPU or its driver is lost, taken or broken
    "setup",  # it could not begin: data, device or program are not as the worker's
]
FAULTS: frozenset[Kind] = frozenset({"disk", "device", "setup"})  # of the machine

CRASHES = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS"}
NO_MEMORY = re.compile(r"out of memory|can't allocate memory|bad_alloc|_ALLOC_FAILED", re.I)
# Of libraries in Rust, whose errors have no errno.
OS_ERROR = re.compile(r"\(os error ([0-9]{1,9})\)")
DEVICE = re.compile(
    r"no CUDA-capable device|busy or unavailable|ECC error|CUDA driver|NVIDIA driver"
    r"|no kernel image|invalid device ordinal|system not yet initialized|fallen off the bus"
    r"|(device|GPU) is lost|CUDA error: (initialization|unknown) error",
    re.I,
)
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
    if kind not in ("error", "setup") or cause is None:
        return kind
    deeper = kind_of(cause)
    return kind if deeper == "error" else deeper


def _kind_without_cause(error: BaseException) -> Kind:
    names = {base.__name__ for base in type(error).__mro__}  # torch is not loaded for this
    text, computed = str(error), isinstance(error, RuntimeError)
    if names & {"MemoryError", "OutOfMemoryError"} or (computed and NO_MEMORY.search(text)):
        return "oom"
    number = error.errno if isinstance(error, OSError) else _os_error(text)
    if number is not None or isinstance(error, OSError):
        return "oom" if number == errno.ENOMEM else "disk"
    if computed and DEVICE.search(text):
        return "device"
    if computed and "CUDA error" in text:
        return "crash"
    return "setup" if "DataError" in names else "error"


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


def oom_kills(proc: Path = PROC, groups: Path = GROUPS) -> int:
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
    names = ("memory.events", "memory.oom_control")  # of version 2 and 1
    return [folder / name for folder in memory_folders(proc, groups) for name in names]
