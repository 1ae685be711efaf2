"""Training-free proxies of a network's accuracy. T time steps, B batch, N neurons of a layer.

A proxy is a filter or a prior, never the objective: how well its ranks agree with those of
trained networks is to be shown beside it. Higher is better in every proxy. A network is scored
as it stands, with its rounded weights, and left as it was.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from nas_service.errors import SpecError, pick
from nas_service.snn.network import CellNetwork, Network, lif_layers
from nas_service.snn.neurons import THRESHOLD
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import OUTPUT, Cell

Measure = Callable[[Network, Tensor], "Score"]  # of a network on images [N, C, H, W]
Kernels = Callable[[Tensor], Tensor]  # codes [T, B, N] of a layer to its kernels [T, B, B]

BATCHES = 2  # parts in which images are scored, each from potentials at rest
PENALTY = -1e6  # stands for what is not finite: below every log determinant of a kernel


@dataclass(frozen=True)
class Score:
    value: float  # finite, higher is better
    dead: bool  # no spike reaches the classifier: all images look the same to it


@dataclass(frozen=True)
class Proxy:
    measure: Measure
    source: str


def score(name: str, network: Network, images: Tensor) -> Score:
    """A proxy of a network on images [N, C, H, W].

    What has no finite score has PENALTY. Raises SpecError for an unknown name or too few images.
    """
    proxy = pick(PROXIES, name, "proxy")
    if len(images) < 2 * BATCHES:
        raise SpecError(f"proxy {name!r}: {len(images)} images, at least {2 * BATCHES} are needed")
    with at_initialisation(network):
        return proxy.measure(network, images)


@contextmanager
def at_initialisation(network: nn.Module) -> Iterator[None]:
    """Batch norms take the statistics of the batch, as in training, and keep none of them."""
    modes = [(module, module.training) for module in network.modules()]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [[(buffer, buffer.clone()) for buffer in norm.buffers()] for norm in norms]
    network.eval()
    for norm in norms:
        norm.train()
    try:
        yield
    finally:
        for buffer, before in chain.from_iterable(kept):
            buffer.copy_(before)
        for module, mode in modes:
            module.training = mode


def _finite(value: float, dead: bool) -> Score:
    return Score(PENALTY if dead or not math.isfinite(value) else value, dead)


# --- binary codes ----------------------------------------------------------------------------


def hamming_kernels(codes: Tensor) -> Tensor:
    """N - d_H(c_i, c_j) of codes [T, B, N] of 0 and 1, in float64 [T, B, B]."""
    distance, _ = _distances(codes)
    return codes.shape[-1] - distance


def sparsity_aware_kernels(codes: Tensor, alpha: float) -> Tensor:
    """N - alpha d_H / (N (r_i (1 - r_j) + (1 - r_i) r_j)), r the silent share of a code.

    The denominator is the distance expected of codes that are independent; where it is 0 the
    codes are equal, and so is their distance.
    """
    distance, fired = _distances(codes)
    n = codes.shape[-1]
    silent = 1 - fired / n  # [T, B]
    i, j = silent.unsqueeze(-1), silent.unsqueeze(-2)
    expected = n * (i * (1 - j) + (1 - i) * j)
    return n - alpha * torch.where(expected > 0, distance / expected, 0.0)


def _distances(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Hamming distances [T, B, B] by one product, and neurons that fired [T, B]; exact."""
    codes = codes.float()
    with torch.autocast(codes.device.type, enabled=False):
        both = torch.bmm(codes, codes.mT).double()  # whole numbers, exact below 2^24 neurons
    fired = both.diagonal(dim1=-2, dim2=-1)
    return fired.unsqueeze(-1) + fired.unsqueeze(-2) - 2 * both, fired


def _codes(spikes: Tensor, images: int) -> Tensor:
    """[T*B, ...] as [T, B, N]; the order of neurons is that of memory, so nothing is copied."""
    if spikes.dim() == 4 and spikes.is_contiguous(memory_format=torch.channels_last):
        spikes = spikes.permute(0, 2, 3, 1)
    codes: Tensor = spikes.flatten(1).unflatten(0, (-1, images))
    return codes


@dataclass
class _Sum:
    """Kernels of all that is seen; spikes that several readers share are multiplied once."""

    kernels: Kernels
    images: int
    total: Tensor | float = 0.0
    steps: int = 0  # time steps seen, over all layers
    known: Any = field(default_factory=WeakIdKeyDictionary)

    def see(self, spikes: Tensor) -> None:
        if spikes not in self.known:
            self.known[spikes] = self.kernels(_codes(spikes, self.images)).sum(0)
        self.total = self.total + self.known[spikes]
        self.steps += len(spikes) // self.images


def _readers(network: Network) -> list[nn.Module]:
    """What reads the spikes of each layer of neurons, one of each block; the stem reads pixels."""
    blocks = [block for name, block in network.blocks().items() if name != "stem"]
    kinds = (nn.Conv2d, nn.Linear, nn.AvgPool2d)
    return [next(m for m in block.modules() if isinstance(m, kinds)) for block in blocks]


