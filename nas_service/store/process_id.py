"""Names of worker processes, from which others on the same machine see whether they live."""

import os
import socket
from pathlib import Path

from hw_models.files.numerals import parse_whole


def worker_name() -> str:
    """Name of this process: host, boot, process number and time of its start, with slashes."""
    return f"{socket.gethostname()}/{_boot()}/{os.getpid()}/{_started(os.getpid())}"


def is_dead(worker: str) -> bool:
    """True where the worker was a process of this machine and is gone."""
    host, boot, pid, started = (worker.split("/") + [""] * 4)[:4]
    number = parse_whole(pid)
    local = host == socket.gethostname() and boot == _boot()
    return local and number is not None and _started(number) != started


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return "unknown"


def _started(pid: int) -> str:
    """When a process began, in clock ticks; another text where it is gone or a zombie."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "gone"
    return "gone" if after_name[0] in "ZX" else after_name[19]
