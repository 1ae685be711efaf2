"""Rings of the project: what each part may load, asked of a fresh interpreter."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "norse", "optuna", "pydantic", "sqlalchemy", "sklearn", "click", "torchvision"}


def loaded_by(module):
    """Top-level packages in memory after `import module`."""
    script = f"import {module}, sys; print(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = set(done.stdout.split())
    assert module.partition(".")[0] in found
    return found


RINGS = [
    ("hw_models", HEAVY | {"nas_service"}),
    ("nas_service.spaces.cells", HEAVY),
    ("nas_service.metrics", HEAVY),
    ("nas_service.study", HEAVY - {"pydantic"}),
    ("nas_service.data", {"torch", "norse", "optuna", "torchvision", "sqlalchemy"}),
    ("nas_service.snn.network", {"optuna", "sqlalchemy", "pydantic", "torchvision"}),
    ("nas_service.snn.trace", {"optuna", "sqlalchemy", "pydantic", "torchvision"}),
    ("nas_service.snn.training", {"optuna", "sqlalchemy", "pydantic", "torchvision"}),
    ("nas_service.api", {"torchvision"}),
    ("nas_service.cli", {"torchvision"}),
    ("nas_service.worker", {"torchvision"}),
    ("nas_service.dashboard", {"torchvision"}),
]


@pytest.mark.parametrize(("module", "foreign"), RINGS, ids=[module for module, _ in RINGS])
def test_loads_nothing_foreign(module, foreign):
    assert loaded_by(module) & foreign == set()
