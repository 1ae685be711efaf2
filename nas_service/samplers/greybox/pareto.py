"""Pareto fronts and the volumes that points dominate; all objectives are minimised.

N points, K points of a front, M objectives. The reference is 1 in every objective: only what lies
below it counts for a volume. Fronts of up to two objectives take O(N log N), others whole arrays
at a time. A point with NaN cannot be compared: ValueError.
"""

import heapq
from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]

BLOCK = 256  # points that are compared with a front at a time
NO_GAIN = 1e-12  # volumes up to this are rounding errors


# --- fronts


def nondominated(points: Floats) -> Indices:
    """Indices of the points [N, M] that no other one dominates; of equal ones the first."""
    distinct, first, _ = _distinct(points)
    return first[_undominated(distinct)]


def on_front(points: Floats) -> Bools:
    """Which of the points [N, M] no other one dominates; of equal ones all."""
    distinct, _, which = _distinct(points)
    mask = np.zeros(len(distinct), dtype=np.bool_)
    mask[_undominated(distinct)] = True
    return mask[which]


def covered(points: Floats, front: Floats) -> Bools:
    """Which of the points [N, M] any point of the front [K, M] dominates or equals."""
    return np.asarray(_below(points, front).any(1))


def front_numbers(points: Floats) -> Indices:
    """The front of each point [N], from 0: its place where front after front is taken away.

    A point's front is the one after the last front with a point that dominates it.

    Args:
        points: Objectives, [N, M].

    Returns:
        Numbers [N].
    """
    distinct, _, which = _distinct(points)
    columns, numbers = np.ascontiguousarray(distinct.T), np.zeros(len(distinct), dtype=np.intp)
    for n in range(1, len(distinct)):
        dominating = np.ones(n, dtype=np.bool_)
        for column in columns[1:]:  # in the first objective none before it is larger
            dominating &= column[:n] <= column[n]
        numbers[n] = numbers[:n].max(initial=-1, where=dominating) + 1
    return numbers[which]


def _distinct(points: Floats) -> tuple[Floats, Indices, Indices]:
    """The different points in lexicographic order.

    Returns:
        These points [D, M], the first index of each [D], and which of them each point is [N].

    Raises:
        ValueError: A point has NaN.
    """
    if np.isnan(points).any():
        raise ValueError("a point with NaN cannot be compared with others")
    order = np.lexsort(points.T[::-1])
    ranked = points[order]
    new = np.ones(len(points), dtype=np.bool_)
    new[1:] = (ranked[1:] != ranked[:-1]).any(1)
    which = np.empty(len(points), dtype=np.intp)
    which[order] = np.cumsum(new) - 1
    return ranked[new], order[new], which


def _undominated(points: Floats) -> Indices:
    """Indices of the front of different points [N, M] in lexicographic order."""
    if points.shape[1] <= 2:
        return _lowest_so_far(points)
    kept = np.zeros(0, dtype=np.intp)
    for start in range(0, len(points), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(points)))
        block = block[~covered(points[block], points[kept])]
        alone = _below(points[block], points[block]).sum(1) == 1
        kept = np.concatenate([kept, block[alone]])
    return kept


def _lowest_so_far(points: Floats) -> Indices:
    """`_undominated` for one and two objectives: each is lower in the last than all before it."""
    last, mask = points[:, -1], np.ones(len(points), dtype=np.bool_)
    mask[1:] = last[1:] < np.minimum.accumulate(last)[:-1]
    return np.flatnonzero(mask)


def _below(points: Floats, front: Floats) -> Bools:
    """Which points of the front [K, M] are nowhere larger than which of the points [N, K]."""
    below = np.ones((len(points), len(front)), dtype=np.bool_)
    for own, other in zip(points.T, front.T, strict=True):
        below &= other <= own[:, None]
    return below


def constrained_order(points: Floats, excess: Floats) -> list[int]:
    """Indices of candidates by constrained domination (Deb et al., 2002), the best first.

    Args:
        points: Objectives, [N, M].
        excess: Sum of each candidate's violations of its constraints, [N]; 0 is feasible.

    Returns:
        The feasible candidates front after front, within a front by `spread`, then the others by
        their excess. Of equal candidates the first comes first.
    """
    feasible, infeasible = np.flatnonzero(excess <= 0), np.flatnonzero(excess > 0)
    numbers = front_numbers(points[feasible])
    ranked = feasible[np.argsort(numbers, kind="stable")]
    ordered: list[int] = []
    for front in np.split(ranked, np.cumsum(np.bincount(numbers))[:-1]) if len(ranked) else []:
        ordered += front[spread(points[front])].tolist()
    ordered += infeasible[np.argsort(excess[infeasible], kind="stable")].tolist()
    return ordered


