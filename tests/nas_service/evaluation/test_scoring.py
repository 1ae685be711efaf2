"""Accuracy as deployed: the integer network's own, on 8-bit products, for every kind of network."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas_service.data.batches import StoredImages, all_images
from nas_service.errors import SpecError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.searches.creation import check
from nas_service.snn import int8
from nas_service.snn.checkpoint import load_weights
from nas_service.snn.deployed import deployed, integer_matrices
from nas_service.snn.int8 import Int8Convolution, in_int8
from nas_service.snn.training import accuracy, firing_rate
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.operations import OPERATIONS
from nas_service.study.loading import parse_spec

exact_here = pytest.mark.skipif(bool(int8.reason_against()), reason=int8.reason_against())

PLAIN = Cell(("conv3x3", "zeroize", "skip", "zeroize", "skip", "conv1x1"))
SMALL = Architecture((PLAIN, PLAIN), 8, 2, 24, 3, 4)
PARTS = ("stem", "cell0", "reduction0", "cell1", "hidden", "readout")
MIXED = tuple(zip(PARTS, (8, 2, 3, 5, 6, 7), strict=True))


def of(*operations):
    return replace(SMALL, cells=(Cell(operations),) * 2)


KINDS = {
    "step norm": (SMALL, {"network": {"norm": "step"}}),
    "soft reset": (SMALL, {"network": {"reset": "subtract", "fires_at_threshold": True}}),
    "poolings": (of("maxpool3x3", "avgpool3x3", *["conv3x3"] * 4), {}),
    "separable": (of("sepconv3x3", "skip", "zeroize", "zeroize", "zeroize", "conv5x5"), {}),
    "thresholds": (of("conv3x3_th0.5", "skip", *["conv3x3_th1.5"] * 4), {}),
    "backward": (of("conv3x3", "skip", "skip", "back:conv1x1", "skip", "conv1x1"), {}),
    "bits by part": (replace(SMALL, weight_bits=MIXED), {}),
    "learned": (replace(SMALL, weight_bits=3), {"quantization": {"step_size": "learned"}}),
    "after": (
        SMALL,
        {"quantization": {"mode": "ptq", "step_size": "mse", "granularity": "tensor"}},
    ),
    **{f"{bits} bits": (replace(SMALL, weight_bits=bits), {}) for bits in range(2, 9)},
}
SPACE = {"channels": 8, "head_pool": 2, "hidden": 24, "time_steps": 3}


def spec(scoring="int8", training=(), **tables):
    tree = {
        "name": "x",
        "space": SPACE | {"operations": list(OPERATIONS), "mode": "backward"},
        "data": {"name": "digits", "train_samples": 384, "validation_samples": 128},
        "training": {"epochs": 2, "batch_size": 16, **dict(training)},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
    } | tables
    tree["quantization"] = {"scoring": scoring, **tables.get("quantization", {})}
    return parse_spec(json.dumps(tree), "x")


def evaluator_of(*args, **tables):
    return Evaluator.open(spec(*args, **tables), Path())


NIGHTLY = {f"{bits} bits" for bits in range(3, 8)}  # "bits by part" has all of them in one


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.nightly if k in NIGHTLY else ()) for k in KINDS]
)
def test_accuracy_is_that_of_the_deployed_network_exactly(kind, tmp_path):
    """The same float32 currents in every layer, so that not one answer differs."""
    architecture, tables = KINDS[kind]
    evaluator = evaluator_of(**tables)
    trained = evaluator.train(evaluator.screen(architecture, 1), tmp_path / "a")
    network = evaluator.network(architecture)
    load_weights(network, tmp_path / "a")
    held_out = evaluator.images.data.validation
    twin = deployed(network)
    assert trained.accuracy == accuracy(twin, StoredImages(held_out)) > 0.2
    test = evaluator.images.test(SMALL.time_steps)
    assert evaluator.test_accuracy(architecture, tmp_path / "a") == accuracy(
        twin, StoredImages(test)
    )
    images, labels = all_images(held_out)
    with torch.inference_mode():
        answers, deployed_, float_answers = (
            n(images) for n in (in_int8(twin), twin, network.eval())
        )
    assert torch.equal(answers, deployed_)
    assert float((answers.argmax(1) == labels).double().mean()) == trained.accuracy
    assert 0.01 < firing_rate(twin, images) < 0.9
    # the trained network rounds its sums otherwise: where that turns a spike, scores move
    same = answers.argmax(1) == float_answers.argmax(1)
    assert same.float().mean() > 0.98
    assert (
        abs(trained.accuracy - accuracy(network, StoredImages(held_out)))
        <= 1 - same.double().mean()
    )


@exact_here
def test_convolutions_are_scored_on_bytes(monkeypatch):
    """On the rungs, at the end and on the test images: none of them in float."""
    evaluator, used = evaluator_of(training={"rungs": [1]}), []
    sums = Int8Convolution.sums
    monkeypatch.setattr(Int8Convolution, "sums", lambda m, x: used.append(len(x)) or sums(m, x))
    trained = evaluator.train(evaluator.screen(SMALL, 1))
    assert [n for n, _ in trained.curve] == [1, 2]
    images = len(evaluator.images.data.validation) * SMALL.time_steps
    convolutions = len(integer_matrices(deployed(evaluator.network(SMALL)))) - 3
    assert sum(used) == 2 * images * convolutions
    monkeypatch.undo()
    plain = evaluator_of("fp32")
    keys = list(plain.spec.differences(evaluator.spec))
    assert keys == ["quantization.scoring", "training.rungs"]


def test_scoring_is_no_part_of_a_training(tmp_path):
    """A training is continued with any scoring, to the same weights."""
    evaluator_of("fp32", training={"until": 1}).train(
        evaluator_of().screen(SMALL, 1), tmp_path / "a"
    )
    evaluator = evaluator_of()
    epochs = []
    evaluator.train(
        evaluator.screen(SMALL, 1), tmp_path / "a", on_epoch=lambda n, loss: epochs.append(n)
    )
    assert epochs == [2]


def test_int8_scoring_does_not_hide_a_diverged_training():
    evaluator = evaluator_of(training={"learning_rate": 1e9, "rungs": [1]})
    assert evaluator.train(evaluator.screen(SMALL, 1)).outcome == "diverged"


WIDE = SPACE | {"channels": 1024, "head_pool": 1, "cells": 4}
LATE = {"channels": [[8], [1024]], "operations": ["skip", "conv1x1"], "weight_bits": [2, 8]}
LARGE = {"name": "image_folder", "archive": "a", "size": 32, "classes": 3}
REFUSED = [
    ({"training": {"epochs": 0}}, r"training\.epochs = 0"),
    ({"quantization": {"scoring": "int4"}}, r"quantization\.scoring.*'fp32' or 'int8'"),
    (
        {"space": WIDE | {"operations": ["skip", "conv5x5"]}},
        r"cell3 may add up 204800 weights of 127, 26009600 in all, .*below 16777216",
    ),
    ({"space": SPACE | LATE, "data": LARGE}, r"hidden may add up 262144 weights of 127"),
    ({"space": SPACE | {"hidden": 65536}}, None),
]


@pytest.mark.parametrize(("tables", "message"), REFUSED)
def test_unsupported_scoring_is_refused(tables, message):
    tree = spec().model_dump(mode="json") | tables
    if "epochs" in tables.get("training", {}):
        tree["objectives"] = [{"metric": "parameters", "direction": "minimize", "reference": 1}]
    refused = pytest.raises(SpecError, match=message) if message else contextlib.nullcontext()
    with refused:
        check(parse_spec(json.dumps(tree), "x"))
    if "space" in tables:
        tree["quantization"] = {"scoring": "fp32"}
        check(parse_spec(json.dumps(tree), "x"))


def test_the_bound_on_sums_is_above_every_candidate():
    """The widest candidate of a space with all weights at their largest, as `check` reckons it."""
    space = {"operations": ["skip", "sepconv3x3", "conv3x3"], "head_pool": [1, 4], "hidden": 200}
    evaluator = evaluator_of(space=SPACE | space)
    check(evaluator.spec)
    cells = (Cell(("conv3x3",) * 6), Cell(("sepconv3x3",) * 6))
    widest = Architecture(cells, 8, 4, 200, 3, 8)
    sums = {}
    for name, matrix in integer_matrices(deployed(evaluator.network(widest))).items():
        matrix.weight.fill_(127)
        sums[name] = matrix.largest_sum() // 127
    cell0 = [n for name, n in sums.items() if name.startswith("body.cell0")]
    cell1 = [n for name, n in sums.items() if name.startswith("body.cell1")]
    assert set(cell0) == {8 * 9}
    assert set(cell1) == {9, 16}
    assert sums["hidden.4"] == 16 * 4 * 4
    assert [n for name, n in sums.items() if name.startswith("readout")] == [200]
