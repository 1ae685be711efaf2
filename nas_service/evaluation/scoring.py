"""Measuring one network on images: accuracy, accuracy on simulated chips, training-free scores."""

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from hw_models.chip import Chip
from nas_service.data.batches import StoredImages, batch
from nas_service.data.images import Images
from nas_service.metrics import Rate
from nas_service.snn.analog import accuracy_on_chip
from nas_service.snn.deployed import deployed
from nas_service.snn.int8 import in_int8
from nas_service.snn.network import Network
from nas_service.snn.operation_counts import InputCounts, membrane_updates
from nas_service.snn.proxies.scoring import score
from nas_service.snn.trace import spike_rates
from nas_service.snn.training import accuracy
from nas_service.study.sections import Proxies

CHIP_SAMPLES = 128  # validation images that each simulated chip classifies


def accuracy_of(network: Network, images: Images, device: torch.device, int8: bool) -> float:
    """Share of images that a network classifies correctly, 0..1.

    Args:
        network: The trained network.
        images: Labelled images.
        device: Where the network is.
        int8: True to score the network as it is deployed, with 8-bit products.

    Returns:
        The share, 0..1.

    Raises:
        Diverged: A class score is not finite.
    """
    return accuracy(in_int8(deployed(network)) if int8 else network, StoredImages(images), device)


def chip_accuracies(
    network: Network, images: Images, chip: Chip, count: int, seed: int
) -> tuple[float, ...]:
    """Accuracy of a network on simulated chips.

    Args:
        network: The trained network.
        images: Labelled images; each chip classifies the first CHIP_SAMPLES of them.
        chip: The chip, with its imperfections.
        count: Number of chips that are drawn.
        seed: Seed of the draws.

    Returns:
        The accuracy on each chip, 0..1.
    """
    if not count:
        return ()
    first = images.take(np.arange(min(CHIP_SAMPLES, len(images))))
    return accuracy_on_chip(network, StoredImages(first), chip, count, seed)


def spikes_and_counts(
    network: Network, images: Tensor, metrics: Collection[str]
) -> tuple[dict[str, Rate], dict[str, float]]:
    """Spike rates of a trained network, and the metrics that are counted with them.

    Args:
        network: Put into evaluation mode.
        images: Scaled images [N, C, H, W], or recordings [N, T, C, H, W].
        metrics: Those that the study names; `membrane_updates` needs a pass of its own, and is
            counted only if it is one of them.

    Returns:
        Rates by layer, and metrics of COUNTED by name.
    """
    counts = InputCounts(len(images))
    rates: dict[str, Rate] = dict(spike_rates(network, images, counts.add))
    counted = counts.metrics(network)
    if "membrane_updates" in metrics:
        counted["membrane_updates"] = membrane_updates(network, images)
    return rates, counted


def proxy_scores(
    network: Network, images: Images, proxies: Proxies, device: torch.device
) -> dict[str, float]:
    """Training-free scores of a network.

    Args:
        network: The network; left unchanged.
        images: Images, of which the first are scored.
        proxies: Names of the proxies, and how many images they take.
        device: Where the network is.

    Returns:
        proxy -> score, higher is better.
    """
    if not proxies.names:
        return {}
    pixels = batch(images, slice(proxies.samples))[0].to(device)
    return {name: score(name, network, pixels).value for name in proxies.names}
