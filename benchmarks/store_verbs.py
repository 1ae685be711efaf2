"""What the commands that read a study cost once it has many trials, beyond their start.

A store gets a study of one trial, whose rows are then copied. Half of the candidates are on the
front, of 10,000 each point six times: accuracy is a share of few images, so that real studies have
many ties.
"""

import json
import os
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple

import simulated
import sqlalchemy as sa
from optuna.storages._rdb.models import (
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)

from nas_service.evaluation.screening import workload_cache_of
from nas_service.metrics import Evaluation
from nas_service.searches.session import Search, open_search
from nas_service.store.store import Store
from nas_service.store.tables import archive, leases, of_study
from nas_service.study.sections import Objective

VERBS: dict[str, tuple[str, ...]] = {  # and their arguments
    "status": (),
    "front": (),
    "show": ("0",),
    "recost": ("--set", "crossbar_size=128"),
}
STEPS = 29  # different energies, and different latencies


class Cost(NamedTuple):
    """What one command has cost."""

    cpu_s: float
    peak_MB: float


def begin(url: str, name: str) -> Search:
    """A study with one trained trial."""
    study = simulated.spec(name, 10**6, proposals_per_training=10)
    latency = Objective(metric="latency_ms", direction="minimize", reference=100.0)
    objectives = (*study.objectives, latency)
    simulated.make_study(url, study.model_copy(update={"objectives": objectives}))
    simulated.make_worker(url, name).run(max_trials=1)
    return open_search(Store(url), name)


def fill(search: Search, count: int) -> None:
    """Adds copies of the study's only trial, of different candidates, until it has `count`."""
    numbers = range(1, count)
    with search.store.exclusive(search.id) as db:
        own = TrialModel.__table__.c.study_id == search.id
        first = dict(db.execute(sa.select(TrialModel.__table__).where(own)).mappings().one())
        first_id = first.pop("trial_id")
        db.execute(sa.insert(TrialModel.__table__), [{**first, "number": n} for n in numbers])
        for model in (TrialParamModel, TrialSystemAttributeModel, TrialValueModel):
            _copy(db, model.__table__, search.id, first_id)
        _copy(db, TrialUserAttributeModel.__table__, search.id, first_id, without="digest")
        _number(db, search.id, numbers)
        for table in (leases, archive):
            row = dict(db.execute(of_study(table, search.id)).mappings().one())
            row.pop("lease_id", None)
            if table is archive:
                row["evaluation"] = _with_rates(search, row["evaluation"])
            metrics = json.loads(row.get("metrics", "{}"))
            db.execute(table.insert(), [{**row, **_changes(n, table, metrics)} for n in numbers])


def _with_rates(search: Search, text: str) -> str:
    """An evaluation with a spike rate for each layer and time step, as trainings measure them."""
    known = Evaluation.from_json(json.loads(text))
    workload = workload_cache_of(search.spec).workload(known.architecture)
    steps = [0.1 + n / 1000 for n in range(workload.time_steps)]
    rates = {layer.name: 0.5 if layer.once else steps for layer in workload.layers}
    return json.dumps(known.to_json() | {"spike_rates": rates})


def _copy(db: sa.Connection, table: Any, study_id: int, first_id: int, without: str = "") -> None:
    """Copies the first trial's rows of one table for all others, by one statement."""
    (key,) = table.primary_key
    names = [c.name for c in table.c if c.name not in (key.name, "trial_id")]
    trials = TrialModel.__table__.c
    others = (trials.study_id == study_id, trials.trial_id != first_id)
    rows = sa.select(trials.trial_id, *(table.c[n] for n in names))
    rows = rows.join_from(TrialModel.__table__, table, table.c.trial_id == first_id).where(*others)
    if without:
        rows = rows.where(table.c.key != without)
    db.execute(sa.insert(table).from_select(["trial_id", *names], rows))


def _number(db: sa.Connection, study_id: int, numbers: range) -> None:
    """Gives each copy the digest of its own candidate."""
    trials = TrialModel.__table__.c
    query = sa.select(trials.number, trials.trial_id).where(trials.study_id == study_id)
    ids = dict(list(db.execute(query)))
    rows = [{"trial_id": ids[n], "key": "digest", "value_json": f'"{n:016x}"'} for n in numbers]
    db.execute(sa.insert(TrialUserAttributeModel.__table__), rows)


def _changes(number: int, table: sa.Table, metrics: dict[str, float]) -> dict[str, Any]:
    """What is a copy's own: the better it classifies, the more it costs; every other wastes."""
    own: dict[str, Any] = {"trial": number, "digest": f"{number:016x}"}
    if table is archive:
        energy, latency, waste = number % STEPS, number // STEPS % STEPS, number % 2
        share = {"accuracy": (energy + latency - waste) / (2 * STEPS)}
        steps = {"energy_uJ": energy, "latency_ms": latency}
        costs = {name: metrics[name] * (1 + n) / (1 + STEPS) for name, n in steps.items()}
        own["metrics"] = json.dumps(metrics | share | costs)
    return own


def cost(verb: str, name: str, url: str) -> Cost:
    """CPU seconds and largest memory of one command's process."""
    words = [verb, name, *VERBS[verb]]
    command = [sys.executable, "-m", "nas_service", *words]
    with tempfile.TemporaryFile() as out:
        environment = os.environ | {"NAS_STORAGE": url}
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            out.seek(0)
            raise SystemExit(f"{words}: exit code {process.returncode}\n{out.read().decode()}")
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6)


def beyond_start(url: str, counts: tuple[int, ...]) -> list[dict[str, Any]]:
    """Costs of the commands on studies of these numbers of trials, less those on one trial."""
    begin(url, "one").store.close()
    starts = {verb: cost(verb, "one", url) for verb in VERBS}
    rows = []
    for count in counts:
        search = begin(url, f"of{count}")
        fill(search, count)
        search.store.close()
        for verb in VERBS:
            whole, start = cost(verb, f"of{count}", url), starts[verb]
            beyond = {"cpu_s": whole.cpu_s - start.cpu_s, "MB": whole.peak_MB - start.peak_MB}
            rows.append({"verb": verb, "trials": count, **beyond, "start_cpu_s": start.cpu_s})
    return rows
