"""A crossbar chip: what a workload makes happen, what each event costs, and their product.

Events are counted from the workload and the chip's structure alone; prices come from the
profile's figures alone. Every energy and area is therefore a sum of counts times prices, for one
workload or for thousands.

After the energy, latency and area script of SpikeSim (Moitra et al., TCAD 2023), commit c2627bc:
with all switches on the chip is the script, with all off it is the corrected model of
docs/cost-model.md. X crossbar side, M columns per converter, P PEs per tile, T time steps,
k kernel side, rho spike rate, D side of a layer's output map.
"""

import itertools
import math
from collections.abc import Mapping as Table
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hw_models import adc
from hw_models.errors import ProfileError
from hw_models.layer_table import Array, LayerTable
from hw_models.mapping import Tiling, converted_sums, lossless_adc_bits, tile
from hw_models.parameters import SCRIPT_COLUMNS, Figures, Options, ScriptDefects
from hw_models.report import SHARED, BatchReport, Breakdown, HardwareReport, Mapping
from hw_models.schedule import Schedule, makespans, schedule
from hw_models.workload import Workload

Counts = dict[str, Any]  # component -> how often, [L] or [N, L]
Prices = dict[str, float]  # component -> J or m2 each

RESIDENT_LAYERS = 5  # the script keeps membrane memory for its first five layers only
SCRIPT_MAX_LAYERS = 12
SUBTRACTORS_PER_GROUP = 16
BATCH_CELLS = 2**14  # layers costed at once: arrays that fit into a core's cache


@dataclass(frozen=True)
class EventCounts:
    """What an inference makes happen on the chip, counted layer by layer."""

    table: LayerTable
    tiling: Tiling
    pixels: Any  # D^2 of the output map, as this chip counts it
    steps: Any  # time steps in which a layer is multiplied
    vectors: Any  # that a layer's matrix meets in an inference
    reads: Any  # of the matrix: several for a vector that comes bit by bit
    outputs: Any  # of the layer in an inference
    sums: Any  # converted sums per output
    sum_rows: Any  # rows that contribute to one converted sum
    tiles: Any  # of each layer; with shared tiles [..., 1] of all layers together
    neurons: Any


@dataclass(frozen=True)
class ResourceUse:
    """Sums of counts over the layers of a workload, to be priced; of N workloads each is [N]."""

    dense_events: dict[str, Any]
    events: dict[str, Any]
    areas: dict[str, Any]
    pe_crossbars: Any
    cycles: Any  # of the longest path
    interval_cycles: Any
    exact: dict[str, Any]  # totals that no price changes


