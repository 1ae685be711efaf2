"""Spike rates of a network at initialisation: tests show with them that a network is alive."""

import torch

from nas_service.snn.network import lif_layers
from nas_service.snn.proxies.scoring import at_initialisation


def rates(net, x):
    """Share of spikes of each layer of neurons before the classifier."""
    spike_rates = []
    layers = [m for m in lif_layers(net) if m is not net.readout[0]]
    hooks = [m.register_forward_hook(lambda _, __, y: spike_rates.append(y.mean())) for m in layers]
    with at_initialisation(net), torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return [float(rate) for rate in spike_rates]
