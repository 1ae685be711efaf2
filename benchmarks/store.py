"""What a trial costs the store, beside Optuna's own loop; how many workers one store serves.

    python benchmarks/store.py --storage postgresql://... [--workers 8] [--trials 400] [--rounds 3]
    python benchmarks/store.py --scale 1,16,64 [--trials 600] [--wait 0] [--lease 60] [--pooler 20]
    python benchmarks/store.py --grown 100,1000,5000
    python benchmarks/store.py --verbs 1000,10000

The first compares `nas worker`, with leases, an archive and all metrics as attributes, with
`study.optimize` on RDBStorage, which keeps parameters, constraints and values alone: trials of 20
parameters, 4 constraints and 2 objectives; trainings take no time, half of the candidates are
rejected. Rounds alternate, each in an empty database. Statements and commits are those of all
workers, divided by trials, without those that open the study.

The second measures our store alone, by default on a new server. For each number of workers:
trials a second, which is what this machine gives while others use it, beside what it cannot exceed:
one trial per time in which the study's row is locked for it, and the CPU of all cores per trial's
CPU of workers and server; median and 99th percentile of the claims that gave a trial; statements
of all kinds per trial, and those of the trial itself, of claims that gave none, and for each worker
those of its start and end, and those before, which open the study; CPU of a worker's Python and of
the server, per trial; sessions that wait for that row on average; the most connections at a time.
A training waits for `--wait` seconds on average. Many hundred simulated workers, threads of a few
processes, renew their leases late: give them longer ones.
For each size of `--grown`, one worker on a study of that many finished trials: medians of 20 claims
and of 20 times the rest (draw, begin, train for no time, archive, report), and its first read.

The third runs `nas status`, `front` and `show` on studies of these numbers of trials; see
`store_verbs`.
"""

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import harness
import optuna
import simulated
import sqlalchemy as sa
import store_load
import store_verbs
from servers import pgbouncer, postgres
from sqlalchemy.engine import make_url

REJECTED = 0.5
CONSTRAINTS = 4  # of a trial
CONNECTIONS = 2500  # that a new server accepts


def ours(url: str, share: int, sampler: str, folder: Path) -> None:
    """A worker of this project; its counts go to a file."""
    counts: Counter[str] = Counter()
    store_load.count_statements(counts)
    with contextlib.suppress(SystemExit):
        simulated.work(simulated.make_worker(url, "x", rejected=REJECTED))
    _keep(folder, counts)


def plain(url: str, share: int, sampler: str, folder: Path) -> None:
    """A worker of plain Optuna, for its share of the trials; its counts go to a file."""
    counts: Counter[str] = Counter()
    store_load.count_statements(counts)
    made = {
        "random": optuna.samplers.RandomSampler,
        "nsga2": lambda: optuna.samplers.NSGAIISampler(population_size=20),
    }[sampler]()
    storage = optuna.storages.RDBStorage(_driver(url), engine_kwargs={"pool_pre_ping": True})
    study = optuna.load_study(study_name="x", storage=storage, sampler=made)
    study.optimize(_objective, n_trials=share)
    _keep(folder, counts)


def _objective(trial: optuna.Trial) -> list[float]:
    drawn = [trial.suggest_categorical(f"edge{n}", list("abcde")) for n in range(12)]
    sizes = [trial.suggest_categorical(f"size{n}", [4, 8, 12]) for n in range(8)]
    for n in range(CONSTRAINTS):
        trial.set_constraint(f"budget{n}", -1.0)
    return [drawn.count("a") / 12, float(sum(sizes))]


def _keep(folder: Path, counts: Counter[str]) -> None:
    (folder / f"{uuid.uuid4().hex}.json").write_text(json.dumps(counts))


def _driver(url: str) -> str:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed.render_as_string(hide_password=False)


def begin_ours(url: str, trials: int, sampler: str) -> None:
    """Creates the study of this project."""
    proposals = simulated.spec("x", trials, sampler, proposals_per_training=1)
    simulated.make_study(url, proposals)
    simulated.costed()


def begin_plain(url: str, trials: int, sampler: str) -> None:
    """Creates the study of plain Optuna."""
    directions = ["maximize", "minimize"]
    storage = optuna.storages.RDBStorage(_driver(url))
    optuna.create_study(study_name="x", storage=storage, directions=directions)
    storage.engine.dispose()


def trials_of(url: str) -> int:
    """How many trials Optuna has completed."""
    storage = optuna.storages.RDBStorage(_driver(url))
    study = optuna.load_study(study_name="x", storage=storage)
    done = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    storage.engine.dispose()
    return len(done)


