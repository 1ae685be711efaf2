"""How a training can end but by its result: kinds, whose fault each is, and how they are told."""

import errno
import re
import signal
from pathlib import Path
from typing import Literal

Kind = Literal["oom", "crash", "timeout", "error", "exit", "killed", "disk", "setup"]

OF_THE_CANDIDATE: dict[Kind, str] = {
    "oom": "memory ran out: Python, torch or CUDA got none, or the kernel killed the child",
    "crash": "the program broke: segmentation fault, abort, bus error, illegal instruction",
    "timeout": "it took longer than it was given",
    "error": "it raised an exception",
    "exit": "it left by an exit code, without a result",
}
OF_THE_MACHINE: dict[Kind, str] = {
    "killed": "a signal from outside, or the process that makes children is lost",
    "disk": "weights or checkpoints cannot be written: full, read-only, over a limit, gone",
    "setup": "it could not begin: data, device or program are not as the worker's",
}

CRASHES = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS"}
DISK = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}
NO_MEMORY = re.compile(r"out of memory|can't allocate memory|bad_alloc|_ALLOC_FAILED", re.I)
OS_ERROR = re.compile(r"\(os error (\d+)\)")  # of libraries in Rust, whose errors have no errno
REASON = 2000  # characters


class ChildFailure(Exception):
    """A training without a result. The worker lives, and judges by `kind` what comes of it."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind, self.reason = kind, reason

    @property
    def of_the_machine(self) -> bool:
        """True where another worker may well do it; the candidate is not to blame."""
        return self.kind in OF_THE_MACHINE


def kind_of(error: BaseException) -> Kind:
    """Of what a training raised, or of what that was raised from."""
    found = _kind_alone(error)
    cause = error.__cause__
    return kind_of(cause) if found == "error" and cause is not None else found


def _kind_alone(error: BaseException) -> Kind:
    names = {kind.__name__ for kind in type(error).__mro__}  # torch is not loaded for this
    if names & {"MemoryError", "OutOfMemoryError"}:
        return "oom"
    number = error.errno if isinstance(error, OSError) else _os_error(str(error))
    if number == errno.ENOMEM or (isinstance(error, RuntimeError) and NO_MEMORY.search(str(error))):
        return "oom"
    return "disk" if number in DISK else "error"


def _os_error(text: str) -> int | None:
    found = OS_ERROR.search(text)
    return int(found[1]) if found else None


def failure_of(code: int, killed_for_memory: bool) -> ChildFailure:
    """Of a child that ended without a word; `code` as of subprocess, signals negative."""
    if code >= 0:
        return ChildFailure("exit", f"exit code {code}, without a result")
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if name == "SIGKILL" and killed_for_memory:
        return ChildFailure("oom", "SIGKILL: the kernel was out of memory")
    return ChildFailure("crash" if name in CRASHES else "killed", name)


def oom_kills(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Processes that the kernel killed for memory so far: in our control group, else anywhere.

    0 where the kernel does not tell.
    """
    for path in (*_counters(proc, groups), proc / "vmstat"):
        try:
            words = [line.split() for line in path.read_text().splitlines()]
        except OSError:
            continue
        for word in words:
            if word[0] == "oom_kill":
                return int(word[1])
    return 0


def _counters(proc: Path, groups: Path) -> list[Path]:
    """Files of our control group, of version 2 and 1; a container may see its own as the root."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for _, controllers, place in (line.split(":", 2) for line in lines):
        own = place.lstrip("/")
        if not controllers:
            found += [groups / own / "memory.events", groups / "memory.events"]
        elif "memory" in controllers.split(","):
            old = groups / "memory"
            found += [old / own / "memory.oom_control", old / "memory.oom_control"]
    return found
