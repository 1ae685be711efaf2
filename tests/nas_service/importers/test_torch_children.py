"""Layers that carry quantizers, observers or parametrizations are the layers they are without."""

import warnings
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from hw_models import WorkloadError
from nas_service.importers.torch_module import from_module

EXAMPLE = (torch.arange(2 * 3 * 64).reshape(2, 3, 8, 8) % 2).float()


class Rounded(nn.Module):
    def forward(self, weight):
        return weight.round()


class LowRank(nn.Module):
    """LoRA: the product of two thin matrices is added to the weights."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(4, 1)), nn.Parameter(torch.ones(1, 12))

    def forward(self, weight):
        return weight + (self.a @ self.b).reshape(weight.shape)


class WeightQuantizer(nn.Module):
    """As in Brevitas: the quantizer of the weights is a child, with a learned scale."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.1))

    def forward(self, weight):
        scaled = weight / self.scale
        return torch.where(scaled > 0, 1.0, -1.0) * self.scale


class QuantConv2d(nn.Conv2d):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.weight_quant = WeightQuantizer()
        self.input_quant = nn.Identity()

    def forward(self, x):
        return self._conv_forward(self.input_quant(x), self.weight_quant(self.weight), self.bias)


def conv(kind=nn.Conv2d, **options):
    return kind(3, 4, 2, padding=1, **options)


def qat_conv():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.ao.nn.qat import Conv2d
        from torch.ao.quantization import get_default_qat_qconfig

        return conv(Conv2d, qconfig=get_default_qat_qconfig("fbgemm"))


def old_weight_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(conv())


def parametrized(part):
    layer = conv()
    parametrize.register_parametrization(layer, "weight", part)
    return layer


def observed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.ao.quantization import MinMaxObserver

        layer = conv()
        layer.observer = MinMaxObserver()
        return layer


CASES = {
    "torch.ao QAT": qat_conv,
    "child observer": observed,
    "Brevitas": lambda: conv(QuantConv2d),
    "parametrize": lambda: parametrized(Rounded()),
    "two parametrizations": lambda: parametrized(nn.Sequential(Rounded(), LowRank())),
    "weight_norm": lambda: parametrizations.weight_norm(conv()),
    "old weight_norm": old_weight_norm,
    "spectral_norm": lambda: parametrizations.spectral_norm(conv()),
    "old spectral_norm": lambda: nn.utils.spectral_norm(conv()),
}


def network(layer):
    head = nn.Linear(4 * 81, 2)
    return nn.Sequential(
        OrderedDict(conv=layer, spikes=nn.Threshold(0, 1), flat=nn.Flatten(), head=head)
    )


@pytest.mark.parametrize("name", CASES)
def test_a_layer_with_children_is_the_layer(name):
    module = network(CASES[name]())
    before = {key: value.clone() for key, value in module.state_dict().items()}
    seen = from_module(module, EXAMPLE, 3)
    plain = from_module(network(conv()), EXAMPLE, 3)
    assert seen.with_spike_rates({"head": 1.0}) == plain.with_spike_rates({"head": 1.0})
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_a_fused_layer_counts_its_batch_norm():
    """torch.ao's ConvBn2d: 4 x 3 x 2 x 2 weights, and the 4 + 4 numbers of the batch norm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.ao.nn.intrinsic.qat import ConvBn2d
        from torch.ao.quantization import get_default_qat_qconfig

        layer = conv(ConvBn2d, bias=False, qconfig=get_default_qat_qconfig("fbgemm"))
    (first, _) = from_module(network(layer), EXAMPLE, 3).layers
    assert (first.name, first.parameters) == ("conv", 48 + 8)


def test_a_quantized_input_has_the_bits_of_its_quantizer():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver

        layer = conv(QuantConv2d)
        layer.input_quant = FakeQuantize(MovingAverageMinMaxObserver, quant_min=0, quant_max=15)
    (seen,) = from_module(layer, EXAMPLE, 3, input_bits=8).layers
    assert (seen.input_bits, seen.parameters) == (4, 4 * 12 + 4)


def test_modes_and_states_of_parts_are_unchanged():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    module[1].eval()
    from_module(module, EXAMPLE, 3)
    assert [part.training for part in module.modules()] == [True, True, False, True]
    assert not module[0]._forward_hooks


def lazy():
    return nn.Sequential(nn.LazyConv2d(4, 3))


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Sequential(conv()))


def converted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flat = nn.Sequential(conv(), nn.Flatten(), nn.Linear(324, 2))
        return torch.ao.quantization.quantize_dynamic(flat, {nn.Linear})


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lazy, "module '0' .LazyConv2d.: it has no weights yet"),
        (scripted, "module 'module' .*: the module from which it was compiled"),
        (converted, "module '2': the weights of quantized::linear_dynamic cannot be read"),
    ],
)
def test_modules_whose_weights_cannot_be_seen(module, message):
    with pytest.raises(WorkloadError, match=message):
        from_module(module(), EXAMPLE, 3)


def test_a_compiled_module_is_the_module():
    """torch.compile keeps the module as `_orig_mod`."""
    compiled, module = nn.Module(), nn.Sequential(conv())
    compiled._orig_mod = module
    assert from_module(compiled, EXAMPLE, 3) == from_module(module, EXAMPLE, 3)


def test_pruned_weights_are_weights():
    layer = conv()
    prune.l1_unstructured(layer, "weight", amount=0.5)
    assert from_module(layer, EXAMPLE, 3) == from_module(conv(), EXAMPLE, 3)


def test_vectors_count_where_they_act():
    """Slopes, norms and scales: 4 + 8 + 4 trained numbers beside 48 weights and 4 biases."""
    scaled = nn.Sequential(conv(), nn.PReLU(4), nn.GroupNorm(2, 4))
    parametrize.register_parametrization(scaled[2], "weight", nn.Identity())
    (layer,) = from_module(scaled, EXAMPLE, 3).layers
    assert layer.parameters == 48 + 4 + 4 + 8


def test_spikingjelly_in_both_modes():
    """One time step [B, ...], or all of them [T, B, ...]."""
    functional = pytest.importorskip("spikingjelly.activation_based.functional")
    from spikingjelly.activation_based import layer, neuron

    net = nn.Sequential(
        layer.Conv2d(3, 4, 3), neuron.LIFNode(), layer.AvgPool2d(2), layer.Flatten(),
        layer.Linear(36, 5), neuron.IFNode(),
    )  # fmt: skip
    one = from_module(net, EXAMPLE, 3)
    functional.reset_net(net)
    functional.set_step_mode(net, "m")
    every = from_module(net, torch.stack([EXAMPLE] * 3), 3)
    assert one.at_rate(0.5) == every.at_rate(0.5)
    assert [(x.neurons, x.input_bits, x.input_adds) for x in one.layers] == [
        (144, 1, 0),
        (5, 3, 108),
    ]
