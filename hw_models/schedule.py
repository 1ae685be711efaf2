"""When layers run: the makespan of a graph of layers, in read cycles.

With p a source of i and d durations, a layer may start when its sources have done the share
`overlap` of their outputs, and ends a read after them at the earliest:
    start_i = max_p (start_p + overlap d_p),    end_i = max(start_i + d_i, max_p end_p + 1).
A linear layer needs all of its input: there overlap is 1. In `layer_first` order a layer runs all
T time steps in one go; in `time_first` order it runs one step, then the next when it is free. The
steps are alike, so the longest path spends T - 1 of them on one layer, and two starts a layer are
enough: of its first step and of its last.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hw_models.layer_table import Array

Way = tuple[int, float]  # where a time comes from, and how much later it is; -1: from itself


@dataclass(frozen=True, eq=False)
class Schedule:
    """One workload's layers in time, in read cycles [L]."""

    start: list[float]  # of the first step
    end: list[float]  # of the last step
    fill: list[float]  # a layer's share of the longest path: the first outputs it makes others wait
    steady: list[float]  # the same for the T - 1 steps of the slowest layer of the path

    @property
    def makespan(self) -> float:
        return max(self.end)

    def stretched(self, factor: float) -> "Schedule":
        """The same, everything so many times longer."""
        columns = (self.start, self.end, self.fill, self.steady)
        return Schedule(*([factor * x for x in column] for column in columns))


def schedule(
    durations: Sequence[float],  # of one step, or of all steps in layer_first order
    repeats: Sequence[float],  # steps that follow the first: T - 1, or 0
    periods: Sequence[float],  # cycles between two steps of a layer; >= its duration
    sources: Sequence[Sequence[int]],
    blockers: Sequence[Sequence[int]],  # layers that must have ended: they hold the same tile
    linear: Sequence[float],  # not 0 where all of the input is needed
    overlap: float,
) -> Schedule:
    """The makespan and what it consists of."""
    first: list[float] = []
    last: list[float] = []
    end: list[float] = []
    ways: list[tuple[Way, Way, Way]] = []  # to the three times of each layer
    for i, own in enumerate(durations):
        share = 1.0 if linear[i] else overlap
        more = repeats[i] * periods[i]
        begin, latest, ended = 0.0, 0.0, 0.0
        to_first = to_last = to_end = (-1, 0.0)
        for p in sources[i]:
            wait = math.floor(share * durations[p])
            if first[p] + wait > begin:
                begin, to_first = first[p] + wait, (p, wait)
            if last[p] + wait > latest:
                latest, to_last = last[p] + wait, (p, wait)
            if end[p] + 1 > ended:
                ended, to_end = end[p] + 1, (p, 1.0)
        for b in blockers[i]:
            if first[b] + durations[b] > begin:
                begin, to_first = first[b] + durations[b], (b, durations[b])
            if last[b] + durations[b] > latest:
                latest, to_last = last[b] + durations[b], (b, durations[b])
        if begin + more >= latest:
            latest, to_last = begin + more, (-1, more)
        if latest + own >= ended:
            ended, to_end = latest + own, (-1, own)
        first.append(begin)
        last.append(latest)
        end.append(ended)
        ways.append((to_first, to_last, to_end))
    return Schedule(first, end, *_path(ways, end))


def _path(ways: list[tuple[Way, Way, Way]], end: list[float]) -> tuple[list[float], list[float]]:
    """Fill and steady shares of the longest path, which is walked from its end."""
    fill, steady = [0.0] * len(end), [0.0] * len(end)
    i = end.index(max(end))
    while ways[i][2][0] >= 0:  # it ends a read after its source
        fill[i] += ways[i][2][1]
        i = ways[i][2][0]
    fill[i] += ways[i][2][1]
    while ways[i][1][0] >= 0:
        i, wait = ways[i][1]
        fill[i] += wait
    steady[i] += ways[i][1][1]
    while ways[i][0][0] >= 0:
        i, wait = ways[i][0]
        fill[i] += wait
    return fill, steady


def makespans(
    durations: Array,  # [N, L]
    repeats: Array,
    periods: Array,
    sources: Any,  # [N, L, P], -1 for none
    blocked: Callable[[int, int], Array] | None,  # (i, j) -> bool [N]: j must end before i
    linear: Array,
    overlap: float,
) -> Array:
    """The makespans of N workloads at once [N]; the twin of `schedule`."""
    d = np.ascontiguousarray(durations.T)  # [L, N]
    partial = np.floor(overlap * d)
    first, last, end = np.zeros_like(d), np.zeros_like(d), np.zeros_like(d)
    for i, own in enumerate(d):
        for before, known in _sources(sources, i):
            wait = np.where(linear[:, i] > 0, d[before], partial[before])
            np.maximum(first[i], (first[before] + wait) * known, out=first[i])
            np.maximum(last[i], (last[before] + wait) * known, out=last[i])
            np.maximum(end[i], (end[before] + 1) * known, out=end[i])
        for j in range(i) if blocked else ():
            held = blocked(i, j)  # type: ignore[misc]
            np.maximum(first[i], (first[j] + d[j]) * held, out=first[i])
            np.maximum(last[i], (last[j] + d[j]) * held, out=last[i])
        np.maximum(last[i], first[i] + repeats[:, i] * periods[:, i], out=last[i])
        np.maximum(end[i], last[i] + own, out=end[i])
    spans: Array = end.max(0)
    return spans


def _sources(sources: Any, i: int) -> list[tuple[Any, Any]]:
    """Each source of layer i as an index into [L, N], and 1 where there is one, else 0."""
    found: list[tuple[Any, Any]] = []
    for chosen in sources[:, i].T:
        known = chosen >= 0
        if (chosen == chosen[0]).all():  # the usual chain: one row for all
            found += [(int(chosen[0]), 1.0)] if known[0] else []
        elif known.any():
            found.append(((chosen, np.arange(len(chosen))), known))
    return found
