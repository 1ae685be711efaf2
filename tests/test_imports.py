"""Inner rings never load outer ones, and nothing of ours loads torchvision."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

RINGS = {
    "hw_models": {"torch", "optuna", "pydantic", "nas_service", "sqlalchemy"},
    "nas_service": {"torch", "optuna"},
    "nas_service.spaces.cell_space": {"torch", "optuna", "norse"},
    "nas_service.study.spec": {"torch", "optuna", "norse"},
    "nas_service.worker.training_process": {"torch", "optuna", "sqlalchemy"},
    "nas_service.worker.telemetry": {"torch", "optuna", "prometheus_client"},
    "nas_service.data": {"torch", "optuna"},
    "nas_service.worker.machine_report": {"torch"},
    "nas_service.text": {"numpy", "rich", "torch", "pydantic"},
    "nas_service.cli.main": {"numpy", "optuna", "pydantic", "rich", "sqlalchemy"},
    "nas_service.searches.results": {"torch", "sklearn", "scipy.stats"},
    "nas_service.snn.network": {"optuna", "sqlalchemy"},
    "nas_service.evaluation.evaluator": {"optuna", "sqlalchemy", "sklearn", "torchvision"},
    "nas_service.api": {"sklearn", "torchvision"},
    "nas_service.worker.training_process.job": {"optuna", "sqlalchemy", "sklearn"},
}
HEAVY = "nas_service.snn.network"  # this and the following ones load torch
PROGRAM = """
import json, os, sys

def modules_after(name):
    reader, writer = os.pipe()
    if os.fork() == 0:
        __import__(name)
        os.write(writer, json.dumps(list(sys.modules)).encode())
        os._exit(0)
    os.close(writer)
    return json.load(open(reader))

loaded = {}
for name in sys.argv[2:]:
    if name == sys.argv[1]:
        import torch
    loaded[name] = modules_after(name)
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded():
    """The modules that each of these loads in a new process."""
    command = [sys.executable, "-c", PROGRAM, HEAVY, *RINGS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name: set(modules) for name, modules in json.loads(done.stdout).items()}


@pytest.mark.parametrize("module", RINGS)
def test_ring(loaded, module):
    assert module in loaded[module]
    assert loaded[module] & RINGS[module] == set()


def test_what_an_optimizer_loads_is_loaded_once_for_all_trainings(loaded):
    assert "torch._dynamo" in loaded["nas_service.worker.training_process.job"]
