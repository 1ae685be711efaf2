"""Local workers, which end together and before the process that has started them."""

import signal
import subprocess
import sys
import threading
from contextlib import nullcontext

import pytest

from nas_service.errors import Interrupted
from nas_service.worker import end_signals
from nas_service.worker.local_pool import LocalWorkerPool

WORKER = """
import os, signal, sys, threading, time
from nas_service.worker.end_signals import end_on_signals
from nas_service.worker.local_pool import end_with_stdin
asked_to_end = threading.Event()
signals = end_on_signals(asked_to_end)
signal.raise_signal(int(sys.argv[1]))  # what a terminal sends reaches workers as well
asked_to_end.wait()
print("begun", flush=True)
while os.read(0, 100):
    pass
for number in sys.argv[2:]:  # impatience, while the trial is released
    os.kill(os.getppid(), int(number))
while not signals.is_urgent:
    time.sleep(0.01)
print("released", flush=True)
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("first", "others"),
    [
        (None, [signal.SIGINT]),  # Ctrl-C in a program that uses the Python API
        (signal.SIGHUP, [signal.SIGHUP, signal.SIGHUP, signal.SIGTERM]),
    ],
)
def test_workers_release_their_trials_before_their_pool_ends(first, others):
    lines = []

    def on_line(text):
        lines.append(text)
        if first is None:
            raise KeyboardInterrupt
        signal.raise_signal(first)

    class Pool(LocalWorkerPool):
        def _start(self, key):
            numbers = (str(int(n)) for n in (first or signal.SIGINT, *others))
            process = subprocess.Popen(
                [sys.executable, "-c", WORKER, *numbers],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            self._processes[key] = process
            threading.Thread(target=self._read_lines, args=(key, process), daemon=True).start()

    pool = Pool(None, (), None, 1)
    with end_signals.watched(last=False) if first else nullcontext():
        end_signals.interrupt()
        with pytest.raises(Interrupted, match=r"^interrupted.*: run the same command again"):
            pool.run(on_line, lambda: None)
    assert lines == ["begun"]
    assert pool._processes[0].returncode == 0
    assert pool._lines.get(timeout=90) == (0, "released")
