"""A study whose workers are killed, stopped and lied to, and whose server is restarted.

    python benchmarks/chaos.py [--storage postgresql://...] [--workers 16] [--trials 400] [--runs 1]

Trainings are made up and take 0.2 to 2 s; nearly a third of the candidates is rejected, and the
space is so small that many are proposed twice. While the study runs

- a worker is killed (SIGKILL) every 2 s, and another takes its place;
- one is stopped (SIGSTOP) for longer than its lease, another for shorter, again and again;
- the server ends as in a crash (`pg_ctl stop -m immediate`) half-way and starts again: the server
  that this program starts where it is given no --storage; any other is left alone;
- one worker's clock is an hour ahead, another's an hour behind;
- workers claim to be of four machines, so that of most of the others only the lease tells;
- one candidate ends the process that trains it (SIGSEGV), whoever tries: it is to be quarantined;
- one runs out of memory each time: it is to be told as too large to train.

A *result* is a candidate's training that stands in the archive and takes from the budget: as many
as --trials are to be there, each counted once. The two poisoned candidates take nothing from it.
Of each killed or stopped worker at most one attempt may be lost, of one stopped for shorter than
its lease none, and of all others none. Workers that nobody killed end with exit code 0. Beside
that `history.violations` names everything in the tables that ought not to be. Exit code 1 where
anything is amiss.
"""

import argparse
import contextlib
import faulthandler
import functools
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import history
import optuna
import simulated
import sqlalchemy as sa
import store as store_benchmark
from servers import postgres
from sqlalchemy.exc import SQLAlchemyError

from nas_service.errors import StoreError
from nas_service.metrics import Evaluation
from nas_service.searches.session import open_search
from nas_service.spaces.architecture import Architecture
from nas_service.store import joining_storage
from nas_service.store.database import checked_url
from nas_service.store.store import Store
from nas_service.store.tables import archive
from nas_service.worker.training_process import ChildFailure

NAME = "chaos"
REJECTED = 0.3
HOSTS = 4
PATIENCE_s = 60.0  # of a worker that starts while the server does
SKEWS_s = {0: 3600.0, 1: -3600.0}  # of the workers in these places
# 4096 pairs of equal cells, with 2 widths and 4 chips: many are proposed twice.
SPACE = {
    "operations": ["zeroize", "skip", "conv1x1", "conv3x3"],
    "shared": True,
    "channels": [[4, 8], [8]],
    "head_pool": [2],
    "hidden": [16],
    "time_steps": [2],
    "weight_bits": [4],
}


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    workers: int = 16
    trials: int = 400  # results asked for
    sampler: str = "random"
    lease_s: float = 5.0
    kill_s: float = 2.0  # between two kills
    stop_s: float = 8.0  # between two stops, in turns longer and shorter than a lease
    training_s: tuple[float, float] = (0.2, 2.0)
    limit_s: float = 1800.0  # a run that takes longer hangs


# --- in a worker ---------------------------------------------------------------------------------


def disguised(place: int) -> None:
    """This process on another machine, with a clock of its own."""
    host = f"node{place % HOSTS}"
    socket.gethostname = lambda: host
    skew_s, real = SKEWS_s.get(place, 0.0), time.time
    if not skew_s:
        return
    time.time = lambda: real() + skew_s

    class Skewed(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=skew_s)

    for module in list(sys.modules.values()):
        if module.__dict__.get("datetime") is datetime and module.__name__ != __name__:
            module.datetime = Skewed  # type: ignore[attr-defined]


def poisoned(folder: Path, kind: str, digest: str) -> bool:
    """True for the first candidate that asks, and again whenever it does."""
    mark = folder / kind
    with contextlib.suppress(FileExistsError):
        mark.symlink_to(digest)  # at once with what it says, whoever is killed
    return os.readlink(mark) == digest


