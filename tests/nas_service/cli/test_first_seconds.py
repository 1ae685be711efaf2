"""Signals while a command still loads torch and Optuna: it ends by a word and its exit code."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("cold_start")]

NAS = [sys.executable, "-m", "nas_service"]
WORKER = [*NAS, "worker", "--study", "s", "--storage", "sqlite:///none.db"]
ALONE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def started(words, folder):
    return subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def handles(pid, number):
    """Whether the process has a handler of a signal; process 1 ignores it before."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def end(process, number, pid=None):
    """Sends the signal as soon as it is handled; the exit code and the output."""
    late = time.monotonic() + 60
    while not handles(pid or process.pid, signal.SIGTERM):  # Python itself handles Ctrl-C
        assert process.poll() is None
        assert time.monotonic() < late
        time.sleep(0.005)
    os.kill(pid or process.pid, number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("words", "number", "expected"),
    [
        ([*WORKER, "--term-exit", "143"], signal.SIGUSR1,
         (143, "end: interrupted by SIGUSR1\n", "")),
        ([*NAS, "run", "s.toml"], signal.SIGHUP, (130, "", "nas: interrupted by SIGHUP\n")),
    ],
)  # fmt: skip
def test_a_command_that_has_just_begun(tmp_path, words, number, expected):
    assert end(started(words, tmp_path), number) == expected


def test_a_worker_that_is_process_1_of_a_container(tmp_path):
    """The kernel keeps signals from process 1 for which it has no handler."""
    permitted = shutil.which("unshare") and subprocess.run([*ALONE, "true"], capture_output=True)
    if not permitted or permitted.returncode:
        pytest.skip("this user may not make PID namespaces")
    outside = started([*ALONE, *WORKER], tmp_path)
    children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
    while not (inside := children.read_text().split()):
        assert outside.poll() is None
    ended = end(outside, signal.SIGTERM, int(inside[0]))
    assert ended == (0, "end: interrupted by SIGTERM\n", "")
