"""Workers of these tests: real processes on a real store, with simulated trainings.

Each worker is forked by a server process that has loaded the service once. A *moment* of a worker
is the time just before a statement to the database, just before a commit or just after one; a
training has ten moments. A worker that reaches a *gate* waits until the test opens it.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import simulated
import sqlalchemy as sa

from nas_service.searches.session import Search, open_search
from nas_service.store import joining_storage, trial_queue
from nas_service.store.database import checked_url
from nas_service.store.records import LIVE
from nas_service.store.store import Store
from nas_service.store.tables import leases
from nas_service.store.trial_queue import TrialQueue
from nas_service.worker.claiming import TrialClaims
from nas_service.worker.end_signals import end_on_signals
from nas_service.worker.reporting import ResultReporter
from nas_service.worker.training import train_in_children
from nas_service.worker.training_process import TrainingClient
from nas_service.worker.trial_run import TrialRunner
from nas_service.worker.worker import Worker

NAME = "s"  # of every study in these tests
WAIT_s = 120.0  # limit for every wait of a test
LONG_LEASE_s = 60.0  # never expires by itself during a test
OTHER_MACHINE = "elsewhere/boot/1/1"  # an owner whose process cannot be checked, only its lease

_FOLDER = Path(__file__).parent
PYTHONPATH = os.pathsep.join([str(_FOLDER), str(_FOLDER.parents[1] / "benchmarks"), *sys.path])
"""For a process that runs workers of these tests."""


@dataclass(frozen=True)
class Plan:
    """What one worker does; its log and its gates are files of the folder."""

    url: str
    folder: Path
    lease_s: float = LONG_LEASE_s
    training_s: float = 0.0
    max_trials: int | None = None
    owner: str = ""  # in place of the worker's own name
    gates: tuple[str, ...] = ()
    kills: tuple[tuple[int, ...], ...] = ()  # moments of the workers that run at a time, from 1
    prepare_store: Callable[[Store], None] | None = None  # a function of this module


_CONTEXT = multiprocessing.get_context("forkserver")


def start_fork_server() -> None:
    """Starts the process that forks workers and lets it import what they need."""
    _CONTEXT.set_forkserver_preload(["worker_harness"])
    forkserver.ensure_running()


class WorkerProcess:
    """A worker's process, as its test sees it."""

    def __init__(self, plan: Plan, run: Callable[[Plan], None] | None = None) -> None:
        self.folder = plan.folder
        self.process = _CONTEXT.Process(target=run_process, args=(plan, run or work))
        self.process.start()

    @property
    def log(self) -> str:
        path = self.folder / f"{self.process.pid}.log"
        return path.read_text() if path.exists() else ""

    def signal(self, number: int) -> None:
        os.kill(self.process.pid or 0, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.join()

    def wait(self, seconds: float = WAIT_s) -> int:
        """Waits for the process; its exit code, negative for a signal."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still running:\n{self.log}"
        return self.process.exitcode

    def stop(self, url: str) -> None:
        """Stops it outside of transactions on a file, and ends every worker's lease."""
        deadline = time.monotonic() + WAIT_s
        while time.monotonic() < deadline:
            self.signal(signal.SIGSTOP)
            with suppress(sa.exc.OperationalError):  # it holds the file's lock
                return expire_leases(url)
            self.signal(signal.SIGCONT)
        raise AssertionError(f"it holds the file's lock for {WAIT_s:g} s:\n{self.log}")

    def wait_at(self, gate: str) -> None:
        wait_until(lambda: self._gate(gate).exists(), gate)

    def open_gate(self, gate: str) -> None:
        self._gate(gate).with_suffix(".open").touch()

    def _gate(self, name: str) -> Path:
        return self.folder / f"{self.process.pid}.{name}"


def wait_until(condition: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + WAIT_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT_s:g} s in vain: {what}"
        time.sleep(0.01)


@contextmanager
def running(*processes: WorkerProcess) -> Iterator[tuple[WorkerProcess, ...]]:
    """Workers, of which none outlives the test."""
    try:
        yield processes
    finally:
        for worker in processes:
            if worker.process.is_alive():
                worker.kill()


def make_study(url: str, trainings: int, **search: Any) -> None:
    """Creates a study in the store."""
    simulated.make_study(url, simulated.spec(NAME, trainings, **search))


def expire_leases(url: str) -> None:
    """Ends every worker's lease now, as if its time were over."""
    engine = sa.create_engine(checked_url(url), poolclass=sa.NullPool)
    with engine.begin() as db:
        db.execute(sa.update(leases).where(leases.c.state.in_(LIVE)).values(deadline=0.0))


# --- in the worker's process


def run_process(plan: Plan, run: Callable[[Plan], None]) -> None:
    """Runs a worker and ends the process."""
    simulated.run_and_exit(lambda: run(plan), plan.folder / f"{os.getpid()}.log")


def work(plan: Plan) -> None:
    """Runs a worker."""
    _run_worker(_make_worker(_open(plan), plan), plan)


def work_with_children(plan: Plan) -> None:
    """Runs a worker whose trainings are child processes of `crashing_target`."""
    search = _open(plan)
    evaluator: Any = simulated.Evaluator(search.spec, folder=plan.folder)
    with TrainingClient(target="crashing_target") as trainer:
        train = train_in_children(trainer)
        _run_worker(Worker(search, evaluator, _print, train=train), plan)


def _run_worker(worker: Worker, plan: Plan) -> None:
    for gate in plan.gates:
        GATES[gate](_gate(plan.folder, gate))
    end_on_signals(worker.asked_to_end)
    _print(f"end: {worker.run(plan.max_trials)}")
    worker.search.store.close()


def work_and_be_killed(plan: Plan) -> None:
    """Runs one trial, then forks workers that are killed at the plan's moments.

    What a worker caches is computed before the forks, so that each fork takes milliseconds.
    """
    search = _open(plan)
    first = _make_worker(search, plan)
    first.run(1)
    first.asked_to_end.set()
    wait_until(lambda: threading.active_count() == 1, "the heartbeat's end")
    search.store.close()
    for moments in plan.kills:
        pids = [_fork_and_kill(search, plan, moment) for moment in moments]
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [signal.SIGKILL] * len(pids), moments


def _fork_and_kill(search: Search, plan: Plan, moment: int) -> int:
    if pid := os.fork():
        return pid
    try:
        worker = _make_worker(search, plan)
        _kill_at(search.store.engine, moment)
        worker.run()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def release_locks_soon(store: Store) -> None:
    """A silent process loses its locks after a second instead of the product's time."""
    joining_storage.FROZEN_s = 1.0
    store.release_connections()


def reclaim_soon(store: Store) -> None:
    """A worker may reclaim a trial that it crashed on in a fraction of the product's time."""
    trial_queue.CRASH_DELAY_s = 0.5


def fill_disk(store: Store) -> None:
    """Limits the store's file to three more pages."""
    with store.engine.connect() as db:
        pages = db.execute(sa.text("PRAGMA page_count")).scalar_one()
    store.release_connections()

    def limit(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")

    sa.event.listen(store.engine, "connect", limit)


def _open(plan: Plan) -> Search:
    store = Store(plan.url)
    store.lease_s = plan.lease_s
    if plan.prepare_store is not None:
        plan.prepare_store(store)
    return open_search(store, NAME)


def _make_worker(search: Search, plan: Plan) -> Worker:
    evaluator: Any = simulated.Evaluator(search.spec)
    return Worker(search, evaluator, _print, train=_training(plan), name=plan.owner)


def _print(text: str) -> None:
    print(text, flush=True)


def _training(plan: Plan) -> Callable[..., Any]:
    gate = _gate(plan.folder, "training") if "training" in plan.gates else lambda: None
    simulate = simulated.training(lambda architecture: plan.training_s)

    def train(*arguments: Any) -> Any:
        gate()
        for _ in range(10):
            _count_moment()
        return simulate(*arguments)

    return train


# --- gates and moments


def _gate(folder: Path, name: str) -> Callable[[], None]:
    """A function that waits at its first call until the test opens the gate."""
    path = folder / f"{os.getpid()}.{name}"

    def wait() -> None:
        if path.exists():
            return
        path.touch()
        wait_until(path.with_suffix(".open").exists, name)

    return wait


def _before(owner: type, name: str) -> Callable[[Callable[[], None]], None]:
    def install(gate: Callable[[], None]) -> None:
        method = getattr(owner, name)

        def gated(*arguments: Any, **keywords: Any) -> Any:
            gate()
            return method(*arguments, **keywords)

        setattr(owner, name, gated)

    return install


GATES: dict[str, Callable[[Callable[[], None]], None]] = {
    "run": _before(Worker, "run"),  # the study is open
    "ask": _before(TrialClaims, "_ask"),  # inside the claim's transaction
    "begin": _before(TrialRunner, "_begin"),
    "training": lambda gate: None,
    "beat": _before(TrialQueue, "renew"),
    "tell": _before(ResultReporter, "archive"),
}

_moments_left = [0]  # of this process; 0 or less is no limit


def _count_moment(*_: object) -> None:
    if threading.current_thread() is threading.main_thread():
        _moments_left[0] -= 1
        if _moments_left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _kill_at(engine: sa.Engine, moment: int) -> None:
    """Kills this process when it reaches the given moment."""
    _moments_left[0] = moment
    commit = engine.dialect.do_commit

    def counted_commit(connection: Any) -> None:
        _count_moment()
        commit(connection)
        _count_moment()

    engine.dialect.do_commit = counted_commit  # type: ignore[method-assign]
    sa.event.listen(engine, "before_cursor_execute", _count_moment)
