"""When the layers of a workload run on a chip, in read cycles.

N workloads, L layers; [..., L] is [L] for one workload and [N, L] for many. T time steps.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from hw_models.events import EventCounts
from hw_models.layer_table import Array
from hw_models.schedule import Schedule, makespans, schedule
from hw_models.workload import Workload

ShareTile = Callable[[int, int], Any]  # (i, j) -> do layers i and j share a tile? bool or [N]


def step_period(c: EventCounts) -> Any:
    """Read cycles between two time steps of a layer [..., L]; in a feedback loop those of it all.

    Layers of one loop run one after the other before the next time step can begin.
    """
    cycles, loops = c.step_cycles, c.layers.loops
    if not c.layers.looped:
        return cycles
    same_loop = (loops[..., :, None] == loops[..., None, :]) & (loops[..., None, :] > 0)
    return np.where(loops > 0, (same_loop * cycles[..., None, :]).sum(-1), cycles)


def interval_cycles(c: EventCounts) -> Any:
    """Read cycles between two inferences that follow each other: those of the slowest layer."""
    return (c.steps * step_period(c)).max(-1)


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
        cycles, repeats = _durations(c)
        sharing, periods = _tile_sharing(c, cycles, repeats)
        overlap, sources = c.chip.figures.overlap, c.layers.sources
        spans = makespans(cycles, repeats, periods, sources, sharing, _needs_all(c), overlap)
    return spans * c.layers.time_steps[:, 0] if c.chip.defects.time_twice else spans


def _needs_all(c: EventCounts) -> Any:
    """Not 0 where a layer waits for all of its input: it is linear, or in a feedback loop."""
    return c.layers.linear + c.layers.loops if c.layers.looped else c.layers.linear


def _durations(c: EventCounts) -> tuple[Any, Any]:
    """Read cycles that a layer runs without a break, and how often it runs again after that."""
    cycles = c.step_cycles
    if c.chip.options.order == "layer_first":
        return cycles * c.steps, np.zeros_like(cycles)
    return cycles, c.steps - 1


def _graph_schedule(c: EventCounts, workload: Workload) -> Schedule:
    cycles, repeats = _durations(c)
    sharing, periods = _tile_sharing(c, cycles, repeats)
    layers = range(len(cycles))
    blockers = [[j for j in range(i) if sharing(i, j)] if sharing else [] for i in layers]
    return schedule(
        cycles.tolist(), repeats.tolist(), periods.tolist(),
        workload.predecessors, blockers, _needs_all(c).tolist(), c.chip.figures.overlap,
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


def _tile_sharing(c: EventCounts, cycles: Array, repeats: Array) -> tuple[ShareTile | None, Array]:
    """Which layers share a tile, and read cycles between two time steps of each [..., L].

    A shared tile's buffer serves one layer at a time, so its layers run one after the other.
    """
    period = cycles if c.chip.options.order == "layer_first" else step_period(c)
    if not (c.chip.options.tile_contention == "serialised" and c.chip.defects.tile_sharing):
        return None, period
    share_tile = _shared_tiles(c)
    layers, again = range(cycles.shape[-1]), cycles * (repeats > 0)
    periods = [sum(share_tile(i, j) * again[..., j] for j in layers) for i in layers]
    return share_tile, np.maximum(np.stack(periods, -1), period)


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
