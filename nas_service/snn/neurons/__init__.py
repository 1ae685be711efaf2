"""Spiking neurons: their parameters, Norse's step, and faster backends that give its results."""

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
