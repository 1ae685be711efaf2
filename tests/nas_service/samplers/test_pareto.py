"""Volumes against inclusion and exclusion, and against sums by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_service.samplers.greybox.pareto import exclusive, hypervolume, nondominated

EXAMPLES = settings(max_examples=40, derandomize=True, deadline=None)


def by_inclusion(points):
    """Sum over all subsets of the boxes between their joint worst corner and 1."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for some in itertools.combinations(points, size):
            corner = np.max(some, axis=0)
            total -= (-1) ** size * np.prod(np.maximum(1 - corner, 0))
    return total


@st.composite
def point_sets(draw, most=6):
    count, width = draw(st.integers(1, most)), draw(st.integers(1, 4))
    steps = st.integers(-2, 12)  # ties, and points outside of the reference
    rows = draw(st.lists(st.lists(steps, min_size=width, max_size=width), min_size=count))
    return np.array(rows[:most]) / 10


def test_two_boxes_by_hand():
    # 0.5 x 0.5 and 0.25 x 0.75 share 0.25 x 0.5
    assert hypervolume(np.array([[0.5, 0.5], [0.75, 0.25]])) == pytest.approx(0.3125)


def test_nothing_below_the_reference():
    assert hypervolume(np.array([[1.0, 0.0], [0.0, 1.5]])) == 0
    assert hypervolume(np.zeros((0, 3))) == 0


@EXAMPLES
@given(point_sets())
def test_volume_by_inclusion_and_exclusion(points):
    assert hypervolume(points) == pytest.approx(by_inclusion(points), abs=1e-12)


@EXAMPLES
@given(point_sets())
def test_gain_is_the_growth_of_the_volume(points):
    candidates, front = points[:2], points[2:]
    for candidate, gain in zip(candidates, exclusive(candidates, front), strict=True):
        grown = by_inclusion([*front, candidate]) - (by_inclusion(front) if len(front) else 0)
        assert gain == pytest.approx(grown, abs=1e-12)


@EXAMPLES
@given(point_sets(most=8))
def test_nondominated_by_definition(points):
    kept = points[nondominated(points)]
    for n, p in enumerate(points):
        better = [(q <= p).all() and (q < p).any() for q in points]
        assert any((k == p).all() for k in kept) != any(better), n
    assert len(np.unique(kept, axis=0)) == len(kept)
