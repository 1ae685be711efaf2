"""Signals that ask a worker to end."""

import signal
import subprocess
import sys
import threading

import pytest

from nas_service.errors import Interrupted
from nas_service.worker.local_pool import LocalWorkerPool, end_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_interrupts_the_wait_for_it(number):
    """It comes while the main thread holds the lock of the event that the signal sets."""
    asked_to_end = threading.Event()
    by_machine = end_on_signals(asked_to_end)
    handler = signal.getsignal(number)
    with asked_to_end._cond:
        call = threading.Thread(target=handler, args=(number, None), daemon=True)
        call.start()
        call.join(30)
        assert not call.is_alive()
    assert asked_to_end.wait(30)
    assert by_machine.is_set() == (number == signal.SIGTERM)


WORKER = """
import signal, threading, time
from nas_service.worker.local_pool import end_on_signals, end_with_stdin
asked_to_end = threading.Event()
end_on_signals(asked_to_end)
signal.raise_signal(signal.SIGINT)  # Ctrl-C in a terminal reaches workers as well
asked_to_end.wait()
end_with_stdin(asked_to_end)
print("begun", flush=True)
time.sleep(0.3)  # until the trial is released
print("released", flush=True)
"""


@pytest.mark.process
def test_control_c_in_a_terminal_lets_workers_release_their_trials(monkeypatch):
    lines = []

    def on_line(text):
        lines.append(text)
        if text == "begun":
            raise KeyboardInterrupt

    class Pool(LocalWorkerPool):
        def _start(self, key):
            process = subprocess.Popen(
                [sys.executable, "-c", WORKER],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            self._processes[key] = process
            threading.Thread(target=self._read_lines, args=(key, process), daemon=True).start()

    pool = Pool(None, (), None, 1)
    with pytest.raises(Interrupted, match="run the same command again"):
        pool.run(on_line, lambda: None)
    assert pool._lines.get(timeout=10) == (0, "released")
    assert pool._processes[0].returncode == 0
