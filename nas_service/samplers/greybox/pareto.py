"""Pareto fronts and the volumes that points dominate; all objectives are minimised.

N points, K points of a front, M objectives. The reference is 1 in every objective: only what lies
below it counts for a volume.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def nondominated(points: Floats) -> NDArray[np.intp]:
    """Indices of the points [N, M] that no other one dominates; of equal ones the first."""
    kept: list[int] = []
    for n in np.lexsort(points.T[::-1]).tolist():
        if not kept or not (points[kept] <= points[n]).all(1).any():
            kept.append(n)
    return np.array(kept, dtype=np.intp)


def on_front(points: Floats) -> NDArray[np.bool_]:
    """Which of the points [N, M] no other one dominates; of equal ones all."""
    front = points[nondominated(points)]
    return np.asarray((points[:, None] == front[None]).all(-1).any(1))


def constrained_order(points: Floats, excess: Floats) -> list[int]:
    """Indices of candidates by constrained domination (Deb et al., 2002), the best first.

    Args:
        points: Objectives, [N, M].
        excess: Sum of each candidate's violations of its constraints, [N]; 0 is feasible.

    Returns:
        The feasible candidates front after front, within a front by `spread`, then the others by
        their excess. Of equal candidates the first comes first.
    """
    left, infeasible = np.flatnonzero(excess <= 0), np.flatnonzero(excess > 0)
    ordered: list[int] = []
    while len(left):
        front = left[on_front(points[left])]
        ordered += front[spread(points[front])].tolist()
        left = np.setdiff1d(left, front)
    ordered += infeasible[np.argsort(excess[infeasible], kind="stable")].tolist()
    return ordered


def spread(points: Floats) -> list[int]:
    """Indices of the points of one front [N, M], the ones that describe it best first.

    Each adds the most to the volume between those before it and the reference; points that add
    nothing follow by their crowding distance.
    """
    left, chosen = list(range(len(points))), list[int]()
    while left:
        gains = exclusive(np.maximum(points[left], 0.0), np.maximum(points[chosen], 0.0))
        inside = np.where((points[left] < 1).all(1), gains, 0.0)
        if inside.max() <= 0:
            break
        chosen.append(left.pop(int(inside.argmax())))
    distances = crowding(points)
    return chosen + sorted(left, key=lambda i: -distances[i])


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


def dominated_share(points: ArrayLike) -> float:
    """Share of the box from the ideal 0 to the reference that the points [N, M] dominate, 0..1."""
    inside = np.maximum(np.asarray(points, dtype=np.float64), 0.0)
    return hypervolume(inside) if inside.size else 0.0


def hypervolume(points: Floats) -> float:
    """Volume between the points [N, M] and the reference."""
    corner = np.minimum(points.min(0, initial=1.0), 1.0)
    box = float(np.prod(1 - corner))
    return box - float(exclusive(corner[None], points)[0])


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
