"""When layers run: the makespan of a graph of layers, in read cycles.

With p a source of i and d durations, a layer may start when its sources have done the share
`overlap` of their outputs, and ends one read after them at the earliest:
    start_i = max_p (start_p + overlap d_p),    end_i = max(start_i + d_i, max_p end_p + 1).
A linear layer needs all of its input: its overlap is 1. In `layer_first` order a layer runs all
T time steps without a break; in `time_first` order it runs one step, then the next when it is
free. The steps are alike, so the longest path spends T - 1 of them on one layer, and two starts
per layer suffice: of its first step and of its last.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hw_models.layer_table import Array

Origin = tuple[int, float]  # layer that sets a time (-1: the layer itself), and the delay after it


@dataclass(frozen=True, eq=False)
class Schedule:
    """One workload's layers in time, in read cycles [L]."""

    start: list[float]  # of the first step
    end: list[float]  # of the last step
    fill: list[float]  # a layer's share of the longest path until its successor can start
    steady: list[float]  # its share for the T - 1 steps of the slowest layer of the path

    @property
    def makespan(self) -> float:
        """Read cycles until the last layer ends."""
        return max(self.end)

    def stretched(self, factor: float) -> "Schedule":
        """The same schedule with every time multiplied by a factor."""
        columns = (self.start, self.end, self.fill, self.steady)
        return Schedule(*([factor * x for x in column] for column in columns))


def schedule(
    durations: Sequence[float],
    repeats: Sequence[float],
    periods: Sequence[float],
    sources: Sequence[Sequence[int]],
    blockers: Sequence[Sequence[int]],
    linear: Sequence[float],
    overlap: float,
) -> Schedule:
    """When each layer of one workload runs, and the longest path.

    Args:
        durations: Read cycles of one step, or of all steps in layer_first order [L].
        repeats: Steps after the first, T - 1 or 0 [L].
        periods: Read cycles between two steps of a layer, >= its duration [L].
        sources: Layers that each layer reads.
        blockers: Layers that must end before each layer starts, as they share a tile.
        linear: Not 0 where a layer needs all of its input [L].
        overlap: Share of its outputs after which a layer's reader may start, 0..1.

    Returns:
        Times in read cycles; `fill` and `steady` sum to the makespan.
    """
    first: list[float] = []
    last: list[float] = []
    end: list[float] = []
    origins: list[tuple[Origin, Origin, Origin]] = []  # of the three times of each layer
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
        origins.append((to_first, to_last, to_end))
    return Schedule(first, end, *_path(origins, end))


def _path(
    origins: list[tuple[Origin, Origin, Origin]], end: list[float]
) -> tuple[list[float], list[float]]:
    """Fill and steady shares of the longest path, followed back from its end."""
    fill, steady = [0.0] * len(end), [0.0] * len(end)
    i = end.index(max(end))
    while origins[i][2][0] >= 0:  # it ends one read after its source
        fill[i] += origins[i][2][1]
        i = origins[i][2][0]
    fill[i] += origins[i][2][1]
    while origins[i][1][0] >= 0:
        i, wait = origins[i][1]
        fill[i] += wait
    steady[i] += origins[i][1][1]
    while origins[i][0][0] >= 0:
        i, wait = origins[i][0]
        fill[i] += wait
    return fill, steady