def training(plan: Plan, folder: Path) -> Callable[..., Evaluation]:
    low, high = plan.training_s

    def seconds(a: Architecture) -> float:
        return low + (high - low) * simulated.drawn(a, "seconds")

    train = simulated.training(seconds)

    def poison(
        bench: Any, begun: Evaluation, weights: Path, check_interrupt: Callable[[], None]
    ) -> Any:
        digest = begun.architecture.digest
        if poisoned(folder, "crash", digest):
            faulthandler.disable()  # its end is meant
            os.kill(os.getpid(), signal.SIGSEGV)
        if poisoned(folder, "oom", digest):
            raise ChildFailure("oom", "made up")
        return train(bench, begun, weights, check_interrupt)

    return poison


def work(url: str, plan: Plan, folder: Path, place: int) -> None:
    disguised(place)
    joining_storage.FROZEN_s = plan.lease_s
    say = functools.partial(print, flush=True)
    say("end:", simulated.work(make_worker(url, plan, training(plan, folder), say)))


def make_worker(
    url: str, plan: Plan, train: Callable[..., Evaluation], say: Callable[..., Any]
) -> Any:
    """A worker, as soon as the server is there."""
    end = time.monotonic() + PATIENCE_s
    while True:
        try:
            return simulated.make_worker(url, NAME, train, REJECTED, plan.lease_s, say)
        except (StoreError, SQLAlchemyError):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


# --- around them ---------------------------------------------------------------------------------


