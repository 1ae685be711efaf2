"""Modules of other libraries as they are: snnTorch's recurrent neurons, Brevitas's layers."""

import norse.torch as norse
import pytest
import torch
from torch import nn

from hw_models import WorkloadError
from nas_service.importers.torch_module import from_module

MISSING = "is not installed: pip install --no-deps -r tests/peers.txt"
STEPS = 4


class Steps(nn.Module):
    """Runs all time steps of a layer, neurons that keep their state, and a layer."""

    def __init__(self, first, neurons, last):
        super().__init__()
        self.first, self.neurons, self.last = first, neurons, last

    def forward(self, x):
        steps = (self.neurons(self.first(x)) for _ in range(STEPS))
        return torch.stack([self.last(spikes.flatten(1)) for spikes in steps])


@pytest.mark.parametrize("kind", ["RLeaky", "RSynaptic"])
@pytest.mark.parametrize("maps", [False, True], ids=["linear", "conv"])
def test_recurrent_neurons_of_snntorch(kind, maps):
    snntorch = pytest.importorskip("snntorch", reason=f"snnTorch {MISSING}")
    decay = {"beta": 0.9} if kind == "RLeaky" else {"alpha": 0.9, "beta": 0.8}
    size = {"conv2d_channels": 4, "kernel_size": 3} if maps else {"linear_features": 6}
    neurons = getattr(snntorch, kind)(**decay, **size, init_hidden=True)
    first = nn.Conv2d(2, 4, 3, padding=1) if maps else nn.Linear(8, 6)
    count = 256 if maps else 6
    example = torch.ones(2, 2, 8, 8) if maps else torch.ones(2, 8)
    module = Steps(first, neurons, nn.Linear(count, 3))
    a, rec, b = from_module(module, example, STEPS).layers
    loop = ("first", "neurons.recurrent")
    assert (a.sources, a.feedback) == ((), ())
    assert (rec.name, rec.sources, rec.feedback, rec.input_bits) == (loop[1], (), loop, 1)
    assert (b.sources, b.feedback, b.input_adds) == (loop, (), 0)
    assert (rec.neurons, rec.input_adds, a.input_adds) == (count, count, 0)
    assert rec.parameters == (4 * 4 * 9 + 4 if maps else 6 * 6 + 6)


@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "Alpha", "Lapicque"])
def test_neurons_of_snntorch(kind):
    snntorch = pytest.importorskip("snntorch", reason=f"snnTorch {MISSING}")
    decay = {"alpha": 0.9} if kind in ("Synaptic", "Alpha") else {}
    neurons = getattr(snntorch, kind)(**decay, beta=0.8, init_hidden=True)
    module = Steps(nn.Linear(8, 6), neurons, nn.Linear(6, 3))
    a, b = from_module(module, torch.ones(2, 8), STEPS).layers
    assert (b.sources, b.feedback, b.input_adds, a.feedback) == (("first",), (), 0, ())
    assert [(x.neurons, x.input_bits) for x in (a, b)] == [(6, 1), (0, 1)]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_activations_of_brevitas_have_the_bits_of_their_quantizers(bits):
    """Those of a mean of 2 x 2 hold four values; spikes stay one bit."""
    qnn = pytest.importorskip("brevitas.nn", reason=f"Brevitas {MISSING}")
    act = pytest.importorskip("brevitas.quant").Int8ActPerTensorFloat
    module = nn.Sequential(
        qnn.QuantIdentity(bit_width=bits),
        qnn.QuantConv2d(2, 4, 3, padding=1),
        qnn.QuantReLU(bit_width=bits),
        qnn.QuantConv2d(4, 4, 3, padding=1, output_quant=act, output_bit_width=bits),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 4, 1),
        nn.ReLU(),
        qnn.QuantConv2d(4, 4, 1, input_quant=act, input_bit_width=bits),
        norse.LIFBoxCell(),
        NoState(),
        qnn.QuantConv2d(4, 4, 1, input_quant=act, input_bit_width=bits),
        qnn.QuantReLU(act_quant=None),
        nn.Conv2d(4, 2, 1),
    )
    layers = from_module(module, torch.rand(2, 2, 8, 8), 2).layers
    pooled = (4 * (2**bits - 1)).bit_length()
    assert [x.input_bits for x in layers] == [bits, bits, pooled, bits, 1, 8]


@pytest.mark.parametrize("kind", ["QuantRNN", "QuantLSTM"])
def test_recurrent_layers_of_brevitas_are_refused_as_those_of_torch(kind):
    qnn = pytest.importorskip("brevitas.nn", reason=f"Brevitas {MISSING}")
    message = rf"module '0' \({kind}\): Brevitas's recurrent layers are not spiking: Norse's"
    with pytest.raises(WorkloadError, match=message):
        from_module(nn.Sequential(getattr(qnn, kind)(4, 3)), torch.ones(5, 2, 4), 2)


class NoState(nn.Module):
    def forward(self, x):
        return x[0]


def brevitas_layers(quantizers):
    qnn = pytest.importorskip("brevitas.nn", reason=f"Brevitas {MISSING}")
    known = pytest.importorskip("brevitas.quant")
    more = {k: getattr(known, v) if isinstance(v, str) else v for k, v in quantizers.items()}
    return qnn.QuantConv2d(2, 4, 3, padding=1, **more), qnn.QuantLinear(256, 3, bias=True, **more)


@pytest.mark.parametrize(
    "quantizers",
    [
        {},
        {"weight_bit_width": 4, "weight_scaling_per_output_channel": True},
        {"weight_quant": "Int8WeightPerTensorFixedPoint"},
        {"weight_quant": "SignedTernaryWeightPerTensorConst"},
        {"input_quant": "Int8ActPerTensorFloat", "bias_quant": "Int32Bias"},
        {"output_quant": "Int8ActPerTensorFloat"},
    ],
    ids=str,
)
def test_layers_of_brevitas_are_the_layers(quantizers):
    """What their quantizers compare is limited, not fired; their statistics are no weights."""
    conv, linear = brevitas_layers(quantizers)
    plain = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Flatten(), nn.Linear(256, 3))
    example = torch.ones(2, 2, 8, 8)
    with_quantizers = from_module(nn.Sequential(conv, nn.Flatten(), linear), example, 2)
    known = from_module(plain, example, 2)
    shapes = ("kind", "in_channels", "out_channels", "kernel", "in_size", "neurons", "input_adds")
    for a, b in zip(with_quantizers.layers, known.layers, strict=True):
        assert [getattr(a, x) for x in shapes] == [getattr(b, x) for x in shapes]
        assert a.sources == b.sources
    assert with_quantizers.parameters == known.parameters
