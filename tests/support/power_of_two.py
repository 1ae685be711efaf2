"""Networks whose sums are exact: weights, biases and thresholds are multiples of powers of two.

Programs that add in another order, or fuse a product with a sum, get the same potentials to the
last bit, and ties with the threshold are frequent. Only means of 3x3 windows are rounded; where
there are some, no potential is close enough to a threshold for rounding to decide a spike.
"""

import math
from dataclasses import replace

import torch
from exported_networks import SIZES, random_cells, trained
from torch import nn

from nas_service.evaluation.evaluator import Evaluator
from nas_service.export.trained_network import TrainedNetwork
from nas_service.snn.quantization import matrix_of, quantizer_of
from nas_service.spaces.architecture import Architecture, parts_of

MIDDLE = 8.0  # pixels 0..16 become multiples of 1/8 in -1..1
IMAGES = 4
AWAY = 2e-6  # from the threshold, beyond rounding
ODD = 2.0**-9 + 2.0**-13  # added to the threshold where means are rounded: it makes no ties


def power_of_two_network(evaluator, rng, preset, backward=False, bits=None, **settings):
    """A network that fires in every layer, with images in its `examples`.

    Args:
        evaluator: As `exported_networks.evaluator` makes it.
        rng: A random.Random.
        preset: Name of the operations.
        backward: Whether it has a backward edge.
        bits: Of all weights, 2..8; None for other ones in each part.
        settings: Of the section `network` of the study: tau, reset, fires_at_threshold.

    Returns:
        The trained network.
    """
    spec = evaluator.spec
    spec = spec.model_copy(update={"network": spec.network.model_copy(update=settings)})
    evaluator = Evaluator.open(spec, evaluator.folder, evaluator.images.source)
    network = trained(evaluator, _architecture(rng, preset, backward, bits))
    one = (MIDDLE,)
    inputs = replace(network.inputs, mean=one, deviation=one)
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    for _ in range(200):
        pixels = torch.randint(17, (IMAGES, 1, 8, 8), generator=generator, dtype=torch.uint8)
        _fill(network.network, network.evaluation.architecture.threshold, generator)
        made: TrainedNetwork = replace(network, inputs=inputs, examples=pixels)
        if _live_and_exact(made):
            return made
    raise AssertionError(f"no network of {preset} fires in every layer")


def _architecture(rng, preset, backward, bits):
    cells = random_cells(rng, preset, backward)
    parts = parts_of(len(cells))
    own = bits or {part: rng.randint(2, 8) for part in parts}
    threshold = 1.0 if preset == "bench-threshold" else rng.choice([0.5, 1.0, 2.0])
    rounded = any("avgpool" in operation for cell in cells for operation in cell.values())
    return Architecture.from_json(
        {
            "cells": cells,
            **SIZES,
            "head_pool": rng.choice([2, 4]),
            "weight_bits": own,
            "threshold": threshold + ODD if rounded else threshold,
        }
    )


def _fill(network, threshold, generator):
    """Weights and biases with which currents are as large as thresholds."""
    unit = 2.0 ** round(math.log2(threshold))
    for name, block in network.blocks().items():
        matrix = matrix_of(block)
        limit = quantizer_of(matrix).rounding.limit
        weight = matrix.parametrizations.weight.original.data
        integers = torch.randint(-limit, limit + 1, weight.shape, generator=generator)
        integers.flatten(1)[:, 0] = limit  # so that the step size is the power of two
        spread = math.sqrt(integers[0].numel() * (limit + 1) * limit / 6)
        gain = 4 if name == "hidden" else 1  # means of spikes differ less than spikes
        weight.copy_(integers * gain * unit * 2.0 ** -round(math.log2(spread)))
        if matrix.bias is not None:
            _eighths(matrix.bias.data, unit, generator)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_var.copy_(_one_less(norm.eps))
        norm.running_mean.zero_()
        norm.weight.data.copy_(2.0 ** torch.randint(0, 2, norm.weight.shape, generator=generator))
        _eighths(norm.bias.data, unit, generator)


def _eighths(bias, unit, generator):
    bias.copy_(torch.randint(-2, 9, bias.shape, generator=generator) * (unit / 8))


def _one_less(eps):
    """The variance that is 1 with `eps` added."""
    variance = torch.tensor(1 - eps)
    assert variance + eps == 1
    return variance


def _live_and_exact(network):
    """Every layer fires and rests, and twice as many digits give the same spikes."""
    graph, images = network.graph, network.inputs.scaled(network.examples)
    single, double = graph.run(images), graph.run(images.double())
    rates = [spikes.mean() for spikes in single.spikes.values()]
    if not 0 < min(rates) <= max(rates) < 1:
        return False
    rounded = any(node.kind == "mean_pool" and node.geometry["padding"] for node in graph.nodes)
    for node in graph.neurons:
        ours, exact = single.potentials[node.name], double.potentials[node.name]
        if rounded:
            if (exact - node.neuron.threshold).abs().min() < AWAY:
                return False
        else:
            assert torch.equal(ours.double(), exact), node.name
    return True
