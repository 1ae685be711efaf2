"""Jobs of training processes whose target is `child_target`."""

from pathlib import Path

from nas_service.worker.training_process import (
    Job,
)

TREE = {
    "name": "x",
    "space": {
        "channels": [8, 12], "head_pool": [2], "hidden": [16], "time_steps": [2],
        "weight_bits": [6],
    },
    "data": {"name": "digits", "train_samples": 256, "validation_samples": 128},
    "training": {"epochs": 12, "until": 2, "batch_size": 32, "rungs": [1]},
    "search": {"trainings": 10},
    "objectives": [
        {"metric": "accuracy", "direction": "maximize", "reference": 0.1},
        {"metric": "energy_uJ", "direction": "minimize", "reference": 10},
    ],
}  # fmt: skip


def job(evaluator, screened, way, folder):
    return Job(evaluator.spec, folder, screened, Path(way))
