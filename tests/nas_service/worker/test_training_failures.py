"""Failures of training processes: kinds of errors, and limits of memory and processes."""

import errno
import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from child_jobs import job

from nas_service.errors import DataError
from nas_service.evaluation.control_group import memory_limits
from nas_service.worker.end_signals import ENDING
from nas_service.worker.training_process import (
    ChildFailure,
    TrainingClient,
)
from nas_service.worker.training_process.failures import failure_of, kind_of, oom_kills

pytestmark = pytest.mark.process


@contextmanager
def group(controller, limit, limit_of_old, most):
    """A control group below this one, of version 1 or 2, where one may be made."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    rows = [line.split(":", 2) for line in lines]
    own = {kind: place.lstrip("/") for _, kinds, place in rows for kind in kinds.split(",")}
    root, name = Path("/sys/fs/cgroup"), f"nas-test-{os.getpid()}"
    if controller in own:
        place, file = root / controller / own[controller] / name, limit_of_old
    else:
        place, file = root / own.get("", "") / name, limit
    try:
        place.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made ({error})")
    try:
        if not (place / file).exists():
            pytest.skip(f"control groups do not limit {controller} here")
        (place / file).write_text(str(most))
        yield place
    finally:
        late = time.monotonic() + 10
        while (place / "cgroup.procs").read_text().strip() and time.monotonic() < late:
            time.sleep(0.02)
        place.rmdir()


@pytest.fixture
def small_group():
    with group("memory", "memory.max", "memory.limit_in_bytes", 300 * 2**20) as place:
        yield place


@pytest.fixture
def childless_group():
    with group("pids", "pids.max", "pids.max", 1) as place:
        yield place


def test_a_process_limit_is_a_fault_of_the_setup(
    evaluator, screened, childless_group, tmp_path, findable
):
    with TrainingClient(target="child_target") as client:
        client.run(job(evaluator, screened, "say", tmp_path))
        (childless_group / "cgroup.procs").write_text(str(client._server.process.pid))
        with pytest.raises(ChildFailure, match=r"setup: no child could be made: .*unavailable"):
            client.run(job(evaluator, screened, "say", tmp_path))
        (childless_group / "pids.max").write_text("max")
        assert client.run(job(evaluator, screened, "say", tmp_path)) == screened


def test_a_child_that_the_kernel_kills_for_memory(
    evaluator, screened, small_group, tmp_path, findable
):
    with TrainingClient(target="child_target") as client:
        client.run(job(evaluator, screened, "say", tmp_path))
        (small_group / "cgroup.procs").write_text(str(client._server.process.pid))
        with pytest.raises(ChildFailure, match="oom: SIGKILL"):
            client.run(job(evaluator, screened, "hog", tmp_path))
        with pytest.raises(ChildFailure, match="killed: SIGKILL"):
            client.run(job(evaluator, screened, "kill", tmp_path))


@pytest.mark.parametrize(
    ("groups", "file", "text"),
    [
        ("0::/a/b", "a/b/memory.events", "low 0\noom 4\noom_kill 3\n"),
        ("0::/a/b", "memory.events", "oom_kill 3\n"),
        ("4:cpu,memory:/a\n0::/", "memory/a/memory.oom_control", "under_oom 0\noom_kill 3\n"),
        ("4:memory:/gone\n0::/", "memory/memory.oom_control", "oom_kill 3\n"),
        ("4:cpu:/a", "", ""),
    ],
)
def test_kills_for_memory_are_counted(groups, file, text, tmp_path):
    proc, groups_folder = tmp_path / "proc", tmp_path / "groups"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(groups + "\n")
    assert oom_kills(proc, groups_folder) == 0
    (proc / "vmstat").write_text("pgfault 9\noom_kill 3\n" if not file else "oom_kill 8\n")
    if file:
        (groups_folder / file).parent.mkdir(parents=True)
        (groups_folder / file).write_text(text)
    assert oom_kills(proc, groups_folder) == 3


def test_a_real_limit_of_memory_is_read(small_group):
    """By a process that has moved into the group, as the worker of a container is born in one."""
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        (small_group / "cgroup.procs").write_text(str(os.getpid()))
        limits = memory_limits()
        os.write(writer, f"{limits[0].limit_B} {limits[0].used_B}".encode() if limits else b"")
        os._exit(0)
    os.waitpid(pid, 0)
    limit_B, used_B = map(int, os.read(reader, 100).split())
    assert limit_B == 300 * 2**20
    assert 0 <= used_B < limit_B


def test_kinds_of_errors():
    assert kind_of(MemoryError()) == "oom"
    assert kind_of(OSError(errno.ENOMEM, "Cannot allocate memory")) == "oom"
    assert kind_of(torch.OutOfMemoryError("CUDA out of memory.")) == "oom"
    cpu = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"
    assert kind_of(RuntimeError(cpu)) == "oom"
    assert kind_of(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")) == "oom"
    assert kind_of(ValueError("out of memory")) == "error"
    assert kind_of(OSError(errno.ENOSPC, "No space left on device")) == "disk"
    assert kind_of(OSError(errno.EACCES, "Permission denied")) == "disk"
    wrapped = DataError("cannot be written")
    wrapped.__cause__ = OSError(errno.EROFS, "Read-only file system")
    assert kind_of(wrapped) == "disk"


def test_kinds_of_exit_codes():
    assert failure_of(-signal.SIGKILL, True).kind == "oom"
    assert failure_of(-signal.SIGSEGV, True).kind == "crash"
    assert failure_of(-signal.SIGKILL, False).kind == "killed"
    for asking in ENDING:
        assert failure_of(-asking, False).kind == "stopped"
    assert failure_of(0, False).kind == "exit"
