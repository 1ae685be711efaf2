"""Fronts and hypervolume, by sums one can do in the head."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_service.results import count, hypervolume

SHARE = st.floats(0, 1, exclude_max=True)


def test_hypervolume_of_a_point_is_its_box():
    assert hypervolume([(0.25, 0.5)]) == pytest.approx(0.75 * 0.5)


def test_hypervolume_of_two_points_counts_their_overlap_once():
    """0.8 x 0.2 + 0.2 x 0.8 - 0.2 x 0.2."""
    assert hypervolume([(0.2, 0.8), (0.8, 0.2)]) == pytest.approx(0.28)


def test_hypervolume_outside_the_reference_is_nothing():
    assert hypervolume([(1.0, 0.1), (0.2, 3.0)]) == 0
    assert hypervolume([]) == 0


@given(st.lists(st.tuples(SHARE, SHARE, SHARE), min_size=1, max_size=5))
def test_hypervolume_equals_inclusion_and_exclusion(points):
    def box(chosen):
        sides = [1 - max(p[d] for p in chosen) for d in range(3)]
        return sides[0] * sides[1] * sides[2]

    subsets = (c for n in range(1, len(points) + 1) for c in itertools.combinations(points, n))
    expected = sum((-1) ** (len(c) + 1) * box(c) for c in subsets)
    assert hypervolume(points) == pytest.approx(expected, abs=1e-12)


def test_counts_add_up():
    words = ["trained", "trained", "diverged", "rejected", "cached", "failed", "training"]
    counts = count(dict(enumerate(words)))
    assert counts["trained"] == 3
    assert counts["complete"] == counts["trained"] + counts["rejected"] + counts["cached"] == 5
    assert (counts["failed"], counts["running"]) == (1, 1)
