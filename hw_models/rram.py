"""The crossbar chip of SpikeSim as equations: a workload in, a report out.

After the energy, latency and area script of SpikeSim (Moitra et al., TCAD 2023), commit c2627bc.
X crossbar side, P processing elements (PEs) per tile, g = X / 8 column groups, T time steps,
k kernel side, D side of a layer's output map behind its pooling. The model keeps the original's
conventions, its known faults among them; docs/cost-model.md lists them.
"""

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hw_models.crossbar import Tiling, kernel_split
from hw_models.report import SHARED, Breakdown, HardwareReport
from hw_models.workload import Layer, Workload

Table = dict[str, list[float]]  # component -> one figure per row

AREA_RESIDENT_LAYERS = 5  # the original keeps membrane memory for its first five layers only
ORIGINAL_MAX_LAYERS = 12
OVERLAP = 0.75  # share of a layer's outputs after which the next one starts
SUBTRACTORS_PER_GROUP = 16


@dataclass(frozen=True)
class SpikeSimChip:
    """Figures of one profile in SI units; see the profile for the source of each."""

    name: str
    crossbar_size: int
    pes_per_tile: int
    columns_per_adc: int
    clock_Hz: float
    clocks_per_read: int
    bits_per_value: int
    sram_bit_area_m2: float
    crossbar_energy_J: float
    crossbar_area_m2: float
    adc_energy_J: float
    adc_area_m2: float
    mux_energy_J: float
    mux_area_m2: float
    subtractor_energy_J: float
    subtractor_area_m2: float
    temp_buffer_energy_J: float
    temp_buffer_area_m2: float
    tile_buffer_energy_J: float
    tile_buffer_area_m2: float
    h_tree_energy_J: float
    h_tree_area_m2: float
    fetch_energy_J: float
    neuron_energy_J: float

    @cached_property
    def groups(self) -> float:
        """g: column groups that share a converter; not rounded, as in the original."""
        return self.crossbar_size / self.columns_per_adc

    def estimate(self, workload: Workload) -> HardwareReport:
        """Costs of one inference [layers + shared x component]; totals are the sums.

        The original counts no activity: the spike rates of the workload change nothing here.
        """
        tilings = [kernel_split(layer, self.crossbar_size) for layer in workload.layers]
        tiles = math.ceil(sum(t.pes for t in tilings) / self.pes_per_tile)
        memory = {"parameters": [x.trained_numbers * x.weight_bits / 8 for x in workload.layers]}
        return HardwareReport(
            profile=self.name,
            rows=(*(layer.name for layer in workload.layers), SHARED),
            memory_B=_breakdown(memory),
            area_m2=_breakdown(self._area(workload.layers, tilings, tiles)),
            latency_s=_breakdown(self._latency(workload)),
            energy_J=_breakdown(self._energy(workload, tilings)),
            parameters=workload.parameters,
            crossbars=sum(t.crossbars for t in tilings),
            tiles=tiles,
            warnings=tuple(self._warnings(workload, tilings)),
        )

    def _read_energy(self, kernel: int) -> dict[str, float]:
        """Energy of one PE in one read cycle, by component, in J."""
        g = self.groups
        return {
            "crossbar": g * kernel**2 * self.crossbar_energy_J,
            "adc": g * g * self.adc_energy_J,
            "mux": g * g * self.mux_energy_J,
            "subtractor": g * SUBTRACTORS_PER_GROUP * self.subtractor_energy_J,
            "temp_buffer": g * self.temp_buffer_energy_J,
            "tile_buffer": self.tile_buffer_energy_J,
            "h_tree": self.h_tree_energy_J,
            "fetch": self.fetch_energy_J,
            "neuron": self.neuron_energy_J,
        }

    def _energy(self, workload: Workload, tilings: list[Tiling]) -> Table:
        reads = [
            workload.time_steps * t.pes * layer.pooled_size**2
            for layer, t in zip(workload.layers, tilings, strict=True)
        ]
        each = [self._read_energy(layer.kernel) for layer in workload.layers]
        return {c: [n * e[c] for n, e in zip(reads, each, strict=True)] for c in each[0]}

    def _area(self, layers: tuple[Layer, ...], tilings: list[Tiling], tiles: int) -> Table:
        """Area by the PEs a layer fills; its tiles' periphery and empty slots are shared.

        All PEs are alike and hold the largest kernel of the network, so that with one kernel
        for all layers this is the original.
        """
        g, k = self.groups, max(layer.kernel for layer in layers)
        pe = {
            "crossbar": k**2 * self.crossbar_area_m2,
            "adc": g * self.adc_area_m2,
            "mux": g * self.mux_area_m2,
        }
        tile = {
            "subtractor": g * self.subtractor_area_m2,
            "temp_buffer": self.temp_buffer_area_m2,
            "tile_buffer": self.tile_buffer_area_m2,
            "h_tree": self.h_tree_area_m2,
        }
        pes = [t.pes for t in tilings]
        empty = tiles * self.pes_per_tile - sum(pes)
        table = {name: [n * area for n in [*pes, empty]] for name, area in pe.items()}
        none = [0.0] * len(layers)
        table |= {name: [*none, tiles * area] for name, area in tile.items()}
        value = self.bits_per_value * self.sram_bit_area_m2
        inputs = [value * x.in_channels * x.in_size**2 for x in layers]
        membranes = [value * x.out_channels * x.pooled_size**2 for x in layers]
        resident = membranes[:AREA_RESIDENT_LAYERS]
        resident += [0.0] * (len(layers) - len(resident))
        return table | {"input_memory": inputs, "neuron_memory": resident}

    def _latency(self, workload: Workload) -> Table:
        """Read cycles until the last layer halts; each other layer adds its head start."""
        outputs = [layer.out_channels * layer.pooled_size**2 for layer in workload.layers]
        cycles = [math.floor(OVERLAP * w) for w in outputs[:-1]] + outputs[-1:]
        cycle_s = self.clocks_per_read / self.clock_Hz
        return {"compute": [workload.time_steps * n * cycle_s for n in cycles]}

    def _warnings(self, workload: Workload, tilings: list[Tiling]) -> list[str]:
        """Where the original gives no figure and this is its closed form."""
        layers, x = workload.layers, self.crossbar_size
        exact = [layer.in_channels * layer.out_channels / x**2 for layer in layers]
        found = []
        if _falls([t.pes for t in tilings]):
            found.append("PEs per layer fall somewhere: the original refuses to count tiles")
        if _falls(exact):
            found.append("matrix sizes fall somewhere: the original refuses to give a latency")
        if len(layers) > ORIGINAL_MAX_LAYERS:
            found.append(f"{len(layers)} layers: the original crashes beyond {ORIGINAL_MAX_LAYERS}")
        if max(exact) < 1:
            found.append("no layer fills a crossbar: the original never ends")
        if len({layer.kernel for layer in layers}) > 1:
            found.append("kernels differ: the original knows one kernel for all layers")
        return found


def _falls(values: list[float] | list[int]) -> bool:
    return any(b < a for a, b in itertools.pairwise(values))


def _breakdown(table: Table) -> Breakdown:
    """Columns of figures to an array; a column without a shared figure gets a 0 there."""
    rows = max(map(len, table.values()))
    rows += all(len(column) == rows for column in table.values())
    values: NDArray[np.float64] = np.zeros((rows, len(table)))
    for j, column in enumerate(table.values()):
        values[: len(column), j] = column
    return Breakdown(tuple(table), values)
