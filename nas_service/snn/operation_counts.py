"""What a trained network does with images, counted as NeuroBench counts it.

Definitions: see `hw_models.operations`. Spikes are counted over all layers of neurons, time steps
and images; the edges of a cell have neurons of their own, as on a chip. The last step of a backward
edge, which nothing reads, is not run and not counted.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nas_service.snn.network import CellNetwork, Network, lif_layers
from nas_service.snn.quantization import matrix_of

STEM = "stem"  # the block that reads images, whose inputs are no spikes


@dataclass(eq=False)
class InputCounts:
    """Inputs of each weight matrix that were not 0, by their place; `add` is called with them."""

    images: int
    macs: set[str] = field(default_factory=set)  # blocks that read values other than spikes
    _inputs: dict[str, Tensor] = field(default_factory=dict, repr=False)  # [C, H, W] or [F]
    _spikes: float = 0.0
    _updates: int = 0  # of neurons

    def add(self, name: str, window: int, x: Tensor) -> None:
        """Counts what a block's matrix reads in one or more time steps.

        Args:
            name: The block.
            window: Side of the average pooling between its neurons and the matrix.
            x: The inputs [N, C, H, W] or [N, F].
        """
        is_binary = name != STEM and window == 1
        total = (x if is_binary else (x != 0).to(x.dtype)).sum(0, dtype=torch.float32).double()
        self._inputs[name] = self._inputs[name] + total if name in self._inputs else total
        if not is_binary:
            self.macs.add(name)
        if name != STEM:
            spikes = total if window == 1 else (x.sum(dtype=torch.float64) * window**2).round()
            self._spikes += float(spikes.sum())
            self._updates += x.numel() * window**2

    def metrics(self, network: Network) -> dict[str, float]:
        """Metrics of the images that were counted.

        Args:
            network: The network that read them, in evaluation mode.

        Returns:
            `effective_macs` and `effective_acs` per image, of weights and inputs that are not 0;
            `activation_sparsity`, the share of neurons that do not fire in a time step;
            `connection_sparsity`, the share of quantised weights that are 0.
        """
        matrices = {name: matrix_of(block) for name, block in network.blocks().items()}
        used = {name: (m.weight.detach() != 0).double() for name, m in matrices.items()}
        products = {n: _products(matrices[n], used[n], x) for n, x in self._inputs.items()}
        macs = sum(x for name, x in products.items() if name in self.macs)
        zeros = sum(float((1 - x).sum()) for x in used.values())
        return {
            "effective_macs": macs / self.images,
            "effective_acs": (sum(products.values()) - macs) / self.images,
            "activation_sparsity": (self._updates - self._spikes) / self._updates,
            "connection_sparsity": zeros / sum(x.numel() for x in used.values()),
        }


def _products(matrix: nn.Conv2d | nn.Linear, used: Tensor, inputs: Tensor) -> float:
    """Products of the weights that are used, 0 or 1, with counts of inputs [C, H, W] or [F]."""
    if isinstance(matrix, nn.Linear):
        return float((used @ inputs).sum())
    sides = matrix.stride, matrix.padding, matrix.dilation
    sums = nn.functional.conv2d(inputs[None], used, None, *sides, matrix.groups)  # type: ignore[arg-type]
    return float(sums.sum())


@torch.inference_mode()
def membrane_updates(network: Network, images: Tensor) -> float:
    """Updates of membrane potentials per image.

    Source: NeuroBench's MembraneUpdates. Every neuron is updated in its first time step, and later
    in each step that leaves another potential than the step before.

    Args:
        network: Left unchanged.
        images: Scaled images [N, C, H, W], or recordings [N, T, C, H, W].

    Returns:
        The mean over the images.
    """
    counted = 0
    twin = copy.deepcopy(network).eval()

    def counting(step: Callable[..., Any]) -> Callable[..., Any]:
        is_first = True

        def counted_step(x: Tensor, state: Any, *arguments: Any) -> Any:
            nonlocal counted, is_first
            spikes, after = step(x, state, *arguments)
            counted += x.numel() if is_first else int((after.v != state.v).sum())
            is_first = False
            return spikes, after

        return counted_step

    for layer in lif_layers(twin):
        layer.activation = counting(layer.activation)
        layer.register_forward_hook(lambda layer, x, _: layer.forward_stepwise(*x))
    for cell in (m for m in twin.modules() if isinstance(m, CellNetwork)):
        cell.shares_spikes = False
    twin(images)
    return counted / len(images)
