"""What a trial costs the store: ours beside Optuna's own loop, same sampler, same database.

    python benchmarks/store.py --storage postgresql://... [--workers 8] [--trials 400] [--rounds 3]

Trials of 20 parameters, 4 constraints and 2 objectives; trainings take no time, half of the
candidates are rejected. Ours: `nas worker`, with leases, an archive, all metrics as attributes.
Optuna's: `study.optimize` on RDBStorage, which keeps parameters, constraints and values alone.
Rounds alternate; each begins with an empty study in a database of its own. Statements and commits
are those of all workers, divided by trials, without those that open the study.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import simulated
import sqlalchemy as sa
from sqlalchemy.engine import Engine, make_url

REJECTED = 0.5
OBJECTIVES, CONSTRAINTS = 2, 4


def counted(counts: Counter[str]) -> None:
    """Counts what every engine of this process does from here on."""

    @sa.event.listens_for(Engine, "before_cursor_execute")
    def _statement(*_: Any) -> None:
        counts["statements"] += 1

    @sa.event.listens_for(Engine, "commit")
    def _commit(_: Any) -> None:
        counts["commits"] += 1


def ours(url: str, share: int, sampler: str, folder: Path) -> None:
    counts: Counter[str] = Counter()
    counted(counts)
    with contextlib.suppress(SystemExit):
        simulated.work(simulated.make_worker(url, "x", rejected=REJECTED))
    _keep(folder, counts)


def plain(url: str, share: int, sampler: str, folder: Path) -> None:
    counts: Counter[str] = Counter()
    counted(counts)
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
    proposals = simulated.spec("x", trials, sampler, proposals_per_training=1)
    simulated.make_study(url, proposals)
    simulated.costed()


def begin_plain(url: str, trials: int, sampler: str) -> None:
    directions = ["maximize", "minimize"]
    storage = optuna.storages.RDBStorage(_driver(url))
    optuna.create_study(study_name="x", storage=storage, directions=directions)
    storage.engine.dispose()


def trials_of(url: str) -> int:
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
def empty(url: str):  # type: ignore[no-untyped-def]
    """The URL of a database of its own beside that one, or of a new file."""
    parsed = make_url(_driver(url))
    if parsed.get_backend_name() == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/nas.db"
        return
    name = f"nas_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(parsed, isolation_level="AUTOCOMMIT")
    with admin.connect() as db:
        db.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield parsed.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as db:
            db.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--storage", required=True)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sampler", choices=("random", "nsga2"), default="random")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rounds: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    for _ in range(args.rounds):
        for name, begin, work in (
            ("ours", begin_ours, ours),
            ("plain", begin_plain, plain),
        ):
            with empty(args.storage) as url:
                found = measured(url, begin, work, args.workers, args.trials, args.sampler)
            rounds[name].append(found)
    shown = {
        name: {key: statistics.median(r[key] for r in found) for key in found[0]}
        for name, found in rounds.items()
    }
    document = {
        "workers": args.workers,
        "rounds": args.rounds,
        "sampler": args.sampler,
        **shown["ours"],
        **{f"plain_optuna_{key}": value for key, value in shown["plain"].items()},
        "times_plain": shown["ours"]["trials_per_s"] / shown["plain"]["trials_per_s"],
    }
    if args.json:
        print(json.dumps(document, indent=2))
        return
    print(f"{args.workers} workers, {args.sampler}, medians of {args.rounds} rounds")
    print("                    trials/s  statements  commits   a trial")
    for name, row in shown.items():
        print(
            f"{name:18s}  {row['trials_per_s']:8.1f}  {row['statements_per_trial']:10.1f}"
            f"  {row['commits_per_trial']:7.2f}"
        )
    print(f"ours / plain        {document['times_plain']:8.2f}")


if __name__ == "__main__":
    main()
