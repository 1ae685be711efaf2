"""An exported crossbar file on simulated chips has the accuracy that the study measures there."""

from dataclasses import replace

import exported_networks
import numpy as np
import pytest
import tiny
import torch
from crossbar_chips import SimulatedChip

from nas_service.data.batches import StoredImages, raw
from nas_service.export import crossbar_format
from nas_service.export.formats import write_files
from nas_service.export.step_graph import OPERATIONS
from nas_service.snn.analog import accuracy_on_chip, simulated
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.statistics import difference

pytestmark = pytest.mark.training
NIGHTLY = pytest.mark.nightly

STUDY = (
    tiny.QUICK.replace('"light3"', '"snasnet5"')
    .replace("train_samples = 64", "train_samples = 512")
    .replace("validation_samples = 32", "validation_samples = 64")
    .replace("epochs = 1", "epochs = 5")
)
CELL = Cell(("conv3x3", "avgpool3x3", "conv1x1", "skip", "conv1x1", "conv3x3"))
CHIPS, SEED = 6, 3


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    return exported_networks.evaluator(tmp_path_factory.mktemp("study"), STUDY)


@pytest.fixture(scope="module")
def network(evaluator):
    architecture = Architecture(
        (CELL,), channels=6, head_pool=2, hidden=24, time_steps=3, weight_bits=4
    )
    return exported_networks.after_training(evaluator, architecture)


@pytest.fixture(scope="module")
def images(evaluator):
    return evaluator.images.split(3).validation


@pytest.fixture
def scores_of_file(images, tmp_path, monkeypatch):
    """A function of a network and a number: scores of its file on that chip."""

    def scores(network, draw=0):
        path, _ = write_files(crossbar_format.contents(network, "n"), tmp_path / "n", replace=True)
        chip = SimulatedChip(path, np.random.default_rng([SEED, draw]))
        with monkeypatch.context() as patches:
            for kind in ("convolution", "linear"):
                patches.setitem(OPERATIONS, kind, chip.products)
            return crossbar_format.run(path, raw(images, slice(None))).scores

    return scores


def on(network, **changes):
    """The network for a chip with other figures."""
    return replace(network, profile=network.profile.with_values(changes))


IDEAL = {"conductance_spread": 0, "adc_bits": 8}
CERTAIN = {
    "ideal": {},
    "few bits": {"adc_bits": 3},
    "wires": {"wire_resistance": 0.2},
    "drift": {"drift_exponent": 0.04, "drift_seconds": 1e4},
    "all": {
        "wire_resistance": 0.05,
        "drift_exponent": 0.02,
        "drift_seconds": 1e3,
        "crossbar_size": 16,
        "mapping": "im2col",
    },
}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(changes, id=name, marks=() if name in ("ideal", "all") else NIGHTLY)
        for name, changes in CERTAIN.items()
    ],
)
def test_imperfections_that_are_not_random_give_the_same_scores(
    network, images, scores_of_file, changes
):
    network = on(network, **IDEAL | changes)
    rng = np.random.default_rng(0)
    with torch.inference_mode(), simulated(network.network, network.profile.chip, rng):
        expected = network.network(network.inputs.scaled(raw(images, slice(None))))
    scores = scores_of_file(network)
    assert expected.std(0).min() > 0.01, "images must have different scores"
    assert (scores - expected).abs().max() < 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"conductance_spread": 0.5}, id="spread"),
        pytest.param({"stuck_on": 0.03, "stuck_off": 0.03}, id="stuck cells", marks=NIGHTLY),
        pytest.param(
            {"drift_exponent": 0.05, "drift_spread": 0.02, "drift_seconds": 1e4},
            id="drift",
            marks=NIGHTLY,
        ),
    ],
)
def test_accuracies_over_chips_are_those_that_the_study_measures(
    network, images, scores_of_file, changes
):
    network = on(network, **changes)
    chip = network.profile.chip
    expected = accuracy_on_chip(network.network, StoredImages(images), chip, CHIPS, SEED)
    labels = torch.from_numpy(images.labels)
    accuracies = [
        (scores_of_file(network, draw).argmax(1) == labels).float().mean().item()
        for draw in range(CHIPS)
    ]
    assert np.std(accuracies) > 0.01, "chips must differ"
    assert not difference(expected, accuracies).interval().excludes_zero
