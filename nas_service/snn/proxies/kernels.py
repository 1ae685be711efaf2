"""Proxies by the log determinant of a kernel of binary codes, the spikes of a layer of neurons.

T time steps, B images of a batch, N neurons of a layer. Images that a network tells apart have
distant codes, so their kernel has a large determinant.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from nas_service.snn.network import Network

Kernels = Callable[[Tensor], Tensor]  # codes [T, B, N] of a layer to its kernels [T, B, B]


def sahd(network: Network, images: Tensor) -> tuple[float, bool]:
    """SNASNet's score with alpha = 0.5, see `sparsity_aware_kernels`.

    Args:
        network: The network, its batch norms in the mode in which it is to be scored.
        images: Scaled images [B, C, H, W].

    Returns:
        log |det K| of the mean kernel [B, B], and True for a dead network.
    """
    return _log_determinant(network, images, lambda codes: sparsity_aware_kernels(codes, 0.5))


def sahd_n(network: Network, images: Tensor) -> tuple[float, bool]:
    """SNASNet's score with alpha = N / 2, see `sparsity_aware_kernels`.

    The arguments and results are those of `sahd`.
    """
    return _log_determinant(
        network, images, lambda codes: sparsity_aware_kernels(codes, 0.5 * codes.shape[-1])
    )


def hamming(network: Network, images: Tensor) -> tuple[float, bool]:
    """Mellor et al.'s score on spikes, see `hamming_kernels`.

    The arguments and results are those of `sahd`.
    """
    return _log_determinant(network, images, hamming_kernels)


def _log_determinant(network: Network, images: Tensor, kernels: Kernels) -> tuple[float, bool]:
    kernel, dead = mean_kernel(network, images, kernels)
    return log_determinant(kernel), dead


def hamming_kernels(codes: Tensor) -> Tensor:
    """N - d_H(c_i, c_j) of codes [T, B, N] of 0 and 1, in float64 [T, B, B].

    Source: Mellor et al., Neural Architecture Search without Training, ICML 2021, equation 2.
    """
    distance, _ = _distances(codes)
    return codes.shape[-1] - distance


def sparsity_aware_kernels(codes: Tensor, alpha: float) -> Tensor:
    """N - alpha d_H / (N (r_i (1 - r_j) + (1 - r_i) r_j)), r the silent share of a code.

    The denominator is the expected distance of independent codes; where it is 0 the codes are
    equal and their distance is 0. Source: Kim et al., ECCV 2022, section 4.

    Args:
        codes: 0 and 1 [T, B, N].
        alpha: The weight of the normalised distance.

    Returns:
        Kernels [T, B, B] in float64.
    """
    distance, fired = _distances(codes)
    n = codes.shape[-1]
    silent = 1 - fired / n  # [T, B]
    i, j = silent.unsqueeze(-1), silent.unsqueeze(-2)
    expected = n * (i * (1 - j) + (1 - i) * j)
    return n - alpha * torch.where(expected > 0, distance / expected, 0.0)


def _distances(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Hamming distances [T, B, B] and the number of neurons that fired [T, B], both exact."""
    codes = codes.float()
    with torch.autocast(codes.device.type, enabled=False):
        both = torch.bmm(codes, codes.mT).double()  # integers, exact below 2^24 neurons
    fired = both.diagonal(dim1=-2, dim2=-1)
    return fired.unsqueeze(-1) + fired.unsqueeze(-2) - 2 * both, fired


def _codes(spikes: Tensor, images: int) -> Tensor:
    """[T*B, ...] as [T, B, N]; neurons are in memory order, so that nothing is copied."""
    if spikes.dim() == 4 and spikes.is_contiguous(memory_format=torch.channels_last):
        spikes = spikes.permute(0, 2, 3, 1)
    codes: Tensor = spikes.flatten(1).unflatten(0, (-1, images))
    return codes


@dataclass
class _KernelSum:
    """The sum of the kernels of layers; the kernel of shared spikes is computed once."""

    kernels: Kernels
    images: int
    total: Tensor | float = 0.0
    steps: int = 0  # time steps that were added, over all layers
    computed: Any = field(default_factory=WeakIdKeyDictionary)

    def add(self, spikes: Tensor) -> None:
        """Adds the kernels of a layer's spikes [T*B, ...]."""
        if spikes not in self.computed:
            self.computed[spikes] = self.kernels(_codes(spikes, self.images)).sum(0)
        self.total = self.total + self.computed[spikes]
        self.steps += len(spikes) // self.images


def _readers(network: Network) -> list[nn.Module]:
    """The module of each block that reads spikes; the stem has none, as it reads pixels."""
    blocks = [block for name, block in network.blocks().items() if name != "stem"]
    kinds = (nn.Conv2d, nn.Linear, nn.AvgPool2d)
    return [next(m for m in block.modules() if isinstance(m, kinds)) for block in blocks]


def mean_kernel(network: Network, images: Tensor, kernels: Kernels) -> tuple[Tensor, bool]:
    """The mean kernel over layers of neurons and time steps.

    A layer counts once for each matrix that reads it, as in the published sums.

    Args:
        network: The network.
        images: Scaled images [B, C, H, W].
        kernels: The kernels of the codes of a layer.

    Returns:
        The kernel [B, B], and True for a dead network: no spike reaches its classifier.
    """
    kernel_sum, readers = _KernelSum(kernels, len(images)), _readers(network)
    reached: list[Tensor] = []  # whether a spike reaches the classifier
    head = readers[-2]
    hooks = [r.register_forward_pre_hook(lambda _, x: kernel_sum.add(x[0])) for r in readers]
    hooks += [head.register_forward_pre_hook(lambda _, x: reached.append(x[0].any()))]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.as_tensor(kernel_sum.total) / kernel_sum.steps, not any(reached)


def log_determinant(kernel: Tensor) -> float:
    """log |det K| in float64; -inf for a singular kernel."""
    return float(torch.linalg.slogdet(kernel.double()).logabsdet)
