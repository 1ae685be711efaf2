"""The most memory that a training of a space takes, and a small candidate."""

from dataclasses import replace

import pytest

from nas_service.evaluation.extremes import largest_training_GiB, smallest_candidate
from nas_service.evaluation.screening import Budgets
from nas_service.spaces.batch import sample_batch
from nas_service.study.loading import spec_from_tables

SPACES = {
    "own channels": {"channels": [[4], [3, 8]], "cells": 2, "bits_of": "part"},
    "backward": {"mode": "backward", "operations": ["zeroize", "skip", "conv1x1"]},
    "pools": {"operations": ["conv1x1", "maxpool3x3"], "stem_stride": 2, "threshold": [0.5, 1.0]},
}


def budgets_of(space):
    sizes = {"operations": ["zeroize", "conv3x3"], "cells": 1, "channels": [2, 4]}
    sizes |= {"head_pool": [0, 4], "hidden": [8, 64], "weight_bits": [4, 8]}
    tree = {
        "name": "x",
        "space": {**sizes, "time_steps": [2, 5], **space},
        "data": {"name": "digits"},
        "training": {"epochs": 1},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
    }
    return Budgets.of(spec_from_tables(tree))


@pytest.mark.parametrize("name", SPACES)
def test_no_candidate_takes_more_and_the_smallest_takes_little(name):
    budgets = budgets_of(SPACES[name])
    batch_size = budgets.spec.training.batch_size
    drawn = budgets.costed(sample_batch(budgets.workloads.space, 500, seed=1)).memory_GiB
    largest = largest_training_GiB(budgets.workloads, batch_size)
    assert drawn.max() <= largest <= 4 * drawn.max()
    smallest = smallest_candidate(budgets.workloads.space)
    assert smallest is not None
    assert smallest.connected
    assert (smallest.time_steps, smallest.hidden) == (2, 8)


def test_a_space_without_a_path_has_no_candidate():
    space = budgets_of({}).workloads.space
    assert smallest_candidate(replace(space, operations=("zeroize",))) is None
