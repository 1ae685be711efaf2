"""Load on the store: how fast many workers are, and what a large study costs.

Workers are forked, open their study, wait for each other, and then share trials that take no time
to train, half of them rejected.
"""

import contextlib
import copy
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import simulated
import sqlalchemy as sa
from optuna.trial import FrozenTrial
from sqlalchemy.engine import Engine

from nas_service.searches.session import Search, open_search
from nas_service.store.database import checked_url
from nas_service.store.store import Store
from nas_service.store.tables import archive, leases

NAME = "scale"
REJECTED = 0.5
AT_ONCE = 16  # workers that open the study at the same time
ASKS = 20
CHUNK = 200  # copies of a trial that are written together


# --- workers -------------------------------------------------------------------------------------


class Held:
    """How long this process has held the study's row."""

    def __init__(self) -> None:
        self.seconds, self._since = 0.0, 0.0
        sa.event.listen(Engine, "after_cursor_execute", self._after)
        sa.event.listen(Engine, "commit", self._end)

    def _after(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        locked = "FROM nas_studies" in statement and "FOR UPDATE" in statement
        if locked or statement == "BEGIN IMMEDIATE":  # PostgreSQL, SQLite
            self._since = time.perf_counter()

    def _end(self, _: Any) -> None:
        if self._since:
            self.seconds += time.perf_counter() - self._since
            self._since = 0.0


def work(url: str, folder: Path, ready: int, go: int) -> None:
    """The life of one worker; its counts go to a file."""
    worker = simulated.make_worker(url, NAME, rejected=REJECTED)
    worker.search.store.release_connections()
    os.write(ready, b".")
    os.read(go, 1)  # ends when the other side is closed
    counts: Counter[str] = Counter()
    count_statements(counts)
    held, cpu = Held(), time.process_time()
    simulated.work(worker)
    figures = {**counts, "cpu_s": time.process_time() - cpu, "held_s": held.seconds}
    (folder / f"{os.getpid()}.json").write_text(json.dumps(figures))


def begin(url: str, workers: int, folder: Path) -> tuple[list[int], int]:
    """Workers that have opened the study, and the file descriptor whose closing starts them."""
    ready, ready_end = os.pipe()
    go, hold = os.pipe()

    def started() -> None:
        os.close(hold)
        work(url, folder, ready_end, go)

    pids = []
    for number in range(workers):
        pids.append(simulated.forked(started, folder / f"log{number}"))
        if number >= AT_ONCE:
            os.read(ready, 1)
    for _ in range(min(workers, AT_ONCE)):
        os.read(ready, 1)
    for end in (ready, ready_end, go):
        os.close(end)
    return pids, hold


def shared(url: str, workers: int, trials: int) -> dict[str, float]:
    """Figures of some workers on one study, from when all have opened it until its end."""
    simulated.make_study(url, simulated.spec(NAME, trials, proposals_per_training=1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["NAS_SPOOL"] = str(folder / "spool")
        pids, hold = begin(url, workers, folder)
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
        files = folder.glob("*.json")
        counts = sum((Counter(json.loads(f.read_text())) for f in files), Counter())
    done = proposals(url)
    return {
        "workers": workers,
        "trials": done,
        "trials_per_s": done / seconds,
        "statements_per_trial": counts["statements"] / done,
        "commits_per_trial": counts["commits"] / done,
        "cpu_ms_per_trial": 1e3 * counts["cpu_s"] / done,
        "held_ms_per_trial": 1e3 * counts["held_s"] / done,
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


class Sessions:
    """Samples of the sessions of a PostgreSQL server; there are none for an SQLite file."""

    def __init__(self, url: str) -> None:
        parsed = checked_url(url)
        self._db: sa.Connection | None = None
        self._samples: list[tuple[int, int]] = []
        if parsed.get_backend_name() == "postgresql":
            engine = sa.create_engine(parsed, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
            self._db = engine.connect()
            backend = int(self._db.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())
            self._server = _parent(backend)
            self._cpu_s = _cpu_s(self._server)

    def sample(self) -> None:
        """Counts the sessions, and those that wait for a lock."""
        if self._db is not None:
            query = sa.text(
                "SELECT count(*), count(*) FILTER (WHERE wait_event_type = 'Lock') "
                "FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )
            count, waiting = self._db.execute(query).one()
            self._samples.append((count, waiting))

    def end(self) -> dict[str, float] | None:
        """Figures of all samples, and CPU seconds of the server since the first."""
        if self._db is None:
            return None
        spent = _cpu_s(self._server) - self._cpu_s
        self._db.close()
        return {
            "peak_connections": max(count for count, _ in self._samples),
            "waiting_for_the_row": statistics.mean(waiting for _, waiting in self._samples),
            "server_cpu_s": spent,
        }


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _cpu_s(server: int) -> float:
    """CPU seconds of the server, of its ended sessions and of its open ones."""
    ticks = sum(map(int, _stat(server)[11:15]))
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((of := _stat(int(entry.name)))[1]) == server:
                ticks += int(of[11]) + int(of[12])
    return ticks / os.sysconf("SC_CLK_TCK")


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

    @sa.event.listens_for(Engine, "before_cursor_execute")
    def _statement(*_: Any) -> None:
        counts["statements"] += 1

    @sa.event.listens_for(Engine, "commit")
    def _commit(_: Any) -> None:
        counts["commits"] += 1
