"""From the sections of a study to an untrained network and the recipe of its training."""

import torch

from nas_service.snn.augmentation import Augmentation
from nas_service.snn.network import Network
from nas_service.snn.neurons import Neuron
from nas_service.snn.quantization import Rounding
from nas_service.snn.training import Recipe
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.task import Task
from nas_service.study.spec import StudySpec

DEFAULT_RATES = {"adamw": (0.01, 0.01), "sgd": (0.1, 5e-4)}  # learning rate, weight decay


def build_network(
    spec: StudySpec, task: Task, architecture: Architecture, device: torch.device
) -> Network:
    """The untrained network of an architecture.

    Args:
        spec: The study, whose sections `network` and `quantization` are read.
        task: What the network is for.
        architecture: The candidate.
        device: Where the network is put.

    Returns:
        The network, with random weights.
    """
    n, q = spec.network, spec.quantization
    network = Network(
        architecture,
        task,
        n.votes,
        n.dropout,
        neuron=neuron_of(spec),
        rounding=Rounding(8, q.granularity, q.step_size, q.mode),
        norm_each_step=n.norm == "step",
        momentum=n.norm_momentum,
    )
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def neuron_of(spec: StudySpec) -> Neuron:
    """The neurons that the section `network` of a study asks for."""
    n = spec.network
    return Neuron(
        tau=n.tau,
        surrogate=n.surrogate,
        reset=n.reset,
        detach_reset=n.detach_reset,
        fires_at_threshold=n.fires_at_threshold,
    )


def recipe_of(spec: StudySpec) -> Recipe:
    """The recipe that the section `training` of a study asks for."""
    t = spec.training
    rate, decay = DEFAULT_RATES[t.optimizer]
    return Recipe(
        t.epochs,
        t.batch_size,
        rate if t.learning_rate is None else t.learning_rate,
        decay if t.weight_decay is None else t.weight_decay,
        t.optimizer,
        t.schedule,
        t.warm_up,
        t.momentum,
        t.clip,
        t.precision,
        Augmentation(t.crop, t.flip),
    )
