"""Networks of events: every time step has its own frame."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from nas_service.snn.network import Network
from nas_service.snn.quantization import matrix_of
from nas_service.snn.trace import spike_rates, trace
from nas_service.snn.training import firing_rate
from nas_service.snn.workload_cache import WorkloadCache
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.operations import PRESETS
from nas_service.spaces.task import Task

T = 4
TASK = Task(2, 8, 10, events=True)
NAMES = PRESETS["snasnet5"]
FORWARD = Cell.from_text("0331 0020 0003 0000", NAMES)
BACKWARD = Cell.from_text("0031 3000 0200 0010", NAMES)


def network(cell, task=TASK):
    torch.manual_seed(3)
    made = Network(Architecture((cell, FORWARD), 6, 2, 24, T, 8), task)
    for module in made.modules():  # so that neurons fire without a training
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 0.6)
    nn.init.uniform_(matrix_of(made.hidden).parametrizations.weight.original, -0.3, 0.6)
    with torch.no_grad():
        for seed in range(4):
            made.train()(frames(seed))
    return made.eval()


def frames(seed=0, count=6):
    """Counts of events [B, T, 2, 8, 8], most of them 0."""
    generator = torch.Generator().manual_seed(seed)
    return torch.poisson(torch.full((count, T, 2, 8, 8), 0.6), generator=generator)


@pytest.mark.parametrize("cell", [FORWARD, BACKWARD], ids=["forward", "backward"])
@torch.no_grad()
def test_equal_frames_are_a_still_image(cell):
    made, still = network(cell), frames()[:, 0]
    assert 0.01 < firing_rate(made, frames()) < 0.9
    repeated = still[:, None].expand(-1, T, -1, -1, -1)
    assert made(still).std() > 1e-3
    torch.testing.assert_close(made(repeated), made(still), rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_order_of_frames_counts():
    made, x = network(FORWARD), frames()
    assert (made(x) - made(x.flip(1))).abs().max() > 1e-3
    later = x.clone()
    later[:, -1] = 0  # what comes last cannot change what was before
    outputs = []
    made.body.register_forward_hook(lambda _, __, y: outputs.append(y.unflatten(0, (T, -1))))
    made(x), made(later)
    torch.testing.assert_close(outputs[0][:-1], outputs[1][:-1], rtol=0, atol=1e-5)
    assert (outputs[0][-1] - outputs[1][-1]).abs().max() > 1e-3


def test_the_stem_is_multiplied_in_every_step():
    a = Architecture((FORWARD, FORWARD), 6, 2, 24, T, 8)
    stem, still = (trace(a, task).layers[0] for task in (TASK, replace(TASK, events=False)))
    assert (stem.once, still.once) == (False, True)
    assert stem.input_bits == 8


def test_composed_is_traced():
    space = CellSpace(NAMES, 2, (6,), (2,), (24,), (T,), (8,))
    a = Architecture((FORWARD, FORWARD), 6, 2, 24, T, 8)
    assert WorkloadCache(space, TASK).workload(a) == trace(a, TASK)


def test_rates_of_the_stem_are_those_of_the_frames():
    rates = spike_rates(network(FORWARD), frames())
    busy = (frames() != 0).double().mean((0, 2, 3, 4)).tolist()
    assert rates["stem"] == pytest.approx(busy)
    assert all(len(rate) == T for rate in rates.values())
    assert np.std(rates["stem"]) > 0
