"""Bits of values in torch modules: from the example at the input, from the operations inside."""

import norse.torch as norse
import pytest
import torch
from torch import nn

from hw_models import WorkloadError
from nas_service.importers.torch_module import from_module


def bits(module, example, **options):
    return [x.input_bits for x in from_module(module, example, 1, **options).layers]


@pytest.mark.parametrize(
    ("largest", "expected", "note"),
    [
        (255, 8, "input_bits = 8: the example has whole numbers in 0..255"),
        (12, 4, "input_bits = 4: the example has whole numbers in 0..12"),
        (1, 1, "input_bits = 1: the example has whole numbers in 0..1"),
        (0, 1, "input_bits = 1"),
        (0.7, 8, "input_bits = 8: the example has fractions in 0..0.7, as scaled images"),
        (2**20, 21, "input_bits = 21"),
    ],
)
def test_bits_of_the_input_are_those_of_its_largest_value(largest, expected, note, caplog):
    caplog.set_level("INFO")
    example = torch.zeros(2, 1, 4, 4)
    example[0, 0, 0, 0] = largest
    assert bits(nn.Conv2d(1, 2, 3), example) == [expected]
    assert note in caplog.text


def test_bits_of_the_input_are_set(caplog):
    assert bits(nn.Conv2d(1, 2, 3), torch.rand(1, 1, 4, 4), input_bits=5) == [5]
    assert not caplog.records
    for wrong in (0, 33, 2.0, True):
        with pytest.raises(WorkloadError, match=r"input_bits = .*1..32 are possible"):
            bits(nn.Conv2d(1, 2, 3), torch.rand(1, 1, 4, 4), input_bits=wrong)


def test_negative_and_huge_inputs():
    signed = torch.tensor([-1.0, 0.0, 1.0, 0.0])[None]
    assert bits(nn.Linear(4, 2), signed) == [2]
    assert bits(nn.Linear(4, 2), signed * 128) == [9]
    with pytest.raises(WorkloadError, match=r"a value of 1e.12, at most 32 bits"):
        bits(nn.Linear(4, 2), signed * 1e12)


@pytest.mark.parametrize("fires", [True, False])
@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (nn.Identity(), 1),
        (nn.AvgPool2d(2), 3),  # 0..4
        (nn.AvgPool2d(3), 4),  # 0..9
        (nn.AvgPool2d(2, divisor_override=1), 3),
        (nn.Sequential(nn.AvgPool2d(2), nn.AvgPool2d(2)), 5),  # 0..16
        (nn.MaxPool2d(2), 1),
        (nn.AdaptiveAvgPool2d(1), 7),  # 0..64
        (nn.Upsample(scale_factor=2), 1),
        (nn.Sigmoid(), 8),
    ],
)
def test_bits_inside_do_not_depend_on_what_fires(fires, pooling, expected):
    """The mean of k x k spikes has ceil(log2(k^2 + 1)) bits, also where no neuron fired."""
    first = nn.Conv2d(1, 1, 1, bias=False)
    first.weight.data.fill_(100.0 if fires else 0.0)
    module = norse.SequentialState(first, norse.LIFBoxCell(), pooling, nn.Conv2d(1, 1, 1))
    assert bits(module, torch.ones(1, 1, 8, 8)) == [1, expected]


class Branches(nn.Module):
    """A linear layer that reads what `joins` makes of the spikes of two convolutions."""

    def __init__(self, joins):
        super().__init__()
        self.a, self.b = (nn.Conv2d(1, 1, 1) for _ in range(2))
        self.a_lif, self.b_lif = norse.LIFBoxCell(), norse.LIFBoxCell()
        self.joins, self.c = joins, nn.LazyLinear(2)

    def forward(self, x):
        a, b = self.a_lif(self.a(x))[0], self.b_lif(self.b(x))[0]
        return self.c(self.joins(a, b).flatten(1))


mean = nn.AvgPool2d(2)


@pytest.mark.parametrize(
    ("joins", "expected"),
    [
        (lambda a, b: a + b, 2),  # 0, 1, 2
        (lambda a, b: a + b + a, 2),  # 0..3
        (lambda a, b: mean(a) + mean(b), 4),  # 0..8 quarters
        (lambda a, b: mean(a) + b[..., ::2, ::2], 4),  # 0..4 + 4 quarters
        (lambda a, b: torch.cat([mean(a), b[..., ::2, ::2]], 1), 3),
        (lambda a, b: a * b, 1),
        (lambda a, b: torch.maximum(a, b), 1),
        (lambda a, b: 0.5 * (a + b), 2),
        (lambda a, b: (a + b).exp(), 8),
        (lambda a, b: a + 0.3 * b, 8),  # no common step
    ],
)
def test_bits_where_branches_meet(joins, expected):
    module = Branches(joins)
    with torch.no_grad():
        module(torch.zeros(1, 1, 4, 4))
    assert bits(module, torch.ones(1, 1, 4, 4))[-1] == expected


def test_a_quantized_activation_has_the_bits_of_its_quantizer():
    class Quantized(nn.Module):
        def forward(self, x):
            return torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 15)

    module = nn.Sequential(nn.Conv2d(1, 1, 1), Quantized(), nn.Conv2d(1, 1, 1))
    assert bits(module, torch.rand(1, 1, 4, 4)) == [8, 4]


def test_sums_of_too_many_bits():
    module = nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(1, 1, 1))
    with pytest.raises(
        WorkloadError, match="module '1': it reads sums of 34 bits: 32 are possible"
    ):
        bits(module, torch.rand(1, 1, 4, 4), input_bits=30)
