"""Weights that candidates share: by place, operation and shape; one file for many processes."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nas_service.errors import DataError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.metrics import Evaluation
from nas_service.snn.inheritance import contribute, inherit
from nas_service.snn.network import Network
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.task import Task
from nas_service.study.loading import parse_spec

CELL = Cell(("conv3x3", "zeroize", "skip", "conv1x1", "zeroize", "skip"))
A = Architecture((CELL,), 4, 2, 16, 2, 8)
TASK = Task(1, 8, 4)


def network(architecture=A, seed=0):
    torch.manual_seed(seed)
    return Network(architecture, TASK)


def with_edge(place, operation):
    operations = list(CELL.operations)
    operations[place] = operation
    return replace(A, cells=(Cell(tuple(operations)),))


@pytest.fixture
def pool(tmp_path):
    """What a network of A left."""
    path = tmp_path / "shared.safetensors"
    contribute(network(), A, path)
    return path


def numbers(model):
    return sum(t.numel() for t in model.state_dict().values() if t.is_floating_point())


def test_an_empty_pool_gives_nothing(tmp_path):
    model, before = network(seed=1), network(seed=1).state_dict()
    assert inherit(model, A, tmp_path / "none") == 0
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_a_repeated_architecture_takes_all(pool):
    model = network(seed=1)
    assert inherit(model, A, pool) == 1
    own = network().state_dict()
    assert all(torch.equal(t, own[n]) for n, t in model.state_dict().items())


def test_another_operation_on_an_edge_takes_all_but_the_edge(pool):
    """conv3x3 to conv1x1 on edge 01: 16 weights and four vectors of its norm are its own."""
    other = with_edge(0, "conv1x1")
    model = network(other, seed=1)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    share = inherit(model, other, pool)
    assert share == pytest.approx(1 - (16 + 4 * 4) / numbers(model))
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            ours = ".edges.edge01." in name
            assert torch.equal(tensor, before[name] if ours else network().state_dict()[name])


def test_operations_of_one_shape_are_not_mixed(pool):
    """A convolution with neurons of another threshold has the same tensors, and other weights."""
    other = with_edge(0, "conv3x3_th0.5")
    model = network(other, seed=1)
    edge = "body.cell0.edges.edge01.1.parametrizations.weight.original"
    before = model.state_dict()[edge].clone()
    assert before.shape == network().state_dict()[edge].shape
    assert 0 < inherit(model, other, pool) < 1
    assert torch.equal(model.state_dict()[edge], before)


def test_another_place_or_direction_takes_no_weights_of_the_edge(pool):
    moved = replace(A, cells=(Cell(("zeroize", "conv3x3", "skip", "zeroize", "skip", "conv1x1")),))
    model = network(moved, seed=1)
    names = [n for n in model.state_dict() if ".edges." in n]
    before = {n: model.state_dict()[n].clone() for n in names}
    assert names
    inherit(model, moved, pool)
    assert all(torch.equal(model.state_dict()[n], before[n]) for n in names)


def test_another_width_inherits_blocks_without_width(pool):
    """The readout's 16 x 4 weights and 4 biases are of no width."""
    wide = replace(A, channels=6)
    model = network(wide, seed=1)
    assert inherit(model, wide, pool) == pytest.approx((64 + 4) / numbers(model))


def test_the_last_contribution_is_kept(pool):
    contribute(network(seed=5), A, pool)
    model = network(seed=1)
    inherit(model, A, pool)
    assert torch.equal(model.readout[1].weight, network(seed=5).readout[1].weight)


@pytest.mark.parametrize("damage", [b"", b"weights" * 30, None])
def test_a_damaged_pool_is_named(pool, damage):
    pool.write_bytes(pool.read_bytes()[:-8] if damage is None else damage)
    for act in (inherit, contribute):
        with pytest.raises(DataError, match=r"shared\.safetensors: not the shared weights"):
            act(network(), A, pool)


def _many(pool: str, width: int, ready) -> None:
    torch.set_num_threads(1)
    ready.wait()
    for _ in range(20):
        contribute(network(replace(A, channels=width)), replace(A, channels=width), Path(pool))
        inherit(network(), A, Path(pool))


@pytest.mark.process
def test_two_processes_lose_nothing(tmp_path):
    """Each writes blocks of different shapes 20 times: the pool holds all of both, readable."""
    path, context = tmp_path / "shared.safetensors", multiprocessing.get_context("fork")
    ready = context.Barrier(2)
    processes = [context.Process(target=_many, args=(str(path), w, ready)) for w in (4, 6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    for width in (4, 6):
        a = replace(A, channels=width)
        assert inherit(network(a, seed=1), a, path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["shared.lock", "shared.safetensors"]
    assert load_file(path)


def bench(**training):
    tree = {
        "name": "x",
        "space": {"channels": 4, "head_pool": 4, "hidden": 16, "time_steps": 2, "cells": 1},
        "data": {"name": "digits", "train_samples": 128, "validation_samples": 64},
        "training": {"epochs": 2, "inherit": True, **training},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
    }
    return Evaluator.open(parse_spec(json.dumps(tree), "x"), Path())


DIGITS = replace(A, head_pool=4)


def test_a_study_inherits_and_records_it(tmp_path):
    there = bench()
    first = there.train(there.screen(DIGITS, 1), tmp_path / "a.safetensors")
    again = there.train(there.screen(DIGITS, 2), tmp_path / "b.safetensors")
    assert (first.inherited, again.inherited) == (0, 1)
    other = replace(DIGITS, hidden=32)
    part = there.train(there.screen(other, 3), tmp_path / "c.safetensors")
    assert 0 < part.inherited < 1
    assert Evaluation.from_json(json.loads(json.dumps(part.to_json()))) == part


def test_a_continued_training_records_its_inherited_share(tmp_path):
    """A pool that another candidate filled meanwhile does not change the recorded share."""
    there, weights = bench(), tmp_path / "a.safetensors"

    def ended(epoch, _):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        there.train(there.screen(DIGITS, 1), weights, on_epoch=ended)
    there.train(there.screen(DIGITS, 2), tmp_path / "b.safetensors")
    assert there.train(there.screen(DIGITS, 1), weights).inherited == 0
