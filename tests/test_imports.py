"""Inner rings never load outer ones, and nothing of ours loads torchvision."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

RINGS = [
    ("hw_models", {"torch", "optuna", "pydantic", "nas_service", "sqlalchemy"}),
    ("nas_service", {"torch", "optuna"}),
    ("nas_service.spaces.cell_space", {"torch", "optuna", "norse"}),
    ("nas_service.study.spec", {"torch", "optuna", "norse"}),
    ("nas_service.worker.training_process", {"torch", "optuna", "sqlalchemy"}),
    ("nas_service.worker.telemetry", {"torch", "optuna", "prometheus_client"}),
    ("nas_service.data", {"torch", "optuna"}),
    ("nas_service.snn.network", {"optuna", "sqlalchemy"}),
    ("nas_service.evaluation.evaluator", {"optuna", "sqlalchemy", "torchvision"}),
    ("nas_service.cli.main", {"numpy", "optuna", "pydantic", "rich", "sqlalchemy"}),
    ("nas_service.searches.results", {"torch", "sklearn", "scipy.stats"}),
    ("nas_service.api", {"torchvision"}),
]


@pytest.mark.parametrize(("module", "outer"), RINGS, ids=[m for m, _ in RINGS])
def test_ring(module, outer):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert module in loaded
    assert loaded & outer == set()
