"""Volumes against inclusion and exclusion, fronts and orders by their definition and by hand."""

import itertools
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.study._multi_objective import _fast_non_domination_rank

from nas_service.samplers.greybox import pareto
from nas_service.samplers.greybox.pareto import (
    constrained_order,
    covered,
    crowding,
    dominated_share,
    exclusive,
    front_numbers,
    hypervolume,
    nondominated,
    on_front,
    spread,
)

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


def dominates(p, q):
    return (p <= q).all() and (p < q).any()


@EXAMPLES
@given(point_sets(most=12), st.sampled_from([1, 2, 256]))
def test_nondominated_by_definition(points, block):
    with mock.patch.object(pareto, "BLOCK", block):
        kept = points[nondominated(points)]
    for n, p in enumerate(points):
        better = any(dominates(q, p) for q in points)
        assert any((k == p).all() for k in kept) != better, n
        assert covered(points[n : n + 1], kept).all()
    assert len(np.unique(kept, axis=0)) == len(kept)


@EXAMPLES
@given(point_sets(most=12))
def test_all_equal_points_are_on_the_front(points):
    for p, kept in zip(points, on_front(points), strict=True):
        assert kept != any(dominates(q, p) for q in points)


@EXAMPLES
@given(point_sets(most=12))
def test_fronts_are_taken_away_one_after_the_other(points):
    left, numbers, front = set(range(len(points))), front_numbers(points), 0
    while left:
        best = {n for n in left if not any(dominates(points[m], points[n]) for m in left)}
        assert best == {n for n in left if numbers[n] == front}
        left, front = left - best, front + 1


def test_of_equal_points_the_first_is_kept_and_infinite_ones_are_compared():
    points = np.array([[np.inf, 0.0], [0.0, np.inf], [np.inf, 1.0], [0.0, np.inf]])
    assert sorted(nondominated(points)) == [0, 1]
    assert on_front(points).tolist() == [True, True, False, True]
    assert front_numbers(points).tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("act", [nondominated, on_front, front_numbers])
def test_a_point_with_nan_is_refused(act):
    for width in range(1, 5):
        points = np.zeros((3, width))
        points[1, -1] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            act(points)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_large_front_needs_no_array_of_all_pairs(width):
    """3,000 points, every other one a copy of the one before; in their plane none dominates."""
    points = np.repeat(np.random.default_rng(0).random((1500, width)), 2, axis=0)
    points[:, -1] = 1 - points[:, :-1].sum(1)
    tracemalloc.start()
    mask, kept = on_front(points), nondominated(points)
    _, peak_B = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert mask.all()
    assert len(kept) == (1 if width == 1 else 1500)
    assert peak_B < 4e6


@pytest.mark.parametrize("width", [3, 4])
def test_volume_of_a_large_front_by_its_growth(width):
    points = np.random.default_rng(1).random((40, width))
    grown = sum(exclusive(points[n : n + 1], points[:n])[0] for n in range(len(points)))
    twice = np.concatenate([points, points[:1]])  # so that no point is alone
    gains = [exclusive(twice[[n, n]], points[:n])[0] for n in range(len(points))]
    assert hypervolume(points) == pytest.approx(grown)
    assert sum(gains) == pytest.approx(grown)


SHARE = st.floats(0, 1, exclude_max=True)


def test_hypervolume_of_a_point_is_its_box():
    assert dominated_share([(0.25, 0.5)]) == pytest.approx(0.75 * 0.5)


def test_hypervolume_of_two_points_counts_their_overlap_once():
    """0.8 x 0.2 + 0.2 x 0.8 - 0.2 x 0.2."""
    assert dominated_share([(0.2, 0.8), (0.8, 0.2)]) == pytest.approx(0.28)


def test_hypervolume_outside_the_reference_is_nothing():
    assert dominated_share([(1.0, 0.1), (0.2, 3.0)]) == 0
    assert dominated_share([]) == 0


@EXAMPLES
@given(st.lists(st.tuples(SHARE, SHARE, SHARE), min_size=1, max_size=5))
def test_hypervolume_equals_inclusion_and_exclusion(points):
    def box(chosen):
        sides = [1 - max(p[d] for p in chosen) for d in range(3)]
        return sides[0] * sides[1] * sides[2]

    subsets = (c for n in range(1, len(points) + 1) for c in itertools.combinations(points, n))
    expected = sum((-1) ** (len(c) + 1) * box(c) for c in subsets)
    assert dominated_share(points) == pytest.approx(expected, abs=1e-12)


def test_crowding_by_hand():
    """Nothing is in the box, so the ends come first: then .6 / 1 + .5 / .6, then .8 + .3 / .6."""
    points = np.array([[1.0, 1.8], [1.2, 1.5], [1.6, 1.3], [2.0, 1.2]])
    assert crowding(points)[1:3] == pytest.approx([0.6 + 0.5 / 0.6, 0.8 + 0.3 / 0.6])
    assert spread(points) == [0, 3, 1, 2]


def by_largest_gain(points):
    """`spread` of points inside the box, by its definition."""
    chosen, left = [], list(range(len(points)))
    while left:
        volume = by_inclusion(points[chosen]) if chosen else 0.0
        gains = [round(by_inclusion(points[[*chosen, n]]) - volume, 12) for n in left]
        if max(gains) <= 0:
            break
        chosen.append(left.pop(gains.index(max(gains))))
    return chosen


@EXAMPLES
@given(point_sets(most=6))
def test_each_point_of_a_spread_adds_the_most(points):
    front = points[on_front(points)].clip(0)
    expected = by_largest_gain(front)
    assert spread(front)[: len(expected)] == expected


def test_equal_points_keep_their_order():
    points = np.array([[0.5, 0.5]] * 3)
    assert constrained_order(points, np.zeros(3)) == [0, 1, 2]
    assert constrained_order(points, np.ones(3)) == [0, 1, 2]


VALUE = st.integers(0, 4).map(lambda n: n / 3)  # with equal values, and some beyond the reference


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(st.tuples(VALUE, VALUE, VALUE, st.sampled_from([0.0, 0.0, 0.5, 1.0])), min_size=1))
def test_ranks_are_those_of_optunas_constrained_domination(rows):
    table = np.array(rows)
    points, excess = table[:, :3], table[:, 3]
    ranks = _fast_non_domination_rank(points, penalty=excess)
    order = constrained_order(points, excess)
    assert sorted(order) == list(range(len(rows)))
    assert np.all(np.diff(ranks[order]) >= 0)
