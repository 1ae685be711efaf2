"""A candidate, and processes that can import the target of the tests."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from child_jobs import TREE

from nas_service.evaluation.evaluator import Evaluator
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.study.loading import parse_spec
from nas_service.worker import end_signals

SUPPORT = Path(__file__).parents[2] / "support"


CELL = Cell(("conv3x3", "skip", "conv1x1", "skip", "conv1x1", "skip"))


SEED = 7


@pytest.fixture(autouse=True)
def no_haste(monkeypatch):
    """A test that asks for haste does not end the process of the tests some seconds later."""
    monkeypatch.setattr(end_signals, "HASTE_s", 1e6)


@pytest.fixture(scope="module")
def evaluator():
    torch.set_num_threads(1)
    return Evaluator.open(parse_spec(json.dumps(TREE), "x"), Path())


@pytest.fixture(scope="module")
def screened(evaluator):
    architecture = Architecture((CELL, CELL), 8, 2, 16, time_steps=2, weight_bits=6)
    result = evaluator.screen(architecture, SEED)
    assert result.reason == ""
    return result


@pytest.fixture(scope="module")
def findable():
    """Every process that is started can import the target of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(SUPPORT), *sys.path]))
        yield
