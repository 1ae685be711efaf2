"""Spiking neurons: what they are, Norse's step, and the faster scans that equal it."""

from nas_service.snn.neurons.layers import LIF
from nas_service.snn.neurons.neuron import SNASNET, SURROGATES, TAU, THRESHOLD, Neuron
from nas_service.snn.neurons.norm import BatchNormLIF
from nas_service.snn.neurons.norse_step import lif_step, norse_parameters
from nas_service.snn.neurons.scan import backend_name
from nas_service.snn.neurons.spike_conv import SpikeConv2d

__all__ = [
    "LIF",
    "SNASNET",
    "SURROGATES",
    "TAU",
    "THRESHOLD",
    "BatchNormLIF",
    "Neuron",
    "SpikeConv2d",
    "backend_name",
    "lif_step",
    "norse_parameters",
]