@dataclass
class Crew:
    """Workers in places; one that ends by a signal is replaced. All it did is kept by pid."""

    start: Callable[[int], int]  # a worker in that place; its pid
    size: int
    alive: dict[int, int] = field(default_factory=dict)  # pid -> place
    killed: set[int] = field(default_factory=set)
    crashed: set[int] = field(default_factory=set)
    stopped: dict[int, float] = field(default_factory=dict)  # pid -> when it is to go on
    long: Counter[int] = field(default_factory=Counter)  # stops for longer than a lease
    short: int = 0  # stops for less
    codes: list[int] = field(default_factory=list)  # of workers that ended by themselves

    def begin(self) -> None:
        for place in range(self.size):
            self.alive[self.start(place)] = place

    def reap(self) -> None:
        for pid, place in list(self.alive.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                continue
            del self.alive[pid]
            self.stopped.pop(pid, None)
            code = os.waitstatus_to_exitcode(status)
            if code >= 0:
                self.killed.discard(pid)  # it was at its end
                self.codes.append(code)
                continue
            if code == -signal.SIGSEGV:
                self.crashed.add(pid)
            self.alive[self.start(place)] = place

    def kill(self, die: random.Random) -> None:
        if fit := sorted(self.alive.keys() - self.killed):
            self.killed.add(pid := die.choice(fit))
            os.kill(pid, signal.SIGKILL)

    def stop(self, die: random.Random, seconds: float, long: bool) -> None:
        if fit := sorted(self.alive.keys() - self.killed - self.stopped.keys()):
            pid = die.choice(fit)
            os.kill(pid, signal.SIGSTOP)
            self.stopped[pid] = time.monotonic() + seconds
            self.long[pid] += long
            self.short += not long

    def go_on(self) -> None:
        for pid, when in list(self.stopped.items()):
            if time.monotonic() > when:
                del self.stopped[pid]
                os.kill(pid, signal.SIGCONT)

    def end(self) -> None:
        for pid in self.alive:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def trainings(url: str) -> int:
    """Results so far; asked by a connection that is gone when workers are forked."""
    engine = sa.create_engine(checked_url(url), poolclass=sa.NullPool)
    with engine.connect() as db:
        query = sa.select(sa.func.count()).where(archive.c.outcome == "trained")
        return int(db.execute(query).scalar_one())


@dataclass
class Turns:
    """True once for each time that so many seconds have passed."""

    seconds: float
    last: float = field(default_factory=time.monotonic)
    count: int = 0

    def due(self) -> bool:
        if time.monotonic() - self.last < self.seconds:
            return False
        self.last, self.count = time.monotonic(), self.count + 1
        return True


def torment(
    crew: Crew, url: str, plan: Plan, die: random.Random, server: postgres.Server | None
) -> int:
    """Until all workers have ended; how often the server was restarted."""
    kills, stops, looks = Turns(plan.kill_s), Turns(plan.stop_s / 2), Turns(0.5)
    end, restarts = time.monotonic() + plan.limit_s, 0
    while crew.alive:
        if time.monotonic() > end:
            raise SystemExit(f"the study did not end within {plan.limit_s:g} s")
        crew.reap()
        crew.go_on()
        if kills.due():
            crew.kill(die)
        if stops.due():
            long = stops.count % 2 == 0
            crew.stop(die, plan.lease_s * (2.0 if long else 0.4), long)
        if server and not restarts and looks.due() and trainings(url) >= plan.trials / 2:
            server.stop("immediate")
            server.start()
            restarts = 1
        time.sleep(0.02)
    return restarts


def one_run(
    url: str, plan: Plan, seed: int, server: postgres.Server | None = None
) -> dict[str, Any]:
    """One study from its beginning to its end, in an empty store; what became of it."""
    simulated.make_study(
        url,
        simulated.spec(NAME, plan.trials, plan.sampler, SPACE, seed, max_failures=plan.trials),
    )
    with tempfile.TemporaryDirectory() as name:
        folder, start = Path(name), time.monotonic()
        os.environ["NAS_SPOOL"] = str(folder / "spool")
        (folder / "logs").mkdir()

        def started(place: int) -> int:
            return simulated.forked(
                lambda: work(url, plan, folder, place), folder / "logs" / f"{place}"
            )

        crew = Crew(started, plan.workers)
        try:
            crew.begin()
            die = random.Random(seed)  # noqa: S311  no secrets
            restarts = torment(crew, url, plan, die, server)
        finally:
            crew.end()
        seconds = time.monotonic() - start
        logs = "".join(log.read_text() for log in sorted((folder / "logs").iterdir()))
        poison = {kind: os.readlink(folder / kind) for kind in ("crash", "oom")}
    found = judged(url, plan, crew, poison)
    return {"seconds": seconds, "restarts": restarts, **found, "logs": logs}


def judged(url: str, plan: Plan, crew: Crew, poison: dict[str, str]) -> dict[str, Any]:
    """What the tables say of a study that has ended."""
    store = Store(url)
    h = history.read(open_search(store, NAME))
    store.close()
    endings = Counter(a["result_kind"] for a in h.attempts)
    wrong = [*history.violations(h), *unexplained(h, crew), *unpoisoned(h, poison)]
    if any(crew.codes):
        wrong.append(f"workers that nobody killed ended with {sorted(set(crew.codes))}")
    return {
        "asked": plan.trials,
        "results": h.trainings,
        "lost": max(0, plan.trials - h.trainings),
        "twice": h.twice,
        "over_budget": max(0, h.trainings - plan.trials),
        "proposals": len(h.leases),
        "quarantined": sum(row["state"] == "failed" for row in h.leases),
        "kills": len(crew.killed),
        "crashes": len(crew.crashed),
        "stops": crew.long.total() + crew.short,
        "retries": endings["lost"] + endings["late"],
        "late": endings["late"],
        "wrong": wrong,
    }


def unexplained(h: history.History, crew: Crew) -> Iterator[str]:
    """Attempts that were lost by workers to whom nothing happened, or more than what happened."""
    lost = [a for a in h.attempts if a["result_kind"] in ("lost", "late")]
    counts = Counter(int(a["worker"].split("/")[2]) for a in lost)
    for pid, count in counts.items():
        struck = (pid in crew.killed) + (pid in crew.crashed) + crew.long[pid]
        if count > struck:
            yield f"worker {pid}: lost {count} attempts, was killed or stopped {struck} times"


def unpoisoned(h: history.History, poison: dict[str, str]) -> Iterator[str]:
    """Trials of the poisoned candidates that did not end as they should, and others that did."""
    limit = h.spec.search.max_attempts
    failed = [row for row in h.leases if row["state"] == "failed"]
    if not any(row["digest"] == poison["crash"] for row in failed):
        yield f"candidate {poison['crash']}: ends its worker, and was not quarantined"
    for row in failed:
        spoiled = sum(a["result_kind"] in history.SPOILED for a in h.attempts_at(row))
        if spoiled < limit and not leads(h, row, limit):
            yield f"trial {row['trial']}: failed after {spoiled} bad attempts, {limit} are allowed"
    reasons = {row["digest"]: json.loads(row["evaluation"])["reason"] for row in h.archive}
    if not reasons.get(poison["oom"], "").startswith("too large to train"):
        yield f"candidate {poison['oom']}: runs out of memory, and is not told as too large"


def leads(h: history.History, row: dict[str, Any], limit: int) -> bool:
    """True where a trial waited for the result of one that was quarantined."""
    same = [r for r in h.leases if r["state"] == "failed" and r["digest"] == row["digest"]]
    spoiled = [sum(a["result_kind"] in history.SPOILED for a in h.attempts_at(r)) for r in same]
    return max(spoiled) >= limit


@contextmanager
def place(storage: str | None) -> Iterator[tuple[str, postgres.Server | None]]:
    """An empty store, and its server where that is ours to stop."""
    if storage is not None:
        with store_benchmark.empty(storage) as url:
            yield url, None
        return
    with postgres.running() as server:
        yield server.url, server


SUMS = ("asked", "results", "lost", "twice", "over_budget", "kills", "crashes", "stops", "retries")
SUMS += ("late", "quarantined", "restarts")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--storage", help="of a server that runs, or sqlite:///")
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--lease", type=float, default=5.0, help="seconds")
    parser.add_argument("--kill-every", type=float, default=2.0, help="seconds")
    parser.add_argument("--sampler", choices=("random", "nsga2", "tpe"), default="random")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--logs", type=Path, help="folder for what workers said")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = Plan(args.workers, args.trials, args.sampler, args.lease, args.kill_every)
    rows = []
    for seed in range(args.seed, args.seed + args.runs):
        with place(args.storage) as (url, server):
            row = one_run(url, plan, seed, server)
        logs = row.pop("logs")
        if args.logs:
            args.logs.mkdir(parents=True, exist_ok=True)
            (args.logs / f"{seed}.log").write_text(logs)
        rows.append({"seed": seed, **row})
        if not args.json:
            show(rows[-1])
    sums = {key: sum(row[key] for row in rows) for key in SUMS}
    document = {"runs": args.runs, "workers": args.workers, **sums, "rows": rows}
    wrong = [said for row in rows for said in row["wrong"]]
    print(json.dumps(document, indent=2) if args.json else summary(document, wrong))
    raise SystemExit(1 if wrong else 0)


def show(row: dict[str, Any]) -> None:
    print(
        f"run {row['seed']}: {row['results']} of {row['asked']} results in {row['seconds']:.0f} s, "
        f"{row['proposals']} proposals, {row['kills']} kills, {row['crashes']} crashes, "
        f"{row['stops']} stops, {row['restarts']} restarts, {row['retries']} retries",
        *(f"  wrong: {said}" for said in row["wrong"]),
        sep="\n",
        flush=True,
    )


def summary(document: dict[str, Any], wrong: list[str]) -> str:
    told = ", ".join(f"{document[key]} {key.replace('_', ' ')}" for key in SUMS)
    return f"{document['runs']} runs: {told}, {len(wrong)} things wrong"


if __name__ == "__main__":
    main()