def spread(points: Floats) -> list[int]:
    """Indices of the points of one front [N, M], the ones that describe it best first.

    Each adds the most to the volume between those before it and the reference; points that add
    nothing follow by their crowding distance.
    """
    inside, chosen = np.maximum(points, 0.0), list[int]()
    volumes = np.where((points < 1).all(1), (1 - inside).prod(1), 0.0)
    left = [(-volume, n) for n, volume in enumerate(volumes.tolist()) if volume > NO_GAIN]
    heapq.heapify(left)  # by what each adds at most: the more are chosen, the less another adds
    while left:
        n = left[0][1]
        gain = float(exclusive(inside[n : n + 1], inside[chosen])[0])
        heapq.heapreplace(left, (-gain, n)) if gain > NO_GAIN else heapq.heappop(left)
        if left and left[0] == (-gain, n):
            chosen.append(heapq.heappop(left)[1])
    distances = crowding(points)
    others = sorted(set(range(len(points))) - set(chosen))
    return chosen + sorted(others, key=lambda i: -distances[i])


def crowding(points: Floats) -> Floats:
    """Crowding distance (Deb et al., 2002) of each point of a front [N], infinite at its ends."""
    distances = np.zeros(len(points))
    for column in points.T:
        ranked = np.argsort(column, kind="stable")
        span = column[ranked[-1]] - column[ranked[0]]
        if span > 0:
            distances[ranked[1:-1]] += (column[ranked[2:]] - column[ranked[:-2]]) / span
            distances[ranked[[0, -1]]] = np.inf
    return distances


# --- volumes


def dominated_share(points: ArrayLike) -> float:
    """Share of the box from the ideal 0 to the reference that the points [N, M] dominate, 0..1."""
    inside = np.maximum(np.asarray(points, dtype=np.float64), 0.0)
    return hypervolume(inside) if inside.size else 0.0


def hypervolume(points: Floats) -> float:
    """Volume between the points [N, M] and the reference."""
    inside = points[(points < 1).all(1)]
    if points.shape[1] == 3:
        return _swept(inside)
    if points.shape[1] > 3:
        return float(
            sum((high - low) * hypervolume(b) for low, high, b in slices(inside) if len(b))
        )
    corner = inside.min(0, initial=1.0)
    return float(np.prod(1 - corner) - exclusive(corner[None], inside)[0])


def _swept(points: Floats) -> float:
    """`hypervolume` for three objectives: a staircase in two of them grows along the first.

    The staircase is `ys`, ascending, with the lowest z up to each in `zs`, descending.
    """
    ys, zs = [-np.inf, 1.0], [1.0, -np.inf]
    volume = area = end = 0.0
    for x, y, z in points[np.argsort(points[:, 0], kind="stable")].tolist():
        volume, end = volume + area * (x - end), x
        step = bisect_right(ys, y)
        if zs[step - 1] <= z:
            continue
        first = step - (ys[step - 1] == y)
        left, height = y, zs[step - 1]
        while zs[step] >= z:
            area += (ys[step] - left) * (height - z)
            left, height, step = ys[step], zs[step], step + 1
        area += (ys[step] - left) * (height - z)
        ys[first:step], zs[first:step] = [y], [z]
    return volume + area * (1.0 - end)


def exclusive(points: Floats, front: Floats) -> Floats:
    """Volume that each of some points dominates and no point of the front does.

    Slices along the first objective: between two neighbours on the front all those before bound
    what is left in the other objectives.

    Args:
        points: The points [N, M].
        front: The front [K, M].

    Returns:
        Volumes [N].
    """
    front = front[(front < 1).all(1)]
    if points.shape[1] == 1:
        return np.asarray(np.maximum(front[:, 0].min(initial=1.0) - points[:, 0], 0.0))
    if points.shape[1] == 2:
        return _areas(points, front)
    if len(points) == 1:
        box = float((1 - points).clip(min=0.0).prod())
        return np.array([max(box - hypervolume(np.maximum(front, points)), 0.0)])
    volumes = np.zeros(len(points))
    for low, high, before in slices(front):
        width = np.minimum(high, 1.0) - np.maximum(points[:, 0], low)
        reach = np.flatnonzero(width > 0)
        if reach.size:
            volumes[reach] += width[reach] * exclusive(points[reach, 1:], before)
    return volumes


def slices(front: Floats) -> Iterator[tuple[float, float, Floats]]:
    """Slabs along the first objective, from -inf to 1.

    Yields:
        Both ends of a slab, and the other objectives of the points before it, without those that
        others dominate.
    """
    front = front[np.argsort(front[:, 0], kind="stable")]
    ends = [-np.inf, *front[:, 0].tolist(), 1.0]
    before = front[:0, 1:]
    for k in range(len(front) + 1):
        if k:
            before = np.concatenate(
                [before[(before < front[k - 1, 1:]).any(1)], front[k - 1 : k, 1:]]
            )
        if ends[k + 1] > ends[k]:
            yield ends[k], ends[k + 1], before[nondominated(before)] if k else before


def _areas(points: Floats, front: Floats) -> Floats:
    """`exclusive` for two objectives: a staircase."""
    stairs = front[nondominated(front)] if len(front) else front
    stairs = stairs[np.argsort(stairs[:, 0], kind="stable")]
    ends = np.concatenate([stairs[:, 0], [1.0]])
    starts = np.concatenate([[-np.inf], stairs[:, 0]])
    heights = np.concatenate([[1.0], stairs[:, 1]])
    widths = np.maximum(ends - np.maximum(starts, points[:, :1]), 0.0)
    areas = np.maximum(heights - points[:, 1:], 0.0) * widths
    return np.asarray(areas.sum(1))
