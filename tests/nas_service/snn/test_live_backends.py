"""A live network of the faster parts: every backend beside Norse's step, in value and gradient."""

import pytest
import torch
from torch import nn

from nas_service.snn.neurons import LIF, BatchNormLIF, Neuron, SpikeConv2d, backend_name

T = 4
NEURONS = {
    "snasnet": Neuron(),
    "soft": Neuron(surrogate="triangle", reset="subtract", detach_reset=False),
    "attached": Neuron(detach_reset=False, fires_at_threshold=True),
}


class Net(nn.Module):
    """Constant stem, spikes convolved, pooled, and a norm and neurons one after the other."""

    def __init__(self, neuron):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False),
            BatchNormLIF(16, T, neuron, momentum=0.5, constant=True),
            SpikeConv2d(16, 32, 3, padding=1, bias=False),
            BatchNormLIF(32, T, neuron, momentum=0.5),
            nn.AvgPool2d(2),
            SpikeConv2d(32, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16, momentum=0.5),
            LIF(T, neuron),
        )
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3))).unflatten(0, (T, -1)).mean(0)


def live(neuron):
    torch.manual_seed(0)
    net = Net(neuron).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for seed in range(14):
            net(images(seed))
    return net


def images(seed):
    x = torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last)


def rates(net, x):
    result = []
    layers = [m for m in net.modules() if isinstance(m, LIF)]
    hooks = [m.register_forward_hook(lambda _, __, z: result.append(z.mean())) for m in layers]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return result


def run(net, x):
    """Class scores, and the gradients of all parameters."""
    scores = net(x)
    loss = nn.functional.cross_entropy(scores, torch.arange(8))
    return scores.detach(), torch.autograd.grad(loss, list(net.parameters()))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("backend", ["python", "cpp"])
def test_backends_equal_norse_on_a_live_network(backend, neuron, training, request, monkeypatch):
    if backend == "cpp":
        request.getfixturevalue("cpp_scan")
    monkeypatch.setenv("NAS_NEURONS", "norse")
    net, x = live(NEURONS[neuron]).train(training), images(9)
    assert all(0.01 < rate < 0.9 for rate in rates(net.eval(), x))
    right, expected = run(net.train(training), x)
    monkeypatch.setenv("NAS_NEURONS", backend)
    assert backend_name() == backend
    result, gradients = run(net, x)
    assert right.std() > 0.01
    assert torch.allclose(result, right, atol=1e-5)
    for gradient, other in zip(gradients, expected, strict=True):
        assert other.abs().max() > 0
        assert (gradient - other).abs().max() < 1e-3 * other.abs().max()
