"""Small studies of successive halving, and functions that run and read them."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas_command import run_worker

from nas_service import api
from nas_service.snn.checkpoint import CheckpointFile
from nas_service.store.store import Store
from nas_service.study.loading import parse_spec
from nas_service.worker.worker import Worker

TREE = {
    "name": "x",
    "seed": 2,
    "space": {
        "operations": "light3", "channels": [4, 8], "head_pool": 4, "hidden": 16,
        "time_steps": 2,
    },
    "data": {"name": "digits", "train_samples": 64, "validation_samples": 64},
    "training": {"epochs": 4, "rungs": [1, 2], "batch_size": 16, "learning_rate": 0.02},
    "search": {"trainings": 8, "sampler": "random", "reduction_factor": 2},
    "objectives": [
        {"metric": "accuracy", "direction": "maximize"},
        {"metric": "energy_uJ", "direction": "minimize", "reference": 1.0},
    ],
    "constraints": [{"metric": "energy_uJ", "at_most": 0.8}],
    "hardware": {"assumed_rate": 0.05},
}  # fmt: skip


def spec(**tables):
    return parse_spec(json.dumps(TREE | {k: TREE.get(k, {}) | v for k, v in tables.items()}), "x")


def opened(folder):
    return Store(f"sqlite:///{folder}/nas.db", create=True)


def run(store, study_spec, log=lambda text: None):
    search, evaluator = api.prepare(study_spec, lambda: store, Path())
    store.studies.set_budget(search.id, search.spec.search.trainings)
    return search, Worker(search, evaluator, log).run(200)


def archive(store, search):
    """All measured values except durations."""
    result = {d: store.archive(search.id).evaluation(d) for d in store.archive(search.id).entries()}
    return {d: replace(e, seconds=0.0) for d, e in result.items()}


def run_gated_worker(address: str, name: str, gates: Path) -> None:
    """Runs a worker that waits in each promoted training, after its first epoch, at a gate.

    The gate is a file of the folder, DIGEST.PID; a file with `.open` at its end opens it.
    """
    save = CheckpointFile.save

    def save_and_wait(checkpoint: CheckpointFile, *state: Any) -> None:
        save(checkpoint, *state)
        *_, epoch = state
        if epoch > 1:  # others end at the first rung
            gate = gates / f"{checkpoint.path.name.partition('.')[0]}.{os.getpid()}"
            gate.touch()
            while not gate.with_name(gate.name + ".open").exists():
                time.sleep(0.02)

    CheckpointFile.save = save_and_wait  # type: ignore[assignment, method-assign]
    run_worker(address, name)
