"""Names of worker processes, from which others on the same machine see whether they live.

A process is judged only by one that could see it: under the same start of the same kernel, and in
the same PID namespace. Containers may share a host name, and /proc may hide what other users run.
"""

import functools
import os
import socket
import uuid
from collections.abc import Iterable
from pathlib import Path

from hw_models.files.numerals import parse_whole

PROC = Path("/proc")
MOST = 2**31 - 1  # of process numbers


def worker_name() -> str:
    """Name of this process: host, boot, process number, time of its start and PID namespace."""
    host, boot, namespace = _place()
    return f"{host}/{boot}/{os.getpid()}/{_started('self')}/{namespace}"


def host_of(worker: str) -> str:
    """The machine of a worker, from its name."""
    return worker.partition("/")[0]


def is_dead(worker: str) -> bool:
    """True where this process would see the worker if it lived, and does not see it.

    Args:
        worker: Its name; older versions wrote names without a PID namespace, which are not judged.

    Returns:
        False also where nothing is known: then only the deadline of its lease counts.
    """
    return worker in dead_among([worker])


def machine_prefix() -> str:
    """What the names of all workers begin with that this process can judge."""
    host, boot, _ = _place()
    return f"{host}/{boot}/"


def dead_among(workers: Iterable[str]) -> set[str]:
    """Those of some workers that are dead, as `is_dead`; those of other machines cost nothing."""
    place = _place()
    return {worker for worker in workers if _is_dead(worker, place)}


def _is_dead(worker: str, place: tuple[str, str, str]) -> bool:
    host, boot, pid, started, namespace = (worker.split("/") + [""] * 5)[:5]
    number = parse_whole(pid)
    if (host, boot, namespace) != place or number is None or not 0 < number <= MOST:
        return False
    return not _exists(number) or _is_another(number, started)


def _place() -> tuple[str, str, str]:
    """Host, boot and PID namespace of this process."""
    return socket.gethostname(), _boot(), _namespace()


def _boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return _unknown(os.getpid())


def _namespace() -> str:
    try:
        return str((PROC / "self/ns/pid").stat().st_ino)
    except OSError:
        return _unknown(os.getpid())


@functools.cache
def _unknown(_: int) -> str:
    """What this process writes where the system does not say: equal to no other process's."""
    return f"unknown-{uuid.uuid4().hex[:8]}"


def _exists(pid: int) -> bool:
    """False where no process has this number, also where /proc hides processes of other users."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True


def _is_another(pid: int, started: str) -> bool:
    """True where the process of this number is a zombie, or began at another time."""
    try:
        if os.readlink(PROC / "self") != str(os.getpid()):
            return False  # it is the /proc of another PID namespace
    except OSError:
        return False
    return started.isdigit() and _started(pid) not in (started, "")


def _started(process: int | str) -> str:
    """When a process began, in clock ticks; "gone" for a zombie, empty where it cannot be seen."""
    try:
        after_name = (PROC / f"{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "gone" if after_name[0] in "ZX" else after_name[19]
