"""Work and size of a network that no chip changes, as NeuroBench counts them.

Definitions: Yik et al., The NeuroBench framework for benchmarking neuromorphic computing algorithms
and systems, Nature Communications 16, 2025, and the package neurobench 2.3.0 (`metrics.workload`,
`metrics.static`). A synaptic operation is a weight times an input, per image and over all time
steps; biases count none, and a tap on the padding counts none. It is an accumulation (AC) where
all inputs of a layer are spikes, else a multiplication with accumulation (MAC). Dense operations
are those of all weights and inputs, effective ones those of which neither factor is 0.
"""

from collections.abc import Mapping
from typing import Any

from hw_models.layer_table import LayerTable, over_layers

SCALE_BYTES = 4  # of a scale or bias: a 32-bit float
OPERATIONS = (
    "dense_synaptic_operations",
    "dense_macs",
    "dense_acs",
    "effective_acs",
    "footprint_B",
    "dense_membrane_updates",
)


def count_operations(layers: LayerTable) -> dict[str, Any]:
    """Totals of one inference.

    Args:
        layers: One workload [L] or N workloads [N, L].

    Returns:
        The totals of OPERATIONS: numbers, or arrays [N]. `effective_acs` is at the workload's
        spike rates, with no weight of 0. `footprint_B` is NeuroBench's Footprint of the deployed
        network: weights at their bits, and scales and biases of 4 bytes. `dense_membrane_updates`
        has every neuron updated in every time step.
    """
    return {name: over_layers(values) for name, values in layer_operations(layers).items()}


def layer_operations(layers: LayerTable) -> dict[str, Any]:
    """What `count_operations` adds up, layer by layer [..., L]."""
    operations = layers.synapses * layers.steps
    acs = operations * (layers.input_bits == 1)
    weights = layers.group_channels * layers.taps * layers.out_channels
    outputs = layers.out_channels * layers.pixels
    neurons = layers.neurons + (layers.neurons < 0) * (outputs - layers.neurons)
    return {
        "dense_synaptic_operations": operations,
        "dense_macs": operations - acs,
        "dense_acs": acs,
        "effective_acs": acs * layers.rate,
        "footprint_B": weights * layers.weight_bits / 8 + SCALE_BYTES * layers.scales,
        "dense_membrane_updates": neurons * layers.time_steps,
    }


def operations_from_json(stored: Mapping[str, Any]) -> dict[str, float]:
    """Stored totals; none in a report of an earlier version.

    Raises:
        ValueError: A total is unknown, or no number >= 0.
    """
    for name, value in stored.items():
        if name not in OPERATIONS or type(value) not in (float, int) or not 0 <= value < 2**63:
            raise ValueError(f"operations: {name} = {value!r:.60}")
    return dict(stored)