def measured(
    url: str,
    begin: Callable[..., None],
    work: Callable[..., None],
    workers: int,
    trials: int,
    sampler: str,
) -> dict[str, float]:
    """One round in an empty database."""
    begin(url, trials, sampler)
    with tempfile.TemporaryDirectory() as folder:
        place, start = Path(folder), time.perf_counter()
        os.environ["NAS_SPOOL"] = str(place / "spool")
        share = trials // workers
        pids = [
            simulated.forked(lambda: work(url, share, sampler, place), place / f"log{n}")
            for n in range(workers)
        ]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        seconds = time.perf_counter() - start
        if any(codes):
            logs = "\n".join(log.read_text()[-2000:] for log in place.glob("log*"))
            raise SystemExit(f"workers ended with {codes}\n{logs}")
        counts = sum((Counter(json.loads(f.read_text())) for f in place.glob("*.json")), Counter())
    done = trials_of(url)
    return {
        "trials_per_s": done / seconds,
        "statements_per_trial": counts["statements"] / done,
        "commits_per_trial": counts["commits"] / done,
        "trials": done,
    }


@contextlib.contextmanager
def empty(url: str) -> Iterator[str]:
    """The URL of a new database on that server, or of a new file."""
    if make_url(url).get_backend_name() == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/nas.db"
        return
    with postgres.database(url) as own:
        yield own


@contextlib.contextmanager
def server(storage: str | None, pooler: int | None = None) -> Iterator[tuple[str, str]]:
    """URLs for the benchmark and for its workers: of the given server, or of a new one.

    A new one accepts many connections; its workers may connect through PgBouncer.
    """
    if storage is not None:
        yield storage, storage
        return
    with postgres.for_benchmark() as own:
        engine = sa.create_engine(_driver(own.url), isolation_level="AUTOCOMMIT")
        with engine.connect() as db:
            db.execute(sa.text(f"ALTER SYSTEM SET max_connections = {CONNECTIONS}"))
        engine.dispose()
        own.stop()
        own.start()
        if pooler is None:
            yield own.url, own.url
            return
        with pgbouncer.pooled(own, pooler) as through:
            yield own.url, through


def compare(storage: str, args: argparse.Namespace) -> dict[str, Any]:
    """Medians of rounds that alternate between our store and plain Optuna."""
    rounds: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    for _ in range(args.rounds):
        for name, begin, work in (("ours", begin_ours, ours), ("plain", begin_plain, plain)):
            with empty(storage) as url:
                row = measured(url, begin, work, args.workers, args.trials, args.sampler)
            rounds[name].append(row)
    medians = {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for name, rows in rounds.items()
    }
    return {
        "workers": args.workers,
        "rounds": args.rounds,
        "sampler": args.sampler,
        **medians["ours"],
        **{f"plain_optuna_{key}": value for key, value in medians["plain"].items()},
        "times_plain": medians["ours"]["trials_per_s"] / medians["plain"]["trials_per_s"],
    }


def scale(storage: str, through: str, args: argparse.Namespace) -> dict[str, Any]:
    """Each number of workers on a new study, and one worker on a study that grows."""
    document: dict[str, list[dict[str, Any]]] = {"shared": [], "asks": [], "verbs": []}
    for workers in args.scale:
        with empty(storage) as url:
            work = _same_database(through, url)
            load = store_load.shared(url, work, workers, args.trials, args.wait, args.lease)
            document["shared"].append(load)
    if args.grown:
        with empty(storage) as url:
            document["asks"] += store_load.asks(url, args.grown)
    if args.verbs:
        with empty(storage) as url:
            document["verbs"] += store_verbs.beyond_start(url, args.verbs)
    return document


def _same_database(server_url: str, url: str) -> str:
    """The URL of a database on another server, or through a pooler."""
    if make_url(url).get_backend_name() == "sqlite":
        return url
    name = make_url(url).database
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def lines(document: dict[str, Any]) -> list[str]:
    """The document for people."""
    if "shared" in document:
        tables = [rows for rows in document.values() if rows]
        return [line for rows in tables for line in (*harness.figures(rows), "")]
    keys = ("trials_per_s", "statements_per_trial", "commits_per_trial")
    rows = [[name, *(f"{document[prefix + key]:.2f}" for key in keys)]
            for name, prefix in (("ours", ""), ("plain Optuna", "plain_optuna_"))]  # fmt: skip
    title = "{workers} workers, {sampler}, medians of {rounds} rounds".format_map(document)
    ratio = f"ours / plain {document['times_plain']:.2f}"
    return [title, *harness.table(["", *keys], rows), ratio]


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--storage", help="a server, or sqlite://; by default a new server")
    options.add_argument("--workers", type=int, default=8)
    options.add_argument("--trials", type=int, default=400)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--sampler", choices=("random", "nsga2"), default="random")
    options.add_argument("--scale", type=harness.numbers, default=(), help="numbers of workers")
    options.add_argument("--wait", type=float, default=0.0, help="seconds of a training")
    options.add_argument("--lease", type=float, default=60.0, help="seconds of a lease")
    options.add_argument("--pooler", type=int, help="connections of a PgBouncer before the server")
    options.add_argument("--grown", type=harness.numbers, default=(), help="finished trials")
    options.add_argument("--verbs", type=harness.numbers, default=(), help="trials of a study")
    args = options.parse_args(argv)
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    only_ours = args.scale or args.grown or args.verbs
    with server(args.storage, args.pooler) as (storage, through):
        document = scale(storage, through, args) if only_ours else compare(storage, args)
    harness.show(document, args.json, lambda: lines(document))


if __name__ == "__main__":
    main()