def makespans(
    durations: Array,
    repeats: Array,
    periods: Array,
    sources: Any,
    blocked: Callable[[int, int], Array] | None,
    linear: Array,
    overlap: float,
) -> Array:
    """The makespans of N workloads; as `schedule(...).makespan` gives them one by one.

    Args:
        durations: Read cycles of one step, or of all steps in layer_first order [N, L].
        repeats: Steps after the first [N, L].
        periods: Read cycles between two steps of a layer [N, L].
        sources: Positions of the layers that each layer reads [N, L, P], -1 for none.
        blocked: (i, j) -> [N] whether layer j must end before layer i; None if never.
        linear: Not 0 where a layer needs all of its input [N, L].
        overlap: Share of its outputs after which a layer's reader may start, 0..1.

    Returns:
        Read cycles [N].
    """
    cycles = np.ascontiguousarray(durations.T)  # [L, N]
    partial, alike = np.floor(overlap * cycles), (sources == sources[:1]).all(0)
    whole = cycles
    if not alike.all():
        nothing = np.zeros_like(cycles[:1])  # a row for sources that do not exist
        whole, partial = (np.concatenate([x, nothing]) for x in (cycles, partial))
    waits = _Waits(whole, partial, np.ascontiguousarray(linear.T) > 0)
    delays = np.ascontiguousarray((repeats * periods).T)
    first, last, end = (np.zeros((len(cycles) + 1, len(sources))) for _ in range(3))
    end[-1] = -1
    for i, own in enumerate(cycles):
        for source in _sources(sources, alike, i):
            wait = waits.of(i, source)
            source.raise_to(first[i], first, wait)
            source.raise_to(last[i], last, wait)
            source.raise_to(end[i], end, 1)
        for j in range(i) if blocked else ():
            must_wait = blocked(i, j)  # type: ignore[misc]
            _raise(first[i], first[j] + cycles[j], must_wait)
            _raise(last[i], last[j] + cycles[j], must_wait)
        _raise(last[i], first[i] + delays[i])
        _raise(end[i], last[i] + own)
    spans: Array = end.max(0)
    return spans


@dataclass(frozen=True, eq=False)
class _Source:
    """A layer that another one reads, in each of N candidates."""

    rows: Any  # its position where it is the same in all candidates, else places in [L + 1, N]
    is_only: bool = False  # the reader has no other source

    def of(self, times: Array) -> Array:
        """Its own among the times of all layers [L + 1, N]."""
        own: Array = times[self.rows] if isinstance(self.rows, int) else times.take(self.rows)
        return own

    def raise_to(self, times: Array, all_times: Array, wait: Any) -> None:
        """Raises times [N] to at least those of this source, and a wait after them."""
        if self.is_only:
            np.add(self.of(all_times), wait, out=times)
        else:
            _raise(times, self.of(all_times) + wait)


@dataclass(frozen=True, eq=False)
class _Waits:
    """Read cycles until a layer may start after one that it reads."""

    whole: Array  # [L, N], or [L + 1, N] where candidates differ in their sources
    partial: Array
    needs_all: Any  # [L, N]

    @cached_property
    def _kinds(self) -> list[tuple[bool, bool]]:
        """Of each layer: does any candidate's, and does every one's, need all of its input?"""
        return list(
            zip(self.needs_all.any(1).tolist(), self.needs_all.all(1).tolist(), strict=True)
        )

    def of(self, i: int, source: _Source) -> Any:
        """Read cycles between the starts of a source and of layer i [N]."""
        some, every = self._kinds[i]
        if some == every:
            return source.of(self.whole if every else self.partial)
        return np.where(self.needs_all[i], source.of(self.whole), source.of(self.partial))


def _raise(times: Array, least: Array, where: Any = None) -> None:
    """Raises times [N] to at least these, where candidates have that source."""
    np.maximum(times, least if where is None else least * where, out=times)


def _sources(sources: Any, alike: Any, i: int) -> list[_Source]:
    """The sources of layer i that any candidate has; where one has none, that of the last row."""
    read: list[_Source] = []
    count, existing = len(sources), (sources[0, i] >= 0).tolist()
    for p, same in enumerate(alike[i].tolist()):
        if not same:
            read.append(_Source(sources[:, i, p] * count + np.arange(count)))
        elif existing[p]:  # the usual chain: one row for all
            alone = sum(existing) == 1 and bool(alike[i].all())
            read.append(_Source(int(sources[0, i, p]), alone))
    return read
