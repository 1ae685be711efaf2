"""Workloads from layer lists, NIR graphs and torch modules.

A matrix that is neither a convolution nor a linear layer is an error that names it: nothing is
skipped.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_models import Workload, WorkloadError
from hw_models.files.text_file import LARGEST_B

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas_service.importers.nir_graph import GraphLayers


def from_nir(
    graph: Any,
    time_steps: int,
    spike_rate: float | Mapping[str, float | Sequence[float]] = 1.0,
    weight_bits: int = 8,
    input_bits: int = 1,
    input_shape: Sequence[int] | None = None,
) -> Workload:
    """The workload of a NIR graph.

    Args:
        graph: A NIRGraph, or the path of a file with one.
        time_steps: Time steps of an inference.
        spike_rate: Share of non-zero inputs, 0..1: of all layers, or by the name of a layer.
        weight_bits: Bits of all weights.
        input_bits: Bits of the values that the graph reads; 1 for spikes.
        input_shape: Shape of its input (C, H, W) or (N,), for a graph that does not say it.

    Returns:
        The workload, with one layer for each weight matrix.

    Raises:
        WorkloadError: A node has no counterpart on a chip; the message names it.
    """
    layers = nir_layers(graph, weight_bits, input_bits, input_shape).layers
    workload = Workload(layers, time_steps)
    if isinstance(spike_rate, Mapping):
        return workload.with_spike_rates(spike_rate)
    return workload.at_rate(spike_rate)


def nir_layers(
    graph: Any,
    weight_bits: int = 8,
    input_bits: int = 1,
    input_shape: Sequence[int] | None = None,
) -> "GraphLayers":
    """The layers of a NIR graph, and which of them have bits that the graph does not say.

    The arguments are those of `from_nir`.

    Raises:
        WorkloadError: A node has no counterpart on a chip; the message names it.
    """
    from nas_service.importers.nir_file import read_graph
    from nas_service.importers.nir_graph import read_layers

    if not isinstance(graph, str | Path):
        return read_layers(graph, weight_bits, input_bits, input_shape)
    try:
        return read_layers(read_graph(Path(graph), LARGEST_B), weight_bits, input_bits, input_shape)
    except WorkloadError as error:
        raise WorkloadError(f"{graph}: {error}") from error


def from_module(
    module: "nn.Module",
    example: "Tensor",
    time_steps: int,
    weight_bits: int = 8,
    input_bits: int | None = None,
) -> Workload:
    """The workload of a torch module; see `nas_service.importers.torch_module`.

    Args:
        module: Put into evaluation mode for the run; unchanged afterwards.
        example: Inputs [B, ...] of one time step; one input may leave out B.
        time_steps: Time steps of an inference.
        weight_bits: Bits of all weights.
        input_bits: Bits of the example's values; None: taken from them, and logged.

    Returns:
        The workload.

    Raises:
        WorkloadError: A part of the module has no counterpart on a chip; the message names it.
    """
    from nas_service.importers.torch_module import from_module

    return from_module(module, example, time_steps, weight_bits, input_bits)
