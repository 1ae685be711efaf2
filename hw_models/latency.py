"""When the layers of a workload run on a chip, in read cycles.

N workloads, L layers; [..., L] is [L] for one workload and [N, L] for many. T time steps.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hw_models.chip import Chip
from hw_models.events import EventCounts
from hw_models.layer_table import Array
from hw_models.schedule import Schedule, makespans, schedule
from hw_models.workload import Workload

ShareTile = Callable[[int, int], Any]  # (i, j) -> do layers i and j share a tile? bool or [N]


@dataclass(frozen=True, eq=False)
class Timing:
    """How long layers run, and what they wait for; every array is [..., L] unless it says so."""

    chip: Chip
    cycles: Any  # read cycles of one time step
    steps: Any  # time steps in which the layer is multiplied
    linear: Any  # not 0 where a layer needs all of its input
    loops: Any  # number of a layer's feedback loop, 0 for none
    sources: Any  # [..., L, P] positions of what a layer reads, -1 for none

    @classmethod
    def of(cls, c: EventCounts) -> "Timing":
        """The times of layers whose events were counted."""
        layers = c.layers
        return cls(c.chip, c.step_cycles, c.steps, layers.linear, layers.loops, layers.sources)

    @cached_property
    def period(self) -> Any:
        """Read cycles between two time steps of a layer; in a feedback loop those of it all.

        Layers of one loop run one after the other before the next time step can begin.
        """
        cycles, loops = self.cycles, self.loops
        if not loops.any():
            return cycles
        same_loop = (loops[..., :, None] == loops[..., None, :]) & (loops[..., None, :] > 0)
        return np.where(loops > 0, (same_loop * cycles[..., None, :]).sum(-1), cycles)

    @property
    def needs_all(self) -> Any:
        """Not 0 where a layer waits for all of its input: it is linear, or in a feedback loop."""
        return self.linear + self.loops if self.loops.any() else self.linear

    @property
    def durations(self) -> tuple[Any, Any]:
        """Read cycles that a layer runs without a break, and how often it runs again after that."""
        if self.chip.options.order == "layer_first":
            return self.cycles * self.steps, np.zeros_like(self.cycles)
        return self.cycles, self.steps - 1

    @property
    def periods(self) -> Any:
        """Read cycles between two runs of a layer."""
        return self.cycles if self.chip.options.order == "layer_first" else self.period

    @property
    def interval(self) -> Any:
        """Read cycles between two inferences that follow each other: those of the slowest layer."""
        return (self.steps * self.period).max(-1)

    def makespans(self) -> Array:
        """Read cycles of N workloads [N], where no layers share a tile."""
        cycles, repeats = self.durations
        overlap = self.chip.figures.overlap
        return makespans(cycles, repeats, self.periods, self.sources, None, self.needs_all, overlap)


def layer_schedule(c: EventCounts, workload: Workload) -> Schedule:
    """When each layer of one workload runs, and its share of the longest path.

    Args:
        c: Counts of the workload [L].
        workload: The same workload, for its graph.

    Returns:
        The schedule in read cycles.
    """
    plan = _script_schedule(c) if c.chip.defects.last_halt else _graph_schedule(c, workload)
    return plan.stretched(workload.time_steps) if c.chip.defects.time_twice else plan


def batch_makespans(c: EventCounts) -> Array:
    """Makespans of N workloads in read cycles [N]: the totals of `layer_schedule`."""
    if c.chip.defects.last_halt:
        spans: Array = _script_cycles(c).sum(-1)
    else:
        timing = Timing.of(c)
        cycles, repeats = timing.durations
        sharing, periods = _tile_sharing(c, timing)
        overlap = c.chip.figures.overlap
        spans = makespans(
            cycles, repeats, periods, timing.sources, sharing, timing.needs_all, overlap
        )
    return spans * c.layers.time_steps[:, 0] if c.chip.defects.time_twice else spans


def _graph_schedule(c: EventCounts, workload: Workload) -> Schedule:
    timing = Timing.of(c)
    cycles, repeats = timing.durations
    sharing, periods = _tile_sharing(c, timing)
    layers = range(len(cycles))
    blockers = [[j for j in range(i) if sharing(i, j)] if sharing else [] for i in layers]
    return schedule(
        cycles.tolist(), repeats.tolist(), periods.tolist(),
        workload.predecessors, blockers, timing.needs_all.tolist(), c.chip.figures.overlap,
    )  # fmt: skip


def _script_schedule(c: EventCounts) -> Schedule:
    """A layer starts when the one before it in the list has done its share (D10)."""
    shares = _script_cycles(c).tolist()
    starts = [0.0, *itertools.accumulate(shares[:-1])]
    durations = (c.steps * c.step_cycles).tolist()
    halts = [start + cycles for start, cycles in zip(starts, durations, strict=True)]
    return Schedule(starts, halts, shares, [0.0] * len(shares))


def _script_cycles(c: EventCounts) -> Array:
    """T floor(overlap w) for every layer but the last, T w for the last [..., L]."""
    cycles = c.step_cycles
    position = np.cumsum(c.layers.in_channels > 0, -1)
    shares = np.where(
        position < position[..., -1:], np.floor(c.chip.figures.overlap * cycles), cycles
    )
    spent: Array = c.steps * shares
    return spent


def _tile_sharing(c: EventCounts, timing: Timing) -> tuple[ShareTile | None, Array]:
    """Which layers share a tile, and read cycles between two time steps of each [..., L].

    A shared tile's buffer serves one layer at a time, so its layers run one after the other.
    """
    if not (c.chip.options.tile_contention == "serialised" and c.chip.defects.tile_sharing):
        return None, timing.periods
    share_tile, (cycles, repeats) = _shared_tiles(c), timing.durations
    layers, again = range(cycles.shape[-1]), cycles * (repeats > 0)
    periods = [sum(share_tile(i, j) * again[..., j] for j in layers) for i in layers]
    return share_tile, np.maximum(np.stack(periods, -1), timing.periods)


def _shared_tiles(c: EventCounts) -> ShareTile:
    """Whether two layers share a tile, when PEs fill tiles in the order of the layers."""
    pes = c.tiling.pes
    ends = np.cumsum(pes, -1)
    first = np.floor((ends - pes) / c.chip.figures.pes_per_tile)
    last = np.where(pes > 0, np.ceil(ends / c.chip.figures.pes_per_tile) - 1, -1)

    def share_tile(i: int, j: int) -> Any:
        both = (pes[..., i] > 0) & (pes[..., j] > 0)
        return both & (first[..., i] <= last[..., j]) & (first[..., j] <= last[..., i])

    return share_tile
