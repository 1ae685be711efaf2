"""Workloads from elsewhere: layer lists, NIR graphs and torch modules become the same Workload.

A matrix that cannot lie on a crossbar as a square convolution or a linear layer is an error that
names it: nothing is skipped.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_models import Workload, WorkloadError
from nas_service.json_file import MAX_FILE_B, read_json

if TYPE_CHECKING:
    from torch import Tensor, nn

SUFFIXES = (".json", ".nir")


def load_workload(path: Path, time_steps: int | None = None) -> Workload:
    """A layer list (.json) or a NIR graph (.nir); WorkloadError where it is neither.

    A layer list says its own time steps, a graph does not.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise WorkloadError(f"{path}: suffix {suffix!r}, one of {', '.join(SUFFIXES)} is needed")
    if suffix == ".nir":
        if time_steps is None:
            raise WorkloadError(f"{path}: a graph does not say its time steps, give them")
        return from_nir(path, time_steps)
    found = Workload.from_json(read_json(path))
    return found if time_steps is None else Workload(found.layers, time_steps)


def from_nir(
    graph: Any,
    time_steps: int,
    spike_rate: float | Mapping[str, float | Sequence[float]] = 1.0,
    weight_bits: int = 8,
    input_bits: int = 1,
) -> Workload:
    """A NIR graph, or the path of one: its convolutions, linear layers, neurons and poolings.

    NIR holds real weights and no spikes: `weight_bits`, the `spike_rate` of all layers or by
    layer, and the `input_bits` of what the graph reads (1 for spikes) are the caller's.
    """
    from nas_service.importers.nir_file import read_graph
    from nas_service.importers.nir_graph import layers

    if isinstance(graph, str | Path):
        graph = read_graph(Path(graph), MAX_FILE_B)
    found = Workload(layers(graph, weight_bits, input_bits), time_steps)
    if isinstance(spike_rate, Mapping):
        return found.with_spike_rates(spike_rate)
    return found.at_rate(spike_rate)


def from_module(
    module: "nn.Module", example: "Tensor", time_steps: int, weight_bits: int = 8
) -> Workload:
    """A torch module, from a run on an example; see `nas_service.snn.module_trace`."""
    from nas_service.importers.torch_module import from_module

    return from_module(module, example, time_steps, weight_bits)
