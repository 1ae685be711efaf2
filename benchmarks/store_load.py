"""Load on the store: how fast many workers are, and what a large study costs.

Workers are threads of forked processes. They open their study, wait for each other, and then share
trials, half of them rejected, whose trainings only wait.
"""

import copy
import json
import os
import statistics
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import simulated
import sqlalchemy as sa
from optuna.trial import FrozenTrial
from servers.sessions import Sessions
from sqlalchemy.engine import Engine

from nas_service.evaluation.remaining import Enumerated, enumerated
from nas_service.metrics import Evaluation
from nas_service.searches.session import Search, open_search
from nas_service.store.records import Claim, Claimed, Lease, Wait
from nas_service.store.store import Store
from nas_service.store.tables import archive, leases
from nas_service.worker import claiming
from nas_service.worker.worker import Worker

NAME = "scale"
REJECTED = 0.5
PROCESSES = 16  # over which more workers are spread
ASKS = 20
CHUNK = 200  # copies of a trial that are written together


# --- workers -------------------------------------------------------------------------------------


class Load:
    """What the threads of this process do to the store from now on."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.held_s: list[float] = []  # how long each transaction has locked the study's row
        self.claims_s: list[float] = []  # of the claims that gave a trial
        self.trial_statements: list[int] = []  # of each such claim, and of what followed it
        self.wait_statements: list[int] = []  # of each claim after which its worker waited
        self.unreachable = 0  # times that a worker had to try again
        self._thread = threading.local()
        count_statements(self.counts)
        sa.event.listen(Engine, "before_cursor_execute", self._before)
        sa.event.listen(Engine, "after_cursor_execute", self._after)
        sa.event.listen(Engine, "commit", self._end)

    def begin(self) -> None:
        """Counts anew: what was counted so far has opened the study."""
        opening = self.counts["statements"]
        self.counts.clear()
        self.counts["opening_statements"] = opening

    def _before(self, *_: Any) -> None:
        self._thread.statements = self._sent + 1

    @property
    def _sent(self) -> int:
        """Statements of this thread."""
        return getattr(self._thread, "statements", 0)

    def _after(self, connection: sa.Connection, cursor: Any, statement: str, *_: Any) -> None:
        locked = "FROM nas_studies" in statement and "FOR UPDATE" in statement
        if locked or statement == "BEGIN IMMEDIATE":  # PostgreSQL, SQLite
            connection.info["locked"] = time.perf_counter()

    def _end(self, connection: sa.Connection) -> None:
        if since := connection.info.pop("locked", None):
            self.held_s.append(time.perf_counter() - since)

    def line(self, text: str) -> None:
        """A worker's output."""
        self.unreachable += "unreachable" in text

    def watch(self, worker: Worker) -> None:
        """Takes the time of a worker's claims, and counts the statements of trials and waits."""
        claim, run = worker.claims.claim, worker._runner.run

        def watched_claim(again: bool) -> Claim:
            start, sent = time.perf_counter(), self._sent
            claimed = claim(again)
            if isinstance(claimed, Claimed):
                self.claims_s.append(time.perf_counter() - start)
                self.trial_statements.append(self._sent - sent)
            elif isinstance(claimed, Wait):
                self.wait_statements.append(self._sent - sent)
            return claimed

        def watched_run(lease: Lease) -> None:
            sent = self._sent
            run(lease)
            self.trial_statements.append(self._sent - sent)

        worker.claims.claim = watched_claim  # type: ignore[method-assign]
        worker._runner.run = watched_run  # type: ignore[method-assign]

    def figures(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        sums = {
            "held_s": sum(self.held_s),
            "unreachable": self.unreachable,
            "trial_statements": sum(self.trial_statements),
            "wait_statements": sum(self.wait_statements),
        }
        return {**self.counts, **sums, "claims_s": self.claims_s}


def waiting(seconds: float) -> Callable[..., Evaluation]:
    """Trainings that wait for up to twice these seconds, without an interrupt."""

    def train(evaluator: Any, begun: Evaluation, weights: Path, check: Any) -> Evaluation:
        time.sleep(2 * seconds * simulated.drawn(begun.architecture, "seconds"))
        share = simulated.drawn(begun.architecture, "accuracy")
        return replace(begun, outcome="trained", fidelity=1, accuracy=share, spike_rate=0.1)

    return train


def share_first_steps() -> None:
    """Workers of this process compile each statement once, and enumerate their study's space once.

    Every worker does both when it starts; a thousand in a few processes would do nothing else.
    """
    create, first = sa.create_engine, list[Engine]()
    known: list[Enumerated] = []

    def create_engine(*arguments: Any, **options: Any) -> Engine:
        engine = create(*arguments, **options)
        first.append(engine)
        engine.dialect = engine.pool._dialect = first[0].dialect
        engine._compiled_cache = first[0]._compiled_cache
        return engine

    def enumerated_once(*study: Any) -> Enumerated:
        if not known:
            known.append(enumerated(*study))
        return known[0]

    sa.create_engine = create_engine
    setattr(claiming, "enumerated", enumerated_once)  # noqa: B010  mypy


def work(
    url: str, folder: Path, workers: int, wait_s: float, lease_s: float, ready: int, go: int
) -> None:
    """The life of some workers, each in a thread of its own; their figures go to a file."""
    load, pid = Load(), os.getpid()
    share_first_steps()
    named = (f"node{pid}/b/{n}/1/n" for n in range(workers))  # as of other machines
    train = waiting(wait_s)
    made = [
        simulated.make_worker(url, NAME, train, REJECTED, lease_s, load.line, name)
        for name in named
    ]
    for worker in made:
        load.watch(worker)
        worker.search.store.release_connections()
    os.write(ready, b".")
    os.read(go, 1)  # ends when the other side is closed
    load.begin()
    cpu, failures = time.process_time(), list[str]()
    threads = [threading.Thread(target=_run, args=(worker, failures)) for worker in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit("\n".join(failures[:3]))
    figures = {**load.figures(), "cpu_s": time.process_time() - cpu}
    (folder / f"{os.getpid()}.json").write_text(json.dumps(figures))


def _run(worker: Worker, failures: list[str]) -> None:
    try:
        worker.run()
    except BaseException:
        failures.append(traceback.format_exc())
    finally:
        worker.asked_to_end.set()  # ends the heartbeat
        worker.search.store.close()


def begin(
    url: str, workers: int, wait_s: float, lease_s: float, folder: Path
) -> tuple[list[int], int]:
    """Workers that have opened the study, and the file descriptor whose closing starts them."""
    ready, ready_end = os.pipe()
    go, hold = os.pipe()
    count = min(workers, PROCESSES)

    def started(number: int) -> None:
        os.close(hold)
        own = len(range(number, workers, count))
        work(url, folder, own, wait_s, lease_s, ready_end, go)

    pids = [
        simulated.forked(partial(started, number), folder / f"log{number}")
        for number in range(count)
    ]
    os.close(ready_end)
    if sum(len(os.read(ready, 1)) for _ in range(count)) < count:
        logs = "\n".join(log.read_text()[-500:] for log in folder.glob("log*"))
        raise SystemExit(f"workers ended before all had opened the study\n{logs}")
    for end in (ready, go):
        os.close(end)
    return pids, hold


def shared(
    url: str, through: str, workers: int, trials: int, wait_s: float = 0.0, lease_s: float = 60.0
) -> dict[str, float]:
    """Figures of some workers on one study, from when all have opened it until its end.

    Args:
        url: Of the database.
        through: By which workers reach it, perhaps through a pooler.
        workers: Their number.
        trials: Of all workers together.
        wait_s: Seconds of a training on average.
        lease_s: Seconds after which a lease that is not renewed is lost.

    Returns:
        The figures by name.
    """
    simulated.make_study(url, simulated.spec(NAME, trials, proposals_per_training=1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["NAS_SPOOL"] = str(folder / "spool")
        pids, hold = begin(through, workers, wait_s, lease_s, folder)
        sessions = Sessions(url)
        start = time.perf_counter()
        os.close(hold)
        codes = []
        while pids:
            sessions.sample()
            codes += [c for pid in list(pids) if (c := ended(pid, pids)) is not None]
            time.sleep(0.1)
        seconds = time.perf_counter() - start
        server = sessions.end()
        if any(codes):
            logs = "\n".join(log.read_text()[-500:] for log in list(folder.glob("log*"))[:4])
            raise SystemExit(f"workers ended with {sorted(set(codes))}\n{logs}")
        parts = [json.loads(file.read_text()) for file in folder.glob("*.json")]
    done = proposals(url)
    total = {key: sum(part[key] for part in parts) for key in parts[0] if key != "claims_s"}
    claims = np.array([s for part in parts for s in part["claims_s"]])
    of_workers = total["statements"] - total["trial_statements"] - total["wait_statements"]
    cpu_s = total["cpu_s"] + (server or {}).get("server_cpu_s", 0.0)
    return {
        "workers": workers,
        "trials": done,
        "trials_per_s": done / seconds,
        "lock_limit_per_s": done / total["held_s"],
        "cpu_limit_per_s": (os.cpu_count() or 1) * done / cpu_s,
        "claim_p50_ms": 1e3 * float(np.quantile(claims, 0.5)),
        "claim_p99_ms": 1e3 * float(np.quantile(claims, 0.99)),
        "statements_per_trial": total["statements"] / done,
        "own_statements_per_trial": total["trial_statements"] / done,
        "waits_statements_per_trial": total["wait_statements"] / done,
        "statements_per_worker": of_workers / workers,
        "opening_statements_per_worker": total["opening_statements"] / workers,
        "commits_per_trial": total["commits"] / done,
        "cpu_ms_per_trial": 1e3 * total["cpu_s"] / done,
        "held_ms_per_trial": 1e3 * total["held_s"] / done,
        "unreachable": total["unreachable"],
        **({} if server is None else {**server, "server_cpu_ms_per_trial":
           1e3 * server["server_cpu_s"] / done}),
    }  # fmt: skip


def ended(pid: int, pids: list[int]) -> int | None:
    """The exit code of a worker that has ended, which is then removed from the list."""
    done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        return None
    pids.remove(pid)
    return os.waitstatus_to_exitcode(status)


def proposals(url: str) -> int:
    """How many trials of the study have an outcome."""
    store = Store(url)
    count = len(store.leases(open_search(store, NAME).id).outcomes())
    store.close()
    return count


# --- asks ----------------------------------------------------------------------------------------


def asks(url: str, grown: tuple[int, ...]) -> Iterator[dict[str, float]]:
    """Times of one worker's trials, in a study that grows in between."""
    simulated.make_study(url, simulated.spec(NAME, 10**6, proposals_per_training=10))
    finished = 0
    for count in grown:
        store = Store(url)
        search = open_search(store, NAME)
        if not finished:
            simulated.make_worker(url, NAME).run(max_trials=1)
            finished = 1
        grow(search, count - finished)
        store.close()
        yield {"trials": count, **time_asks(url)}
        finished = count + ASKS + 1


def time_asks(url: str) -> dict[str, float]:
    """Medians of the claims and of the rest of some trials, and the first recovery."""
    worker = simulated.make_worker(url, NAME)
    claims, rests = timed(worker.claims, "claim"), timed(worker._runner, "run")
    recoveries = timed(worker.reporter, "recover")  # the first call of a worker
    worker.run(max_trials=ASKS + 1)
    worker.search.store.close()
    figures = {"first_look_cpu_s": recoveries[0][1]}
    for name, rows in (("claim", claims), ("rest", rests)):
        for unit, of in (("ms", 0), ("cpu_ms", 1)):
            figures[f"{name}_{unit}"] = 1e3 * statistics.median(row[of] for row in rows[1:])
    return figures


def timed(of: Any, name: str) -> list[tuple[float, float]]:
    """Seconds and CPU seconds of each call of an object's method from now on."""
    act: Callable[..., Any] = getattr(of, name)
    calls: list[tuple[float, float]] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        start, cpu = time.perf_counter(), time.thread_time()
        try:
            return act(*args, **kwargs)
        finally:
            calls.append((time.perf_counter() - start, time.thread_time() - cpu))

    setattr(of, name, call)
    return calls


def grow(search: Search, count: int) -> None:
    """Adds finished trials, copies of the first one with different candidates."""
    trials = search.study.get_trials(deepcopy=False)
    end = len(trials) + count
    for start in range(len(trials), end, CHUNK):
        with search.store.exclusive(search.id) as db:
            _copy(db, search, trials[0], range(start, min(start + CHUNK, end)))


def _copy(db: sa.Connection, search: Search, first: FrozenTrial, numbers: range) -> None:
    lease, row = (_row(db, table, search.id, first.number) for table in (leases, archive))
    del lease["lease_id"]
    for number in numbers:
        copied = copy.copy(first)
        copied.user_attrs = {**first.user_attrs, "digest": f"{number:016x}"}
        search.store.optuna.backend.create_new_trial(search.id, copied)
    its = [{"trial": number, "digest": f"{number:016x}"} for number in numbers]
    db.execute(leases.insert(), [{**lease, **own} for own in its])
    db.execute(archive.insert(), [{**row, **own} for own in its])


def _row(db: sa.Connection, table: sa.Table, study_id: int, trial: int) -> dict[str, Any]:
    query = sa.select(table).where(table.c.study_id == study_id, table.c.trial == trial)
    return dict(db.execute(query).mappings().one())


def count_statements(counts: Counter[str]) -> None:
    """Counts statements and commits of every engine of this process from now on."""
    lock = threading.Lock()

    def count(name: str) -> None:
        with lock:
            counts[name] += 1

    @sa.event.listens_for(Engine, "before_cursor_execute")
    def _statement(*_: Any) -> None:
        count("statements")

    @sa.event.listens_for(Engine, "commit")
    def _commit(_: Any) -> None:
        count("commits")
