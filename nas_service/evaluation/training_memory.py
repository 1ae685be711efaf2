"""Memory of a training, bounded from the workload alone. N candidates, K cells.

The bound counts the numbers that live at once. Over 32 architectures (batch 64, 8x8 to 28x28
pixels, 2 to 16 time steps) it was 1.07 to 2.37 times the measured peak of resident memory.
"""

import numpy as np
from numpy.typing import NDArray

from hw_models import LayerIndex, Workload
from hw_models.layer_table import over_layers
from nas_service.snn.workload_cache import WorkloadCache
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.batch import CandidateBatch
from nas_service.spaces.cell import Cell
from nas_service.spaces.operations import OPERATIONS, Operation

PARAMETER_COPIES = 10  # of each: itself, rounded, gradient, optimizer
OUTPUT_COPIES = 5  # of each layer's outputs: before and after its norm, potentials, gradient
MAP_COPIES = 6  # of a cell's output: sum, norm, potentials, spikes, gradients
EDGE_COPIES = 2  # of an edge's output
MAXPOOL_COPIES = 4  # it keeps the places of the maxima, 8 bytes each
STEPPED_COPIES = 8  # of every edge of a cell with backward edges, which runs step by step
SCORED_AS = 160  # images of a training batch that take as much memory as one scoring batch


def training_memory_B(architecture: Architecture, workload: Workload, batch_size: int) -> float:
    """Bound on the memory of training and scoring one candidate.

    Args:
        architecture: The candidate.
        workload: Its layers.
        batch_size: Images of a training batch.

    Returns:
        Bytes for parameters and the outputs of every layer and edge.
    """
    each = sum(OUTPUT_COPIES * x.out_channels * x.out_pixels for x in workload.layers)
    follow = [x for x in workload.layers if x.name == "hidden" or x.name.startswith("reduction")]
    for cell, layer in zip(architecture.cells, follow, strict=True):  # it reads the cell's map
        each += (layer.neurons or 0) * (MAP_COPIES + _edge_copies(cell.live()))
    each *= workload.time_steps * max(batch_size, SCORED_AS)
    return 4.0 * (PARAMETER_COPIES * workload.parameters + each)


def _edge_copies(cell: Cell) -> int:
    """Maps that the edges of a live cell keep, beside the outputs of their layers."""
    if cell.recurrent:
        return STEPPED_COPIES * len(cell.edges)
    return sum(copies_of(edge.operation) for edge in cell.edges)


def copies_of(operation: Operation) -> int:
    """Maps that an edge keeps for its gradient, beside the outputs of its layers."""
    return MAXPOOL_COPIES if operation.keeps_places else EDGE_COPIES


def training_memories_B(
    workloads: WorkloadCache, batch: CandidateBatch, layers: LayerIndex, batch_size: int
) -> NDArray[np.float64]:
    """Bounds on the memory of training and scoring many candidates.

    Args:
        workloads: The workloads of their space.
        batch: The candidates.
        layers: Their layers.
        batch_size: Images of a training batch.

    Returns:
        Bytes [N], equal to `training_memory_B` of each.
    """
    distinct = layers.distinct
    outputs = layers.of_layers(OUTPUT_COPIES * distinct.out_channels * distinct.pixels)
    follow = layers.which[:, workloads.layers_after_cells]  # [N, K]
    maps = np.maximum(distinct.neurons[follow], 0)
    each = over_layers(outputs) + (maps * (MAP_COPIES + _all_edge_copies(workloads, batch))).sum(-1)
    each *= layers.time_steps[:, 0] * max(batch_size, SCORED_AS)
    parameters = over_layers(layers.of_layers(distinct.trained_numbers))
    return np.asarray(4.0 * (PARAMETER_COPIES * parameters + each))


def _all_edge_copies(workloads: WorkloadCache, batch: CandidateBatch) -> NDArray[np.float64]:
    """`_edge_copies` of every cell of candidates [N, K]."""
    own = [copies_of(OPERATIONS[name]) for name in workloads.space.operations]
    live_operations = workloads.live_operations(batch)
    live = live_operations < len(own)
    backward = [edge.backward for edge in workloads.directed_edges]
    stepped = STEPPED_COPIES * live.sum(-1)
    plain = np.array([*own, 0])[live_operations].sum(-1)
    copies = np.where(live[..., backward].any(-1), stepped, plain)
    return np.asarray(copies, dtype=np.float64)
