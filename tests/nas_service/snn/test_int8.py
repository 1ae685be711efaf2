"""Scoring on 8-bit products: exactly the same numbers, or float32 and a line of log."""

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nas_service.snn import int8
from nas_service.snn.deployed import deployed, fold, integer_matrices
from nas_service.snn.int8 import Int8Convolution, in_int8, suits
from nas_service.snn.network import Network
from nas_service.snn.quantization import Rounding, quantize
from nas_service.snn.training import firing_rate
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.task import Task

CELL = Cell(("conv3x3", "avgpool3x3", "conv1x1", "skip", "conv1x1", "conv3x3"))
exact_here = pytest.mark.skipif(bool(int8.reason_against()), reason=int8.reason_against())


def images(n):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def twin():
    """Random weights; batch norm set to what it sees, so that neurons fire in every layer."""
    torch.manual_seed(3)
    a = Architecture((CELL, CELL), channels=6, head_pool=2, hidden=20, time_steps=3, weight_bits=8)
    network = Network(a, Task(1, 8, 10), votes=2)
    with torch.no_grad():
        for _ in range(20):
            network.train()(torch.rand(64, 1, 8, 8))
        network.hidden[-1].parametrizations.weight.original.mul_(8)
    return deployed(network)


@exact_here
def test_scores_are_the_same_bit_for_bit(twin):
    x = images(30)
    with torch.inference_mode():
        result, expected = in_int8(twin)(x), twin(x)
        apart = torch.cat([in_int8(twin)(image[None]) for image in x])
    assert 0.02 < firing_rate(twin, x) < 0.9
    assert expected.std(0).min() > 0.001, "images must have different scores"
    assert torch.equal(result, expected)
    # pixels are no integers: the outputs of the stem may differ with the batch
    assert ((apart - result).abs() < 1e-4).all(1).float().mean() > 0.9


@exact_here
def test_convolutions_of_spikes_are_replaced_and_nothing_else(twin):
    before = integer_matrices(twin)
    kept = {name for name, m in before.items() if not suits(m)}
    assert {n.rpartition(".")[0] for n in kept} == {"stem", "hidden", "readout"}
    parts = dict(in_int8(twin).named_modules())
    assert {n for n, m in parts.items() if isinstance(m, Int8Convolution)} == set(before) - kept
    assert integer_matrices(twin).keys() == before.keys()


@exact_here
@settings(deadline=None, max_examples=40)
@given(
    bits=st.integers(2, 8),
    channels=st.sampled_from([1, 3, 16, 130]),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
    largest=st.sampled_from([1, 4, 16, 127]),
    seed=st.integers(0, 2**31),
)
def test_any_convolution_has_the_same_sums(bits, channels, kernel, stride, largest, seed):
    draw = torch.Generator().manual_seed(seed)
    matrix = nn.Conv2d(channels, 9, kernel, stride, kernel // 2)
    with torch.no_grad():
        matrix.weight.copy_(torch.randn(matrix.weight.shape, generator=draw))
    result = fold(quantize(matrix, Rounding(bits)))
    x = torch.randint(0, largest + 1, (3, channels, 7, 7), generator=draw).float()
    for y in (x, x.to(memory_format=torch.channels_last), x[:1], x[:, :, ::2, ::2]):
        assert torch.equal(Int8Convolution(result).sums(y), result.sums(y))
        assert torch.equal(Int8Convolution(result)(y), result(y))


def test_depthwise_convolutions_stay_in_float():
    matrix = fold(quantize(nn.Conv2d(4, 4, 3, groups=4), Rounding(4)))
    assert not suits(matrix)
    with pytest.raises(ValueError, match="only convolutions with groups"):
        Int8Convolution(matrix)


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (lambda *_: (_ for _ in ()).throw(RuntimeError("no such engine")), "no such engine"),
        (lambda x, *_: torch.zeros(len(x), 32, 9, 9), "not exact here"),
    ],
)
def test_scoring_falls_back_to_float(twin, operator, message, monkeypatch, caplog):
    monkeypatch.setattr(torch.ops.onednn, "qconv2d_pointwise", operator)
    int8.reason_against.cache_clear()
    try:
        with caplog.at_level(logging.INFO):
            assert in_int8(twin) is twin
    finally:
        int8.reason_against.cache_clear()
    (record,) = caplog.records
    assert record.getMessage().startswith("scored in float32: ")
    assert message in record.getMessage()
