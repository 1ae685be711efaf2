"""Optuna's gRPC proxy beside direct connections: trials a second of plain Optuna, random sampler.

    python benchmarks/grpc_proxy.py [--storage postgresql://...] [--workers 4] [--trials 200]

Each worker is a process that does its share of the trials, ten parameters and one value each.
Rounds alternate between both ways; each has a study of its own, deleted behind it. The proxy
listens on the loopback, and has the same cores as the workers. Needs grpcio and protobuf.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import uuid
import warnings
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage, GrpcStorageProxy, get_storage
from servers.grpc import STORAGE, Proxy

from nas_service.store.database import checked_url, storage_url

PARAMETERS = 10
WAYS = ("direct", "proxy")


def database() -> BaseStorage:
    url = checked_url(os.environ[STORAGE])
    return get_storage(url.render_as_string(hide_password=False))


def objective(trial: optuna.Trial) -> float:
    return sum(trial.suggest_int(f"p{i}", 0, 9) for i in range(PARAMETERS))


def work(way: str, port: int, name: str, trials: int) -> None:
    """One worker: says that it is ready, waits for the word, does its share."""
    storage = database() if way == "direct" else GrpcStorageProxy(host="127.0.0.1", port=port)
    sampler = optuna.samplers.RandomSampler()
    study = optuna.load_study(study_name=name, storage=storage, sampler=sampler)
    print("ready", flush=True)
    sys.stdin.readline()
    study.optimize(objective, n_trials=trials)


def started(*words: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, __file__, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def connections() -> int | None:
    """How many clients PostgreSQL serves in this database; of SQLite there is no count."""
    url = checked_url(os.environ[STORAGE])
    if url.get_backend_name() != "postgresql":
        return None
    engine = sa.create_engine(url)
    with engine.connect() as db:
        text = "select count(*) from pg_stat_activity where datname = current_database()"
        found = db.execute(sa.text(text)).scalar_one()
    engine.dispose()
    return int(found)


def round_of(way: str, port: int, workers: int, trials: int) -> tuple[float, float | None]:
    """Trials a second, and connections to the database that a worker adds when it is ready."""
    storage, name = database(), f"grpc-{uuid.uuid4().hex[:8]}"
    study = optuna.create_study(study_name=name, storage=storage)
    before, share = connections(), trials // workers
    crew = [started("--work", way, port, name, share) for _ in range(workers)]
    for worker in crew:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    begin, served = time.perf_counter(), connections()
    for worker in crew:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in crew:
        worker.communicate()
    seconds = time.perf_counter() - begin
    done = sum(t.state.is_finished() for t in study.get_trials(deepcopy=False))
    assert done == workers * share, f"{done} of {workers * share} trials are told"
    optuna.delete_study(study_name=name, storage=storage)
    added = None if served is None or before is None else (served - before) / workers
    return done / seconds, added


def compared(workers: int, trials: int, rounds: int) -> dict[str, Any]:
    with Proxy(os.environ[STORAGE]) as proxy:
        found = [
            [round_of(way, proxy.port, workers, trials) for way in WAYS] for _ in range(rounds)
        ]
    speeds = [[speed for speed, _ in one] for one in found]
    return {
        "workers": workers,
        "trials": workers * (trials // workers),
        "rounds": rounds,
        "direct_trials_per_s": statistics.median(direct for direct, _ in speeds),
        "proxy_trials_per_s": statistics.median(through for _, through in speeds),
        "proxy_over_direct": statistics.median(through / direct for direct, through in speeds),
        "direct_connections_per_worker": found[0][0][1],
        "proxy_connections_per_worker": found[0][1][1],
    }


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    match sys.argv[1:]:
        case ["--work", way, port, name, trials]:
            return work(way, int(port), name, int(trials))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--storage", help="database, if not as NAS_STORAGE_FILE says")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--trials", type=int, default=200, help="of a round, by all workers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    os.environ[STORAGE] = storage_url(asked.storage, os.environ)
    found = compared(asked.workers, asked.trials, asked.rounds)
    if asked.json:
        print(json.dumps(found, indent=2))
    else:
        for key, value in found.items():
            print(f"{key:30s} {value if not isinstance(value, float) else f'{value:.2f}'}")


if __name__ == "__main__":
    main()
