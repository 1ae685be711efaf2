"""What one inference makes happen on a chip, counted layer by layer.

Counts follow from the workload and the chip's structure alone, so prices can change without
counting again. N workloads, L layers: every array is [L] for one workload and [N, L] for many,
written [..., L]. D side of an output map, T time steps, k kernel side, rho spike rate.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hw_models.chip import Chip
from hw_models.layer_table import LayerTable
from hw_models.mapping import Tiling, converted_sums, tile

Counts = dict[str, Any]  # component -> events or bits [..., L]

SUBTRACTORS_PER_CONVERTER = 16  # in SpikeSim's script


@dataclass(frozen=True, eq=False)
class EventCounts:
    """The counts that every cost of an inference derives from; arrays are [..., L]."""

    chip: Chip
    layers: LayerTable
    tiling: Tiling
    pixels: Any  # D^2 of the output map, as this chip counts it
    steps: Any  # time steps in which the layer is multiplied
    vectors: Any  # input vectors per inference
    reads: Any  # of the crossbars per inference: several per vector with bit-serial inputs
    outputs: Any  # values that the layer computes per inference
    sums: Any  # analog sums converted for one output
    sum_rows: Any  # rows that contribute to one converted sum
    tiles: Any  # of each layer; [..., 1] of all layers together where tiles are shared
    neurons: Any  # membrane potentials kept
    step_cycles: Any  # read cycles of one time step
    input_map_bits: Any  # that hold the input map: of one time step, of all in layer_first order


def count_events(chip: Chip, layers: LayerTable) -> EventCounts:
    """Counts of one inference of each workload on a chip.

    Args:
        chip: The chip.
        layers: One workload [L] or N workloads [N, L].

    Returns:
        The counts, with arrays shaped as those of `layers`.
    """
    defects, tiling = chip.defects, tile(chip, layers)
    pixels = layers.pooled_pixels if defects.pooled_sizes else layers.pixels
    if defects.wide_inputs:
        steps = np.broadcast_to(layers.time_steps, layers.once.shape)
    else:
        steps = layers.steps
    vectors, reads = pixels * steps, reads_per_vector(chip, layers)
    sums = converted_sums(chip, layers, tiling)
    tiles = tiling.pes / chip.figures.pes_per_tile
    return EventCounts(
        chip=chip,
        layers=layers,
        tiling=tiling,
        pixels=pixels,
        steps=steps,
        vectors=vectors,
        reads=vectors * reads,
        outputs=layers.out_channels * vectors,
        sums=sums,
        sum_rows=layers.group_channels * layers.taps / np.maximum(sums, 1),
        tiles=np.ceil(tiles.sum(-1, keepdims=True) if defects.tile_sharing else tiles),
        neurons=np.where(layers.neurons < 0, layers.out_channels * pixels, layers.neurons),
        step_cycles=(layers.out_channels * pixels if defects.latency_per_channel else pixels)
        * reads,
        input_map_bits=_input_map_bits(chip, layers),
    )


def reads_per_vector(chip: Chip, layers: LayerTable) -> Any:
    """Reads of the crossbars for one vector.

    Args:
        chip: The chip.
        layers: Layers [..., L].

    Returns:
        One per input bit [..., L] where bits come one by one; otherwise 1.
    """
    if chip.defects.wide_inputs or chip.has_dac:
        return 1.0
    return layers.input_bits


def bits_per_read(chip: Chip, layers: LayerTable) -> Any:
    """Bits of an input that one read takes.

    Args:
        chip: The chip.
        layers: Layers [..., L].

    Returns:
        All bits of the input [..., L] on a chip with DACs; otherwise 1.
    """
    return layers.input_bits if chip.has_dac else 1.0


def component_events(c: EventCounts) -> Counts:
    """How often each component works per inference if every input spikes.

    Returns:
        component -> [..., L]: reads of cells, conversions, bits added, bits moved or updates,
        as the energy price of the component is given.
    """
    merged_bits = _merged_bits(c)
    counts = _read_events(c)
    if not c.chip.defects.free_partial_sums:
        counts["adder"] = _added_bits(c, merged_bits)
    counts |= _transport_events(c, merged_bits)
    counts |= _neuron_events(c)
    if c.chip.has_dac:
        counts["dac"] = _dac_bits(c)
    return counts


def active_shares(c: EventCounts) -> Counts:
    """Share of the dense events that remains at the workload's spike rates, 0..1.

    A cell works when its row spikes, a converter when any row of its sum does; everything else
    follows the clock.

    Returns:
        component -> [..., L] for components that depend on spikes; empty where the costs know
        no activity, or every input spikes.
    """
    if c.chip.defects.no_activity or c.layers.dense:
        return {}
    return shares_of(c.chip, c.layers.rate, _any_spike(c.layers, c.sum_rows))


def shares_of(chip: Chip, active_rows: Any, busy_sums: Any) -> Counts:
    """Shares of dense events by component.

    Args:
        chip: The chip.
        active_rows: Share of the rows that are active in a read [..., L].
        busy_sums: Share of the converted sums with any active row [..., L].

    Returns:
        component -> [..., L] for components that depend on spikes.
    """
    shares = dict.fromkeys(("adc", "mux", "sum_wires", "adder"), busy_sums)
    shares["crossbar"] = shares["rows"] = active_rows
    return shares if chip.defects.script_subtractor else shares | {"subtractor": busy_sums}


def stored_bytes(c: EventCounts) -> Counts:
    """Bytes to keep on the chip [..., L]: trained numbers, membrane potentials, spikes in flight.

    The script's defects D6 and D7 leave out potentials and spikes.
    """
    memory = {"parameters": c.layers.trained_numbers * c.layers.weight_bits / 8}
    if not c.chip.defects.five_membranes:
        memory["neuron_state"] = c.neurons * (c.chip.figures.bits_per_value / 8)
    if not c.chip.defects.wide_inputs:
        memory["spike_buffer"] = c.input_map_bits / 8
    return memory


def _input_map_bits(chip: Chip, layers: LayerTable) -> Any:
    values = layers.in_channels * layers.in_pixels
    if chip.defects.wide_inputs:
        return values * chip.figures.bits_per_value
    kept_steps = layers.steps if chip.options.order == "layer_first" else 1.0
    return values * layers.input_bits * kept_steps


def _read_events(c: EventCounts) -> Counts:
    """Cell reads, conversions and subtractions."""
    conversions = _conversions(c)
    counts = {"crossbar": _cell_reads(c), "adc": conversions, "mux": conversions}
    if c.chip.options.rows == "driven":
        counts["rows"] = c.reads * _row_cells(c)
    if c.chip.defects.script_subtractor:
        per_pe = c.chip.converters_per_set * SUBTRACTORS_PER_CONVERTER
        counts["subtractor"] = c.reads * c.tiling.pes * per_pe
    elif c.chip.is_differential and not c.chip.converts_pairs:
        counts["subtractor"] = conversions * (c.chip.figures.adc_bits / 2)
    return counts


def _conversions(c: EventCounts) -> Any:
    if not c.chip.defects.groups_as_reads:
        columns = c.tiling.columns / 2 if c.chip.converts_pairs else c.tiling.columns
        return c.reads * columns * c.sums
    sets = c.tiling.pes if c.chip.defects.adc_per_pe else c.tiling.crossbars
    return c.reads * sets * c.chip.converters_per_set**2


def _cell_reads(c: EventCounts) -> Any:
    """Each cell once per vector; in the script whole crossbars, once per column read (D3)."""
    if c.chip.defects.fixed_array:
        return c.reads * c.tiling.crossbars * c.chip.column_reads
    return c.reads * c.tiling.cells * (c.chip.column_reads / c.chip.shared_columns)


def _row_cells(c: EventCounts) -> Any:
    """Cells on the rows that a vector drives: a row is as long as its crossbars are wide."""
    size, groups = c.chip.figures.crossbar_size, c.layers.groups
    columns = np.maximum(c.tiling.columns, 1)
    group_rows = c.tiling.cells / columns
    return group_rows * groups * np.ceil(c.tiling.columns / np.maximum(groups, 1) / size) * size


def _merged_bits(c: EventCounts) -> Any:
    """Bits of a converted sum after the slices of a weight were added up next to the ADC."""
    return c.chip.figures.adc_bits + (c.tiling.slices - 1) * c.chip.figures.bits_per_cell


def _added_bits(c: EventCounts, merged_bits: Any) -> Any:
    """Bits of the additions that merge row tiles, slices and input bits into one output."""
    width = merged_bits + np.ceil(np.log2(np.maximum(c.sums, 1)))
    parts = c.sums * c.tiling.slices * reads_per_vector(c.chip, c.layers)
    return np.maximum(parts - 1, 0) * width * c.outputs


def _transport_events(c: EventCounts, merged_bits: Any) -> Counts:
    """Bits that buffers and wires carry; in the script uses of each per PE read (D14)."""
    if c.chip.defects.buffers_per_read:
        pe_reads = c.reads * c.tiling.pes
        counts = {"temp_buffer": pe_reads * c.chip.converters_per_set}
        return counts | dict.fromkeys(("tile_buffer", "h_tree", "fetch"), pe_reads)
    layers = c.layers
    input_bits = 1.0 if c.chip.defects.wide_inputs else layers.input_bits
    windows = c.vectors * input_bits * (layers.in_channels * layers.taps)
    spikes = layers.sent_bits * layers.time_steps
    sum_bits = c.outputs * c.sums * reads_per_vector(c.chip, layers) * merged_bits
    potential_bits = 2 * c.chip.figures.bits_per_value  # read and written back
    return {
        "tile_buffer": windows + spikes,
        "h_tree": windows,
        "sum_wires": sum_bits,
        "network": spikes,
        "neuron_memory": c.neurons * layers.time_steps * potential_bits,
    }


def _neuron_events(c: EventCounts) -> Counts:
    """Neuron updates (PE reads with D12), and bits added for pooling windows and branches."""
    if c.chip.defects.neuron_per_read:
        counts = {"neuron": c.reads * c.tiling.pes}
    else:
        counts = {"neuron": c.neurons * c.layers.time_steps}
    if not c.chip.defects.pooled_sizes:
        counts["elementwise"] = _elementwise_bits(c)
    return counts


def _elementwise_bits(c: EventCounts) -> Any:
    """Bits of the additions in pooling windows and where branches meet."""
    layers = c.layers
    pooled = layers.out_channels * layers.pooled_pixels * (layers.pool_taps - 1)
    additions = (pooled + layers.input_adds) * layers.time_steps
    return additions * c.chip.figures.bits_per_value


def _dac_bits(c: EventCounts) -> Any:
    """Bits of the inputs that a DAC converts: inputs of one bit need none."""
    rows = c.layers.in_channels * c.layers.taps * c.vectors
    return rows * c.layers.input_bits * (c.layers.input_bits > 1)


def _any_spike(layers: LayerTable, rows: Any) -> Any:
    """1 - (1 - rho)^rows: probability that any of `rows` inputs spikes, mean over time steps."""
    if layers.silent:
        return np.zeros_like(layers.rate)
    if layers.rates.shape[-1] == 1:
        return 1 - (1 - layers.rate) ** rows
    return (1 - (1 - layers.rates) ** rows[..., None]).mean(-1)
