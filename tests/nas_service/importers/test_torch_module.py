"""Workloads of torch modules: what is measured, and what is refused."""

import norse.torch as norse
import pytest
import torch
from torch import nn

from hw_models import WorkloadError, load_profile
from nas_service.importers.torch_module import from_module
from nas_service.snn.network import Network
from nas_service.snn.trace import trace
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.task import Task

CHIP = load_profile("corrected")


def test_rates_and_codings_are_measured():
    """Binary inputs of which a quarter spikes, means of 2x2 spikes, and pixels."""
    x = torch.zeros(1, 1, 4, 4)
    x[..., ::2, ::2] = 1
    conv = nn.Conv2d(1, 2, 3, padding=1, bias=False)
    (layer,) = from_module(conv, x, 1).layers
    assert (layer.input_bits, layer.spike_rate) == (1, 0.25)
    (layer,) = from_module(nn.Sequential(nn.AvgPool2d(2), conv), x, 1).layers
    assert (layer.input_bits, layer.spike_rate, layer.in_size) == (3, 1.0, 2)
    (layer,) = from_module(conv, x * 0.3 - 0.1, 1).layers
    assert (layer.input_bits, layer.spike_rate) == (8, 1.0)


@pytest.mark.parametrize("names", [("conv3x3",) * 6, ("skip", "conv1x1", "skip", "conv3x3") * 2])
def test_the_graph_of_a_network_is_that_of_its_trace(names):
    a = Architecture((Cell(names[:6]),) * 2, 6, 2, 20, 3, 8)
    known = trace(a, Task(1, 8, 10))
    seen = from_module(Network(a, Task(1, 8, 10)), torch.rand(2, 1, 8, 8), 3)
    assert seen.predecessors == known.predecessors


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = (nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(2))
        self.head = nn.Linear(8 * 4, 3)

    def forward(self, x):
        x = self.a(x)
        y = self.b(x.relu()) + x
        both = torch.cat([x, y], 1)
        return self.head(nn.functional.adaptive_avg_pool2d(both, 2).flatten(1))


def test_skips_and_concatenations():
    workload = from_module(Residual(), torch.rand(2, 4, 6, 6), 1)
    assert [x.sources for x in workload.layers] == [(), ("a",), ("a", "b")]
    assert workload.layers[2].input_adds == 4 * 36 + 8 * 8 * 4  # the sum, and 8 windows of 3x3...


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.a(self.a(x))


class Attention(nn.Module):
    def forward(self, x):
        return x[:, 0] @ x[:, 0].transpose(1, 2)


class Idle(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return self.a(x)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Twice(), "module 'a': it is used 2 times"),
        (Attention(), "products of two signals"),
        (Idle(), r"modules \['b'\]: weights that the example did not reach"),
        (nn.Sequential(nn.ConvTranspose2d(1, 1, 3)), "module '0': transposed convolutions"),
        (nn.LSTM(4, 4), "'module' .LSTM.: torch's recurrent layers are not spiking"),
        (nn.ReLU(), "no layer with weights"),
    ],
)
def test_modules_that_cannot_lie_on_crossbars(module, message):
    with pytest.raises(WorkloadError, match=message):
        from_module(module, torch.rand(1, 1, 8, 8), 1)
    assert module.training


class Scaled(nn.Module):
    """A matrix that is multiplied elementwise and summed, beside a convolution."""

    def __init__(self):
        super().__init__()
        self.a, self.w = nn.Conv2d(1, 1, 1), nn.Parameter(torch.ones(8, 8))

    def forward(self, x):
        return (self.a(x) * self.w).sum()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            nn.Sequential(
                nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Unflatten(1, (8, 8)), nn.Linear(8, 2)
            ),
            "module '3': 8 vectors for 1 images",
        ),
        (Scaled(), r"module 'module': its weights .8, 8. are in no product with a matrix"),
        (nn.Sequential(nn.Conv2d(3, 1, 1)), "does not pass"),
    ],
)
def test_weights_are_never_dropped(module, message):
    with pytest.raises(WorkloadError, match=message):
        from_module(module, torch.rand(1, 1, 8, 8), 1)


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x + y


