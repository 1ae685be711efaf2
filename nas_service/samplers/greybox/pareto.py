"""Volumes of what points dominate, all objectives minimised, seen from the reference 1.

N points, K points of a front, M objectives. Only what lies below 1 in every objective counts.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def nondominated(points: Floats) -> NDArray[np.intp]:
    """Indices of the points [N, M] that no other one dominates; of equal ones the first."""
    order = np.lexsort(points.T[::-1])
    kept: list[int] = []
    for n in order.tolist():
        if not kept or not (points[kept] <= points[n]).all(1).any():
            kept.append(n)
    return np.array(kept, dtype=np.intp)


def hypervolume(points: Floats) -> float:
    """Volume between the points [N, M] and the reference."""
    corner = np.minimum(points.min(0, initial=1.0), 1.0)
    box = float(np.prod(1 - corner))
    return box - float(exclusive(corner[None], points)[0])


def exclusive(points: Floats, front: Floats) -> Floats:
    """Volume that each of some points [N, M] dominates and no point of the front [K, M] does [N].

    Slices along the first objective: between two neighbours on the front all those before bound
    what is left in the other objectives.
    """
    front = front[(front < 1).all(1)]
    if points.shape[1] == 1:
        return np.asarray(np.maximum(front[:, 0].min(initial=1.0) - points[:, 0], 0.0))
    if points.shape[1] == 2:
        return _areas(points, front)
    found = np.zeros(len(points))
    for low, high, before in slices(front):
        width = np.minimum(high, 1.0) - np.maximum(points[:, 0], low)
        reach = np.flatnonzero(width > 0)
        if reach.size:
            found[reach] += width[reach] * exclusive(points[reach, 1:], before)
    return found


def slices(front: Floats) -> Iterator[tuple[float, float, Floats]]:
    """Slabs along the first objective, from -inf to 1, each with what is left of the points
    before it: their other objectives, without those that others dominate."""
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
