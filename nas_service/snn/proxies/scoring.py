"""The score of a network by a proxy. N images, C channels, H W pixels.

A proxy is a filter or a prior, never the objective: how well its ranking agrees with that of
trained networks has to be shown beside it. Higher is better in every proxy. A network is scored
with its initial, quantized weights and left unchanged.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from typing import Any

from torch import Tensor, nn

from nas_service.errors import SpecError, pick
from nas_service.metrics import PROXIES, WORST_PROXY
from nas_service.snn.network import CellNetwork, Network
from nas_service.snn.proxies import structure
from nas_service.spaces.architecture import Architecture

BATCHES = 2  # parts in which images are scored, each with its own batch statistics


@dataclass(frozen=True)
class Score:
    """The value of a proxy."""

    value: float  # finite, higher is better
    dead: bool  # no spike reaches the classifier: all images look the same to it


def score(name: str, network: Network, images: Tensor) -> Score:
    """The score of a network by one proxy.

    Args:
        name: One of PROXIES.
        network: Unchanged afterwards.
        images: Scaled images [N, C, H, W]; no proxy needs their labels.

    Returns:
        The score; WORST_PROXY for a dead network, or where the proxy has no finite value.

    Raises:
        SpecError: The proxy is unknown, or there are too few images.
    """
    proxy = pick(PROXIES, name, "proxy")
    if len(images) < 2 * BATCHES:
        raise SpecError(f"proxy {name!r}: {len(images)} images, at least {2 * BATCHES} are needed")
    if proxy.structural:
        cells = [part for part in network.body if isinstance(part, CellNetwork)]
        return _of_cells(name, [structure.edges_in(cell) for cell in cells])
    with at_initialisation(network):
        parts = [_function(name)(network, part) for part in images.chunk(BATCHES)]
    return _finite(sum(value for value, _ in parts) / len(parts), any(dead for _, dead in parts))


def structural_score(name: str, architecture: Architecture) -> Score:
    """The score of an architecture by a structural proxy, in microseconds and without a network.

    Args:
        name: One of the structural proxies of PROXIES.
        architecture: The architecture.

    Returns:
        The score, summed over cells; WORST_PROXY where a cell has no path.

    Raises:
        SpecError: The proxy is unknown, or not structural.
    """
    pick({name: proxy for name, proxy in PROXIES.items() if proxy.structural}, name, "proxy")
    threshold = architecture.threshold
    return _of_cells(name, [structure.edges_of(cell, threshold) for cell in architecture.cells])


def _function(name: str) -> Any:
    """The function that PROXIES names."""
    function = PROXIES[name].function
    if not isinstance(function, str):
        return function
    module, _, attribute = function.partition(":")
    return getattr(import_module(f"nas_service.snn.proxies.{module}"), attribute)


def _of_cells(name: str, cells: list[structure.Edges]) -> Score:
    """A structural proxy, summed over cells."""
    dead = not all(map(structure.paths, cells))
    return _finite(sum(map(_function(name), cells)), dead)


def _finite(value: float, dead: bool) -> Score:
    return Score(WORST_PROXY if dead or not math.isfinite(value) else value, dead)


@contextmanager
def at_initialisation(network: nn.Module) -> Iterator[None]:
    """A context in which batch norms use the statistics of each batch, as in training.

    Their running statistics and the modes of all modules are restored afterwards.
    """
    modes = [(module, module.training) for module in network.modules()]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    saved = [[(buffer, buffer.clone()) for buffer in norm.buffers()] for norm in norms]
    network.eval()
    for norm in norms:
        norm.train()
    try:
        yield
    finally:
        for buffer, before in chain.from_iterable(saved):
            buffer.copy_(before)
        for module, mode in modes:
            module.training = mode