@pytest.mark.parametrize(
    ("example", "steps", "message"),
    [
        ([1.0], 1, "example list: a tensor"),
        (torch.rand(0, 1, 4, 4), 1, r"example .0, 1, 4, 4.: a tensor .B, .... with values"),
        (torch.tensor(1.0), 1, r"example ..: a tensor"),
        (torch.full((1, 1, 4, 4), torch.nan), 1, "finite values are needed"),
        (torch.ones(1, 1, 4, 4, dtype=torch.cfloat), 1, "real, finite values"),
        (torch.rand(1, 1, 4, 4), 0, "time_steps = 0: a whole number"),
        (torch.rand(1, 1, 4, 4), "5", "time_steps = '5': a whole number"),
        (torch.rand(1, 2, 4, 4), 1, r"an example .1, 2, 4, 4. does not pass"),
    ],
)
def test_examples_that_are_refused(example, steps, message):
    with pytest.raises(WorkloadError, match=message):
        from_module(nn.Conv2d(1, 1, 1), example, steps)


def test_a_module_that_raises_does_not_take_the_example():
    with pytest.raises(WorkloadError, match=r"does not pass .*missing 1 required positional"):
        from_module(TwoInputs(), torch.rand(1, 4), 1)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (torch.ones(2, 1, 4, 4, dtype=torch.uint8), "torch.float32 is needed, not torch.uint8$"),
        (torch.ones(2, 1, 4, 4).double(), "torch.float32 is needed, not torch.float64$"),
        (torch.ones(2, 1, 5, 4), r"^module '2': an example .2, 1, 5, 4. does not pass \([^\n]*\)$"),
    ],
)
def test_what_a_module_raises_is_one_line_that_names_the_part(example, message):
    module = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(WorkloadError, match=message):
        from_module(module, example, 1)


def test_long_reasons_are_cut(monkeypatch):
    """Torch names 50 back ends, a line each, where a quantised module reads floats."""
    module = nn.Conv2d(1, 1, 1)

    def fail(x):
        raise ValueError("x" * 999 + "\ny")

    monkeypatch.setattr(module, "forward", fail)
    with pytest.raises(WorkloadError, match=r"does not pass \(x{160}\.\.\.\)$"):
        from_module(module, torch.rand(1, 1, 4, 4), 1)


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2), nn.MaxPool2d(3, 2)])
def test_an_input_without_a_batch_dimension(pool):
    module = nn.Sequential(nn.Conv2d(2, 4, 3), pool, nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    example = torch.rand(2, 9, 9)
    assert from_module(module, example, 3) == from_module(module, example[None], 3)
    linear, vector = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(4)
    assert from_module(linear, vector, 3) == from_module(linear, vector[None], 3)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 6))  # a batch of three maps without channels
    assert from_module(flat, torch.ones(3, 8, 8), 3) == from_module(flat, torch.ones(3, 1, 8, 8), 3)


def test_layers_without_a_spike_are_named(caplog):
    """Norse's LIF integrates a current first: in one time step it does not fire."""
    module = norse.SequentialState(nn.Linear(4, 6), norse.LIFCell(), nn.Linear(6, 2))
    assert from_module(module, torch.ones(2, 4), 3).layers[1].spike_rate == 0
    assert "layers ['2'] read no spike of the example" in caplog.text


def test_an_example_without_gradients():
    with torch.inference_mode():
        result = from_module(nn.Conv2d(1, 2, 1), torch.rand(1, 1, 8, 8), 1)
    assert result.layers[0].out_channels == 2


class Part(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.w, self.part = nn.Parameter(torch.rand(4, 1, 3, 3)), part

    def forward(self, x):
        return nn.functional.conv2d(x, self.part(self.w))


@pytest.mark.parametrize(
    ("part", "numbers"),
    [
        (lambda w: w[:2], 18),
        (lambda w: w[:, :, 1:] * 0.5, 24),
        (lambda w: w[[0, 2]], 18),
        (lambda w: w.chunk(2)[1], 18),
        (lambda w: w - w.mean(), 36),
        (lambda w: w * (w > 0.5), 36),
    ],
)
def test_weights_of_which_a_part_is_multiplied_are_named(part, numbers, caplog):
    (layer,) = from_module(Part(part), torch.rand(1, 1, 8, 8), 1).layers
    assert layer.parameters == numbers
    message = f"parameter 'w' has 36 numbers, the layer is costed with the {numbers} that"
    assert (message in caplog.text) == (numbers < 36)
