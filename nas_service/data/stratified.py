"""Two parts of the images, each with the classes in the proportion of the whole.

The rows are those of scikit-learn's `train_test_split(stratify=...)` with the same seed, whose
loading would take longer than most of a worker's start.
"""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def split_by_class(labels: Rows, first: int, second: int, seed: int) -> tuple[Rows, Rows]:
    """Draws two parts without overlap.

    Args:
        labels: Class of each image, at least two images a class.
        first: Number of images of the first part, at least one for each class.
        second: The same of the second part.
        seed: Seed of the draw; equal labels and seeds give equal parts.

    Returns:
        Rows of both parts, each in random order.
    """
    random = np.random.RandomState(seed)
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(classes, kind="stable"), np.cumsum(counts)[:-1])
    shares = _shares(counts, first, random)
    others = _shares(counts - shares, second, random)
    parts: tuple[list[Rows], list[Rows]] = ([], [])
    for rows, share, other in zip(members, shares, others, strict=True):
        drawn = rows[random.permutation(len(rows))]
        parts[0].append(drawn[:share])
        parts[1].append(drawn[share : share + other])
    one, two = (random.permutation(np.concatenate(part)) for part in parts)
    return one, two


def _shares(counts: Rows, total: int, random: np.random.RandomState) -> Rows:
    """Images of each class in a part: its proportion, and what rounding leaves by the largest rest.

    Equal rests are drawn.
    """
    exact = counts / counts.sum() * total
    shares = np.floor(exact)
    missing = int(total - shares.sum())
    rests = exact - shares
    for rest in np.unique(rests)[::-1]:
        if missing <= 0:
            break
        (tied,) = np.where(rests == rest)
        extra = random.choice(tied, size=min(len(tied), missing), replace=False)
        shares[extra] += 1
        missing -= len(extra)
    return np.asarray(shares, np.int64)
