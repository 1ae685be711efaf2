"""A study whose workers are killed and stopped, have wrong clocks, and lose their server.

    python benchmarks/chaos.py [--storage postgresql://...] [--workers 16] [--trials 400] [--runs 1]

Trainings are simulated and take 0.2 to 2 s; nearly a third of the candidates is rejected, and the
space is so small that many are proposed twice. While the study runs

- a worker is killed (SIGKILL) every 2 s, and another takes its place;
- one is stopped (SIGSTOP) for longer than its lease, another for shorter, again and again;
- the server ends as in a crash (`pg_ctl stop -m immediate`) half-way and starts again, if this
  program started it: without --storage;
- one worker's clock is an hour fast, another's an hour slow;
- workers report four host names, so that most of the others can be judged by their leases alone;
- one candidate crashes (SIGSEGV) every process that trains it: it must be quarantined;
- one runs out of memory each time: it must be reported as too large to train.

A *result* is a candidate's training that is in the archive and uses the budget: there must be as
many as --trials, each counted once. The two poisoned candidates use none of it. Each kill, and each
stop longer than a lease, may cost its worker one attempt; a shorter stop none, and all others lose
none. Workers that were not killed end with exit code 0. In addition `history.violations` lists
everything in the tables that must not be. The exit code is 1 if anything is wrong.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import harness
import history
import optuna
import simulated
import sqlalchemy as sa
import store as store_benchmark
from disturbed_workers import DisturbedWorkers, Interval
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
    trials: int = 400  # results to reach
    sampler: str = "random"
    lease_s: float = 5.0
    kill_s: float = 2.0  # between two kills
    stop_s: float = 8.0  # between two stops, in turns longer and shorter than a lease
    training_s: tuple[float, float] = (0.2, 2.0)
    limit_s: float = 1800.0  # a run that takes longer hangs


# --- in a worker ---------------------------------------------------------------------------------


def disguise(place: int) -> None:
    """Gives this process another host name, and at some places another clock."""
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
    """True for the first candidate that is trained, each time that it is."""
    mark = folder / kind
    with contextlib.suppress(FileExistsError):
        mark.symlink_to(digest)  # atomic, whichever process is killed
    return os.readlink(mark) == digest


def training(plan: Plan, folder: Path) -> Callable[..., Evaluation]:
    """Simulated trainings; two candidates are poisoned."""
    low, high = plan.training_s

    def seconds(a: Architecture) -> float:
        return low + (high - low) * simulated.drawn(a, "seconds")

    train = simulated.training(seconds)

    def poison(
        evaluator: Any, begun: Evaluation, weights: Path, check_interrupt: Callable[[], None]
    ) -> Any:
        digest = begun.architecture.digest
        if poisoned(folder, "crash", digest):
            faulthandler.disable()  # the crash is intended
            os.kill(os.getpid(), signal.SIGSEGV)
        if poisoned(folder, "oom", digest):
            raise ChildFailure("oom", "simulated")
        return train(evaluator, begun, weights, check_interrupt)

    return poison


def work(url: str, plan: Plan, folder: Path, place: int) -> None:
    """The life of the worker at a place."""
    disguise(place)
    joining_storage.FROZEN_s = plan.lease_s
    report = functools.partial(print, flush=True)
    report("end:", simulated.work(make_worker(url, plan, training(plan, folder), report)))


def make_worker(
    url: str, plan: Plan, train: Callable[..., Evaluation], report: Callable[..., Any]
) -> Any:
    """A worker, as soon as the server can be reached."""
    end = time.monotonic() + PATIENCE_s
    while True:
        try:
            return simulated.make_worker(url, NAME, train, REJECTED, plan.lease_s, report)
        except (StoreError, SQLAlchemyError):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


# --- around the workers --------------------------------------------------------------------------


def trainings(url: str) -> int:
    """Results so far, read by a connection that is closed before workers are forked."""
    engine = sa.create_engine(checked_url(url), poolclass=sa.NullPool)
    with engine.connect() as db:
        query = sa.select(sa.func.count()).where(archive.c.outcome == "trained")
        return int(db.execute(query).scalar_one())


def disturb(
    workers: DisturbedWorkers,
    url: str,
    plan: Plan,
    rng: random.Random,
    server: postgres.Server | None,
) -> int:
    """Disturbs the workers until all have ended; returns how often the server was restarted."""
    kills, stops, looks = Interval(plan.kill_s), Interval(plan.stop_s / 2), Interval(0.5)
    end, restarts = time.monotonic() + plan.limit_s, 0
    while workers.alive:
        if time.monotonic() > end:
            raise SystemExit(f"the study did not end within {plan.limit_s:g} s")
        workers.replace_ended()
        workers.resume_due()
        if kills.due():
            workers.kill(rng)
        if stops.due():
            long = stops.count % 2 == 0
            workers.stop(rng, plan.lease_s * (2.0 if long else 0.4), long)
        if server and not restarts and looks.due() and trainings(url) >= plan.trials / 2:
            server.stop("immediate")
            server.start()
            restarts = 1
        time.sleep(0.02)
    return restarts


def one_run(
    url: str, plan: Plan, seed: int, server: postgres.Server | None = None
) -> dict[str, Any]:
    """One whole study in an empty store; its counts, and the logs of its workers."""
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

        workers = DisturbedWorkers(started, plan.workers)
        try:
            workers.start_all()
            rng = random.Random(seed)  # noqa: S311  no secrets
            restarts = disturb(workers, url, plan, rng, server)
        finally:
            workers.kill_all()
        seconds = time.monotonic() - start
        logs = "".join(log.read_text() for log in sorted((folder / "logs").iterdir()))
        poison = {kind: os.readlink(folder / kind) for kind in ("crash", "oom")}
    counts = judge(url, plan, workers, poison)
    return {"seconds": seconds, "restarts": restarts, **counts, "logs": logs}


def judge(
    url: str, plan: Plan, workers: DisturbedWorkers, poison: dict[str, str]
) -> dict[str, Any]:
    """What the tables report of a study that has ended."""
    store = Store(url)
    h = history.read(open_search(store, NAME))
    store.close()
    endings = Counter(a["result_kind"] for a in h.attempts)
    wrong = [*history.violations(h), *unexplained(h, workers), *unpoisoned(h, poison)]
    if any(workers.codes):
        wrong.append(f"workers that were not killed ended with {sorted(set(workers.codes))}")
    return {
        "asked": plan.trials,
        "results": h.trainings,
        "lost": max(0, plan.trials - h.trainings),
        "twice": h.twice,
        "over_budget": max(0, h.trainings - plan.trials),
        "proposals": len(h.leases),
        "quarantined": sum(row["state"] == "failed" for row in h.leases),
        "kills": len(workers.killed),
        "crashes": len(workers.crashed),
        "stops": workers.long.total() + workers.short,
        "retries": endings["lost"] + endings["late"],
        "late": endings["late"],
        "wrong": wrong,
    }


def unexplained(h: history.History, workers: DisturbedWorkers) -> Iterator[str]:
    """Workers that lost more attempts than they were killed, crashed or stopped."""
    lost = [a for a in h.attempts if a["result_kind"] in ("lost", "late")]
    counts = Counter(int(a["worker"].split("/")[2]) for a in lost)
    for pid, count in counts.items():
        struck = (pid in workers.killed) + (pid in workers.crashed) + workers.long[pid]
        if count > struck:
            yield f"worker {pid}: lost {count} attempts, was killed or stopped {struck} times"


def unpoisoned(h: history.History, poison: dict[str, str]) -> Iterator[str]:
    """Poisoned candidates that did not end as they must, and failed trials of other candidates."""
    limit = h.spec.search.max_attempts
    failed = [row for row in h.leases if row["state"] == "failed"]
    if not any(row["digest"] == poison["crash"] for row in failed):
        yield f"candidate {poison['crash']}: ends its worker, and was not quarantined"
    for row in failed:
        bad = sum(a["result_kind"] in history.SPOILED for a in h.attempts_at(row))
        if bad < limit and not waited_for(h, row, limit):
            yield f"trial {row['trial']}: failed after {bad} bad attempts, {limit} are allowed"
    reasons = {row["digest"]: json.loads(row["evaluation"])["reason"] for row in h.archive}
    if not reasons.get(poison["oom"], "").startswith("too large to train"):
        yield f"candidate {poison['oom']}: runs out of memory, and is not reported as too large"


def waited_for(h: history.History, row: dict[str, Any], limit: int) -> bool:
    """True if a trial waited for the result of one that was quarantined."""
    same = [r for r in h.leases if r["state"] == "failed" and r["digest"] == row["digest"]]
    bad = [sum(a["result_kind"] in history.SPOILED for a in h.attempts_at(r)) for r in same]
    return max(bad) >= limit


@contextmanager
def empty_store(storage: str | None) -> Iterator[tuple[str, postgres.Server | None]]:
    """An empty store, and its server if this program started it."""
    if storage is not None:
        with store_benchmark.empty(storage) as url:
            yield url, None
        return
    with postgres.for_benchmark() as server:
        yield server.url, server


SUMS = ("asked", "results", "lost", "twice", "over_budget", "kills", "crashes", "stops", "retries")
SUMS += ("late", "quarantined", "restarts")


def options() -> argparse.ArgumentParser:
    """The options of this script."""
    parser = harness.parser(__doc__)
    parser.add_argument("--storage", help="of a running server, or sqlite:///")
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--lease", type=float, default=5.0, help="seconds")
    parser.add_argument("--kill-every", type=float, default=2.0, help="seconds")
    parser.add_argument("--sampler", choices=("random", "nsga2", "tpe"), default="random")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--logs", type=Path, help="folder for the logs of workers")
    return parser


def runs(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The counts of each run, with its seed; logs go to `--logs`."""
    plan = Plan(args.workers, args.trials, args.sampler, args.lease, args.kill_every)
    for seed in range(args.seed, args.seed + args.runs):
        with empty_store(args.storage) as (url, server):
            row = one_run(url, plan, seed, server)
        logs = row.pop("logs")
        if args.logs:
            args.logs.mkdir(parents=True, exist_ok=True)
            (args.logs / f"{seed}.log").write_text(logs)
        print(f"run {seed}: {len(row['wrong'])} things wrong", file=sys.stderr)
        yield {"seed": seed, **row}


def lines(document: dict[str, Any]) -> list[str]:
    """The document for people: a row for each run, the sums, and all that is wrong."""
    rows = [[row["seed"], *(row[key] for key in SUMS)] for row in document["rows"]]
    sums = ["sum", *(document[key] for key in SUMS)]
    wrong = [f"seed {row['seed']}: {line}" for row in document["rows"] for line in row["wrong"]]
    table = harness.table(["seed", *SUMS], [*rows, sums])
    return [*table, *(wrong or ["nothing is wrong"])]


def main(argv: Sequence[str] | None = None) -> None:
    args = options().parse_args(argv)
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows = list(runs(args))
    sums = {key: sum(row[key] for row in rows) for key in SUMS}
    document = {"runs": args.runs, "workers": args.workers, **sums, "rows": rows}
    harness.show(document, args.json, lambda: lines(document))
    raise SystemExit(1 if any(row["wrong"] for row in rows) else 0)


if __name__ == "__main__":
    main()