def mean_kernel(network: Network, images: Tensor, kernels: Kernels) -> tuple[Tensor, bool]:
    """Mean kernel [B, B] over layers of neurons and time steps, and whether the network is dead.

    A layer counts once for each matrix that reads it, as in the published sums.
    """
    seen, readers = _Sum(kernels, len(images)), _readers(network)
    reached: list[Tensor] = []  # whether anything arrives at the classifier
    head = readers[-2]
    hooks = [r.register_forward_pre_hook(lambda _, x: seen.see(x[0])) for r in readers]
    hooks += [head.register_forward_pre_hook(lambda _, x: reached.append(x[0].any()))]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.as_tensor(seen.total) / seen.steps, not any(reached)


def log_determinant(kernel: Tensor) -> float:
    """log |det K| in float64; -inf for a singular kernel."""
    return float(torch.linalg.slogdet(kernel.double()).logabsdet)


def _by_kernel(kernels: Kernels) -> Measure:
    def measure(network: Network, images: Tensor) -> Score:
        found = [mean_kernel(network, part, kernels) for part in images.chunk(BATCHES)]
        dead = any(dead for _, dead in found)
        return _finite(fmean(log_determinant(kernel) for kernel, _ in found), dead)

    return measure


# --- structure -------------------------------------------------------------------------------

Thresholds = tuple[float, ...]  # of the convolutions on an edge, or on a path from node 0 on
Edges = dict[tuple[int, int], Thresholds]  # by source and target


def edges_of(cell: Cell, common: float = THRESHOLD) -> Edges:
    """A cell's live edges; neurons without a threshold of their own have the common one."""
    found: Edges = {}
    for edge in cell.live().edges:
        own = common if edge.operation.threshold is None else edge.operation.threshold
        found[edge.source, edge.target] = (own,) * len(edge.operation.matrices)
    return found


def _edges_in(cell: CellNetwork) -> Edges:
    """The same of a network's cell; an edge's name ends with its source and its target."""
    return {
        (int(name[-2]), int(name[-1])): tuple(lif.neuron.threshold for lif in lif_layers(edge))
        for name, edge in cell.edges.items()
    }


def paths(edges: Edges, node: int = 0) -> list[Thresholds]:
    """Thresholds along every path from a node to node 3 that meets no node twice."""
    if node == OUTPUT:
        return [()]
    rest = {ends: own for ends, own in edges.items() if node not in ends}
    return [
        own + path
        for (source, target), own in edges.items()
        if source == node
        for path in paths(rest, target)
    ]


def convolutions(edges: Edges) -> float:
    return float(sum(map(len, edges.values())))


def depth(edges: Edges) -> float:
    """Most convolutions on a path."""
    return float(max(map(len, paths(edges)), default=0))


def threshold_depth(edges: Edges) -> float:
    """The highest 1 - th_1 / 2 + th_2 + th_3 of a path's thresholds, 0 without convolutions.

    Neurons that read the cell's own input do better with low thresholds, those that read other
    convolutions with high ones. With one threshold of 1 everywhere it ranks as `depth`.
    """
    found = [path for path in paths(edges) if path]
    return max((1 - first / 2 + sum(others) for first, *others in found), default=0.0)


STRUCTURAL: dict[str, Callable[[Edges], float]] = {
    "convolutions": convolutions,
    "depth": depth,
    "threshold_depth": threshold_depth,
}


def structure(name: str, architecture: Architecture) -> Score:
    """A proxy that needs no network: the sum of a value over cells, in microseconds."""
    value = pick(STRUCTURAL, name, "structural proxy")
    return _over_cells(
        value, [edges_of(cell, architecture.threshold) for cell in architecture.cells]
    )


def _over_cells(value: Callable[[Edges], float], cells: list[Edges]) -> Score:
    return _finite(sum(map(value, cells)), dead=not all(map(paths, cells)))


def _by_structure(name: str) -> Measure:
    def measure(network: Network, _: Tensor) -> Score:
        cells = [_edges_in(part) for part in network.body if isinstance(part, CellNetwork)]
        return _over_cells(STRUCTURAL[name], cells)

    return measure


PROXIES: dict[str, Proxy] = {
    "sahd": Proxy(
        _by_kernel(lambda codes: sparsity_aware_kernels(codes, 0.5)),
        "Kim et al., ECCV 2022, alpha 0.5",
    ),
    "sahd_n": Proxy(
        _by_kernel(lambda codes: sparsity_aware_kernels(codes, 0.5 * codes.shape[-1])),
        "Kim et al., ECCV 2022, alpha half the number of neurons",
    ),
    "hamming": Proxy(_by_kernel(hamming_kernels), "Mellor et al., ICML 2021, on spikes"),
    "convolutions": Proxy(_by_structure("convolutions"), "convolutions of all cells"),
    "depth": Proxy(_by_structure("depth"), "longest path of each cell, in convolutions"),
    "threshold_depth": Proxy(
        _by_structure("threshold_depth"),
        "chosen on half of the functions in SpikeNAS-Bench's CIFAR-10 table, judged on the other",
    ),
}