@dataclass(frozen=True)
class Chip:
    """One chip: its figures in SI units, its options and the faults it is costed with."""

    name: str
    figures: Figures
    options: Options
    switches: ScriptDefects

    def __post_init__(self) -> None:
        adc.check(self.figures, self.options)
        if self.figures.off_resistance_Ohm < self.figures.on_resistance_Ohm:
            raise ProfileError(
                f"off_resistance = {self.figures.off_resistance_Ohm / 1e3:g} kOhm: at least "
                f"on_resistance = {self.figures.on_resistance_Ohm / 1e3:g} kOhm is needed"
            )

    # --- structure ---------------------------------------------------------------------------

    @cached_property
    def groups(self) -> float:
        """Converters of one set: ceil(X / M); in the script X / 8, not rounded."""
        v = self.figures
        exact = v.crossbar_size / v.columns_per_adc
        return exact if self.switches.groups_as_reads else math.ceil(exact)

    @cached_property
    def column_reads(self) -> float:
        """Reads until every column was converted: M; in the script g again."""
        return self.groups if self.switches.groups_as_reads else self.figures.columns_per_adc

    @cached_property
    def read_s(self) -> float:
        """Time of reading one vector."""
        v = self.figures
        script = v.clocks_per_read / v.clock_Hz
        if self.switches.groups_as_reads:
            return script
        column = script / SCRIPT_COLUMNS
        return v.columns_per_adc * max(column, adc.delay_s(v, self.options))

    @cached_property
    def tile_m2(self) -> float:
        """Area of one tile with PEs of `crossbars_per_pe` crossbars."""
        per_pe = self._pe_area(self.figures.crossbars_per_pe)
        pes: float = self.figures.pes_per_tile * sum(per_pe.values())
        return pes + sum(self._tile_area.values())

    # --- one workload ------------------------------------------------------------------------

    def estimate(self, workload: Workload) -> HardwareReport:
        """Costs of one inference [layers + shared x component]; totals are the sums."""
        h = self._happening(workload.table)
        area = _breakdown(self._area_table(h))
        plan = self._schedule(h, workload)
        latency = _breakdown({"fill": plan.fill, "steady": plan.steady}, self.read_s)
        leak = self.figures.leakage_W_m2
        if leak:
            leak *= area.total * latency.total
        dense, event = self._energy_tables(h, leak)
        return HardwareReport(
            profile=self.name,
            rows=(*(layer.name for layer in workload.layers), SHARED),
            memory_B=_breakdown(self._memory(h)),
            area_m2=area,
            latency_s=latency,
            energy_J=event,
            dense_energy_J=dense,
            mapping=self._mapping(h, plan),
            parameters=workload.parameters,
            crossbars=int(h.tiling.crossbars.sum()),
            tiles=int(h.tiles.sum()),
            interval_s=float((h.steps * self._period(h)).max()) * self.read_s,
            warnings=tuple(self._warnings(workload, h)),
        )

    def _energy_tables(self, h: EventCounts, leak: float) -> tuple[Breakdown, Breakdown]:
        """Energy with every input spiking, and as they do [layers + shared x component]."""
        counts, activity = self._events(h), self._activity(h)
        names = (*counts, "leakage") if leak else tuple(counts)
        values = np.zeros((len(names), len(h.table.kernel) + 1))  # components x rows
        values[-1, -1] = leak
        values[: len(counts), :-1] = list(counts.values())
        values[: len(counts)] *= self._price_column(tuple(counts))
        dense = Breakdown(names, values.T)
        if not activity:
            return dense, dense
        event = values.copy()
        for name, share in activity.items():
            if name in counts:
                event[names.index(name), :-1] *= share
        return dense, Breakdown(names, event.T)

    def _price_column(self, names: tuple[str, ...]) -> Array:
        """Energy prices of components [C, 1]."""
        if names not in self._price_columns:
            prices = [[self.energy_prices[name]] for name in names]
            self._price_columns[names] = np.array(prices)
        return self._price_columns[names]

    @cached_property
    def _price_columns(self) -> dict[tuple[str, ...], Array]:
        return {}

    def _mapping(self, h: EventCounts, plan: Schedule) -> Mapping:
        v, t = self.figures, h.tiling
        utilisation = t.cells / (t.crossbars * v.crossbar_size**2)
        return Mapping(
            crossbars=_whole(t.crossbars),
            pes=_whole(t.pes),
            utilisation=tuple(utilisation.tolist()),
            lossless_adc_bits=_whole(
                lossless_adc_bits(h.sum_rows, v.bits_per_cell, self._levels(h))
            ),
            start_s=tuple([x * self.read_s for x in plan.start]),
            end_s=tuple([x * self.read_s for x in plan.end]),
        )

    def demand(self, workload: Workload) -> "ResourceUse":
        """What a workload makes happen, summed over its layers: all but the prices."""
        h = self._happening(workload.table)
        return self._demand(h, sum(map(sum, self._longest_path(h, workload))))

    def demands(self, table: LayerTable) -> "ResourceUse":
        """The same of N workloads."""
        h = self._happening(table)
        return self._demand(h, self._makespans(h))

    def _demand(self, h: EventCounts, cycles: Any) -> "ResourceUse":
        counts, activity = self._events(h), self._activity(h)
        crossbars = h.tiling.crossbars.sum(-1)
        return ResourceUse(
            dense_events={name: n.sum(-1) for name, n in counts.items()},
            events={name: (n * activity.get(name, 1)).sum(-1) for name, n in counts.items()},
            areas={name: n.sum(-1) for name, n in self._areas(h).items()},
            pe_crossbars=h.tiling.pe_crossbars,
            cycles=cycles,
            interval_cycles=(h.steps * self._period(h)).max(-1),
            exact={
                "parameters": h.table.trained_numbers.sum(-1),
                "memory_B": sum(column.sum(-1) for column in self._memory(h).values()),
                "crossbars": crossbars,
                "tiles": h.tiles.sum(-1),
                "utilisation": h.tiling.cells.sum(-1) / (crossbars * self.figures.crossbar_size**2),
            },
        )

    def _longest_path(self, h: EventCounts, workload: Workload) -> tuple[list[float], list[float]]:
        plan = self._schedule(h, workload)
        return plan.fill, plan.steady

    # --- many workloads ----------------------------------------------------------------------

    def estimate_batch(self, table: LayerTable) -> BatchReport:
        """Totals of N workloads, the same numbers as `estimate` gives one by one."""
        step = max(1, BATCH_CELLS // table.kernel.shape[1])
        parts = [self._totals(table.part(slice(i, i + step))) for i in range(0, len(table), step)]
        return BatchReport({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})

    def _totals(self, table: LayerTable) -> dict[str, Array]:
        h = self._happening(table)
        area = _weighted(self._areas(h), self.area_prices(h.tiling.pe_crossbars))
        latency = self._makespans(h) * self.read_s
        leak = self.figures.leakage_W_m2 * area * latency
        counts, activity = self._events(h), self._activity(h)
        full = _weighted(counts, self.energy_prices) + leak
        energy = full
        if activity:
            event = {
                name: n * activity[name] if name in activity else n for name, n in counts.items()
            }
            energy = _weighted(event, self.energy_prices) + leak
        crossbars = h.tiling.crossbars.sum(-1)
        memory = sum(column.sum(-1) for column in self._memory(h).values())
        return {
            "parameters": table.trained_numbers.sum(-1),
            "memory_B": memory,
            "area_m2": area,
            "latency_s": latency,
            "energy_J": energy,
            "dense_energy_J": full,
            "interval_s": (h.steps * self._period(h)).max(-1) * self.read_s,
            "crossbars": crossbars,
            "tiles": h.tiles.sum(-1),
            "utilisation": h.tiling.cells.sum(-1) / (crossbars * self.figures.crossbar_size**2),
        }

    # --- what happens ------------------------------------------------------------------------

    def _happening(self, x: LayerTable) -> EventCounts:
        v, o, s = self.figures, self.options, self.switches
        t = tile(x, v, o, s)
        pixels = x.pooled_pixels if s.pooled_sizes else x.pixels
        steps = np.broadcast_to(x.time_steps, x.once.shape) if s.wide_inputs else x.steps
        sums = converted_sums(t, s, o, x)
        rows = x.group_channels * x.kernel2
        tiles = t.pes / v.pes_per_tile
        neurons = np.where(x.neurons < 0, x.out_channels * pixels, x.neurons)
        vectors = pixels * steps
        return EventCounts(
            table=x,
            tiling=t,
            pixels=pixels,
            steps=steps,
            vectors=vectors,
            reads=vectors * self._serial_bits(x),
            outputs=x.out_channels * vectors,
            sums=sums,
            sum_rows=rows / np.maximum(sums, 1),
            tiles=np.ceil(tiles.sum(-1, keepdims=True) if s.tile_sharing else tiles),
            neurons=neurons,
        )

    def _serial_bits(self, x: LayerTable) -> Any:
        """Reads of one vector: one for each bit of an input that comes bit by bit."""
        if self.switches.wide_inputs or self.options.input_coding == "dac":
            return 1.0
        return x.input_bits

    def _levels(self, h: EventCounts) -> Any:
        """Bits of an input within one read."""
        x = h.table
        several = self.options.input_coding == "dac" and not self.switches.wide_inputs
        return x.input_bits if several else 1.0

    def _activity(self, h: EventCounts) -> Counts:
        """What spikes leave of the dense events, by component, 0..1 [.., L]; the rest is clocked.

        A cell works when its row spikes, a converter when any row of its sum does. Empty where
        costs know no activity, or every input spikes.
        """
        x = h.table
        if self.switches.no_activity or x.dense:
            return {}
        busy = _some_spike(x, h.sum_rows)
        shares = {"crossbar": x.rate, "adc": busy, "mux": busy, "sum_wires": busy, "adder": busy}
        return shares if self.switches.script_subtractor else shares | {"subtractor": busy}

    def _events(self, h: EventCounts) -> Counts:
        """How often each component works when every input spikes [.., L]."""
        v, s = self.figures, self.switches
        pe_reads = h.reads * h.tiling.pes
        conversions, merged = self._conversions(h), self._merged_bits(h)
        counts = {"crossbar": self._cell_reads(h), "adc": conversions, "mux": conversions}
        if s.script_subtractor:
            counts["subtractor"] = pe_reads * (self.groups * SUBTRACTORS_PER_GROUP)
        elif self.options.sign == "differential":
            counts["subtractor"] = conversions * (v.adc_bits / 2)
        if not s.free_partial_sums:
            counts["adder"] = self._added_bits(h, merged)
        if s.buffers_per_read:
            counts |= {"temp_buffer": pe_reads * self.groups, "tile_buffer": pe_reads}
            counts |= {"h_tree": pe_reads, "fetch": pe_reads}
        else:
            counts |= self._moved_bits(h, merged)
        counts["neuron"] = pe_reads if s.neuron_per_read else h.neurons * h.table.time_steps
        if not s.pooled_sizes:
            counts["elementwise"] = self._pooled_bits(h)
        if self.options.input_coding == "dac" and not s.wide_inputs:
            x = h.table
            rows = x.in_channels * x.kernel2 * h.vectors
            counts["dac"] = rows * x.input_bits * (x.input_bits > 1)
        return counts

    def _conversions(self, h: EventCounts) -> Any:
        if not self.switches.groups_as_reads:
            return h.reads * h.tiling.columns * h.sums
        units = h.tiling.pes if self.switches.adc_per_pe else h.tiling.crossbars
        return h.reads * units * self.groups**2

    def _cell_reads(self, h: EventCounts) -> Any:
        """Cells read once each per vector; in the script crossbars, by reads of their groups."""
        if self.switches.fixed_array:
            return h.reads * h.tiling.crossbars * self.column_reads
        return h.reads * h.tiling.cells * (self.column_reads / self.figures.columns_per_adc)

    def _added_bits(self, h: EventCounts, merged: Any) -> Any:
        """Bits of the additions that merge row tiles, slices and input bits into one output."""
        width = merged + np.ceil(np.log2(np.maximum(h.sums, 1)))
        parts = h.sums * h.tiling.slices * self._serial_bits(h.table)
        return np.maximum(parts - 1, 0) * width * h.outputs

    def _merged_bits(self, h: EventCounts) -> Any:
        """Bits of a converted sum whose slices were added where they were converted."""
        return self.figures.adc_bits + (h.tiling.slices - 1) * self.figures.bits_per_cell

    def _moved_bits(self, h: EventCounts, merged: Any) -> Counts:
        """Bits that buffers and wires carry: windows in, sums and spikes out, potentials."""
        v, x = self.figures, h.table
        vectors = h.vectors * (1.0 if self.switches.wide_inputs else x.input_bits)
        windows = vectors * (x.in_channels * x.kernel2)
        sent = x.out_channels * h.table.pooled_pixels * x.time_steps
        return {
            "tile_buffer": windows + sent,
            "h_tree": windows,
            "sum_wires": h.outputs * h.sums * self._serial_bits(x) * merged,
            "network": sent,
            "neuron_memory": h.neurons * x.time_steps * (2 * v.bits_per_value),
        }

    def _pooled_bits(self, h: EventCounts) -> Any:
        """Bits of the additions of pooling windows and of branches that meet."""
        x = h.table
        pooled = x.out_channels * h.table.pooled_pixels * (x.pool**2 - 1)
        return (pooled + x.input_adds) * x.time_steps * self.figures.bits_per_value

    @cached_property
    def energy_prices(self) -> Prices:
        """J for each count of an inference's events."""
        v, o, s = self.figures, self.options, self.switches
        tile_m = math.sqrt(self.tile_m2)
        literal = v.crossbar_area_m2 if s.energy_is_area else v.crossbar_energy_J
        per_bit = not s.buffers_per_read
        return {
            "crossbar": literal if s.fixed_array else v.cell_read_energy_J,
            "adc": adc.energy_J(v, o),
            "mux": v.mux_energy_J,
            "subtractor": v.subtractor_energy_J if s.script_subtractor else v.adder_bit_energy_J,
            "adder": v.adder_bit_energy_J,
            "temp_buffer": v.temp_buffer_energy_J,
            "tile_buffer": v.sram_bit_energy_J if per_bit else v.tile_buffer_energy_J,
            "h_tree": v.wire_bit_energy_J_m * tile_m if per_bit else v.h_tree_energy_J,
            "fetch": v.fetch_energy_J,
            "sum_wires": v.wire_bit_energy_J_m * tile_m,
            "network": v.wire_bit_energy_J_m * tile_m,
            "neuron_memory": v.sram_bit_energy_J,
            "neuron": v.neuron_energy_J if s.neuron_per_read else v.neuron_update_energy_J,
            "elementwise": v.adder_bit_energy_J,
            "dac": v.dac_bit_energy_J,
        }

    # --- area --------------------------------------------------------------------------------

    def _pe_area(self, crossbars: Any) -> dict[str, Any]:
        """Area of one PE with so many crossbars, by component."""
        v, s = self.figures, self.switches
        array = v.crossbar_area_m2 if s.fixed_array else v.crossbar_size**2 * v.cell_area_m2
        converters = self.groups * (1.0 if s.adc_per_pe else crossbars)
        parts = {
            "crossbar": crossbars * array,
            "adc": converters * adc.area_m2(v, self.options),
            "mux": converters * v.mux_area_m2,
        }
        if not s.script_subtractor and self.options.sign == "differential":
            parts["subtractor"] = converters * (v.adc_bits / 2 * v.adder_bit_area_m2)
        if not s.free_partial_sums:
            parts["adder"] = converters * (v.bits_per_value * v.adder_bit_area_m2)
        if self.options.input_coding == "dac" and not s.wide_inputs:
            parts["dac"] = crossbars * (v.crossbar_size * v.dac_area_m2)
        return parts

    @cached_property
    def _tile_area(self) -> dict[str, float]:
        """Area of one tile's own periphery, by component."""
        v = self.figures
        parts = {
            "temp_buffer": v.temp_buffer_area_m2,
            "tile_buffer": v.tile_buffer_area_m2,
            "h_tree": v.h_tree_area_m2,
        }
        if self.switches.script_subtractor:
            parts["subtractor"] = self.groups * v.subtractor_area_m2
        return parts

    def _areas(self, h: EventCounts) -> Counts:
        """PEs, tiles and stored bits of each layer [.., L]; shared ones [.., 1]."""
        v, x = self.figures, h.table
        if self.switches.five_membranes:
            resident = np.cumsum(x.in_channels > 0, -1) <= RESIDENT_LAYERS
            membranes = x.out_channels * h.pixels * resident
        else:
            membranes = h.neurons
        return {
            "pe": h.tiles * v.pes_per_tile,
            "tile": h.tiles,
            "input_memory": self._input_bits(h),
            "neuron_memory": membranes * v.bits_per_value,
        }

    def _input_bits(self, h: EventCounts) -> Any:
        """Bits that hold a layer's input map: of one time step, or of all in layer_first order."""
        x, values = h.table, h.table.in_channels * h.table.in_size * h.table.in_size
        if self.switches.wide_inputs:
            return values * self.figures.bits_per_value
        kept = x.steps if self.options.order == "layer_first" else 1.0
        return values * x.input_bits * kept

    def area_prices(self, pe_crossbars: Any) -> dict[str, Any]:
        """m2 for each count of `_areas`, with so many crossbars in a PE."""
        v = self.figures
        pe = sum(self._pe_area(pe_crossbars).values())
        own = {"pe": pe, "tile": sum(self._tile_area.values())}
        return own | dict.fromkeys(("input_memory", "neuron_memory"), v.sram_bit_area_m2)

    def _area_table(self, h: EventCounts) -> dict[str, Array]:
        """Area [L + shared] by component: with shared tiles a layer owns the PEs it fills."""
        counts, v = self._areas(h), self.figures
        if self.switches.tile_sharing:
            slots = np.append(h.tiling.pes, counts["pe"][0] - h.tiling.pes.sum())
            tiles = np.append(np.zeros(len(h.tiling.pes)), counts["tile"])
        else:
            slots, tiles = counts["pe"], counts["tile"]
        pe = self._pe_area(h.tiling.pe_crossbars)
        table: dict[str, Array] = {name: slots * area for name, area in pe.items()}
        table |= {name: tiles * area for name, area in self._tile_area.items()}
        for name in ("input_memory", "neuron_memory"):
            table[name] = counts[name] * v.sram_bit_area_m2
        return table

    # --- memory and time ---------------------------------------------------------------------

    def _memory(self, h: EventCounts) -> Counts:
        """Bytes to keep: trained numbers; corrected also potentials and spikes in flight."""
        x, v = h.table, self.figures
        memory = {"parameters": x.trained_numbers * x.weight_bits / 8}
        if not self.switches.five_membranes:
            memory["neuron_state"] = h.neurons * (v.bits_per_value / 8)
        if not self.switches.wide_inputs:
            memory["spike_buffer"] = self._input_bits(h) / 8
        return memory

    def _cycles(self, h: EventCounts) -> Any:
        """Read cycles of one time step of each layer [.., L]."""
        if self.switches.latency_per_channel:
            return h.table.out_channels * h.pixels * self._serial_bits(h.table)
        return h.pixels * self._serial_bits(h.table)

    def _period(self, h: EventCounts) -> Any:
        """Read cycles between two time steps of a layer; in a feedback loop those of all of it."""
        cycles, loops = self._cycles(h), h.table.loops
        if not h.table.looped:
            return cycles
        together = (loops[..., :, None] == loops[..., None, :]) & (loops[..., None, :] > 0)
        around = (together * cycles[..., None, :]).sum(-1)
        return np.where(loops > 0, around, cycles)

    def _waits(self, h: EventCounts) -> Any:
        """Not 0 where a layer waits for all of its input: it is linear, or in a feedback loop."""
        return h.table.linear + h.table.loops if h.table.looped else h.table.linear

    def _times(self, h: EventCounts) -> tuple[Any, Any]:
        """Cycles a layer runs in one go, and how many further goes there are."""
        cycles = self._cycles(h)
        if self.options.order == "layer_first":
            return cycles * h.steps, np.zeros_like(cycles)
        return cycles, h.steps - 1

    def _schedule(self, h: EventCounts, workload: Workload) -> Schedule:
        if self.switches.last_halt:
            return self._script_schedule(h)
        cycles, repeats = self._times(h)
        held, periods = self._tile_sharing(h, cycles, repeats)
        size = range(len(cycles))
        blockers = [[j for j in range(i) if held(i, j)] if held else [] for i in size]
        plan = schedule(
            cycles.tolist(), repeats.tolist(), periods.tolist(),
            workload.predecessors, blockers, self._waits(h).tolist(), self.figures.overlap,
        )  # fmt: skip
        return plan.stretched(workload.time_steps) if self.switches.time_twice else plan

    def _script_schedule(self, h: EventCounts) -> Schedule:
        """A layer starts when the one before it in the list has done its share."""
        busy = self._script_cycles(h).tolist()
        ends = list(itertools.accumulate(busy))
        starts = [0.0, *ends[:-1]]
        whole = (h.steps * self._cycles(h)).tolist()
        halts = [a + b for a, b in zip(starts, whole, strict=True)]
        plan = Schedule(starts, halts, busy, [0.0] * len(busy))
        steps = float(h.table.time_steps)
        return plan.stretched(steps) if self.switches.time_twice else plan

    def _script_cycles(self, h: EventCounts) -> Array:
        """T floor(overlap w) for every layer but the last, T w for the last [.., L]."""
        w = self._cycles(h)
        position = np.cumsum(h.table.in_channels > 0, -1)
        after = position < position[..., -1:]
        cycles: Array = h.steps * np.where(after, np.floor(self.figures.overlap * w), w)
        return cycles

    def _makespans(self, h: EventCounts) -> Array:
        """Makespans of N workloads in read cycles [N]."""
        x = h.table
        twice = x.time_steps[:, 0] if self.switches.time_twice else 1.0
        if self.switches.last_halt:
            spans: Array = self._script_cycles(h).sum(-1) * twice
            return spans
        cycles, repeats = self._times(h)
        shares, periods = self._tile_sharing(h, cycles, repeats)
        overlap = self.figures.overlap
        found = makespans(cycles, repeats, periods, x.sources, shares, self._waits(h), overlap)
        return found * twice

    def _tile_sharing(self, h: EventCounts, cycles: Array, repeats: Array) -> tuple[Any, Array]:
        """Which layers hold a tile together, and how often each can begin a step.

        A shared tile's buffer serves one layer at a time: layers on it run one after the other.
        """
        serialised = self.options.tile_contention == "serialised"
        period = cycles if self.options.order == "layer_first" else self._period(h)
        if not (serialised and self.switches.tile_sharing):
            return None, period
        pes = h.tiling.pes
        ends = np.cumsum(pes, -1)
        first = np.floor((ends - pes) / self.figures.pes_per_tile)
        last = np.where(pes > 0, np.ceil(ends / self.figures.pes_per_tile) - 1, -1)

        def held(i: int, j: int) -> Any:
            there = (pes[..., i] > 0) & (pes[..., j] > 0)
            return there & (first[..., i] <= last[..., j]) & (first[..., j] <= last[..., i])

        size, again = range(cycles.shape[-1]), cycles * (repeats > 0)
        periods = [sum(held(i, j) * again[..., j] for j in size) for i in size]
        return held, np.maximum(np.stack(periods, -1), period)

    # --- what to be careful about ------------------------------------------------------------

    def _warnings(self, workload: Workload, h: EventCounts) -> list[str]:
        found = [] if self.switches.pooled_sizes else list(workload.unnamed_poolings)
        if self.switches.one_kernel and self.switches.last_halt:
            found += self._where_script_fails(workload, h)
        return found

    def _where_script_fails(self, workload: Workload, h: EventCounts) -> list[str]:
        """Where the script gives no figure and this is its closed form."""
        layers, x = workload.layers, self.figures.crossbar_size
        exact = [layer.in_channels * layer.out_channels / x**2 for layer in layers]
        found = []
        if _falls(h.tiling.pes.tolist()):
            found.append("PEs per layer fall somewhere: the original refuses to count tiles")
        if _falls(exact):
            found.append("matrix sizes fall somewhere: the original refuses to give a latency")
        if len(layers) > SCRIPT_MAX_LAYERS:
            found.append(f"{len(layers)} layers: the original crashes beyond {SCRIPT_MAX_LAYERS}")
        if max(exact) < 1:
            found.append("no layer fills a crossbar: the original never ends")
        if len({layer.kernel for layer in layers}) > 1:
            found.append("kernels differ: the original knows one kernel for all layers")
        return found


def _some_spike(x: LayerTable, rows: Any) -> Any:
    """Probability that at least one of `rows` inputs spikes, mean over time steps [.., L]."""
    if x.silent:
        return np.zeros_like(x.rate)
    if x.rates.shape[-1] == 1:
        return 1 - (1 - x.rate) ** rows
    return (1 - (1 - x.rates) ** rows[..., None]).mean(-1)


def _falls(values: list[float]) -> bool:
    return any(b < a for a, b in itertools.pairwise(values))


def _whole(values: Array) -> tuple[int, ...]:
    return tuple(values.astype(np.int64).tolist())


def _weighted(counts: Counts, prices: dict[str, Any]) -> Array:
    """Sum over layers and components of counts times prices [N]."""
    total: Any = 0.0
    for name, n in counts.items():
        price = prices[name]
        if np.ndim(price):
            total = total + (n * price).sum(-1)
        elif price:
            total = total + n.sum(-1) * price
    return total  # type: ignore[no-any-return]


def _breakdown(table: Table[str, Any], factor: float = 1.0) -> Breakdown:
    """Columns of figures to an array; a column without a shared figure gets a 0 there."""
    lengths = [len(column) for column in table.values()]
    rows, least = max(lengths), min(lengths)
    values = np.zeros((len(table), rows + (rows == least)))  # components x rows
    if rows == least:
        values[:, :-1] = list(table.values())
    else:
        for j, column in enumerate(table.values()):
            values[j, : len(column)] = column
    if factor != 1:
        values *= factor
    return Breakdown(tuple(table), values.T)
