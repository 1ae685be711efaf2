"""Intervals against sums by hand, scipy and repeated draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from nas_service.intervals import mean, ranks, spearman

SMALL = st.lists(st.integers(0, 5), min_size=1, max_size=12)


def test_students_interval_by_hand():
    """1, 2, 3: mean 2, error 1 / sqrt(3), t(2) = 4.302653."""
    found = mean([1.0, 2.0, 3.0])
    assert found.value == 2
    assert found.high - 2 == 2 - found.low == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert mean([1.0]) is None


def test_what_excludes_zero():
    assert mean([1.0, 1.1, 0.9]).excludes_zero
    assert mean([-1.0, -1.1, -0.9]).excludes_zero
    assert not mean([1.0, -1.1, 0.9]).excludes_zero
    assert not mean([0.0, 0.0]).excludes_zero


@settings(max_examples=30, derandomize=True, deadline=None)
@given(SMALL)
def test_ranks_of_ties(values):
    assert ranks(values).tolist() == rankdata(values).tolist()


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=4, max_size=20))
def test_rank_correlation(pairs):
    a, b = zip(*pairs, strict=True)
    found = spearman(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert found is None
    else:
        assert found.value == pytest.approx(spearmanr(a, b).statistic)
        assert -1 <= found.low <= found.value <= found.high <= 1


def test_few_pairs_in_perfect_order_prove_nothing():
    assert spearman([1, 2, 3], [1, 2, 3]) is None
    found = spearman([1, 2, 3, 4], [1, 2, 3, 4])
    assert (found.value, found.high) == (1, 1)
    assert found.low < 0
    assert spearman(range(30), range(30)).low > 0.95


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Normal pairs of correlation 0.6: their rank correlation is 6 / pi asin(0.3)."""
    truth, die, held = 6 / np.pi * np.arcsin(0.3), np.random.default_rng(0), 0
    for _ in range(500):
        x, noise = die.normal(size=(2, 25))
        found = spearman(x, 0.6 * x + 0.8 * noise)
        held += found.low <= truth <= found.high
    assert 0.92 < held / 500 < 0.98
