"""What every operation promises: its module, networks, costs, chips, int8, memory and sharing."""

import json
import math
from functools import cache

import numpy as np
import pytest
import torch

from hw_models import load_profile
from nas_service.evaluation.screening import Budgets
from nas_service.evaluation.training_memory import training_memory_B
from nas_service.samplers.greybox_cells import CellProblem
from nas_service.searches.initial_trials import NAMED
from nas_service.snn.analog import simulated
from nas_service.snn.deployed import deployed, integer_matrices
from nas_service.snn.inheritance import contribute, inherit
from nas_service.snn.int8 import in_int8
from nas_service.snn.network import Network
from nas_service.snn.operations import Style, build, conv_bn
from nas_service.snn.quantization import Rounding
from nas_service.snn.trace import spike_rates, trace
from nas_service.snn.workload_cache import WorkloadCache
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.batch import batch_of_codes
from nas_service.spaces.cell import Cell
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.operations import BACK, OPERATIONS, states_of
from nas_service.spaces.task import Task
from nas_service.study.loading import parse_spec

WORKING = [name for name, operation in OPERATIONS.items() if operation.carries]


def module(name, channels=4):
    torch.manual_seed(0)
    built = build(OPERATIONS[name], channels, Style(2, Rounding(4)))
    with (
        torch.no_grad()
    ):  # batch norms with statistics of real data let the neurons after them fire
        for seed in range(8):
            built.train()(maps(8, channels, 6, 6, seed=seed))
    return built.eval()


def maps(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 0.5


@pytest.mark.parametrize("name", WORKING)
@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (6, 4, 5, 5), (4, 4, 1, 1)])
def test_keeps_the_shape(name, shape):
    assert module(name)(maps(*shape)).shape == shape


@pytest.mark.parametrize("name", WORKING)
def test_holds_the_weights_it_declares(name):
    """Those of its matrices, and two numbers a channel for the batch norm of each."""
    operation = OPERATIONS[name]
    held = sum(p.numel() for p in module(name).parameters())
    assert held == operation.weights(4) + 8 * len(operation.matrices)
    assert operation.weighted == (held > 0)


@pytest.mark.parametrize(
    ("name", "weights", "taps"),
    [
        ("conv1x1", 16, 4),
        ("conv3x3", 144, 36),
        ("conv5x5", 400, 100),
        ("conv3x3_dilated2", 144, 36),
        ("sepconv3x3", 36 + 16, 9),
        ("maxpool3x3", 0, 0),
        ("skip", 0, 0),
    ],
)
def test_weights_and_taps_by_hand(name, weights, taps):
    """Between maps of 4 channels: C x C x k x k; a depthwise matrix has C x k x k."""
    assert (OPERATIONS[name].weights(4), OPERATIONS[name].taps(4)) == (weights, taps)


@pytest.mark.parametrize("name", [n for n in WORKING if not OPERATIONS[n].passes])
def test_is_linear_exactly_where_it_says_so(name):
    a, b, operation = maps(2, 4, 6, 6), maps(2, 4, 6, 6, seed=2), module(name)
    with torch.no_grad():
        together, apart = operation(a + b), operation(a) + operation(b)
    assert torch.allclose(together, apart, atol=1e-5) == OPERATIONS[name].linear


@pytest.mark.parametrize("name", WORKING)
def test_gradients_reach_the_input(name):
    x = maps(2, 4, 6, 6).requires_grad_()
    (module(name)(x) * maps(2, 4, 6, 6, seed=3)).sum().backward()
    assert x.grad.abs().sum() > 0


def test_pools_by_hand():
    """One bright pixel of 9 in a corner: the maximum spreads to four, the mean of 9 is 1."""
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 0, 0] = 9
    spread = torch.zeros(4, 4)
    spread[:2, :2] = 1
    assert torch.equal(module("maxpool3x3")(x)[0, 0], 9 * spread)
    assert torch.equal(module("avgpool3x3")(x)[0, 0], spread)


TASK = Task(1, 8, 10)
IDEAL = {"conductance_spread": 0, "off_resistance": 1e9, "adc_bits": 8}


def architecture(name, backward=False, channels=6):
    """The operation between node 0 and node 1, from where a convolution leads to the output."""
    back = BACK + name if backward and OPERATIONS[name].carries else "zeroize"
    cell = Cell((name, "zeroize", "skip", "zeroize", "conv1x1", back))
    return Architecture((cell, cell), channels, 2, 20, 3, weight_bits=4, threshold=0.5)


@cache
def firing_network(a):
    """Random weights; batch norms that have seen data, so that neurons fire in every layer."""
    torch.manual_seed(3)
    network = Network(a, TASK, votes=2)
    with torch.no_grad():
        for _ in range(10):
            network.train()(torch.rand(64, 1, 8, 8))
        network.hidden[-1].parametrizations.weight.original.mul_(24)
    return network.eval()


def images(count=10):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def cache_of(name, backward=False):
    names = tuple(dict.fromkeys(["zeroize", "skip", "conv1x1", name]))
    space = CellSpace(names, 2, (6,), (2,), (20,), (3,), (4,), threshold=(0.5,), backward=backward)
    return WorkloadCache(space, TASK, votes=2)


