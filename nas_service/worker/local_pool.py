"""Worker processes on this machine: started, replaced when they are killed, ended together."""

import operator
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nas_service.errors import Interrupted, NasError, StoreError, TooManyFailures
from nas_service.store.store import Store
from nas_service.worker import end_signals
from nas_service.worker.training_process.client import WORKER_ENVIRONMENT

MOST_WORKERS = 256  # of one command
REPLACEMENTS = 5  # of workers that were killed; more mean that the machine is at fault
GRACE_s = 20.0  # for workers to release their trials


def worker_count(workers: int | None) -> int:
    """The number of workers that a caller asks for.

    Args:
        workers: The number, or None: one for each processor core.

    Returns:
        The number.

    Raises:
        NasError: It is no whole number from 1 to MOST_WORKERS.
    """
    if workers is None:
        return cores()
    try:
        count = 0 if isinstance(workers, bool) else operator.index(workers)
    except TypeError:
        count = 0
    if not 1 <= count <= MOST_WORKERS:
        raise NasError(
            f"workers = {workers!r:.80}: a whole number, 1..{MOST_WORKERS}, or None for one for "
            "each core"
        )
    return count


def cores() -> int:
    """Number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class LocalWorkerPool:
    """The workers of one study on this machine."""

    store: Store
    command: tuple[str, ...]  # arguments of `nas` that each worker runs
    data: Path  # folder of data sets
    size: int  # number of workers
    _lines: "queue.Queue[tuple[int, str | None]]" = field(default_factory=queue.Queue)
    _processes: dict[int, "subprocess.Popen[str]"] = field(default_factory=dict)

    def run(self, on_line: Callable[[str], None], on_tick: Callable[[], None]) -> None:
        """Runs the workers until all of them have ended.

        Args:
            on_line: Called with each line that a worker prints.
            on_tick: Called twice a second.

        Raises:
            Interrupted: By Ctrl-C, or where `end_signals.interrupt` was called by another signal,
                after the workers have released their trials and ended.
            NasError: What ended a worker.
        """
        started = 0
        try:
            for started in range(self.size):
                self._start(started)
            while self._processes:
                on_tick()
                for key, text in self._drain():
                    if text is not None:
                        on_line(text)
                        continue
                    code = _exit_code(self._processes.pop(key))
                    if code < 0 and started < self.size + REPLACEMENTS:
                        started += 1
                        name = signal.Signals(-code).name
                        on_line(f"a worker was killed ({name}); another starts")
                        self._start(started)
                    elif code:
                        raise _error(code)
        except KeyboardInterrupt as interruption:
            reason = str(interruption) or "interrupted"
            raise Interrupted(f"{reason}: run the same command again to continue") from None
        finally:
            self._end()

    def _start(self, key: int) -> None:
        """Starts a worker that ends when its standard input closes: none outlives this process."""
        command = [sys.executable, "-m", "nas_service", *self.command]
        command += ["--data", str(self.data), "--any-disk", "--end-with-stdin"]
        with end_signals.postponed():  # else a worker could start that nobody ends
            process = self._processes[key] = subprocess.Popen(  # noqa: S603  our own module
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **WORKER_ENVIRONMENT, "NAS_STORAGE": self.store.address},
            )
        threading.Thread(target=self._read_lines, args=(key, process), daemon=True).start()

    def _read_lines(self, key: int, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None  # noqa: S101  piped above
        with process.stdout as lines:
            for text in lines:
                self._lines.put((key, text.rstrip("\n")))
        self._lines.put((key, None))

    def _drain(self) -> Iterator[tuple[int, str | None]]:
        """Lines that have come, after half a second at most; None at the end of a worker."""
        try:
            yield self._lines.get(timeout=0.5)
            while True:
                yield self._lines.get_nowait()
        except queue.Empty:
            return

    def _end(self) -> None:
        """Asks every worker to release its trial, waits, and kills those that are left.

        The end of standard input asks them; Ctrl-C or the end of a terminal has sent them a signal
        before. Further signals do not end the wait, but reach the workers.
        """
        with end_signals.replaced(self._hasten):
            for process in self._processes.values():
                assert process.stdin is not None  # noqa: S101  piped at its start
                process.stdin.close()
            for process in self._processes.values():
                try:
                    _exit_code(process, GRACE_s)
                except subprocess.TimeoutExpired:
                    process.kill()
                    _exit_code(process)

    def _hasten(self, number: int) -> None:
        """Asks the workers to end without waiting for the next batch of their trainings."""
        if number in (*end_signals.REPEATED, signal.SIGQUIT):
            for process in self._processes.values():
                process.send_signal(signal.SIGQUIT)


def _exit_code(process: "subprocess.Popen[str]", timeout_s: float | None = None) -> int:
    """Waits for a worker's end; raises TimeoutExpired."""
    code = process.wait(timeout_s)
    assert process.stdin is not None  # noqa: S101  piped at its start
    process.stdin.close()
    return code


def end_with_stdin(asked_to_end: threading.Event) -> None:
    """In a worker: the end of standard input, as of the process that started it, ends it."""
    threading.Thread(target=_until_closed, args=(asked_to_end,), daemon=True).start()


def _until_closed(asked_to_end: threading.Event) -> None:
    while os.read(0, 4096):  # not sys.stdin, whose lock a daemon thread would keep at exit
        pass
    asked_to_end.set()


def _error(code: int) -> NasError | Interrupted:
    if code == Interrupted.exit_code:
        return Interrupted("a worker was interrupted")
    kinds = {kind.exit_code: kind for kind in (StoreError, TooManyFailures)}
    if code < 0:
        return TooManyFailures(
            f"workers were killed {REPLACEMENTS} times over; the last by signal {-code}"
        )
    return kinds.get(code, NasError)(f"a worker ended with exit code {code}; its message says why")
