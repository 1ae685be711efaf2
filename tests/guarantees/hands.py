"""Workers of these tests: real processes on a real store, their trainings made up.

Each is forked by a process that has loaded the service once. A *moment* of a worker is just before
a statement to the database, just before a commit or just behind one, and a training has ten; at a
*gate* it stands still.
"""

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import simulated
import sqlalchemy as sa

from nas_service.searches.session import Search, open_search
from nas_service.store import joining_storage
from nas_service.store.records import PAID
from nas_service.store.store import Store
from nas_service.store.tables import archive, attempts, leases
from nas_service.store.trial_queue import TrialQueue
from nas_service.worker import worker as workers
from nas_service.worker.local_pool import end_on_signals
from nas_service.worker.training_process import TrainingClient

NAME = "s"  # of every study here
WAIT_s = 60.0  # in which whatever is waited for must happen

_HERE = Path(__file__).parent
PLACES = os.pathsep.join([str(_HERE), str(_HERE.parents[1] / "benchmarks"), *sys.path])
"""PYTHONPATH of a process that runs these tests' workers."""


@dataclass(frozen=True)
class Orders:
    """What one worker is to do; folder is where it logs, and where its gates are."""

    url: str
    folder: Path
    lease_s: float = 1.0
    training_s: float = 0.0
    max_trials: int | None = None
    owner: str = ""  # a name of which nobody here can tell whether it lives
    deaf: bool = False  # trainings that ask nobody whether to go on
    gates: tuple[str, ...] = ()
    deaths: tuple[tuple[int, ...], ...] = ()  # moments of those that live at one time, from 1
    before: Callable[[Store], None] | None = None  # one of this module, which its process finds


_START = multiprocessing.get_context("forkserver")


def prepare() -> None:
    """What workers need is loaded by the process that forks them, once."""
    _START.set_forkserver_preload(["hands"])
    forkserver.ensure_running()