def spec_of(name):
    names = dict.fromkeys(["zeroize", "skip", "conv1x1", name])
    tree = {
        "name": "every-operation",
        "space": {"operations": list(names), "cells": 2, "channels": 6, "head_pool": 2,
                  "hidden": 20, "time_steps": 3, "weight_bits": 4, "threshold": 0.5},
        "data": {"name": "digits"},
        "training": {"epochs": 1},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
    }  # fmt: skip
    return parse_spec(json.dumps(tree), "test")


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", OPERATIONS)
def test_costs_follow_from_the_network(name, backward):
    """The workload traced from the network is that of the cache, and that of a batch."""
    a, cache = architecture(name, backward), cache_of(name, backward)
    traced = trace(a, TASK, 2)
    assert cache.workload(a) == traced
    inner = sum(layer.name.startswith("cell0.edge01") for layer in traced.layers)
    assert inner == len(OPERATIONS[name].matrices)
    chip = load_profile("corrected")
    one = chip.estimate(traced.at_rate(0.2)).metrics()
    batch = batch_of_codes(cache.space, np.array([cache.space.codes(a)]))
    many = chip.estimate_batch(cache.table(batch).at_rate(0.2)).metrics()
    for metric, value in one.items():
        assert math.isclose(value, many[metric].item(), rel_tol=1e-12), metric


@pytest.mark.parametrize("name", OPERATIONS)
def test_more_channels_never_cost_less(name):
    few, many = (
        load_profile("corrected").estimate(trace(architecture(name, channels=c), TASK, 2)).metrics()
        for c in (6, 12)
    )
    assert all(few[metric] <= many[metric] for metric in ("parameters", "area_mm2", "energy_uJ"))


@pytest.mark.parametrize("name", OPERATIONS)
def test_rates_are_measured_in_every_layer(name):
    a = architecture(name)
    rates = spike_rates(firing_network(a), images())
    assert rates.keys() == {layer.name for layer in trace(a, TASK, 2).layers}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_ideal_simulated_chip_is_the_digital_network(name):
    network, profile = firing_network(architecture(name)), load_profile("corrected")
    with torch.inference_mode():
        digital = network(images())
        with simulated(network, profile.with_values(IDEAL).chip, np.random.default_rng(0)):
            analog = network(images())
    assert torch.allclose(analog, digital, atol=1e-4)
    assert digital.std(0).min() > 0.001, "every image must have different scores"


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_deployed_network_scores_alike_in_int8(name):
    twin = deployed(firing_network(architecture(name)))
    with torch.inference_mode():
        assert torch.equal(in_int8(twin)(images()), twin(images()))


@pytest.mark.parametrize("name", [n for n in OPERATIONS if OPERATIONS[n].weighted])
def test_sums_of_a_deployed_network_keep_the_bound_of_its_operation(name):
    """A matrix of b bits adds up at most `taps` weights of 2^(b - 1) - 1."""
    matrices = integer_matrices(deployed(firing_network(architecture(name))))
    held = [matrix for place, matrix in matrices.items() if "cell0" in place and "edge01" in place]
    assert len(held) == len(OPERATIONS[name].matrices)
    bound = OPERATIONS[name].taps(6) * Rounding(4).limit
    assert all(0 < matrix.largest_sum() <= bound for matrix in held)


@pytest.mark.parametrize("name", OPERATIONS)
def test_memory_of_a_training_is_bounded_alike_for_one_and_many(name):
    budgets, a = Budgets.of(spec_of(name)), architecture(name)
    cache = budgets.workloads
    batch = batch_of_codes(cache.space, np.array([cache.space.codes(a)]))
    one = training_memory_B(a, cache.workload(a), budgets.spec.training.batch_size) / 2**30
    assert budgets.costed(batch).memory_GiB == pytest.approx(one, rel=1e-12)


@pytest.mark.parametrize("name", OPERATIONS)
def test_weights_are_shared_between_networks_of_the_operation(name, tmp_path):
    a, pool = architecture(name), tmp_path / "shared.safetensors"
    trained = firing_network(a)
    contribute(trained, a, pool)
    fresh = Network(a, TASK, votes=2)
    assert inherit(fresh, a, pool) == 1.0
    assert all(
        torch.equal(fresh.state_dict()[key], tensor)
        for key, tensor in trained.state_dict().items()
        if tensor.is_floating_point()
    )


@pytest.mark.parametrize("name", OPERATIONS)
def test_initial_trials_order_operations_by_their_weights(name):
    """The extremes: the operation with the fewest weights once, that with the most everywhere."""
    spec = spec_of(name)
    light, heavy = NAMED["extremes"](spec, spec.build_space())
    known = {"conv1x1", name} if OPERATIONS[name].weighted else {"conv1x1"}
    ordered = sorted(known, key=lambda n: OPERATIONS[n].weights(16))
    assert set(light.cells[0].operations) == {"zeroize", ordered[0]}
    assert set(heavy.cells[0].operations) == {ordered[-1]}


@pytest.mark.parametrize("name", [n for n in OPERATIONS if OPERATIONS[n].acts])
def test_a_model_of_accuracy_distinguishes_it_from_no_operation(name):
    problem = CellProblem(spec_of(name))
    a, b = (problem.space.parameters(architecture(n)) for n in (name, "zeroize"))
    described = problem.describe(problem.columns([a, b]))
    assert not np.array_equal(described.numbers[0], described.numbers[1])


@pytest.mark.parametrize("name", OPERATIONS)
def test_only_operations_that_pass_values_can_be_backward(name):
    states = states_of(("skip", name), backward=True)
    assert (BACK + name in states) == OPERATIONS[name].carries


def test_a_dilated_window_skips_pixels():
    """One spike in the middle of 5 x 5 reaches the pixels two away, by hand."""
    (matrix,) = OPERATIONS["conv3x3_dilated2"].matrices
    ((conv, _)) = conv_bn(1, 1, matrix.kernel, Style(1, Rounding(4)), dilation=matrix.dilation)
    with torch.no_grad():
        conv.parametrizations.weight.original.fill_(1.0)
        x = torch.zeros(1, 1, 5, 5)
        x[0, 0, 2, 2] = 1
        reached = conv(x)[0, 0] > 0
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[::2, ::2] = True
    assert torch.equal(reached, expected)