class WorkerProcess:
    """A worker, as its test sees it."""

    def __init__(self, orders: Orders, life: Callable[[Orders], None] | None = None) -> None:
        self.folder = orders.folder
        self.process = _START.Process(target=live, args=(orders, life or work))
        self.process.start()

    @property
    def said(self) -> str:
        log = self.folder / f"{self.process.pid}.log"
        return log.read_text() if log.exists() else ""

    def signal(self, number: int) -> None:
        os.kill(self.process.pid or 0, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.join()

    def end(self, seconds: float = WAIT_s) -> int:
        """Its exit code; signals are negative."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still there:\n{self.said}"
        return self.process.exitcode

    def at(self, gate: str) -> None:
        """Waits until it stands there."""
        until(lambda: self._gate(gate).exists(), gate)

    def pass_on(self, gate: str) -> None:
        self._gate(gate).with_suffix(".open").touch()

    def _gate(self, name: str) -> Path:
        return self.folder / f"{self.process.pid}.{name}"


def until(there: Callable[[], object], what: str = "") -> None:
    late = time.monotonic() + WAIT_s
    while not there():
        assert time.monotonic() < late, f"waited for nothing: {what}"
        time.sleep(0.01)


# --- in the worker's process


def live(orders: Orders, life: Callable[[Orders], None]) -> None:
    """Its exit code is 0, that of an error of ours, or 1; what it says is in its log."""
    out = os.open(orders.folder / f"{os.getpid()}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    code = 1
    try:
        life(orders)
        code = 0
    except BaseException as error:
        traceback.print_exc()
        code = getattr(error, "exit_code", 1)
    finally:
        os._exit(code)


def work(orders: Orders) -> None:
    """A worker's life."""
    search = _opened(orders)
    _labour(_worker(search, orders), orders)


def employ(orders: Orders) -> None:
    """A worker's life whose trainings are children, which end as `sick` says."""
    search = _opened(orders)
    bench: Any = simulated.Evaluator(search.spec, folder=orders.folder)
    with TrainingClient(target="sick") as trainer:
        train = workers.in_children(trainer)
        _labour(workers.Worker(search, bench, _say, train=train), orders)


def _labour(hand: workers.Worker, orders: Orders) -> None:
    for gate in orders.gates:
        GATES[gate](_gate(orders.folder, gate))
    end_on_signals(hand.asked_to_end)
    _say(f"end: {hand.run(orders.max_trials)}")
    hand.search.store.close()


def die(orders: Orders) -> None:
    """One trial, and then workers that are forked to be killed, at the moments of the orders.

    What is known before they are forked is found out once: each costs a few milliseconds.
    """
    search = _opened(orders)
    first = _worker(search, orders)
    first.run(1)
    first.asked_to_end.set()
    until(lambda: threading.active_count() == 1, "the heartbeat's end")
    search.store.close()
    for moments in orders.deaths:
        pids = [_doomed(search, orders, moment) for moment in moments]
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [signal.SIGKILL] * len(pids), moments


def _doomed(search: Search, orders: Orders, moment: int) -> int:
    if pid := os.fork():
        return pid
    try:
        hand = _worker(search, orders)
        _die_at(search.store.engine, moment)
        hand.run()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def let_go_soon(store: Store) -> None:
    """A process that says nothing keeps its locks for a second, not for the product's time."""
    joining_storage.FROZEN_s = 1.0
    store.release_connections()


def fill_up(store: Store) -> None:
    """The disk has no more pages than the store, and three."""
    with store.engine.connect() as db:
        pages = db.execute(sa.text("PRAGMA page_count")).scalar_one()
    store.release_connections()

    def limit(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")

    sa.event.listen(store.engine, "connect", limit)


def _opened(orders: Orders) -> Search:
    store = Store(orders.url)
    store.lease_s = orders.lease_s
    if orders.before is not None:
        orders.before(store)
    return open_search(store, NAME)


def _worker(search: Search, orders: Orders) -> workers.Worker:
    bench = simulated.Evaluator(search.spec)
    hand = workers.Worker(search, bench, _say, train=_training(orders))  # type: ignore[arg-type]
    if orders.owner:
        hand.queue = replace(hand.queue, worker=orders.owner)
    return hand


def _say(text: str) -> None:
    print(text, flush=True)


def _training(orders: Orders) -> Callable[..., Any]:
    gate = _gate(orders.folder, "training") if "training" in orders.gates else lambda: None

    def deaf(bench: Any, begun: Any, weights: Path, check_interrupt: Callable[[], None]) -> Any:
        return made(bench, begun, weights, lambda: None)

    def train(bench: Any, begun: Any, weights: Path, check_interrupt: Callable[[], None]) -> Any:
        gate()
        for _ in range(10):
            _pass_moment()
        return (deaf if orders.deaf else made)(bench, begun, weights, check_interrupt)

    made = simulated.training(lambda a: orders.training_s)
    return train


def _gate(folder: Path, name: str) -> Callable[[], None]:
    """What stands still at its first call, until it is told to pass on."""
    place = folder / f"{os.getpid()}.{name}"

    def stand() -> None:
        if place.exists():
            return
        place.touch()
        until(place.with_suffix(".open").exists, name)

    return stand


def _before(owner: type, name: str) -> Callable[[Callable[[], None]], None]:
    def shut(gate: Callable[[], None]) -> None:
        inner = getattr(owner, name)

        def guarded(*given: Any, **named: Any) -> Any:
            gate()
            return inner(*given, **named)

        setattr(owner, name, guarded)

    return shut


GATES: dict[str, Callable[[Callable[[], None]], None]] = {
    "run": _before(workers.Worker, "run"),  # the study is open
    "ask": _before(workers.Worker, "_ask"),  # inside the claim's transaction
    "begin": _before(workers.Worker, "_begin"),
    "training": lambda gate: None,
    "beat": _before(TrialQueue, "renew"),
    "tell": _before(workers.Worker, "_archive"),
}


def _pass_moment(*_: object) -> None:
    if threading.current_thread() is threading.main_thread():
        _left[0] -= 1
        if _left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


_left = [0]  # moments that this process still lives; 0 or less for ever


def _die_at(engine: sa.Engine, moment: int) -> None:
    """SIGKILL to this process at that moment from now."""
    _left[0] = moment
    commit = engine.dialect.do_commit

    def committed(connection: Any) -> None:
        _pass_moment()
        commit(connection)
        _pass_moment()

    engine.dialect.do_commit = committed  # type: ignore[method-assign]
    sa.event.listen(engine, "before_cursor_execute", _pass_moment)


# --- what they leave behind


@dataclass(frozen=True)
class History:
    """A store's tables as they are at one moment."""

    leases: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    archive: list[dict[str, Any]]
    trials: list[Any]  # Optuna's

    @classmethod
    def of(cls, url: str) -> "History":
        store = Store(url)
        with store.engine.connect() as db:
            order = {leases: (leases.c.lease_id,), archive: (archive.c.trial,)}
            order |= {attempts: (attempts.c.lease_id, attempts.c.attempt)}
            rows = {
                t: [dict(r) for r in db.execute(sa.select(t).order_by(*by)).mappings()]
                for t, by in order.items()
            }
        trials = open_search(store, NAME).study.get_trials()
        store.close()
        return cls(rows[leases], rows[attempts], rows[archive], trials)

    def of_trial(self, number: int) -> list[dict[str, Any]]:
        """Its attempts."""
        (lease,) = (r["lease_id"] for r in self.leases if r["trial"] == number)
        return [a for a in self.attempts if a["lease_id"] == lease]

    def check(self, trainings: int) -> None:
        """That a study which is at its end lost nothing, and has nothing twice."""
        paid = [r for r in self.archive if r["outcome"] in PAID]
        assert len(paid) == trainings, "the budget, no more and no less"
        assert {r["state"] for r in self.leases} == {"reported"}
        assert sorted(r["trial"] for r in self.leases) == list(range(len(self.trials)))
        for lease in self.leases:
            self._check(lease)
        first = {r["digest"]: r for r in self.archive}
        assert {lease["digest"] for lease in self.leases} == first.keys()

    def _check(self, lease: dict[str, Any]) -> None:
        trial, own = self.trials[lease["trial"]], self.of_trial(lease["trial"])
        assert trial.state.name == "COMPLETE"
        assert trial.user_attrs["digest"] == lease["digest"]
        assert [a["attempt"] for a in own] == list(range(1, lease["attempt"] + 1))
        endings = [a["result_kind"] for a in own]
        assert sum(e in ("won", "from_archive") for e in endings) == 1, endings
        for a, b in itertools.pairwise(own):
            assert a["result_kind"] in ("lost", "late", "released", "crashed")
            assert a["result_kind"] == "late" or a["finished_at"] <= b["started_at"], (
                "two at a time"
            )


def study(url: str, trainings: int, **search: Any) -> None:
    """Puts one into the empty store."""
    simulated.made(url, simulated.spec(NAME, trainings, **search))


@contextmanager
def crew(*hands: WorkerProcess) -> Iterator[tuple[WorkerProcess, ...]]:
    """None of them outlives its test."""
    try:
        yield hands
    finally:
        for hand in hands:
            if hand.process.is_alive():
                hand.kill()
